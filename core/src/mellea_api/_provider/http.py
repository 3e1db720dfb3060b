"""The HTTP clients of SDKs, made careful with what a server answers.

SDKs follow redirects, with the prompt and with some headers of their own, to whatever host a
server names; and they inflate and read an answer however large it gets. A session's server is
the one that its user named: a redirect is an answer that cannot be read, which names the other
address, and so is an answer larger than any that a model writes.

It works on httpx and on what has its interface (httpx2), by public attributes alone.
"""

from __future__ import annotations

import functools
import importlib
import json
import re
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final, TypeVar

from mellea_api._provider.authoring import UnreadableAnswerError

Client = TypeVar("Client")

LARGEST_ANSWER: Final = 128 * 2**20
"""Bytes of the largest answer that is read, once it is inflated."""
_PIECE: Final = 2**20
"""Bytes that are inflated at a time."""
_LONGEST_LINE: Final = 4 * 2**20
"""Bytes of one event of a stream."""
_TAIL: Final = 2**16
"""Bytes of a stream that are kept to see whether it ended."""
_STREAMED: Final = ("text/event-stream", "application/x-ndjson")
_CAREFUL: Final = "_mellea_api_careful"
_ASKED: Final = re.compile(rb'"stream"\s*:\s*true')


def careful(client: Client, *, end: re.Pattern[bytes] | None = None) -> Client:
    """Let a client follow no redirect, and read no answer without end.

    Args:
        client: A `Client` or `AsyncClient` of httpx or httpx2, before its first request.
        end: What is found among the last bytes of an answer that was asked for with
            `"stream": true` and came to its end; None where the SDK's own pieces tell, as `whole`
            asks.

    Returns:
        The same client. What is careful already stays as it is.
    """
    changed: Any = client
    if any(hasattr(hook, _CAREFUL) for hook in changed.event_hooks.get("response", ())):
        return client
    changed.follow_redirects = False
    changed.headers["accept-encoding"] = "gzip, deflate"

    def limit(response: Any) -> None:
        """Put a limited stream in the place of an answer's own, before anybody reads it."""
        streams = _streams(type(response).__module__.partition(".")[0])
        response.stream = streams[asynchronous](response.stream, _Reading(response, end))

    async def limit_later(response: Any) -> None:
        limit(response)

    asynchronous = hasattr(changed, "aclose")
    hooks = changed.event_hooks
    hook = limit_later if asynchronous else limit
    setattr(hook, _CAREFUL, True)
    changed.event_hooks = {**hooks, "response": [*hooks.get("response", ()), hook]}
    return client


class _Reading:
    """One answer while it is read: inflated piece by piece, and counted.

    The header that says how it is compressed is taken away: the client sees it plain.
    """

    def __init__(self, response: Any, end: re.Pattern[bytes] | None) -> None:
        headers = response.headers
        self._streamed = headers.get("content-type", "").startswith(_STREAMED)
        asked = _asks_for_stream(response.request)
        self._end = end if asked and response.is_success else None
        self._line = 0 if asked or self._streamed else None
        self._last = b""
        self._read = 0
        self._inflate: Any = None
        encoding = headers.get("content-encoding", "").strip().lower()
        if encoding in ("gzip", "deflate"):
            self._inflate = zlib.decompressobj(wbits=31 if encoding == "gzip" else 15)
            del headers["content-encoding"]
        elif encoding not in ("", "identity"):
            raise UnreadableAnswerError(f"it is encoded as {encoding!r}, which nobody asked for")

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Yield what some bytes hold."""
        if self._inflate is None:
            yield self._counted(data)
            return
        while data:
            try:
                piece = self._inflate.decompress(data, _PIECE)
            except zlib.error as error:
                raise UnreadableAnswerError("it is called compressed, and is not") from error
            data = self._inflate.unconsumed_tail
            yield self._counted(piece)

    def _counted(self, data: bytes) -> bytes:
        self._read += len(data)
        if self._read > LARGEST_ANSWER:
            raise UnreadableAnswerError(
                f"it is larger than {LARGEST_ANSWER // 2**20} MiB, and was not read to its end"
            )
        if self._line is not None:
            # SDKs put a line together from its parts, each time anew.
            newline = data.rfind(b"\n")
            self._line = self._line + len(data) if newline < 0 else len(data) - newline - 1
            if self._line > _LONGEST_LINE:
                raise UnreadableAnswerError("a line of it does not end")
        if self._end is not None:
            self._last = (self._last + data[-_TAIL:])[-_TAIL:]
        return data

    def finish(self) -> None:
        """See that what was asked for as a stream is one, and has come to its end."""
        if self._end is None or self._end.search(self._last):
            return
        if self._streamed and self._last.strip():
            raise ConnectionError("the answer broke off before its end")
        raise UnreadableAnswerError(f"instead of a stream, it is {self._last[:60]!r}")


def _asks_for_stream(request: Any) -> bool:
    try:
        body = request.content
        return bool(_ASKED.search(body)) and json.loads(body).get("stream") is True
    except (AttributeError, RuntimeError, ValueError):  # an upload has no content to look into
        return False


@functools.cache
def _streams(library: str) -> tuple[Any, Any]:
    """Return the limited streams, as subclasses of the client library's own."""
    httpx: Any = importlib.import_module(library)

    class Stream(httpx.SyncByteStream):  # type: ignore[misc]
        def __init__(self, stream: Any, reading: _Reading) -> None:
            self._stream, self._reading = stream, reading

        def __iter__(self) -> Iterator[bytes]:
            for data in self._stream:
                yield from self._reading.pieces(data)
            self._reading.finish()

        def close(self) -> None:
            self._stream.close()

    class AsyncStream(httpx.AsyncByteStream):  # type: ignore[misc]
        def __init__(self, stream: Any, reading: _Reading) -> None:
            self._stream, self._reading = stream, reading

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for data in self._stream:
                for piece in self._reading.pieces(data):
                    yield piece
            self._reading.finish()

        async def aclose(self) -> None:
            await self._stream.aclose()

    return Stream, AsyncStream
