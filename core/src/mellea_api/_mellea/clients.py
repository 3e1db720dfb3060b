"""The asynchronous clients of a backend: one for each event loop that uses it.

Mellea keeps two, in a `ClientCache`. For a third loop, 0.8 closes the client of the first,
whatever is under way there. Before, an event loop is known by its address, which the next one
may have, and nothing is closed at all. Neither does where many threads have loops of their own.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from concurrent.futures import Future


__all__ = ["close", "closed", "keep_clients"]

_CLOSING: Final = 5.0
"""Seconds to wait until clients are closed on their loops."""
_AT_ONCE: Final = 0.01
"""Seconds in which a loop may end, before a client is closed on the loop that asked for it."""
_closing: Final[set[Any]] = set()
"""The tasks that close clients on their own loops, which themselves hold no task."""

Closing = Callable[[Any], Coroutine[Any, Any, Any]]


def keep_clients(backend: Any) -> None:
    """Have a backend keep a client for each event loop, if it is one of Mellea's that has some.

    Args:
        backend: Newly built; nothing was asked with its client yet.
    """
    cache = getattr(backend, "_client_cache", None)
    if cache is not None:
        aclose = getattr(cache, "aclose", None) or _leave
        backend._client_cache = ClientsByLoop(aclose, list(cache.cache.values()))


def close(backend: Any) -> None:
    """Close what a backend holds open; up to 0.6 Mellea leaves it to the garbage collector."""
    closing = getattr(backend, "close", None)
    if not callable(closing):
        clients = getattr(backend, "_client_cache", None)
        closing = clients.clear if isinstance(clients, ClientsByLoop) else None
    if closing is not None:
        closing()


async def closed() -> None:
    """Wait until the clients of this loop are closed, where `close` was called on it."""
    import asyncio

    here = [task for task in _closing if task.get_loop() is _running_loop()]
    if here:
        await asyncio.wait(here, timeout=_CLOSING)


class ClientsByLoop:
    """Stands in for Mellea's `ClientCache`: a client lives as long as the loop that it is of.

    Safe to share: what belongs to a loop is only touched on the loop's own thread.

    Args:
        aclose: Closes a client.
        unused: What the backend's constructor made. A client belongs to no loop before it is
            used, so that the first loop can have it.
    """

    def __init__(self, aclose: Closing, unused: list[Any]) -> None:
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
        for other in list(self._clients):  # closed without that its generators were ended
            if other is not None and other.is_closed():
                self._clients.pop(other, None)
                self._keepers.pop(other, None)
        self._clients[loop] = client
        # The loops of daemons, such as Mellea's own, end with the process, and without a word.
        if loop is not None and not threading.current_thread().daemon:
            keeper = self._keepers[loop] = self._keep(loop, client)
            with contextlib.suppress(StopIteration):  # as it comes to its yield
                keeper.__anext__().send(None)

    def get_or_create(self, key: object, factory: Callable[[], Any]) -> Any:
        """Return the running loop's client; make it if there is none."""
        found = self.get(key)
        if found is None:
            found = factory()
            self.put(key, found)
        return found

    async def _keep(self, loop: Any, client: Any) -> AsyncGenerator[None]:
        # A loop that ends ends its generators first (asyncio.run does), on the loop itself.
        try:
            yield
        finally:
            self._clients.pop(loop, None)
            self._keepers.pop(loop, None)
            await self._aclose(client)

    def clear(self) -> None:
        """Close all clients, and wait for it where the loop is another one than this."""
        from concurrent.futures import wait

        wait(self._close_all(), timeout=_CLOSING)

    async def aclear(self) -> None:
        """Close all clients, and wait for it."""
        import asyncio

        elsewhere = self._close_all()
        if elsewhere:
            await asyncio.wait(map(asyncio.wrap_future, elsewhere), timeout=_CLOSING)
        await closed()

    def _close_all(self) -> list[Future[Any]]:
        """Begin to close all clients; return what other loops than the running one do."""
        import asyncio

        elsewhere = []
        current = _running_loop()
        for loop, client in list(self._clients.items()):
            if loop is None or not loop.is_running():
                self._clients.pop(loop, None)  # if that loop runs once more, its keeper ends then
                continue
            keeper = self._keepers.get(loop)
            closing: Any = self._aclose(client) if keeper is None else keeper.aclose()
            if loop is current:
                task = loop.create_task(_run(closing, _AT_ONCE))
                _closing.add(task)
                task.add_done_callback(_closing.discard)
                continue
            work = _run(closing)
            try:
                elsewhere.append(asyncio.run_coroutine_threadsafe(work, loop))
            except RuntimeError:  # it was closed in this moment
                work.close()
        return elsewhere


async def _run(closing: Any, delay: float = 0.0) -> None:
    import asyncio

    # A loop that ends cancels its tasks, and this one must not be half done by then: the loop
    # goes on to end its generators, and they close what is left.
    if delay:
        await asyncio.sleep(delay)
    await closing


async def _leave(client: Any) -> None:
    if hasattr(client, "__aexit__"):
        await client.__aexit__(None, None, None)


def _running_loop() -> Any:
    import asyncio

    return asyncio._get_running_loop()
