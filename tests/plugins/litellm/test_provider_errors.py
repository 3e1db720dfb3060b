"""What providers answer becomes the same error through LiteLLM, or the one that the table names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest
from support import faults
from support import provider_errors as table
from support.canary import shown
from support.litellm_proxy import KEY, LiteLLMProxy
from support.messages import Reply
from support.ollama_server import OllamaServer
from support.openai_server import OpenAIServer
from support.watsonx_server import API_KEY

pytest.importorskip("mellea_api_litellm")

import mellea_api
from mellea_api import stream_chat

pytestmark = pytest.mark.usefixtures("sdk")
# To log a stream that failed, LiteLLM counts its tokens: with this model, without a network.
ROUTES = {"ollama": "ollama_chat/tiny", "openai": "openai/gpt-3.5-turbo"}


@contextmanager
def provider(backend: str) -> Iterator[tuple[Any, dict[str, Any]]]:
    """A good server, and what a session on it is given."""
    with ExitStack() as stack:
        if backend == "ollama":
            server: Any = stack.enter_context(OllamaServer())
            yield server, {"base_url": server.base_url}
        else:
            server = stack.enter_context(OpenAIServer(api_key=table.SECRET))
            yield server, {"base_url": server.base_url, "api_key": table.SECRET}


# LiteLLM has no raw endpoint: it makes a chat of a prompt.
@pytest.mark.parametrize(
    "row",
    [
        found
        for found in table.rows("ollama", "openai")
        if not found.values[0].get("raw") and found.values[0]["error"] != "none"
    ],
)
def test_an_answer_is_its_error(row: dict[str, Any]) -> None:
    """And is asked for once."""
    with provider(row["backend"]) as (server, arguments):
        session = mellea_api.start_session("litellm", ROUTES[row["backend"]], **arguments)
        with (
            table.answering(server, table.reply(row)) as asked,
            pytest.raises(mellea_api.MelleaAPIError) as caught,
        ):
            table.way_of(row)(session)
        table.check(caught.value, row, through="litellm")
        assert len(asked) == 1
        assert table.way_of(row)(session)  # the session is none the worse


@pytest.mark.parametrize("way", ["achat", "instruct", "stream", "astream", "raw", "sampling"])
@pytest.mark.parametrize(
    "when", ["the key is wrong", "too many calls a minute", "the server failed"]
)
def test_a_kind_is_the_same_on_every_way(when: str, way: str) -> None:
    row = table.named("openai", when)
    with provider("openai") as (server, arguments):
        session = mellea_api.start_session("litellm", ROUTES["openai"], **arguments)
        with (
            table.answering(server, table.reply(row)) as asked,
            pytest.raises(mellea_api.MelleaAPIError) as caught,
        ):
            table.WAYS[way](session)
        table.check(caught.value, row, through="litellm")
        assert len(asked) == 1


def test_max_retries_lets_the_sdk_try_again_and_no_more() -> None:
    row = table.named("openai", "too many calls a minute") | {"headers": {"retry-after": "0.01"}}
    with provider("openai") as (server, arguments):
        session = mellea_api.start_session("litellm", ROUTES["openai"], max_retries=2, **arguments)
        with table.answering(server, table.reply(row)) as asked:
            with pytest.raises(mellea_api.RateLimitError):
                session.chat("?")
            assert len(asked) == 3


ON_THE_PROXY = {
    "LiteLLM's proxy: the key is wrong": ("mocked", "sk-bad"),
    "LiteLLM's proxy: the model is not in its list": ("nix", KEY),
    "LiteLLM's proxy: the provider behind it limits the rate": ("limited", KEY),
    "LiteLLM's proxy: the prompt is too long for the provider behind it": ("full", KEY),
}
"""The model that the real proxy is asked for, and the key."""


@pytest.mark.slow
@pytest.mark.parametrize("row", table.rows("litellm"))
def test_an_answer_of_the_proxy_is_its_error(proxy: LiteLLMProxy, row: dict[str, Any]) -> None:
    """And the row is what the real proxy answers."""
    model, key = ON_THE_PROXY[row["when"]]
    answer = httpx.post(
        f"{proxy.base_url}/chat/completions",
        json={"model": model, "messages": [{"role": "user", "content": "Hello!"}]},
        headers={"authorization": f"Bearer {key}"},
    )
    assert (answer.status_code, answer.json()) == (row["status"], json.loads(row["body"]))
    session = mellea_api.start_session(
        "litellm",
        f"litellm_proxy/{model}",
        base_url=proxy.base_url,
        api_key=key,
        check=False,
    )
    for way in (table.chat, table.stream, table.raw):
        with pytest.raises(mellea_api.MelleaAPIError) as caught:
            way(session)
        table.check(caught.value, row)


@pytest.mark.parametrize("row", table.rows("watsonx"))
def test_an_answer_of_watsonx_is_its_error(watsonx: Any, row: dict[str, Any]) -> None:
    session = mellea_api.start_session(
        "litellm",
        "watsonx/ibm/granite-3-3-8b-instruct",
        base_url="https://us-south.ml.cloud.ibm.com",
        api_key=API_KEY,
        unsupported="drop",
    )
    with (
        table.answering(watsonx, table.reply(row)) as asked,
        pytest.raises(mellea_api.MelleaAPIError) as caught,
    ):
        table.way_of(row)(session)
    table.check(caught.value, row, through="litellm")
    assert len(asked) == 1


@pytest.mark.parametrize("route", ["gemini/gemini-2.0-flash", "anthropic/claude-3-5-haiku-latest"])
def test_a_page_in_the_place_of_a_stream_is_no_answer(route: str) -> None:
    """LiteLLM makes an empty answer of it, of which nobody says whose it is."""
    with faults.html() as server:
        session = mellea_api.start_session(
            "litellm", route, base_url=server.base_url, api_key=table.SECRET
        )
        with pytest.raises(mellea_api.AnswerError):
            list(stream_chat(session, "Hello!"))


def test_half_a_stream_of_anthropic_is_no_answer() -> None:
    events = (
        {"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant"}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "4"}},
    )
    body = "".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in events)
    half = Reply(body=body.encode(), headers={"content-type": "text/event-stream"})
    with faults.FaultServer(lambda request: half) as server:
        session = mellea_api.start_session(
            *("litellm", "anthropic/claude-3-5-haiku-latest"),
            base_url=server.base_url,
            api_key=table.SECRET,
        )
        with pytest.raises(mellea_api.BackendUnavailableError, match="broke off"):
            list(stream_chat(session, "Hello!"))


@pytest.mark.parametrize("route", ["gemini/gemini-2.0-flash", "mistral/mistral-small-latest"])
def test_no_frame_of_litellms_own_client_shows_the_key(route: str) -> None:
    with faults.named("refused") as url:
        session = mellea_api.start_session("litellm", route, base_url=url, api_key=table.SECRET)
        with pytest.raises(mellea_api.BackendUnavailableError) as caught:
            session.chat("Hello!")
    assert [name for name, text in shown(caught.value) if table.SECRET in text] == []


@pytest.mark.parametrize(
    "body",
    [
        {"error": "the model was put away"},
        {"object": "error", "message": "the model was put away", "code": 40303},
    ],
    ids=["error", "message"],
)
@pytest.mark.parametrize("route", ["openai/tiny", "hosted_vllm/tiny", "ollama_chat/tiny"])
def test_an_error_in_text_with_a_good_status_keeps_its_words(
    route: str, body: dict[str, Any]
) -> None:
    """LiteLLM says of them that a field is missing."""
    with faults.FaultServer(lambda request: Reply(json=body)) as server:
        session = mellea_api.start_session(
            "litellm", route, base_url=server.base_url, api_key=table.SECRET, check=False
        )
        with pytest.raises(mellea_api.BackendUnavailableError, match="the model was put away"):
            session.chat("Hello!")


@pytest.mark.parametrize("error", [None, {"code": 502, "message": "the provider broke"}, "broke"])
def test_a_choice_that_ended_with_an_error_is_no_answer(error: Any) -> None:
    """LiteLLM takes it for one that is whole."""
    choice = {"index": 0, "message": {"role": "assistant", "content": "Half of"}}
    choice |= {"finish_reason": "error"} | ({"error": error} if error else {})
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": "x", "choices": [choice]}
    with faults.FaultServer(lambda request: Reply(json=body)) as server:
        session = mellea_api.start_session(
            "litellm", "openai/tiny", base_url=server.base_url, api_key=table.SECRET, check=False
        )
        words = "broke" if error else "ended with an error"
        with pytest.raises(mellea_api.BackendUnavailableError, match=words):
            session.chat("Hello!")


BROKE = {"code": 502, "message": "the provider broke"}


@pytest.mark.parametrize(
    ("last", "words"),
    [
        ({"error": "the model was put away"}, "the model was put away"),
        ({"object": "error", "message": "the model was put away"}, "the model was put away"),
        ({"choices": [{"delta": {}, "finish_reason": "error", "error": BROKE}]}, "provider broke"),
        ({"choices": [{"delta": {}, "finish_reason": "error"}], "error": BROKE}, "provider broke"),
        ({"choices": [{"delta": {}, "finish_reason": "error"}]}, "ended with an error"),
    ],
)
@pytest.mark.parametrize("route", ["openai/tiny", "hosted_vllm/tiny", "openrouter/tiny"])
def test_an_error_inside_a_stream_is_an_error_with_its_words(
    route: str, last: dict[str, Any], words: str
) -> None:
    """LiteLLM takes most of them for a good end, and what came before for the whole answer."""
    piece = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "x"}
    half = {"index": 0, "delta": {"role": "assistant", "content": "Half of"}}
    events = [piece | {"choices": [half]}, (piece if "choices" in last else {}) | last]
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
    reply = Reply(body=body.encode(), headers={"content-type": "text/event-stream"})
    with faults.FaultServer(lambda request: reply) as server:
        session = mellea_api.start_session(
            "litellm", route, base_url=server.base_url, api_key=table.SECRET, check=False
        )
        with pytest.raises(mellea_api.BackendUnavailableError, match=words):
            list(stream_chat(session, "Hello!"))


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (404, "<!DOCTYPE html><html><body>Not Found</body></html>", mellea_api.AnswerError),
        (404, "404 page not found", mellea_api.RequestRefusedError),
        (400, '[{"error": {"message": "API key not valid."}}]', mellea_api.CredentialError),
        (400, '{"error": "Incorrect API key provided: x."}', mellea_api.CredentialError),
        (
            400,
            '{"error": {"message": "no", "code": "context_length_exceeded"}}',
            mellea_api.ContextLengthError,
        ),
        (422, '{"detail": [{"msg": "extra fields"}]}', mellea_api.RequestRefusedError),
        (503, '{"error": {"message": "Loading model"}}', mellea_api.BackendUnavailableError),
    ],
)
@pytest.mark.parametrize("route", ["openai/tiny", "hosted_vllm/tiny", "deepseek/tiny"])
def test_a_refusal_is_read_from_the_answer(route: str, status: int, body: str, error: Any) -> None:
    """And not from LiteLLM's words for it: 1.110 says `Error code: 400`."""
    with faults.FaultServer(lambda request: Reply(status, body=body.encode())) as server:
        session = mellea_api.start_session(
            "litellm", route, base_url=server.base_url, api_key=table.SECRET, check=False
        )
        with pytest.raises(mellea_api.ProviderError) as caught:
            session.chat("Hello!")
    assert type(caught.value) is error
    assert caught.value.status == status
