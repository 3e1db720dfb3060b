"""Every fault that every backend is held to: what the server does, and which error that is.

A fault is switched on at a server that otherwise works (see `Faulty`), so that the same session meets the fault and,
afterwards, the good server again.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from support.http import LoopbackServer, Recorded, Reply

PACE = 0.02
"""Seconds between two bytes of a slow answer: far less than any timeout per read."""
MEGABYTES = 4096
"""What the bomb inflates to; as sent it is a thousandth of that."""
_PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Welcome</body></html>"
_BEFORE = 3
"""Good pieces of a stream before the fault."""
STATUSES = {
    400: "RequestRefusedError",
    401: "CredentialError",
    403: "PermissionDeniedError",
    404: "ModelNotFoundError",
    408: "RequestTimeoutError",
    409: "RequestRefusedError",
    413: "ContextLengthError",
    422: "RequestRefusedError",
    429: "RateLimitError",
    500: "BackendUnavailableError",
    502: "BackendUnavailableError",
    503: "BackendUnavailableError",
    504: "RequestTimeoutError",
}

Answer = Callable[["Faulty", Recorded], Reply]


@dataclass(frozen=True)
class Fault:
    """One row.

    Attributes:
        name: For example "black_hole".
        kind: The error's class in `mellea_api._contract.errors`.
        answer: What the server does with a request; None for what happens before there is one.
        certificate: Which wrong certificate is shown; the others need no https.
        hangs: Whether only the caller's own timeout ends it.
        status: The answer's status, if it has one.
    """

    name: str
    kind: str
    answer: Answer | None = None
    certificate: str = ""
    hangs: bool = False
    status: int | None = None

    def __str__(self) -> str:
        return self.name


class Faulty(LoopbackServer):
    """Mixed into a good server: it misbehaves while a fault is switched on.

    Attributes:
        stranger: Another server, to which the redirects lead.
        secret: What each answer repeats that has words of its own, as servers do.
        before_error: What stands before an error in the middle of a stream.
        only: The only path at which it misbehaves; empty is everywhere.
    """

    stranger: str = ""
    secret: str = ""
    before_error: str = ""
    only: str = ""
    fault: Fault | None = None
    _held: socket.socket | None = None

    def handle(self, request: Recorded) -> Reply:
        """The good server's answer, or the fault."""
        if (
            self.fault is not None
            and self.fault.answer is not None
            and request.path.startswith(self.only)
        ):
            return self.fault.answer(self, request)
        return super().handle(request)

    def good(self, request: Recorded) -> Reply:
        """What the good server answers."""
        return super().handle(request)

    def own_address(self, request: Recorded) -> str:
        """The address that the client has called, without a path."""
        return self.url

    def turn_bad(self, fault: Fault) -> None:
        """Switches a fault on."""
        self.fault = fault
        if fault.name == "refused":
            self._refuse()
        elif fault.certificate:
            self.show_certificate(fault.certificate)
            self._cut()

    def turn_good(self) -> None:
        """Switches it off."""
        fault, self.fault = self.fault, None
        if self._held is not None:
            self.__enter__()
            self._held.close()
            self._held = None
        elif fault is not None and fault.certificate:
            self.show_certificate("")
            self._cut()

    def show_certificate(self, which: str) -> None:
        """Shows a wrong certificate from now on, or the right one (""); for servers that speak TLS."""
        raise NotImplementedError

    def _cut(self) -> None:
        assert self._server is not None
        self._server.cut()

    def _refuse(self) -> None:
        assert self._server is not None
        self._port = self._server.server_address[1]
        super().__exit__(None, None, None)
        # Nobody else gets the port meanwhile.
        self._held = socket.socket()
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._held.bind(("127.0.0.1", self._port))

    @property
    def url(self) -> str:
        """See `LoopbackServer`; the same while connections are refused."""
        return f"http://127.0.0.1:{self._port}" if self._held is not None else super().url

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stops to listen."""
        if self._held is not None:
            self._held.close()
        super().__exit__(kind, error, trace)


class Stranger(LoopbackServer):
    """Another host, which answers as the good server would, and keeps what it was sent."""

    def __init__(self, good: Faulty) -> None:
        super().__init__()
        self._good = good

    def handle(self, request: Recorded) -> Reply:
        """The good server's answer, whoever asks."""
        reply = self._good.good(request)
        return reply if reply.status < 400 else Reply(json={"ok": True})

    def __enter__(self) -> Self:
        """Listens under another name, not at another port alone."""
        super().__enter__()
        self._good.stranger = self.url.replace("127.0.0.1", "localhost")
        return self


# ------------------------------------------------------------------------------ before the answer


def _raw(*, reset: bool) -> Answer:
    return lambda server, request: Reply(chunks=(), raw=True, reset=reset)


def _silence(server: Faulty, request: Recorded) -> Reply:
    return Reply(chunks=_waiting(server), raw=True)


