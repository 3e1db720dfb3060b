"""How a runtime ends."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.load import generations
from support.ollama_server import OllamaServer
from support.waiting import until

import mellea_api
from mellea_api._api import owned
from mellea_api.runtime import MelleaRuntime


def test_cleanup_ends_it_once_and_for_all(runtime: MelleaRuntime) -> None:
    backend = runtime.session.backend
    for _ in range(3):
        runtime.cleanup()
    assert "cleaned up" in repr(runtime)
    for call in (
        lambda: runtime.chat("Hello!"),
        lambda: runtime.instruct("Hello!"),
        lambda: list(runtime.stream("Hello!")),
        lambda: asyncio.run(runtime.achat("Hello!")),
        lambda: asyncio.run(runtime.ainstruct("Hello!")),
        lambda: runtime.switch_model("other"),
        lambda: runtime.session,
    ):
        with pytest.raises(mellea_api.SessionClosedError, match="MelleaRuntime"):
            call()
    if hasattr(backend, "_closed"):
        assert backend._closed


def test_a_session_kept_beyond_the_end_says_so(runtime: MelleaRuntime) -> None:
    session = runtime.session
    runtime.cleanup()
    with pytest.raises(mellea_api.SessionClosedError):
        session.chat("Hello!")


def test_a_call_that_is_running_ends_before_its_backend_is_closed(ollama: OllamaServer) -> None:
    runtime = MelleaRuntime()
    backend: Any = runtime.session.backend
    ollama.latency = 0.5
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(runtime.chat, "Hello!")
        until(lambda: generations(ollama))
        runtime.cleanup()
        assert not getattr(backend, "_closed", False)
        with pytest.raises(mellea_api.SessionClosedError):
            runtime.chat("Too late.")
        assert running.result(20) == "Hello!"
    if hasattr(backend, "_closed"):
        until(lambda: backend._closed)


def test_a_running_call_of_several_generations_ends_too(ollama: OllamaServer) -> None:
    """An instruction is repaired until it is right; the runtime may be cleaned up meanwhile."""
    from mellea.stdlib.requirements import req, simple_validate

    runtime = MelleaRuntime()
    backend: Any = runtime.session.backend
    ollama.script.text = lambda request: str(len(generations(ollama)))
    cleaned = threading.Event()

    def wait(answer: str) -> bool:
        if answer.startswith("1"):
            cleaned.wait(20)
        return answer.startswith("2")

    requirement = req("is two", validation_fn=simple_validate(wait))
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(runtime.instruct, "Count.", requirements=[requirement])
        until(lambda: generations(ollama))
        time.sleep(0.2)
        runtime.cleanup()
        cleaned.set()
        assert running.result(20) == "2"
    if hasattr(backend, "_closed"):
        until(lambda: backend._closed)


def test_leaving_the_block_cleans_up(ollama: OllamaServer) -> None:
    async def main() -> MelleaRuntime:
        async with MelleaRuntime() as runtime:
            assert await runtime.achat("Hello!") == "Hello!"
        return runtime

    with pytest.raises(mellea_api.SessionClosedError):
        asyncio.run(main()).chat("Hello!")


def test_a_stream_that_is_read_while_it_is_cleaned_up_comes_to_its_end(
    ollama: OllamaServer,
) -> None:
    runtime = MelleaRuntime()
    pieces: Any = runtime.stream("one two three four")
    found = [next(pieces)]
    runtime.cleanup()
    assert "".join([*found, *pieces]) == "one two three four"


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The backends that were closed."""
    found: list[Any] = []
    monkeypatch.setattr(owned, "close", found.append)
    return found


def test_a_call_of_the_session_itself_ends_before_its_backend_is_closed(
    ollama: OllamaServer, closed: list[Any]
) -> None:
    runtime = MelleaRuntime()
    session = runtime.session
    ollama.latency = 0.5
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(session.chat, "Hello!")
        until(lambda: generations(ollama))
        runtime.cleanup()
        assert closed == []
        assert running.result(20).content == "Hello!"
    until(lambda: closed)
    assert closed == [session.backend]


@pytest.mark.parametrize("prompts", [1, 3])
def test_answers_that_nobody_waited_for_yet_end_before_their_backend_is_closed(
    ollama: OllamaServer, closed: list[Any], prompts: int
) -> None:
    """A call ends with its answer, and not with the method that began it."""
    from mellea.core import CBlock

    async def main() -> None:
        runtime = MelleaRuntime()
        backend: Any = runtime.session.backend
        ollama.latency = 0.3
        answers = [
            (await backend.generate_from_context(CBlock("Hello!"), runtime.session.ctx))[0]
            for _ in range(prompts)
        ]
        runtime.cleanup()
        for answer in answers:
            assert closed == []
            assert await answer.avalue() == "Hello!"
        await asyncio.sleep(0)
        until(lambda: closed)
        assert closed == [backend]

    asyncio.run(main())


@pytest.mark.parametrize("way", ["chat", "raw", "bad options", "refused", "cancelled"])
def test_each_call_is_counted_out_once_however_it_ends(
    ollama: OllamaServer, closed: list[Any], way: str
) -> None:
    from mellea.core import CBlock

    runtime = MelleaRuntime()
    session: Any = runtime.session
    if way == "chat":
        session.chat("Hello!")
    elif way == "raw":
        blocks = [CBlock("a"), CBlock("b")]
        asyncio.run(session.backend.generate_from_raw(blocks, ctx=session.ctx))
    elif way == "bad options":
        with pytest.raises(mellea_api.OptionError):
            session.chat("Hello!", model_options={"temperature": 9})
    elif way == "refused":
        ollama.fail_next(429)
        with pytest.raises(mellea_api.RateLimitError):
            session.chat("Hello!")
    else:
        ollama.latency = 5

        async def main() -> None:
            task = asyncio.create_task(session.achat("Hello!"))
            await asyncio.to_thread(until, lambda: generations(ollama))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(main())
        ollama.latency = 0
    with ThreadPoolExecutor(1) as threads:
        ollama.latency = 0.3
        before = len(generations(ollama))
        running = threads.submit(session.chat, "Hello!")
        until(lambda: len(generations(ollama)) > before)
        runtime.cleanup()
        assert closed == [], "one call is running still"
        running.result(20)
    until(lambda: closed)
