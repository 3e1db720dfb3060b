"""A loopback server that is reached by https, with right certificates and with wrong ones."""

from __future__ import annotations

import datetime as dt
import ssl
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import pytest
from support.fault_table import Faulty
from support.tunnel import SecureHandler

HOST = "127.0.0.1"


class Certificates:
    """Contexts of servers: the right one (""), and the wrong ones by what is wrong.

    Attributes:
        path: The certificate (PEM) of the authority that is to be trusted.
    """

    def __init__(self, folder: Path) -> None:
        """Writes the authority's certificate into the folder."""
        reason = "trustme, which makes certificates, is not installed"
        self._trustme = pytest.importorskip("trustme", reason=reason)
        self._folder = folder
        self._trusted, self._other = self._trustme.CA(), self._trustme.CA()
        self.path = folder / "authority.pem"
        self._trusted.cert_pem.write_to_path(str(self.path))
        self._contexts: dict[tuple[str, str], ssl.SSLContext] = {}

    def context(self, which: str, host: str) -> ssl.SSLContext:
        """What a server of that name needs."""
        if (which, host) not in self._contexts:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            if which == "self_signed":
                own = self._folder / "self_signed.pem"
                self._other.private_key_pem.write_to_path(str(own))
                self._other.cert_pem.write_to_path(str(own), append=True)
                context.load_cert_chain(own)
            else:
                self._issued(which, host).configure_cert(context)
            self._contexts[which, host] = context
        return self._contexts[which, host]

    def _issued(self, which: str, host: str) -> Any:
        if which == "of_another_authority":
            return self._other.issue_cert(host)
        if which == "of_another_host":
            return self._trusted.issue_cert("another.invalid")
        if which == "expired":
            past = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
            return self._trusted.issue_cert(host, not_after=past)
        return self._trusted.issue_cert(host)


class Secure(Faulty):
    """Mixed into a server: it speaks TLS.

    Attributes:
        certificate: What it shows now.
        certificates: All that it has.
    """

    certificate: ssl.SSLContext
    certificates: Certificates

    def show_certificate(self, which: str) -> None:
        """See `Faulty`."""
        self.certificate = self.certificates.context(which, HOST)

    @property
    def url(self) -> str:
        """See `LoopbackServer`."""
        return super().url.replace("http:", "https:")

    def __enter__(self) -> Self:
        """Starts to listen."""
        super().__enter__()
        assert self._server is not None
        self._server.RequestHandlerClass = SecureHandler
        return self


def listening(stack: ExitStack, server: Any, folder: Path) -> dict[str, str]:
    """Starts a server that speaks TLS, until the stack is closed; who trusts it has these variables."""
    server.certificates = Certificates(folder)
    server.show_certificate("")
    stack.enter_context(server)
    return {"SSL_CERT_FILE": str(server.certificates.path)}