def _waiting(server: Faulty) -> Iterator[bytes | float]:
    fault = server.fault
    while server.fault is fault and not server.closing:
        yield PACE
    raise ConnectionAbortedError("the fault is over")


def _slowly(server: Faulty, data: Iterable[int]) -> Iterator[bytes | float]:
    fault = server.fault
    for byte in data:
        if server.fault is not fault:
            raise ConnectionAbortedError("the fault is over")
        yield bytes((byte,))
        yield PACE


def _slow_headers(server: Faulty, request: Recorded) -> Reply:
    def trickle() -> Iterator[bytes | float]:
        yield b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-slow: "
        yield from _slowly(server, itertools.repeat(ord("a")))

    return Reply(chunks=trickle(), raw=True)


def _slow_body(server: Faulty, request: Recorded) -> Reply:
    def trickle() -> Iterator[bytes | float]:
        yield b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n"
        yield from _slowly(server, itertools.chain(b'{"a": "', itertools.repeat(ord("a"))))

    return Reply(chunks=trickle(), raw=True)


# ------------------------------------------------------------------------------- instead of one


def _fixed(body: bytes, kind: str = "application/json", **more: Any) -> Answer:
    headers = {"content-type": kind, **more.pop("headers", {})}
    return lambda server, request: Reply(body=body, headers=dict(headers), **more)


