"""A client whose server never finishes the closing holds nobody for long."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest

pytest.importorskip("mellea")

from support.fake_plugins import backend, registry
from support.waiting import until

from mellea_api import start_session
from mellea_api._sessions._mellea import clients
from mellea_api.runtime import MelleaRuntime

LIMIT = 0.4
PLUGIN = """
import asyncio
from types import SimpleNamespace
from mellea_api.plugin import TEXT_RULES, BackendDescriptor, hookimpl


@hookimpl
def describe_backend(name):
    return BackendDescriptor(
        name=name, summary="a fake", default_model="m", options=TEXT_RULES,
        base_url="http://x", base_url_variables=("FAKE_URL",),
    )

async def say_goodbye(client):
    "As a WebSocket does: the closing is over when the server has hung up, too."
    reader, writer = client
    writer.write(b"bye")
    try:
        await reader.read()
    finally:
        writer.close()

@hookimpl
def create_session(request):
    from mellea import MelleaSession
    from mellea_api.plugin import TextBackend

    host, _, port = request.target.base_url.removeprefix("http://").partition(":")

    class Fake(TextBackend):
        provider = "fake"

        def __init__(self):
            super().__init__("m")
            self._client_cache = SimpleNamespace(cache={}, aclose=say_goodbye)

        async def generate(self, prompt, options):
            client = self._client_cache.get("")
            if client is None:
                client = await asyncio.open_connection(host, int(port))
                self._client_cache.put("", client)
            yield "ok"

        def release(self):
            self._client_cache.clear()

    return MelleaSession(Fake())
"""


class Server(threading.Thread):
    """Takes connections, and never hangs up."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.heard: list[bytes] = []
        self.address = ""

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while said := await reader.read(100):
                self.heard.append(said)
        finally:
            writer.close()

    def run(self) -> None:
        async def serve() -> None:
            self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
            server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
            self.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            await self._over.wait()
            server.close()

        asyncio.run(serve())

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self.join(20)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    name = "closing_clients_fake"
    module = sys.modules[name] = ModuleType(name)
    exec(PLUGIN, vars(module))
    monkeypatch.setattr(clients, "_CLOSING", LIMIT)
    running = Server()
    running.start()
    until(lambda: running.address)
    yield running
    running.stop()
    sys.modules.pop(name)


def runtime(server: Server) -> MelleaRuntime:
    made = registry(backend("fake", "closing_clients_fake"))
    return MelleaRuntime("fake", base_url=server.address, registry=made)


def a_loop_that_ends(server: Server) -> None:
    made = registry(backend("fake", "closing_clients_fake"))
    session = start_session("fake", base_url=server.address, registry=made)
    asyncio.run(session.achat("x"))


def cleanup_elsewhere(server: Server) -> None:
    """The client is of the loop on which Mellea runs synchronous calls."""
    used = runtime(server)
    used.chat("x")
    used.cleanup()


def cleanup_on_its_loop(server: Server) -> None:
    async def main() -> None:
        used = runtime(server)
        await used.achat("x")
        used.cleanup()

    asyncio.run(main())


def end_of_a_block(server: Server) -> None:
    async def main() -> None:
        async with runtime(server) as used:
            await used.achat("x")

    asyncio.run(main())


@pytest.mark.parametrize(
    "way", [a_loop_that_ends, cleanup_elsewhere, cleanup_on_its_loop, end_of_a_block]
)
def test_it_is_given_up_after_a_time(server: Server, way: Callable[[Server], None]) -> None:
    begun = time.monotonic()
    outcome: list[BaseException | None] = []

    def run() -> None:
        try:
            way(server)
        except BaseException as error:
            outcome.append(error)
        else:
            outcome.append(None)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(20)
    assert outcome == [None]
    assert time.monotonic() - begun >= LIMIT, "it was not given the time to say goodbye"
    assert server.heard == [b"bye"]
    if way is not cleanup_elsewhere:
        assert not clients._closing


def test_a_block_has_closed_its_backend_when_it_ends(server: Server) -> None:
    """Although the call in it returned a moment ago, and was not counted out yet."""

    async def main() -> list[bytes]:
        async with runtime(server) as used:
            await used.achat("x")
        return list(server.heard)

    assert asyncio.run(main()) == [b"bye"]
