"""A redirect leads nobody's prompt away, nor a key in a header of the provider's own, on any route.

Whatever a program asks LiteLLM for by itself, beside its sessions, is LiteLLM's affair as before.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.faults import FaultServer
from support.messages import Reply
from support.openai_server import OpenAIServer
from support.provider_errors import raw

pytest.importorskip("mellea_api_litellm")
pytest.importorskip("litellm")

import litellm

import mellea_api
from mellea_api import stream_chat

pytestmark = pytest.mark.usefixtures("sdk")

KEY = "a-key-of-the-provider-0123456789"
WAYS: dict[str, Callable[[Any], Any]] = {
    "chat": lambda session: session.chat("Hello!"),
    "stream": lambda session: list(stream_chat(session, "Hello!")),
}


LIKE = (
    "deepseek/deepseek-chat",
    "groq/gemma2-9b-it",
    "mistral/mistral-small-latest",
    "openrouter/openai/gpt-4o",
    "xai/grok-4",
)
"""Routes to servers that speak as OpenAI's does."""


@pytest.mark.parametrize("route", LIKE)
@pytest.mark.parametrize("way", WAYS)
def test_an_answer_comes_through_the_careful_client(
    route: str, way: str, compatible_server: OpenAIServer
) -> None:
    compatible_server.models.append(route.partition("/")[2])
    session = mellea_api.start_session(
        "litellm", route, base_url=compatible_server.base_url, api_key=KEY, check=False, timeout=30
    )
    answer = WAYS[way](session)
    assert "".join(answer if way == "stream" else answer.content) == "4"
    assert compatible_server.last.headers["authorization"] == f"Bearer {KEY}"


OF_THEIR_OWN = (
    "anthropic/claude-sonnet-4-5",
    "azure/gpt-4o",
    "gemini/gemini-2.5-flash",
    "langflow/a-flow",
)
"""Routes whose keys are in headers of the provider's own."""


@pytest.mark.parametrize("route", [*OF_THEIR_OWN, *LIKE])
@pytest.mark.parametrize("status", [302, 307])
@pytest.mark.parametrize("way", WAYS)
def test_a_key_follows_no_redirect(route: str, status: int, way: str) -> None:
    with FaultServer(lambda request: Reply(json={})) as stranger:
        headers = {"location": f"{stranger.url}/elsewhere"}
        with FaultServer(lambda request: Reply(status, headers=headers)) as server:
            session = mellea_api.start_session(
                "litellm", route, base_url=server.base_url, api_key=KEY, check=False, timeout=30
            )
            with pytest.raises(mellea_api.ProviderError) as caught:
                WAYS[way](session)
            assert any(KEY in repr(vars(request)) for request in server.requests)
        assert stranger.requests == []
    assert caught.value.next_step
    assert KEY not in str(caught.value)


ELSEWHERE = frozenset(
    {
        # LiteLLM has no chat for them.
        *("a2a_agent", "auto_router", "aws_polly", "aws_textract", "azure_speech", "bespoke"),
        *("black_forest_labs", "cursor", "deepgram", "dotprompt", "elevenlabs", "eu_jev"),
        *("humanloop", "infinity", "jina_ai", "langfuse", "laya", "litellm_agent", "manus"),
        *("milvus", "mongodb", "nace", "nvidia_riva", "openai_like", "opensearch", "parallel_ai"),
        *("pg_vector", "recraft", "reducto", "runwayml"),
        *("s3_vectors", "soniox", "stability", "strands_decider", "topaz", "transcribe"),
        *("typesafe", "valkey", "voyage"),
        # It asks another host than the session's first, or needs an account or a package there.
        *("bedrock", "bytez", "chatgpt", "gdc", "gigachat", "github_copilot", "huggingface"),
        *(
            "microsoft_365_copilot",
            "oci",
            "petals",
            "predibase",
            "replicate",
            "sagemaker",
            "sagemaker_chat",
        ),
        *("sagemaker_nova", "sap", "text-completion-codestral", "vertex_ai", "vertex_ai_beta"),
        *("vllm", "watsonx", "watsonx_text"),
        # The model's id has to have a shape of its own, or the address.
        *("clarifai", "fal_ai", "nlp_cloud", "ragflow", "scaledown", "triton"),
    }
)
"""Providers whose chat cannot be asked by any model id, an address and a key."""
OUT_OF_REACH = frozenset({"aiohttp_openai"})
PROVIDERS = sorted({str(getattr(name, "value", name)) for name in litellm.provider_list})


@pytest.mark.parametrize("provider", sorted({*PROVIDERS} - ELSEWHERE - OUT_OF_REACH))
def test_no_prompt_follows_a_redirect(provider: str) -> None:
    with redirected() as (server, stranger):
        session = opened(f"{provider}/some-model", server)
        for number, way in enumerate(WAYS.values(), 1):
            with pytest.raises(mellea_api.ProviderError):
                way(session)
            assert len(server.requests) == number
        assert stranger.requests == []


