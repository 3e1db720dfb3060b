"""Any number of event loops may use one backend, and none leaves a connection behind."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.late import provider
from support.load import echo
from support.waiting import until

pytest.importorskip("mellea_api_ollama")
pytest.importorskip("mellea_api_openai")

from mellea_api.runtime import MelleaRuntime

THREADS = 32


@pytest.fixture(params=["ollama", "openai"])
def found(request: pytest.FixtureRequest) -> Iterator[Any]:
    with provider(request.param, text=echo) as running:
        yield running


def test_many_loops_at_once_have_a_client_each(found: Any) -> None:
    """Mellea keeps two, and would close the others' in the middle of their calls."""
    found.server.latency = 0.02
    session = found.session()

    async def ask(thread: int) -> list[str]:
        calls = [session.achat(f"{thread}-{number}") for number in range(2)]
        return [message.content for message in await asyncio.gather(*calls)]

    with ThreadPoolExecutor(THREADS) as threads:
        answers = list(threads.map(lambda number: asyncio.run(ask(number)), range(THREADS)))
    assert answers == [[f"{thread}-0", f"{thread}-1"] for thread in range(THREADS)]
    until(lambda: found.server.connections == 0)


def test_loops_that_follow_each_other_do_not_inherit_a_dead_client(found: Any) -> None:
    session = found.session()
    for number in range(8):
        assert asyncio.run(session.achat(str(number))).content == str(number)
    until(lambda: found.server.connections == 0)


def test_one_loop_keeps_its_connection(found: Any) -> None:
    session = found.session()
    until(lambda: found.server.connections == 0)
    most = []

    async def main() -> None:
        for number in range(4):
            await session.achat(str(number))
            most.append(found.server.connections)

    asyncio.run(main())
    assert most == [1, 1, 1, 1]


def test_a_loop_that_was_closed_without_more_is_forgotten(found: Any) -> None:
    """Not every program ends a loop as `asyncio.run` does."""
    session = found.session()
    for number in range(3):
        loop = asyncio.new_event_loop()
        assert loop.run_until_complete(session.achat(str(number))).content == str(number)
        loop.close()
    del loop
    assert asyncio.run(session.achat("after")).content == "after"
    gc.collect()
    until(lambda: found.server.connections == 0)


@pytest.mark.parametrize("way", ["sync", "async", "both", "block", "inside"])
def test_cleanup_closes_every_connection(found: Any, way: str) -> None:
    runtime = MelleaRuntime(found.backend, found.model, **found.arguments())
    if way != "async":
        runtime.chat("Hello!")
        assert found.server.connections == 1
    if way in ("block", "inside"):

        async def main() -> None:
            await asyncio.gather(*(runtime.achat("Hello!") for _ in range(8)))
            assert found.server.connections >= 8
            if way == "inside":
                runtime.cleanup()
            else:
                async with runtime:
                    pass
                until(lambda: found.server.connections == 0)

        asyncio.run(main())
    elif way != "sync":
        loop = asyncio.new_event_loop()
        with ThreadPoolExecutor(1) as thread:
            running = thread.submit(loop.run_forever)
            calls = [
                asyncio.run_coroutine_threadsafe(runtime.achat("Hello!"), loop) for _ in range(8)
            ]
            assert {call.result(20) for call in calls} == {"Hello!"}
            assert found.server.connections >= 1
            runtime.cleanup()
            until(lambda: found.server.connections == 0)
            loop.call_soon_threadsafe(loop.stop)
            running.result(20)
        loop.close()
    runtime.cleanup()
    until(lambda: found.server.connections == 0)


def test_a_backend_that_is_closed_from_inside_its_loop_is_closed(found: Any) -> None:
    session = found.session()
    if not hasattr(session.backend, "aclose"):
        pytest.skip("this Mellea's backends cannot be closed")

    async def main() -> None:
        await session.achat("Hello!")
        assert found.server.connections == 1
        await session.backend.aclose()
        until(lambda: found.server.connections == 0)

    asyncio.run(main())
