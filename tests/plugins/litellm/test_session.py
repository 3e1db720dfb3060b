"""Opening a session: address and key reach the server on every Mellea, and nothing shows the key."""

from __future__ import annotations

import json
import logging
import pickle
import threading
from typing import Any

import pytest
from support import faults, messages
from support.ollama_server import OllamaServer
from support.openai_server import OpenAIServer
from support.table import a_tool

pytest.importorskip("mellea_api_litellm")

import mellea_api
from mellea_api import stream_chat
from mellea_api.testing import Asked, LoopbackServer, Reply, openai_answer

pytestmark = pytest.mark.usefixtures("sdk")

CANARY = "canary-77aa31c4-never-to-be-seen"


def start(route: str = "openai/gpt-4o", **arguments: Any) -> Any:
    return mellea_api.start_session("litellm", route, **({"max_retries": 0} | arguments))


# --- address and credentials -------------------------------------------------------------------


def test_address_and_key_reach_the_server(
    openai_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mellea up to 0.6 ignores the address, and LiteLLM would send the key to OpenAI."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another")
    session = start(base_url=openai_server.base_url, api_key="sk-good")
    assert session.chat("Hello!").content == "4"
    assert "".join(stream_chat(session, "Hello!")) == "4"
    keys = {found.headers.get("authorization") for found in openai_server.requests}
    assert keys == {"Bearer sk-good"}


