"""A program that was written for Mellea alone behaves under `mellea-api run` as it does there."""

from __future__ import annotations

import asyncio
import copy
import inspect
import pickle
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("mellea_api_openai")
pytest.importorskip("mellea_api_ollama")

import ollama
import openai
from support.ollama_server import OllamaServer

import mellea_api
from mellea_api._cli.takeover import start_session as programs_start_session
from mellea_api.testing import Asked, LoopbackServer, Reply, openai_answer

KEY = "sk-canary-0123456789"


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer(openai_answer) as server:
        yield server


def opened(server: LoopbackServer, start: Callable[..., Any] = programs_start_session) -> Any:
    return start("openai", "tiny", base_url=f"{server.address}/v1", api_key=KEY)


def refusing(status: int, times: int, message: str = "not now") -> Callable[[Asked], Any]:
    left = [times]

    def answer(asked: Asked) -> Any:
        if not asked.path.endswith("/chat/completions") or not left[0]:
            return openai_answer(asked)
        left[0] -= 1
        return Reply(
            status=status, headers={"Retry-After-Ms": "1"}, body={"error": {"message": message}}
        )

    return answer


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
def test_the_sdk_tries_again_for_a_program_and_for_nobody_else(
    server: LoopbackServer, status: int
) -> None:
    program, own = opened(server), opened(server, mellea_api.start_session)
    server.answer = refusing(status, 2)
    assert program.chat("x").content == "4"
    server.answer = refusing(status, 2)
    with pytest.raises(mellea_api.ProviderError):
        own.chat("x")
    server.answer = refusing(status, 2)
    told = programs_start_session(
        "openai", "tiny", base_url=f"{server.address}/v1", api_key=KEY, max_retries=1
    )
    with pytest.raises(mellea_api.ProviderError):
        told.chat("x")


def test_ollama_has_the_limit_of_time_that_mellea_gives_it() -> None:
    from mellea.backends.ollama import OllamaModelBackend

    limit = inspect.signature(OllamaModelBackend.__init__).parameters.get("timeout")
    if limit is None:
        pytest.skip("this Mellea has no limit")
    with OllamaServer(["tiny"]) as server:
        given = {"base_url": server.url}
        assert programs_start_session("ollama", "tiny", **given).backend._timeout == limit.default
        # The core's own limit is for the whole call; the SDK's would end it before.
        for session in (
            mellea_api.start_session("ollama", "tiny", **given),
            programs_start_session("ollama", "tiny", **given, timeout=1000),
        ):
            assert session.backend._timeout is None


def test_calls_that_are_gathered_in_a_conversation_are_answered(server: LoopbackServer) -> None:
    async def gather(session: Any) -> list[Any]:
        calls = (session.achat(str(number)) for number in range(3))
        found = await asyncio.gather(*calls, return_exceptions=True)
        return [getattr(message, "content", type(message)) for message in found]

    def start(*given: Any, **named: Any) -> Any:
        return programs_start_session(*given, **named, context_type="chat")

    def own(*given: Any, **named: Any) -> Any:
        return mellea_api.start_session(*given, **named, context_type="chat")

    assert asyncio.run(gather(opened(server, start))) == ["4"] * 3
    refused = mellea_api.ConcurrentUseError
    assert asyncio.run(gather(opened(server, own))) == ["4", refused, refused]


@pytest.mark.parametrize("way", ["chat", "instruct"])
@pytest.mark.parametrize(
    ("status", "theirs", "ours"),
    [
        (400, openai.BadRequestError, mellea_api.RequestRefusedError),
        (401, openai.AuthenticationError, mellea_api.CredentialError),
        (403, openai.PermissionDeniedError, mellea_api.PermissionDeniedError),
        (404, openai.NotFoundError, mellea_api.ProviderError),
        (429, openai.RateLimitError, mellea_api.RateLimitError),
        (500, openai.InternalServerError, mellea_api.BackendUnavailableError),
    ],
)
def test_a_program_catches_the_sdks_exceptions(
    server: LoopbackServer, status: int, theirs: Any, ours: Any, way: str
) -> None:
    session = opened(server)
    server.answer = refusing(status, 10)
    with pytest.raises(theirs) as caught:
        getattr(session, way)("x")
    error = caught.value
    assert isinstance(error, ours)
    assert error.status_code == error.status == status
    assert error.response.status_code == status
    assert isinstance(error.__cause__, theirs)
    for same in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(same).__mro__[0] is getattr(mellea_api, type(error).__name__)
        assert str(same) == str(error)
        assert same.status == status
    assert KEY not in "".join(traceback.format_exception(error))


def test_a_program_catches_ollamas_exceptions(monkeypatch: pytest.MonkeyPatch) -> None:
    with OllamaServer(["tiny"]) as server:
        session = programs_start_session("ollama", "tiny", base_url=server.url)
        server.models.clear()
        with pytest.raises(ollama.ResponseError) as caught:
            session.chat("x")
        assert isinstance(caught.value, mellea_api.ModelNotFoundError)
        assert caught.value.status_code == 404
    with pytest.raises(ConnectionError):
        session.chat("x")


def test_a_secret_in_the_sdks_exception_is_not_taken_along(server: LoopbackServer) -> None:
    session = opened(server)
    server.answer = refusing(400, 10, f"You sent {KEY}")
    with pytest.raises(mellea_api.RequestRefusedError) as caught:
        session.chat("x")
    assert KEY not in repr(vars(caught.value))


def test_the_sdks_classes_are_for_programs_alone(server: LoopbackServer) -> None:
    session = opened(server, mellea_api.start_session)
    server.answer = refusing(429, 1)
    with pytest.raises(mellea_api.RateLimitError) as caught:
        session.chat("x")
    assert not isinstance(caught.value, openai.RateLimitError)
