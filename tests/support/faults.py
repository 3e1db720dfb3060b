"""Servers that misbehave, each on a free port of 127.0.0.1 for the length of a `with` block.

Every one has `url` and `base_url`; an OpenAI client is given `base_url + "/v1"` or `base_url`: what they do, they do
on any path. All but `refused` and `black_hole` record their requests, as every `LoopbackServer` does.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

from support.http import LoopbackServer, Recorded, Reply
from support.openai_schema import error_body

_HTML = "<!DOCTYPE html><html><head><title>Sign in</title></head><body><h1>Welcome to the proxy</h1></body></html>"


class FaultServer(LoopbackServer):
    """Answers everything with what one function gives."""

    def __init__(self, answer: Callable[[Recorded], Reply]) -> None:
        """Starts nothing yet."""
        super().__init__()
        self._answer = answer

    def handle(self, request: Recorded) -> Reply:
        """See the class."""
        return self._answer(request)


class Unanswered:
    """A port that a client may try in vain.

    Attributes:
        url: For example "http://127.0.0.1:41234".
        base_url: The same.
    """

    def __init__(self, backlog: int | None) -> None:
        """Binds nothing yet; without a backlog, nothing listens either."""
        self._backlog = backlog

    @property
    def url(self) -> str:
        """See the class."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    base_url = url

    def __enter__(self) -> Self:
        """Takes the port, so that nobody else gets it."""
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        if self._backlog is not None:
            self._socket.listen(self._backlog)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Gives the port back; who still waits on it is reset."""
        self._socket.close()


def refused() -> Unanswered:
    """A port where nothing listens: the provider is not running."""
    return Unanswered(None)


def black_hole() -> Unanswered:
    """Takes every connection, and never answers: the kernel accepts, and nobody reads."""
    return Unanswered(128)


def html(status: int = 200) -> FaultServer:
    """A web page instead of JSON: a captive portal, or a base URL that is a web site's."""
    return FaultServer(
        lambda request: Reply(status, body=_HTML.encode(), headers={"content-type": "text/html"})
    )


def truncated_json(cut_connection: bool = False) -> FaultServer:
    """JSON that ends in the middle.

    Args:
        cut_connection: Announce the whole and reset the connection half way; else the length is that of the half.
    """
    whole = json.dumps(
        {"id": "chatcmpl-1", "object": "chat.completion", "model": "tiny", "choices": []}
    ).encode()
    half = whole[: len(whole) // 2]
    headers = {"content-type": "application/json"}
    if cut_connection:
        headers["content-length"] = str(len(whole))
    return FaultServer(
        lambda request: Reply(body=half, headers=dict(headers), reset=cut_connection)
    )


def status(code: int, body: Any = None, headers: dict[str, str] | None = None) -> FaultServer:
    """A status code for everything.

    Args:
        code: For example 503.
        body: Text, or what is sent as JSON; None is an empty body.
        headers: For example `{"retry-after": "7"}`.
    """

    def answer(request: Recorded) -> Reply:
        if isinstance(body, str):
            return Reply(code, text=body, headers=dict(headers or {}))
        return Reply(code, json=body, headers=dict(headers or {}))

    return FaultServer(answer)


def repeating(status: int) -> FaultServer:
    """Repeats what it was sent to let somebody in, in the body and in a header."""

    def answer(request: Recorded) -> Reply:
        said = request.headers.get("authorization", "nothing")
        body = error_body(said, said, said, said)
        return Reply(status, json=body, headers={"x-said": said, "retry-after": "1"})

    return FaultServer(answer)


def invalid_json() -> FaultServer:
    """Calls itself JSON, and is not."""
    return FaultServer(
        lambda request: Reply(body=b"{'not': json}", headers={"content-type": "application/json"})
    )


def other_shape_json() -> FaultServer:
    """Valid JSON of another service."""
    return FaultServer(lambda request: Reply(json={"unexpected": []}))


def cut_stream(kind: str = "sse", chunks: int = 3) -> FaultServer:
    """A stream whose connection is reset in the middle; a request that wants no stream is cut half way as well.

    Args:
        kind: "sse", as OpenAI streams, or "ndjson", as Ollama does.
        chunks: How many come before.
    """

    def parts() -> Iterator[str]:
        for number in range(chunks):
            if kind == "ndjson":
                message = {"role": "assistant", "content": f"{number} "}
                created = "2025-11-03T09:41:27.123456Z"
                yield (
                    json.dumps(
                        {"model": "tiny", "created_at": created, "message": message, "done": False}
                    )
                    + "\n"
                )
            else:
                choice = {
                    "index": 0,
                    "delta": {"role": "assistant", "content": f"{number} "},
                    "finish_reason": None,
                }
                chunk = {
                    "id": "chatcmpl-1",
                    "object": "chat.completion.chunk",
                    "created": 1_735_689_600,
                }
                yield f"data: {json.dumps(chunk | {'model': 'tiny', 'choices': [choice]})}\n\n"

    content_type = (
        "application/x-ndjson" if kind == "ndjson" else "text/event-stream; charset=utf-8"
    )
    return FaultServer(
        lambda request: Reply(chunks=parts(), headers={"content-type": content_type}, reset=True)
    )


class SlowHeaders(LoopbackServer):
    """Sends its headers one byte at a time, so that a timeout per read never comes."""

    def __init__(self, interval: float) -> None:
        """Starts nothing yet; the interval is in seconds."""
        super().__init__()
        self._interval = interval

    def handle(self, request: Recorded) -> Reply:
        """The headers are endless: they end with the connection."""

        def trickle() -> Iterator[bytes | float]:
            yield b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-slow: "
            while not self.closing:
                yield b"a"
                yield self._interval

        return Reply(chunks=trickle(), raw=True)


def slow_headers(interval: float = 0.05) -> SlowHeaders:
    """One header byte at a time, for ever: only a deadline for the whole call ends it."""
    return SlowHeaders(interval)


@contextlib.contextmanager
def named(name: str) -> Iterator[str]:
    """The base URL of a fault by its name, for parametrized tests: every key of `BY_NAME`."""
    with BY_NAME[name]() as server:
        yield server.base_url


BY_NAME: dict[str, Callable[[], LoopbackServer | Unanswered]] = {
    "refused": refused,
    "black_hole": black_hole,
    "html": html,
    "truncated_json": truncated_json,
    "cut_json": lambda: truncated_json(cut_connection=True),
    "status_500": lambda: status(500, {"error": "boom"}),
    "status_503_empty": lambda: status(503),
    "slow_headers": slow_headers,
    "invalid_json": invalid_json,
    "other_shape_json": other_shape_json,
    "cut_sse": cut_stream,
    "cut_ndjson": lambda: cut_stream("ndjson"),
}
