"""Disable redirects in the HTTP clients of SDKs, and cap the size of answers.

SDKs follow redirects to any host that a server names, with the prompt and some of their own
headers, and they read answers of any size. A session's server is the one that its user named:
a redirect is an error that names the other address, and so is an answer larger than any that a
model writes. Compressed answers are not asked for, and are refused.

It works on httpx and on libraries with its interface (httpx2), through public attributes only.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final, TypeVar

from mellea_api._contract.errors import AnswerError, BackendUnavailableError
from mellea_api._provider.answers import refuse_error
from mellea_api._secrecy.secrets import one_line

Client = TypeVar("Client")

LARGEST_ANSWER: Final = 16 * 2**20
"""Bytes of the largest answer that is read."""
_LONGEST_LINE: Final = 4 * 2**20
"""Bytes of one event of a stream."""
_TAIL: Final = 2**16
"""Last bytes of a stream, in which its end is looked for."""
_STREAMED: Final = ("text/event-stream", "application/x-ndjson")
_CAREFUL: Final = "_mellea_api_careful"
_BLANKS: Final = re.compile(rb"\n{3,}")
"""Of which one says as much; to pass on thousands holds the event loop."""
_ASKED: Final = re.compile(rb'"stream"\s*:\s*true')


def careful(client: Client, *, end: re.Pattern[bytes] | None = None) -> Client:
    """Disable a client's redirects, and cap the size of the answers that it reads.

    Args:
        client: A `Client` or `AsyncClient` of httpx or httpx2, before its first request.
        end: A pattern in the last bytes of each complete stream (an answer to a request with
            `"stream": true`). None if the SDK's pieces show the end; then use `whole`.

    Returns:
        The same client. Calling this again changes nothing.
    """
    changed: Any = client
    if hasattr(changed, _CAREFUL):
        return client
    setattr(changed, _CAREFUL, True)
    changed.follow_redirects = False
    changed.headers["accept-encoding"] = "identity"

    def limit(response: Any) -> None:
        """Replace an answer's stream by a limited one, before anybody reads it."""
        # Python has encodings whose decoders take quadratic time; JSON is always in this one.
        response.encoding = "utf-8"
        streams = _streams(type(response).__module__.partition(".")[0])
        response.stream = streams[asynchronous](response, end)

    async def limit_later(response: Any) -> None:
        limit(response)
        # Its own cuts where Unicode ends a line, which may be inside a text.
        response.aiter_lines = functools.partial(_lines, response)

    asynchronous = hasattr(changed, "aclose")
    hooks = changed.event_hooks
    hook = limit_later if asynchronous else limit
    changed.event_hooks = {**hooks, "response": [*hooks.get("response", ()), hook]}
    return client


async def _lines(response: Any) -> AsyncIterator[str]:
    begun: list[bytes] = []
    async for data in response.aiter_bytes():
        first, *lines = _BLANKS.sub(b"\n\n", data).split(b"\n")
        begun.append(first)
        if lines:
            for line in (b"".join(begun), *lines[:-1]):
                yield line.decode().removesuffix("\r")
            begun = lines[-1:]
    if line := b"".join(begun):
        yield line.decode()


class _Limited:
    """The stream of an answer, whose pieces are counted and checked as they are read."""

    def __init__(self, response: Any, end: re.Pattern[bytes] | None) -> None:
        self._stream = stream = response.stream
        self.close, self.aclose = getattr(stream, "close", None), getattr(stream, "aclose", None)
        headers = response.headers
        encoding = headers.get("content-encoding", "").strip().lower()
        if encoding not in ("", "identity"):
            # A small compressed answer may grow to gigabytes.
            raise AnswerError(f"it is compressed ({encoding}), which the request did not ask for")
        self._streamed = headers.get("content-type", "").startswith(_STREAMED)
        asked = _asks_for_stream(response.request)
        self._end = end if asked and response.is_success else None
        self._line = 0 if asked or self._streamed else None
        self._last = b""
        self._read = 0
        self._good = response.is_success

    def checked(self, data: bytes) -> bytes:
        """Return a piece of the answer, if the answer is not too long by now."""
        if not self._read:
            data = data.removeprefix(b"\xef\xbb\xbf")  # an SDK may drop the first line with it
        self._read += len(data)
        if self._read > LARGEST_ANSWER:
            size = LARGEST_ANSWER // 2**20
            raise AnswerError(f"it is larger than {size} MiB, and the rest was not read")
        self._last = (self._last + data[-_TAIL:])[-_TAIL:]
        if self._line is not None:
            # SDKs join the parts of a line, and copy all of it each time.
            newline, begun = data.rfind(b"\n"), self._line + len(data)
            self._line = begun if newline < 0 else len(data) - newline - 1
            if self._line > _LONGEST_LINE:
                raise AnswerError("a line of it does not end")
            if newline >= 0:
                self._refuse_error(self._last[-begun:])
        return data

    def finish(self) -> None:
        """Check that an answer is no error, and that a stream came to its end."""
        if b'"error"' in self._last and self._read <= _TAIL:
            self._refuse_error(self._last)
        if self._end is None or self._end.search(self._last):
            return
        if self._streamed and self._last.strip():
            raise BackendUnavailableError("the answer broke off before its end")
        said = one_line(self._last.decode(errors="replace"), 60) if self._read <= _TAIL else "text"
        raise AnswerError(f"instead of a stream, it is {said!r}")

    def _refuse_error(self, text: bytes) -> None:
        if self._good and b'"error"' in text:
            for part in (text, *text.split(b"\n")):
                with contextlib.suppress(ValueError, RecursionError):  # the SDK says so itself
                    refuse_error(json.loads(part.removeprefix(b"data:")))


def _asks_for_stream(request: Any) -> bool:
    try:
        body = request.content
        return bool(_ASKED.search(body)) and json.loads(body).get("stream") is True
    except (AttributeError, RuntimeError, ValueError):  # an upload has no content to read
        return False


@functools.cache
def _streams(library: str) -> tuple[Any, Any]:
    """Return the classes of limited streams, subclasses of the client library's own."""
    httpx: Any = importlib.import_module(library)

    class Stream(_Limited, httpx.SyncByteStream):  # type: ignore[misc]
        def __iter__(self) -> Iterator[bytes]:
            for data in self._stream:
                yield self.checked(data)
            self.finish()

    class AsyncStream(_Limited, httpx.AsyncByteStream):  # type: ignore[misc]
        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for data in self._stream:
                yield self.checked(data)
            self.finish()

    return Stream, AsyncStream