def _half(server: Faulty, request: Recorded) -> Reply:
    body = json.dumps({"object": "chat.completion", "choices": [], "models": []}).encode()
    # The length of the whole is announced, and the connection closed in the middle.
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return Reply(chunks=[head % len(body) + body[: len(body) // 2]], raw=True)


def _status(code: int) -> Answer:
    def answer(server: Faulty, request: Recorded) -> Reply:
        said = json.dumps(server.error_json(code))
        # Gateways repeat what they were sent.
        said = said.replace('": "', f'": "[{server.secret}] ', 1)
        headers = {"x-echo": server.secret, "retry-after": "7"}
        return Reply(
            code, body=said.encode(), headers={"content-type": "application/json", **headers}
        )

    return answer


def _redirect(code: int, *, to_itself: bool = False) -> Answer:
    def answer(server: Faulty, request: Recorded) -> Reply:
        target = server.own_address(request) if to_itself else server.stranger
        return Reply(code, text="moved", headers={"location": target + request.path})

    return answer


def inflating(first: bytes = b"") -> Iterator[bytes]:
    """A gzip stream that begins with some bytes, and goes on with gigabytes of blanks.

    The blocks are independent of each other: one is compressed, and sent as often as needed.
    """
    pressed = zlib.compressobj(9, wbits=31)
    yield pressed.compress(first) + pressed.flush(zlib.Z_FULL_FLUSH)
    raw = zlib.compressobj(9, wbits=-15)
    block = raw.compress(b" " * 2**20) + raw.flush(zlib.Z_FULL_FLUSH)
    for _ in range(MEGABYTES // 64):
        yield block * 64


def _bomb(server: Faulty, request: Recorded) -> Reply:
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    return Reply(chunks=inflating(b'{"a": "'), headers=headers)


def _endless(server: Faulty, request: Recorded) -> Reply:
    def blanks() -> Iterator[bytes]:
        yield b'{"a": "'
        for _ in range(MEGABYTES):
            yield b" " * 2**20

    return Reply(chunks=blanks(), headers={"content-type": "application/json"})


UNAVAILABLE, LATE, UNREADABLE = "BackendUnavailableError", "RequestTimeoutError", "AnswerError"

FAULTS = (
    Fault("refused", UNAVAILABLE),
    Fault("reset", UNAVAILABLE, _raw(reset=True)),
    Fault("closed", UNAVAILABLE, _raw(reset=False)),
    Fault("black_hole", LATE, _silence, hangs=True),
    Fault("slow_headers", LATE, _slow_headers, hangs=True),
    Fault("slow_body", LATE, _slow_body, hangs=True),
    Fault("truncated_body", UNAVAILABLE, _half),
    Fault("truncated_json", UNREADABLE, _fixed(b'{"id": "1", "choices": [{"ind')),
    Fault("empty_body", UNREADABLE, _fixed(b"")),
    Fault("html", UNREADABLE, _fixed(_PAGE, "text/html")),
    Fault("plain_text", UNREADABLE, _fixed(b"upstream is fine", "text/plain")),
    Fault("invalid_json", UNREADABLE, _fixed(b"{'not': json}")),
    Fault("deep_json", UNREADABLE, _fixed(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}")),
    Fault("huge_number_json", UNREADABLE, _fixed(b'{"a":' + b"9" * 5_000 + b"}")),
    Fault("not_text", UNREADABLE, _fixed(b"\x80\xff\x00\xfe" * 8)),
    Fault("other_shape", UNREADABLE, _fixed(b'{"unexpected": []}')),
    Fault("other_list", UNREADABLE, _fixed(b"[1, 2, 3]")),
    Fault("other_null", UNREADABLE, _fixed(b"null")),
    *(Fault(f"status_{code}", kind, _status(code), status=code) for code, kind in STATUSES.items()),
    Fault("redirect_302", UNREADABLE, _redirect(302), status=302),
    Fault("redirect_307", UNREADABLE, _redirect(307), status=307),
    Fault("redirect_308", UNREADABLE, _redirect(308), status=308),
    Fault("redirect_loop", UNREADABLE, _redirect(307, to_itself=True), status=307),
    Fault("gzip_bomb", UNREADABLE, _bomb),
    Fault(
        "gzip_of_gzip", UNREADABLE, _fixed(b"\x1f\x8b", headers={"content-encoding": "gzip, gzip"})
    ),
    Fault("no_gzip", UNREADABLE, _fixed(b"{}", headers={"content-encoding": "gzip"})),
    Fault("endless_body", UNREADABLE, _endless),
)
"""What a whole answer can be."""

CERTIFICATES = tuple(
    Fault(f"certificate_{which}", UNAVAILABLE, certificate=which)
    for which in ("self_signed", "of_another_host", "of_another_authority", "expired")
)
"""What is wrong before anything is said, at a server that is reached by https."""


# ------------------------------------------------------------------------ in the middle of a stream


def _after_some(
    end: Callable[[Faulty, Reply], Iterator[bytes | str | float]], **how: Any
) -> Answer:
    """The good server's stream, and after some pieces of it something else."""

    def answer(server: Faulty, request: Recorded) -> Reply:
        reply = server.good(request)
        if reply.chunks is None:
            raise AssertionError(f"{request.path} gave no stream")
        pieces = itertools.islice(iter(reply.chunks), _BEFORE)
        return Reply(
            chunks=itertools.chain(pieces, end(server, reply)),
            headers=dict(reply.headers),
            reset=how.get("reset", False),
        )

    return answer


def _framed(reply: Reply, text: str) -> str:
    """A piece of the stream's own kind."""
    return f"{text}\n" if "ndjson" in reply.headers["content-type"] else f"data: {text}\n\n"


def _nothing(server: Faulty, reply: Reply) -> Iterator[bytes | str | float]:
    return iter(())


def _hang_up(server: Faulty, reply: Reply) -> Iterator[bytes | str | float]:
    yield PACE
    raise ConnectionAbortedError("the connection ends, and the stream does not")


def _stall(server: Faulty, reply: Reply) -> Iterator[bytes | str | float]:
    return iter(_waiting(server))


def _trickle(server: Faulty, reply: Reply) -> Iterator[bytes | str | float]:
    yield from _slowly(server, itertools.repeat(ord(" ")))


def _garbage(server: Faulty, reply: Reply) -> Iterator[bytes | str | float]:
    yield _framed(reply, "{'not': json}")


def _other(server: Faulty, reply: Reply) -> Iterator[bytes | str | float]:
    yield _framed(reply, "[1, 2, 3]")


def _said(server: Faulty, reply: Reply) -> Iterator[bytes | str | float]:
    said = json.dumps(server.error_json(500))
    yield server.before_error
    yield _framed(reply, said.replace('": "', f'": "[{server.secret}] ', 1))


def _page(server: Faulty, reply: Reply) -> Iterator[bytes | str | float]:
    yield _PAGE + b"\n\n"


def _inflate(server: Faulty, request: Recorded) -> Reply:
    reply = server.good(request)
    pieces = list(itertools.islice(iter(reply.chunks or ()), _BEFORE))
    first = "".join(piece for piece in pieces if isinstance(piece, str)).encode()
    return Reply(chunks=inflating(first), headers={**reply.headers, "content-encoding": "gzip"})


MIDDLE = (
    Fault("reset", UNAVAILABLE, _after_some(_nothing, reset=True)),
    Fault("closed", UNAVAILABLE, _after_some(_hang_up)),
    Fault("ended", UNAVAILABLE, _after_some(_nothing)),
    Fault("stalled", LATE, _after_some(_stall), hangs=True),
    Fault("trickle", LATE, _after_some(_trickle), hangs=True),
    Fault("invalid_json", UNREADABLE, _after_some(_garbage)),
    Fault("other_shape", UNREADABLE, _after_some(_other)),
    Fault("html", UNREADABLE, _after_some(_page)),
    Fault("error", UNAVAILABLE, _after_some(_said)),
    Fault("gzip_bomb", UNREADABLE, _inflate),
)
"""What can happen to a stream that began well."""


@contextlib.contextmanager
def switched(server: Faulty, fault: Fault) -> Iterator[None]:
    """The server misbehaves inside the block."""
    server.turn_bad(fault)
    try:
        yield
    finally:
        server.turn_good()