@pytest.mark.parametrize(
    "route",
    [
        *("fireworks_ai/some-model", "hosted_vllm/some-model", "openai/gpt-3.5-turbo-instruct"),
        *("text-completion-openai/some-model", "together_ai/some-model"),
    ],
)
def test_nor_does_one_of_the_raw_endpoint(route: str) -> None:
    with redirected() as (server, stranger):
        session = opened(route, server)
        with pytest.raises(mellea_api.ProviderError):
            raw(session)
        assert [request.path for request in server.requests] == ["/completions"]
        assert stranger.requests == []


def test_nor_does_the_key_that_ibms_token_service_is_asked_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with redirected() as (server, stranger):
        monkeypatch.setenv("WATSONX_IAM_URL", f"{server.url}/identity/token")
        session = opened("watsonx/ibm/granite-3-3-8b-instruct", server, project_id="a-project")
        with pytest.raises(mellea_api.ProviderError):
            session.chat("Hello!")
        assert {request.path for request in server.requests} == {"/identity/token"}
        assert KEY in repr(server.requests[0])
        assert stranger.requests == []


@pytest.mark.parametrize("provider", sorted(OUT_OF_REACH))
def test_a_client_that_cannot_be_made_careful_is_not_used(provider: str) -> None:
    import openai

    with redirected() as (server, stranger):
        with pytest.raises(mellea_api.ModelNotFoundError, match="follows redirects"):
            opened(f"{provider}/some-model", server)
        # Where this fails, LiteLLM has changed, and the provider is no longer out of reach.
        message = {"role": "user", "content": "Hello!"}
        with contextlib.suppress(openai.APIError):  # which LiteLLM's are
            asyncio.run(
                litellm.acompletion(
                    f"{provider}/some-model", [message], api_base=server.base_url, api_key=KEY
                )
            )
        assert len(stranger.requests) == 1


@pytest.mark.parametrize("route", ["openai/gpt-4o", "azure/gpt-4o", "cohere/command-r-plus"])
def test_what_a_program_asks_litellm_itself_is_as_before(route: str) -> None:
    import openai

    async def both(session: Any, server: FaultServer, stranger: FaultServer) -> None:
        for times in (0, 1):
            with pytest.raises(mellea_api.ProviderError):
                await session.achat("Hello!")
            assert len(stranger.requests) == times
            with contextlib.suppress(openai.APIError):  # which LiteLLM's are
                message = {"role": "user", "content": "Hello!"}
                await litellm.acompletion(route, [message], api_base=server.base_url, api_key=KEY)
            assert len(stranger.requests) == times + 1

    with redirected() as (server, stranger):
        asyncio.run(both(opened(route, server), server, stranger))
    handler = litellm.llms.custom_httpx.http_handler
    for own, kind in (
        (litellm.module_level_aclient, handler.AsyncHTTPHandler),
        (litellm.module_level_client, handler.HTTPHandler),
    ):
        assert isinstance(own, kind)
        assert own.client.follow_redirects


def test_what_is_patched_is_restored_when_the_last_session_closes_its_clients() -> None:
    import httpx
    from litellm.caching.llm_caching_handler import LLMClientCache

    from mellea_api_litellm.http import Clients

    def state() -> list[Any]:
        key = LLMClientCache.update_cache_key_with_event_loop
        return [httpx.AsyncClient.send, httpx.Client.send, key, litellm.disable_aiohttp_transport]

    async def one(route: str, server: FaultServer) -> list[Any]:
        session = opened(route, server)
        with contextlib.suppress(mellea_api.ProviderError):
            await session.achat("Hello!")
        return state()

    gc.collect()
    for left in [one for one in gc.get_objects() if type(one) is Clients]:
        left.restore()  # pytest keeps the sessions of tests that failed
    before = state()
    with redirected() as (server, _):
        during = asyncio.run(one("openai/gpt-4o", server))
        assert not any(ours is own for ours, own in zip(during, before, strict=True))
        gc.collect()
        assert state() == before


@contextlib.contextmanager
def redirected() -> Iterator[tuple[FaultServer, FaultServer]]:
    """Yield a server that sends everybody on, and the one that it sends them to."""
    with FaultServer(lambda request: Reply(json={})) as stranger:
        headers = {"location": f"{stranger.url}/elsewhere"}
        with FaultServer(lambda request: Reply(307, headers=headers)) as server:
            yield server, stranger


def opened(route: str, server: FaultServer, **settings: Any) -> Any:
    return mellea_api.start_session(
        *("litellm", route),
        **{"base_url": server.base_url, "api_key": KEY, "check": False, "timeout": 30, **settings},
    )