def test_the_providers_own_variables_work(
    openai_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", " sk-good\n")
    monkeypatch.setenv("OPENAI_API_BASE", openai_server.base_url)
    assert start().chat("Hello!").content == "4"


def test_where_the_path_is_wrong_the_model_is_not_said_to_be(openai_server: OpenAIServer) -> None:
    """As of an address that lacks the /v1."""
    where = {"base_url": openai_server.base_url.removesuffix("/v1"), "api_key": "sk-good"}
    with pytest.raises(mellea_api.RequestRefusedError, match="404") as caught:
        start(check=False, **where).chat("Hello!")
    assert "/v1" in caught.value.next_step


def test_two_sessions_keep_their_own_keys_and_addresses() -> None:
    with OpenAIServer(api_key="sk-one") as one, OpenAIServer(api_key="sk-two") as two:
        first = start(base_url=one.base_url, api_key="sk-one")
        second = start(base_url=two.base_url, api_key="sk-two")
        for session in (first, second, first):
            assert session.chat("Hello!").content == "4"


def test_openais_key_is_not_sent_to_a_server_of_another_route(
    compatible_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LiteLLM falls back on it wherever there is no other key."""
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    start("hosted_vllm/tiny", base_url=compatible_server.base_url).chat("Hello!")
    start("litellm_proxy/tiny", base_url=compatible_server.base_url).chat("Hello!")
    assert CANARY not in str([found.headers for found in compatible_server.requests])


@pytest.mark.parametrize(
    ("route", "variable"),
    [
        ("gpt-4o", "OPENAI_API_KEY"),
        ("anthropic/claude-sonnet-4-5", "ANTHROPIC_API_KEY"),
        ("watsonx/ibm/granite-3-3-8b-instruct", "WATSONX_PROJECT_ID"),
        ("poe/x", "POE_API_KEY"),
    ],
)
def test_what_lacks_is_said_before_anybody_is_called(route: str, variable: str) -> None:
    with pytest.raises(mellea_api.CredentialError, match=variable) as caught:
        start(route)
    assert variable in caught.value.next_step
    assert variable in (caught.value.variables or ())


@pytest.mark.parametrize("route", ["nix", "openaj/gpt-4o", "gpt-4oo"])
def test_no_route(route: str) -> None:
    with pytest.raises(mellea_api.ModelNotFoundError, match="no route"):
        start(route)


# --- the server --------------------------------------------------------------------------------


def test_a_model_that_is_not_there_is_found_out_at_once(
    openai_server: OpenAIServer, ollama_server: OllamaServer
) -> None:
    with pytest.raises(mellea_api.ModelNotFoundError, match="gpt-4o") as caught:
        start("openai/gpt-4oo", base_url=openai_server.base_url, api_key="sk-good")
    assert "check=False" in caught.value.next_step
    with pytest.raises(mellea_api.ModelNotFoundError, match="tiny") as caught:
        start("ollama_chat/nix", base_url=ollama_server.base_url)
    assert "ollama pull nix" in caught.value.next_step


@pytest.mark.parametrize("route", ["openai/gpt-nix", "ollama_chat/nix"])
def test_unchecked_it_is_found_out_by_the_first_call(
    route: str, openai_server: OpenAIServer, ollama_server: OllamaServer
) -> None:
    server: Any = openai_server if route.startswith("openai") else ollama_server
    session = start(route, base_url=server.base_url, api_key="sk-good", check=False)
    with pytest.raises(mellea_api.ModelNotFoundError):
        session.chat("Hello!")


@pytest.mark.parametrize("route", ["openai/tiny", "ollama_chat/tiny", "litellm_proxy/x"])
def test_a_server_that_is_not_there(route: str) -> None:
    with pytest.raises(mellea_api.BackendUnavailableError, match=r"127\.0\.0\.1:9"):
        start(route, base_url="http://127.0.0.1:9", api_key=CANARY)
    session = start(route, base_url="http://127.0.0.1:9", api_key=CANARY, check=False)
    with pytest.raises(mellea_api.BackendUnavailableError):
        session.chat("Hello!")


@pytest.mark.parametrize("way", ["session", "chat", "stream"])
def test_a_rejected_key_is_shown_nowhere(way: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "mellea_api")

    def attempt() -> None:
        session = start(base_url=server.base_url, api_key=CANARY, check=way == "session")
        if way == "stream":
            list(stream_chat(session, "Hello!"))
        session.chat("Hello!")

    with (
        OpenAIServer(echo_key=True) as server,
        pytest.raises(mellea_api.CredentialError) as caught,
    ):
        attempt()
    assert caught.value.status == 401
    assert "OPENAI_API_KEY" in caught.value.next_step
    for text in (str(caught.value), repr(caught.value.__cause__), caplog.text):
        assert CANARY not in text
    assert CANARY.encode() not in pickle.dumps(caught.value)


def test_the_key_is_in_no_report_log_or_repr(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG, "mellea_api")
    caplog.set_level(logging.DEBUG, "fancy_logger")
    with OpenAIServer(api_key=CANARY) as server:
        session = start(base_url=server.base_url, api_key=CANARY, model_options={"seed": 1})
        answer = session.chat("Hello!", model_options={"temperature": 0.5})
    printed = capsys.readouterr()
    texts = [caplog.text, printed.out, printed.err, repr(answer), repr(session.backend)]
    texts += [repr(mellea_api.options_report(session)), str(session.backend)]
    texts += [repr(getattr(session.last_prompt(), "__dict__", session.last_prompt()))]
    log = getattr(session.ctx.last_output(), "_generate_log", None)
    texts += [repr(vars(log)) if log is not None else ""]
    assert not [text for text in texts if CANARY in text]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, mellea_api.RequestRefusedError),
        (403, mellea_api.PermissionDeniedError),
        (429, mellea_api.RateLimitError),
        (500, mellea_api.BackendUnavailableError),
        (503, mellea_api.BackendUnavailableError),
    ],
)
@pytest.mark.parametrize("route", ["openai/gpt-4o", "ollama_chat/tiny"])
def test_refusals_are_told_apart(
    route: str,
    status: int,
    error: type[Exception],
    openai_server: OpenAIServer,
    ollama_server: OllamaServer,
) -> None:
    server: Any = openai_server if route.startswith("openai") else ollama_server
    session = start(route, base_url=server.base_url, api_key="sk-good")
    server.fail_next(status)
    with pytest.raises(error) as caught:
        session.chat("Hello!")
    assert getattr(caught.value, "status", None) in (status, 500)


def test_an_answer_that_does_not_come_is_late() -> None:
    with faults.black_hole() as nobody:
        session = start("openai/x", base_url=nobody.url, timeout=0.3, check=False)
        with pytest.raises(mellea_api.RequestTimeoutError):
            session.chat("Hello!")
        with pytest.raises(mellea_api.RequestTimeoutError):
            start("openai/x", base_url=nobody.url, timeout=0.3)


@pytest.mark.parametrize("route", ["openai/tiny", "hosted_vllm/tiny"])
def test_a_streamed_call_of_a_tool_without_an_index_is_read(route: str) -> None:
    """As Gemini's endpoint for OpenAI's protocol sends them."""

    def call(name: str) -> dict[str, Any]:
        function = {"name": "get_weather", "arguments": json.dumps({"city": name})}
        return {"id": f"call-{name}", "type": "function", "function": function}

    def piece(finish: str | None = None, **delta: Any) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        event = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "tiny"}
        return f"data: {json.dumps(event | {'choices': [choice]})}\n\n"

    calls = [piece(role="assistant", tool_calls=[call(name)]) for name in ("Rome", "Oslo")]
    body = "".join([*calls, piece("tool_calls"), "data: [DONE]\n\n"])
    reply = messages.Reply(body=body.encode(), headers={"content-type": "text/event-stream"})
    options = {"tools": [a_tool()], "stream": True}
    with faults.FaultServer(lambda request: reply) as server:
        session = start(route, base_url=server.base_url, check=False)
        answer = session.instruct("?", tool_calls=True, strategy=None, model_options=options)
    called = answer.tool_calls
    found = called if isinstance(called, list) else list(called.values())
    assert "Oslo" in [call.args["city"] for call in found]


@pytest.mark.parametrize("route", ["openai/tiny", "ollama_chat/tiny"])
def test_a_deadline_may_pass_while_litellm_still_prepares_the_call(
    route: str,
    compatible_server: OpenAIServer,
    ollama_server: OllamaServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It does so in a thread, which cannot be cancelled."""
    import litellm.main

    prepare, late = litellm.main.completion, threading.Event()

    def slowly(*args: Any, **arguments: Any) -> Any:
        begun = prepare(*args, **arguments)
        late.wait(30)
        return begun

    server: Any = compatible_server if route == "openai/tiny" else ollama_server
    session = start(route, base_url=server.base_url, timeout=0.5, check=False)
    monkeypatch.setattr(litellm.main, "completion", slowly)
    with pytest.raises(mellea_api.RequestTimeoutError):
        session.chat("Hello!")
    late.set()
    session.cleanup()
    again = start(route, base_url=server.base_url, check=False)
    assert again.chat("Hello!").content == "4"


@pytest.mark.parametrize("fault", ["html", "truncated_json", "invalid_json", "other_shape_json"])
@pytest.mark.parametrize("route", ["openai/x", "ollama_chat/x"])
def test_an_answer_that_is_none(route: str, fault: str) -> None:
    if fault not in faults.BY_NAME:
        pytest.skip(f"no such fault: {fault}")
    with faults.named(fault) as url:
        with pytest.raises(mellea_api.ProviderError):
            start(route, base_url=url)
        session = start(route, base_url=url, check=False)
        with pytest.raises(mellea_api.ProviderError):
            session.chat("Hello!")


def test_check_is_yes_or_no() -> None:
    with pytest.raises(mellea_api.ConfigurationError, match="check"):
        start("ollama_chat/tiny", check="maybe")


def test_a_misspelt_argument_is_named(ollama_server: OllamaServer) -> None:
    with pytest.raises(mellea_api.ConfigurationError, match="formater"):
        start("ollama_chat/tiny", base_url=ollama_server.base_url, formater=None)


def test_a_mock_needs_no_server_and_no_key() -> None:
    session = start("anthropic/claude-sonnet-4-5", mock_response="said so")
    assert session.chat("Hello!").content == "said so"


def test_the_sdks_own_retries_are_left_to_a_program_alone() -> None:
    from mellea_api._cli.takeover import start_session

    left = [0]

    def answer(asked: Asked) -> object:
        if not asked.path.endswith("/chat/completions") or not left[0]:
            return openai_answer(asked)
        left[0] -= 1
        headers = {"Retry-After-Ms": "1"}
        return Reply(status=503, headers=headers, body={"error": {"message": "not now"}})

    with LoopbackServer(answer) as server:
        where = {"base_url": f"{server.address}/v1", "api_key": "sk-good"}
        program = start_session("litellm", "openai/tiny", **where)
        own = mellea_api.start_session("litellm", "openai/tiny", **where)
        left[0] = 2
        assert program.chat("Hello!").content == "4"
        left[0] = 2
        with pytest.raises(mellea_api.BackendUnavailableError):
            own.chat("Hello!")
