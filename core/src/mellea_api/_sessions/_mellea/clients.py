"""The asynchronous clients of a backend: one for each event loop that uses it.

Mellea keeps two, in a `ClientCache`. For a third loop, 0.8 closes the client of the first, which
may have calls under way. Older versions know an event loop by its address, which the next one may
get, and close nothing at all. Neither works if many threads have loops of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine
from concurrent.futures import Future, wait
from typing import Any, Final

from mellea_api._secrecy.logs import logger

_CLOSING: Final = 5.0
"""Seconds to close a client in. A server that never finishes the closing must hold nobody."""
_closing: Final[set[Any]] = set()
"""The tasks that close clients; event loops themselves hold no task."""

Closing = Callable[..., Coroutine[Any, Any, Any]]

_running_loop = asyncio._get_running_loop


def keep_clients(backend: Any) -> None:
    """Make a backend keep a client for each event loop, if it is one of Mellea's that has some.

    Args:
        backend: Newly built; its client was not used yet.
    """
    cache = getattr(backend, "_client_cache", None)
    if cache is not None:
        aclose = getattr(cache, "aclose", None) or _leave
        backend._client_cache = ClientsByLoop(aclose, list(cache.cache.values()))


def close(backend: Any) -> None:
    """Close what a backend holds open; up to 0.6 Mellea leaves it to the garbage collector."""
    clients = getattr(backend, "_client_cache", None)
    # A plugin's class has no `close` where Mellea has none: Mellea's sessions would call it.
    ways = [(backend, name) for name in ("close", "_release_in_time", "release")]
    ways.append((clients, "clear"))
    closing = next((getattr(owner, name) for owner, name in ways if hasattr(owner, name)), None)
    if closing is not None:
        closing()


async def closed() -> None:
    """Wait until the clients of this loop are closed, where `close` was called on it."""
    await asyncio.sleep(0)  # what another thread has asked this loop to close begins now
    here = [task for task in _closing if task.get_loop() is _running_loop()]
    if here:
        await asyncio.wait(here, timeout=_CLOSING)


class ClientsByLoop:
    """Replaces Mellea's `ClientCache`: a client lives as long as its event loop.

    Safe to share: a client is only used on the thread of its loop.

    Args:
        aclose: Closes a client.
        unused: What the backend's constructor made. A client belongs to no loop before it is
            used, so that the first loop can have it.
    """

    def __init__(
        self, aclose: Callable[[Any], Coroutine[Any, Any, Any]], unused: list[Any]
    ) -> None:
        self._aclose = aclose
        self._unused = unused
        self._clients: dict[Any, Any] = {}
        self._keepers: dict[Any, AsyncGenerator[None]] = {}

    def get(self, key: object) -> Any | None:
        """Return the running loop's client, or None."""
        found = self._clients.get(_running_loop())
        if found is None:
            with contextlib.suppress(IndexError):
                found = self._unused.pop()
                self.put(key, found)
        return found

    def put(self, key: object, client: Any) -> None:
        """Keep a client for the running loop, and close it as that loop ends."""
        loop = _running_loop()
        for other in list(self._clients):  # closed without closing its generators
            if other is not None and other.is_closed():
                self._clients.pop(other, None)
                self._keepers.pop(other, None)
        self._clients[loop] = client
        # The loops of daemon threads, such as Mellea's own, just end with the process.
        if loop is not None and not threading.current_thread().daemon:
            keeper = self._keepers[loop] = self._keep(loop, client)
            with contextlib.suppress(StopIteration):  # as it comes to its yield
                keeper.__anext__().send(None)

    def get_or_create(self, key: object, factory: Callable[[], Any]) -> Any:
        """Return the running loop's client; make it if there is none."""
        found = self._clients.get(_running_loop())
        if found is None:
            found = self.get(key)
        if found is None:
            found = factory()
            self.put(key, found)
        return found

    async def _keep(self, loop: Any, client: Any) -> AsyncGenerator[None]:
        # A loop that ends closes its generators first (asyncio.run does), on the loop itself.
        try:
            yield
        finally:
            self._clients.pop(loop, None)
            self._keepers.pop(loop, None)
            if _running_loop() is not None:  # nest_asyncio's loops just end with the process
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_CLOSING):
                        await self._aclose(client)

    def clear(self) -> None:
        """Close all clients, and wait for those of other loops than the running one."""
        wait(self._close_all(), timeout=_CLOSING)

    async def aclear(self) -> None:
        """Close all clients, and wait until they are closed."""
        elsewhere = [asyncio.wrap_future(done) for done in self._close_all()]
        if elsewhere:
            await asyncio.wait(elsewhere, timeout=_CLOSING)
        await closed()

    def _close_all(self) -> list[Future[None]]:
        """Begin to close all clients; return the closings on other loops than the running one."""
        elsewhere = []
        here = _running_loop()
        for loop, client in list(self._clients.items()):
            if loop is None or not loop.is_running():
                self._clients.pop(loop, None)  # if that loop runs once more, its keeper ends then
                continue
            done = _start(loop, functools.partial(self._close, loop, client))
            if loop is not here:
                elsewhere.append(done)
        return elsewhere

    async def _close(self, loop: Any, client: Any) -> None:
        keeper = self._keepers.get(loop)
        try:
            await (self._aclose(client) if keeper is None else keeper.aclose())
        except Exception as error:  # nobody uses it any more
            logger.debug("a client was not closed: %s", type(error).__name__)
        finally:
            self._clients.pop(loop, None)


class _ClosingTask(asyncio.Task[None]):
    """Closes a client, and is not cancelled before its time is up.

    A loop that ends cancels its tasks, and then waits for them.
    """

    late = False

    def cancel(self, msg: Any = None) -> bool:
        return self.late and super().cancel(msg)

    def give_up(self) -> None:
        self.late = True
        self.cancel()


def _start(loop: Any, work: Closing) -> Future[None]:
    """Close a client on a loop, from any thread; a loop that ends waits until it is done."""
    done: Future[None] = Future()

    def start() -> None:
        task = _ClosingTask(work(), loop=loop)
        timer = loop.call_later(_CLOSING, task.give_up)

        def ended(task: Any) -> None:
            timer.cancel()
            _closing.discard(task)
            done.set_result(None)

        _closing.add(task)
        task.add_done_callback(ended)

    if loop is _running_loop():
        start()
        return done
    try:
        loop.call_soon_threadsafe(start)
    except RuntimeError:  # it was closed in this moment
        done.set_result(None)
    return done


async def _leave(client: Any) -> None:
    if hasattr(client, "__aexit__"):
        await client.__aexit__(None, None, None)
