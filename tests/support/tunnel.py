"""The way to a server that is only reached by https: a CONNECT proxy that ends TLS itself.

A client whose HTTPS_PROXY is the loopback server opens a tunnel to any host, and finds the same loopback server at its
end, with a certificate for that host. Nothing else of the client is changed: it calls the addresses that it always
calls, and checks the certificates.
"""

from __future__ import annotations

import contextlib
import io
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from support import listener
from support.http import LoopbackServer
from support.listener import Listener


class Authority:
    """A certificate authority of the tests' own.

    Attributes:
        path: Its certificate (PEM), for clients to trust.
    """

    def __init__(self, folder: Path) -> None:
        """Makes one, and writes its certificate into the folder."""
        import trustme

        self._authority = trustme.CA()
        self.path = folder / "authority.pem"
        self._authority.cert_pem.write_to_path(str(self.path))
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._lock = threading.Lock()

    def context(self, host: str) -> ssl.SSLContext:
        """What a server of that name needs."""
        with self._lock:
            if host not in self._contexts:
                context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
                self._authority.issue_cert(host).configure_cert(context)
                self._contexts[host] = context
            return self._contexts[host]


class TunnelServer(LoopbackServer):
    """A loopback server behind tunnels; the `host` header says whom the client means.

    Attributes:
        tunnels: The hosts that tunnels were opened to, in order.
        refuse_tunnels: A status, such as 407, to answer every CONNECT with; None opens them.
    """

    def __init__(self, authority: Authority) -> None:
        """Starts nothing yet."""
        super().__init__()
        self.authority = authority
        self.tunnels: list[str] = []
        self.refuse_tunnels: int | None = None

    def environment(self) -> dict[str, str]:
        """The variables that lead a client of the watsonx.ai SDK here."""
        return {"HTTPS_PROXY": self.url, "WX_CLIENT_VERIFY_REQUESTS": str(self.authority.path)}

    def __enter__(self) -> Self:
        """Starts to listen."""
        super().__enter__()
        assert self._server is not None
        # Every connection makes its own handler, and none has come yet: nobody knows the port.
        self._server.RequestHandlerClass = _TunnelHandler
        return self


@contextlib.contextmanager
def _held(server: Listener, connection: ssl.SSLSocket) -> Iterator[None]:
    """Lets the listener cut the connection when it stops; the socket below TLS is no longer one."""
    with server._sockets_changed:
        server._sockets.add(connection)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            connection.close()
        with server._sockets_changed:
            server._sockets.discard(connection)
            server._sockets_changed.notify_all()


class _TunnelHandler(listener._Handler):
    def do_CONNECT(self) -> None:
        owner: Any = self.server.owner
        host = self.path.rpartition(":")[0]
        owner.tunnels.append(host)
        if owner.refuse_tunnels is not None:
            self.send_response(owner.refuse_tunnels)
            self.send_header("content-length", "0")
            self.end_headers()
            return
        self.send_response_only(200)
        self.end_headers()
        try:
            _serve_securely(self, owner.authority.context(host))
        finally:
            self.close_connection = True


class SecureHandler(listener._Handler):
    """Speaks TLS from the first byte, with what its owner's `certificate` gives."""

    def handle(self) -> None:
        owner: Any = self.server.owner
        _serve_securely(self, owner.certificate)


def _serve_securely(handler: listener._Handler, context: ssl.SSLContext) -> None:
    try:
        connection = context.wrap_socket(handler.connection, server_side=True)
    except (OSError, ssl.SSLError):
        return  # a client that does not trust the authority hangs up
    with _held(handler.server, connection):
        handler.connection = connection
        handler.rfile, handler.wfile = connection.makefile("rb"), connection.makefile("wb", 0)
        handler.close_connection = False
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            while not handler.close_connection:
                handler.handle_one_request()
        for file in (handler.rfile, handler.wfile):
            with contextlib.suppress(OSError):
                file.close()
    # The handler still flushes and closes its files, and these were the connection's.
    handler.rfile, handler.wfile = io.BytesIO(), io.BytesIO()
