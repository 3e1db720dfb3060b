"""Event loops that are not plain asyncio: what holds there, and what is refused in plain words."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("mellea_api_ollama")

from support.ollama_server import OllamaServer

import mellea_api
from mellea_api import astream_chat, stream_chat

NESTED = """
import asyncio
import mellea_api

def both():
    return session.chat("x").content, asyncio.run(session.achat("x")).content

session = mellea_api.start_session("ollama", "tiny")
print(*both())
try:
    import nest_asyncio
    nest_asyncio.apply()
except ImportError:  # it puts Python's classes in the place of those in C
    asyncio.Task = asyncio.tasks.Task = asyncio.tasks._CTask = asyncio.tasks._PyTask
    asyncio.Future = asyncio.futures.Future = asyncio.futures._CFuture = asyncio.futures._PyFuture
print(*both())
session = mellea_api.start_session("ollama", "tiny")
print(*both(), *mellea_api.stream_chat(session, "x"))
"""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OllamaServer]:
    with OllamaServer(["tiny"], text="four") as running:
        monkeypatch.setenv("OLLAMA_HOST", running.base_url)
        yield running


def test_calls_go_on_after_nest_asyncio(server: OllamaServer) -> None:
    program = [sys.executable, "-W", "ignore", "-c", NESTED]
    done = subprocess.run(program, capture_output=True, text=True, timeout=90, check=False)
    assert done.stdout.split() == ["four"] * 7, done.stderr
    assert "Exception ignored" not in done.stderr


async def use(session: Any) -> None:
    assert (await session.achat("x")).content == "four"
    assert "".join([piece async for piece in astream_chat(session, "x")]) == "four"
    assert session.chat("x").content == "four"
    assert "".join(stream_chat(session, "x")) == "four"


def test_uvloop_is_an_event_loop_as_any(server: OllamaServer) -> None:
    uvloop = pytest.importorskip("uvloop")
    session = mellea_api.start_session("ollama", "tiny")
    for _ in range(2):
        uvloop.run(use(session))
    assert session.chat("x").content == "four"


def test_anyio_runs_it_on_asyncio(server: OllamaServer) -> None:
    anyio = pytest.importorskip("anyio")
    anyio.run(use, mellea_api.start_session("ollama", "tiny"))


def test_trio_calls_from_a_thread(server: OllamaServer) -> None:
    trio = pytest.importorskip("trio")
    session = mellea_api.start_session("ollama", "tiny")

    async def main() -> str:
        return str(await trio.to_thread.run_sync(lambda: session.chat("x").content))

    assert trio.run(main) == "four"
    with pytest.raises(mellea_api.ConfigurationError, match="outside asyncio"):
        trio.run(session.achat, "x")


def test_a_loop_that_is_not_asyncios_is_refused_at_once(server: OllamaServer) -> None:
    session = mellea_api.start_session("ollama", "tiny")
    call = session.achat("x")
    with pytest.raises(mellea_api.ConfigurationError, match="outside asyncio"):
        call.send(None)  # as another loop would


def test_a_python_that_gevent_has_patched_is_refused_at_once(
    server: OllamaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkey: Any = ModuleType("gevent.monkey")
    monkey.saved = {}
    monkeypatch.setitem(sys.modules, "gevent.monkey", monkey)
    assert mellea_api.start_session("ollama", "tiny").chat("x").content == "four"
    monkey.saved = {"select": {}}
    with pytest.raises(mellea_api.ConfigurationError, match="gevent"):
        mellea_api.start_session("ollama", "tiny")


def test_a_running_loop_is_no_hindrance(server: OllamaServer) -> None:
    """As in Jupyter, where a cell runs inside a loop."""
    asyncio.run(use(mellea_api.start_session("ollama", "tiny")))
