"""The sockets and threads under every loopback server: HTTP/1.1 as `http.server` has it, made fit for tests."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from support.messages import Recorded, Reply


class Owner(Protocol):
    """What the listener asks of the server that it listens for."""

    chunk_delay: float

    @property
    def closing(self) -> bool:
        """Whether to give up."""

    def pause(self, seconds: float) -> None:
        """Sleeps, unless it is time to give up."""

    def respond(self, request: Recorded) -> Reply:
        """The answer to a request."""

    def finished(self) -> None:
        """An answer has been sent, or could not be."""


class Listener(ThreadingHTTPServer):
    """Listens on a free port of 127.0.0.1, with a thread for every connection."""

    daemon_threads = True
    block_on_close = False
    # The default of 5 makes the kernel refuse connections when thirty clients come at once.
    request_queue_size = 512

    def __init__(self, owner: Owner, port: int = 0) -> None:
        self.owner = owner
        self._sockets: set[socket.socket] = set()
        self._sockets_changed = threading.Condition()
        super().__init__(("127.0.0.1", port), _Handler)
        self._thread = threading.Thread(
            target=self.serve_forever,
            kwargs={"poll_interval": 0.02},
            daemon=True,
            name=type(owner).__name__,
        )

    def server_bind(self) -> None:
        """As socketserver's, without the reverse DNS look-up of http.server's, which may leave the machine."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "127.0.0.1", self.socket.getsockname()[1]

    def start(self) -> None:
        """Begins to accept."""
        self._thread.start()

    def stop(self) -> None:
        """Stops to accept, cuts every connection, and waits for their threads to end."""
        self.shutdown()
        self.server_close()
        self._thread.join(5)
        self.cut()

    def cut(self) -> None:
        """Cuts every connection, and waits for their threads to end."""
        # A keep-alive connection's thread waits in recv; this ends it.
        with self._sockets_changed:
            for connection in self._sockets:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._sockets_changed.wait_for(lambda: not self._sockets, timeout=2)

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._sockets)

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
    server: Listener

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
            if reply.reset:
                self._reset()
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
