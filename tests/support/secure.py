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


def certificates(folder: Path, host: str = HOST) -> dict[str, ssl.SSLContext]:
    """Contexts of a server: the right one (""), and the wrong ones by what is wrong.

    The authority that is to be trusted is `authority.pem` in the folder.
    """
    trustme = pytest.importorskip("trustme", reason="trustme, which makes certificates, is missing")
    trusted, other = trustme.CA(), trustme.CA()
    trusted.cert_pem.write_to_path(str(folder / "authority.pem"))
    past = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    issued = {
        "": trusted.issue_cert(host),
        "of_another_host": trusted.issue_cert("another.invalid"),
        "of_another_authority": other.issue_cert(host),
        "expired": trusted.issue_cert(host, not_after=past),
    }
    contexts = {which: _context() for which in (*issued, "self_signed")}
    for which, certificate in issued.items():
        certificate.configure_cert(contexts[which])
    own = folder / "self_signed.pem"
    other.private_key_pem.write_to_path(str(own))
    other.cert_pem.write_to_path(str(own), append=True)
    contexts["self_signed"].load_cert_chain(own)
    return contexts


def _context() -> ssl.SSLContext:
    return ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)


class Secure(Faulty):
    """Mixed into a server: it speaks TLS.

    Attributes:
        certificate: What it shows now.
        contexts: All that it has, by name.
    """

    certificate: ssl.SSLContext
    contexts: dict[str, ssl.SSLContext]

    def show_certificate(self, which: str) -> None:
        """See `Faulty`."""
        self.certificate = self.contexts[which]

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
    server.contexts = certificates(folder)
    server.show_certificate("")
    stack.enter_context(server)
    return {"SSL_CERT_FILE": str(folder / "authority.pem")}
