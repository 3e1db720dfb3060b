"""The base of every loopback server in the tests: it records what it is sent, and answers what it is told.

A subclass overrides `handle`. Everything that reached the server, in order, is in `requests`, so that a test asserts
on the bytes that a provider would have seen instead of on a mock's arguments.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar, Self
from urllib.parse import parse_qsl, unquote, urlsplit


@dataclass(frozen=True)
class Recorded:
    """One request, as it came over the wire.

    Attributes:
        method: For example "POST".
        path: Decoded, without the query.
        query: The query's parameters; of a repeated one, the last.
        headers: By lower-case name.
        body: The raw bytes.
        json: The body as JSON; None where it is not JSON.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    json: Any


@dataclass
class Reply:
    """What to answer. At most one of `json`, `text`, `body` and `chunks` is set.

    Attributes:
        status: The HTTP status code.
        json: Sent as `application/json`.
        text: Sent as `text/plain`.
        body: Sent as it is.
        chunks: Sent as they come, with chunked encoding; a float among them is a pause in seconds.
        headers: Added to those that follow from the above, and stronger.
        reset: Cut the connection where the body would end, as a crashing server does.
        raw: Send the chunks alone: no status line and no headers.
    """

    status: int = 200
    json: Any = None
    text: str | None = None
    body: bytes | None = None
    chunks: Iterable[bytes | str | float] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    reset: bool = False
    raw: bool = False

    def payload(self) -> tuple[str, bytes]:
        """The content type and the bytes of an answer that is not streamed."""
        if self.text is not None:
            return "text/plain; charset=utf-8", self.text.encode()
        if self.body is not None:
            return "application/octet-stream", self.body
        return "application/json", b"" if self.json is None else json.dumps(self.json).encode()


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
        self._server: _Server | None = None

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
                self._faults.append((path, Reply(status, json=body, headers=dict(headers or {}), reset=reset)))

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
        self._server = _Server(self)
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stops to listen, and cuts what is still connected."""
        self._closing.set()
        if self._server is not None:
            self._server.stop()
            self._server = None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    # The default of 5 makes the kernel refuse connections when thirty clients come at once.
    request_queue_size = 128

    def __init__(self, owner: LoopbackServer) -> None:
        self.owner = owner
        self._sockets: set[socket.socket] = set()
        self._sockets_changed = threading.Condition()
        super().__init__(("127.0.0.1", 0), _Handler)
        self._thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True, name=type(owner).__name__
        )

    def server_bind(self) -> None:
        """As socketserver's, without the reverse DNS look-up of http.server's, which may leave the machine."""
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.server_address[:2]

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join(5)
        # A keep-alive connection's thread waits in recv; this ends it.
        with self._sockets_changed:
            for connection in self._sockets:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._sockets_changed.wait_for(lambda: not self._sockets, timeout=2)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._sockets_changed:
            self._sockets.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self._sockets_changed:
            self._sockets.discard(request)
            self._sockets_changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Silent for a client that went away, as clients do when they time out; loud for a bug in `handle`."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Header and body are separate segments: with Nagle on, the second waits 40 ms for a delayed ACK.
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: what was asked is in `requests`."""

    def _answer(self) -> None:
        owner = self.server.owner
        request = self._read()
        try:
            self._send(owner.respond(request))
        finally:
            owner.finished()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _answer

    def _read(self) -> Recorded:
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            body = b"".join(self._read_chunks())
        else:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
        try:
            parsed = json.loads(body) if body else None
        except ValueError:
            parsed = None
        url = urlsplit(self.path)
        return Recorded(
            method=self.command,
            path=unquote(url.path),
            query=dict(parse_qsl(url.query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=body,
            json=parsed,
        )

    def _read_chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _send(self, reply: Reply) -> None:
        if reply.raw:
            self.close_connection = True
            self._stream(reply.chunks or (), framed=False)
            return
        streamed = reply.chunks is not None
        content_type, payload = reply.payload()
        self.send_response(reply.status)
        names = {name.lower() for name in reply.headers}
        if "content-type" not in names:
            self.send_header("content-type", content_type)
        if streamed:
            self.send_header("transfer-encoding", "chunked")
        elif "content-length" not in names:
            self.send_header("content-length", str(len(payload)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if reply.chunks is not None:
            self._stream(reply.chunks)
            if not reply.reset:
                self.wfile.write(b"0\r\n\r\n")
        else:
            self.wfile.write(payload)
        if reply.reset:
            self._reset()

    def _stream(self, chunks: Iterable[bytes | str | float], framed: bool = True) -> None:
        owner = self.server.owner
        for chunk in chunks:
            if isinstance(chunk, int | float):
                owner.pause(chunk)
                continue
            if owner.chunk_delay:
                owner.pause(owner.chunk_delay)
            if owner.closing:
                raise ConnectionAbortedError("the server is closing")
            data = chunk.encode() if isinstance(chunk, str) else chunk
            if data:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data) if framed else data)

    def _reset(self) -> None:
        """Ends the connection with a RST instead of a FIN, once the client has had the chance to read."""
        time.sleep(0.01)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # The file objects on the socket would put off its close, and socketserver would send a FIN first.
        os.close(self.connection.detach())
        raise ConnectionAbortedError("cut on purpose")
