"""The base of every loopback server in the tests: it records what it is sent, and answers what it is told.

A subclass overrides `handle`. Everything that reached the server, in order, is in `requests`, so that a test asserts
on the bytes that a provider would have seen instead of on a mock's arguments.
"""

from __future__ import annotations

import threading
import traceback
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Any, ClassVar, Self

from support.listener import Listener
from support.messages import Recorded, Reply

__all__ = ["LoopbackServer", "Recorded", "Reply"]


class LoopbackServer:
    """An HTTP/1.1 server on a free port of 127.0.0.1, for the length of a `with` block.

    Attributes:
        url: For example "http://127.0.0.1:41234".
        base_url: What the client under test is given; `url`, unless a subclass says otherwise.
        latency: Seconds to wait before every answer.
        chunk_delay: Seconds to wait before every chunk of a streamed answer.
        peak: The most requests that were answered at the same time.
    """

    base_path: ClassVar[str] = ""
    fault_paths: ClassVar[frozenset[str] | None] = None
    """Where `fail_next` applies when it is told no path; None is everywhere."""

    def __init__(self) -> None:
        """Binds nothing yet: that is what `with` does."""
        self.latency = 0.0
        self.chunk_delay = 0.0
        self.peak = 0
        self._requests: list[Recorded] = []
        self._faults: deque[tuple[str | None, Reply]] = deque()
        self._running = 0
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._server: Listener | None = None
        self._port = 0  # any

    # What a test does with it.

    @property
    def url(self) -> str:
        """The server's address, without a path."""
        if self._server is None:
            raise RuntimeError(f"{type(self).__name__} listens only inside its `with` block")
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def base_url(self) -> str:
        """See the class."""
        return self.url + self.base_path

    @property
    def requests(self) -> list[Recorded]:
        """A copy of what has come in so far, oldest first."""
        with self._lock:
            return list(self._requests)

    @property
    def last(self) -> Recorded:
        """The newest request; an AssertionError when there is none."""
        requests = self.requests
        assert requests, f"{type(self).__name__} has received nothing"
        return requests[-1]

    def calls(self, path: str) -> list[Recorded]:
        """The requests whose path is exactly `path`, oldest first."""
        return [request for request in self.requests if request.path == path]

    @property
    def connections(self) -> int:
        """How many clients are connected now; a client that has just left may still be counted."""
        return 0 if self._server is None else self._server.connections

    def clear(self) -> None:
        """Forgets the requests that have come in."""
        with self._lock:
            self._requests.clear()
            self.peak = self._running

    def fail_next(
        self,
        status: int,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        times: int = 1,
        path: str | None = None,
        reset: bool = False,
    ) -> None:
        """Answers the next requests with an error, in the order of the calls.

        Args:
            status: The HTTP status code.
            json: The body; None is the provider's own shape with a message that names the status.
            headers: For example `{"retry-after": "7"}`.
            times: How many requests. Mind that SDKs retry on their own: openai does so twice.
            path: Only requests to this path ("*" is any); None is where the provider generates.
            reset: Cut the connection instead of ending the body.
        """
        body = self.error_json(status) if json is None else json
        with self._lock:
            for _ in range(times):
                self._faults.append(
                    (path, Reply(status, json=body, headers=dict(headers or {}), reset=reset))
                )

    def pause(self, seconds: float) -> None:
        """Sleeps inside `handle`, but wakes when the server is closed."""
        self._closing.wait(seconds)

    @property
    def closing(self) -> bool:
        """Whether the `with` block has ended."""
        return self._closing.is_set()

    # What a subclass overrides.

    def handle(self, request: Recorded) -> Reply:
        """Answers one request. Called on the thread of its connection, so at the same time as others."""
        raise NotImplementedError

    def error_json(self, status: int) -> Any:
        """The body of an error of this provider, for `fail_next`."""
        return {"error": f"status {status}"}

    # The machinery.

    def respond(self, request: Recorded) -> Reply:
        """Records the request, and answers it: with a queued fault where one applies, else with `handle`."""
        with self._lock:
            self._requests.append(request)
            self._running += 1
            self.peak = max(self.peak, self._running)
            fault = self._take_fault(request.path)
        if self.latency:
            self.pause(self.latency)
        if self.closing:
            # Woken by the end, not by the clock: an answer now would be one that the test did not wait for.
            raise ConnectionAbortedError("the server is closing")
        if fault is not None:
            return fault
        try:
            return self.handle(request)
        except ConnectionError:
            raise
        except Exception:
            # A bug in a test's server: loud here, and an answer that no provider gives, so that no test takes it for one.
            traceback.print_exc()
            return Reply(599, text=traceback.format_exc())

    def finished(self) -> None:
        """Counts one answer as sent."""
        with self._lock:
            self._running -= 1

    def _take_fault(self, path: str) -> Reply | None:
        for index, (where, reply) in enumerate(self._faults):
            everywhere = where == "*" or (where is None and self.fault_paths is None)
            if everywhere or path == where or (where is None and path in (self.fault_paths or ())):
                del self._faults[index]
                return reply
        return None

    def __enter__(self) -> Self:
        """Starts to listen; a client may connect when this returns."""
        self._closing.clear()
        self._server = Listener(self, self._port)
        self._server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stops to listen, and cuts what is still connected."""
        self._closing.set()
        if self._server is not None:
            self._server.stop()
            self._server = None
