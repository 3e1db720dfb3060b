"""A provider that is down, late or out of its mind is one typed error, also by the ways that few take.

What each backend does on the usual ones is in `tests/plugins/*/test_faults.py`.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from support import faults
from support.late import BACKENDS, provider

pytest.importorskip("mellea_api_ollama")
pytest.importorskip("mellea_api_openai")

import mellea_api
from mellea_api import stream_chat
from mellea_api._sessions.adoption import adoption_of
from mellea_api.runtime import MelleaRuntime

TIMEOUT = 0.4
LATEST = 15 * TIMEOUT  # far beyond the deadline: these machines are busy

EXPECTED: dict[str, type[mellea_api.MelleaAPIError]] = {
    "refused": mellea_api.BackendUnavailableError,
    "black_hole": mellea_api.RequestTimeoutError,
    "html": mellea_api.AnswerError,
    "truncated_json": mellea_api.AnswerError,
    "cut_json": mellea_api.BackendUnavailableError,
    "status_500": mellea_api.BackendUnavailableError,
    "status_503_empty": mellea_api.BackendUnavailableError,
    "slow_headers": mellea_api.RequestTimeoutError,
    "invalid_json": mellea_api.AnswerError,
    "other_shape_json": mellea_api.AnswerError,
    "cut_sse": mellea_api.BackendUnavailableError,
    "cut_ndjson": mellea_api.BackendUnavailableError,
}
STANDARD = {
    mellea_api.BackendUnavailableError: ConnectionError,
    mellea_api.RequestTimeoutError: TimeoutError,
    mellea_api.AnswerError: RuntimeError,
}


def raw(session: Any) -> str:
    from mellea.core import CBlock

    async def ask() -> Any:
        return await session.backend.generate_from_raw([CBlock("2+2=")], ctx=session.ctx)

    answer = asyncio.run(ask())
    thunks = answer[0] if isinstance(answer, tuple) else answer
    return str(thunks[0])


def thunk_stream(session: Any) -> str:
    """As a program does that drives Mellea's own streaming."""
    from mellea_api._sessions._mellea.sessions import send_message

    async def read() -> str:
        thunk, _ = await send_message(session, "Hello!", {"stream": True})
        pieces = []
        while not thunk.is_computed():
            pieces.append(await thunk.astream())
        return "".join(piece or "" for piece in pieces)

    return asyncio.run(read())


WAYS: dict[str, Callable[[Any], str]] = {
    "chat": lambda session: session.chat("Hello!").content,
    "instruct": lambda session: str(session.instruct("Say hello.")),
    "stream": lambda session: "".join(stream_chat(session, "Hello!")),
    "thunk": thunk_stream,
    "raw": raw,
}


def allowed(fault: str) -> float:
    """Return the time for a call: short where it will pass in vain, else no concern."""
    return TIMEOUT if is_late(fault) else 60.0


def is_late(fault: str) -> bool:
    return EXPECTED[fault] is mellea_api.RequestTimeoutError


def limited(session: Any, fault: str) -> Any:
    """Give the calls of an open session their deadline.

    Opening has the same one, and could miss a short one on a busy machine, on a good server.
    """
    adoption = adoption_of(session.backend)
    assert adoption is not None
    adoption.timeout = allowed(fault)
    return session


def failure(function: Callable[[], Any]) -> mellea_api.MelleaAPIError:
    """Return the error that a function raises in time."""
    began = time.monotonic()
    try:
        answer = function()
    except mellea_api.MelleaAPIError as error:
        assert time.monotonic() - began < LATEST
        return error
    raise AssertionError(f"it answered {answer!r}")


def check(
    error: mellea_api.MelleaAPIError, fault: str, backend: str, *, streams: bool = False
) -> None:
    """Hold an error to the contract: its kind, its facts, its text, and what to do next."""
    kind = EXPECTED[fault]
    if (fault, backend, streams) == ("cut_sse", "ollama", True):
        # Server-sent events are not Ollama's lines of JSON: it fails before the cut.
        kind = mellea_api.AnswerError
    assert type(error) is kind, repr(error)
    assert isinstance(error, (mellea_api.ProviderError, STANDARD[kind]))
    assert error.backend == backend
    assert error.base_url is not None  # type: ignore[attr-defined]
    assert error.base_url in str(error)  # type: ignore[attr-defined]
    assert backend in str(error)
    assert error.next_step
    assert str(error).endswith(error.next_step)
    # A reason is said, not an empty one: ": ." and the like.
    assert ": ." not in str(error)
    assert not re.search(r"\bNone\b", str(error))
    if kind is mellea_api.RequestTimeoutError:
        assert error.timeout == TIMEOUT  # type: ignore[attr-defined]


def key(backend: str) -> dict[str, Any]:
    return {"api_key": "sk-good"} if backend == "openai" else {}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("fault", faults.BY_NAME)
def test_a_call_is_one_error_and_never_an_empty_answer(backend: str, fault: str, way: str) -> None:
    with provider(backend) as found:
        session = limited(found.session(), fault)
        found.turn_bad(fault)
        error = failure(lambda: WAYS[way](session))
    check(error, fault, backend, streams=way in ("stream", "thunk"))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("fault", ["refused", "slow_headers", "html", "status_500", "cut_json"])
def test_a_runtime_raises_the_same(backend: str, fault: str) -> None:
    with faults.named(fault) as url:
        error = failure(
            lambda: MelleaRuntime(backend, base_url=url, timeout=allowed(fault), **key(backend))
        )
    check(error, fault, backend)
    with (
        provider(backend) as found,
        MelleaRuntime(backend, found.model, **found.arguments()) as runtime,
    ):
        limited(runtime.session, fault)
        found.turn_bad(fault)
        check(failure(lambda: runtime.chat("Hello!")), fault, backend)
        check(failure(lambda: list(runtime.stream("Hello!"))), fault, backend)
        check(failure(lambda: asyncio.run(runtime.achat("Hello!"))), fault, backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("fault", faults.BY_NAME)
def test_a_switch_to_it_leaves_the_runtime_where_it_was(backend: str, fault: str) -> None:
    with (
        provider(backend) as found,
        MelleaRuntime(
            backend, found.model, **found.arguments(timeout=2.0 if is_late(fault) else 60.0)
        ) as runtime,
        faults.named(fault) as url,
    ):
        before = runtime.session
        with pytest.raises(EXPECTED[fault]):
            runtime.switch_model("other", base_url=url)
        assert (runtime.backend, runtime.model_id) == (backend, found.model)
        assert runtime.session is before
        assert runtime.chat("What is 2+2?") == "4"
        # And the address that failed is not kept for the next switch.
        runtime.switch_model(found.model)
        assert runtime.session is before
