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
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final, TypeVar

from mellea_api.authoring import UnreadableAnswerError

__all__ = ["LARGEST_ANSWER", "careful"]

Client = TypeVar("Client")

LARGEST_ANSWER: Final = 128 * 2**20
"""Bytes of the largest answer that is read, once it is inflated."""
_PIECE: Final = 2**20
"""Bytes that are inflated at a time."""


def careful(client: Client) -> Client:
    """Let a client follow no redirect, and read no answer without end.

    Args:
        client: A `Client` or `AsyncClient` of httpx or httpx2, before its first request.

    Returns:
        The same client.
    """
    changed: Any = client
    asynchronous = hasattr(changed, "aclose")
    changed.follow_redirects = False
    changed.headers["accept-encoding"] = "gzip, deflate"
    hooks = changed.event_hooks
    hook = _limit_async if asynchronous else _limit
    changed.event_hooks = {**hooks, "response": [*hooks.get("response", ()), hook]}
    return client


def _limit(response: Any) -> None:
    """Put a limited stream in the place of an answer's own, before anybody reads it."""
    stream = _streams(type(response).__module__.partition(".")[0])[0]
    response.stream = stream(response.stream, _decoder(response))


async def _limit_async(response: Any) -> None:
    stream = _streams(type(response).__module__.partition(".")[0])[1]
    response.stream = stream(response.stream, _decoder(response))


def _decoder(response: Any) -> Callable[[bytes], Iterator[bytes]]:
    """Return what inflates an answer piece by piece; the client then sees it plain."""
    encoding = response.headers.get("content-encoding", "").strip().lower()
    read = 0
    inflate: Any = None
    if encoding in ("gzip", "deflate"):
        inflate = zlib.decompressobj(wbits=31 if encoding == "gzip" else 15)
        del response.headers["content-encoding"]
    elif encoding not in ("", "identity"):
        raise UnreadableAnswerError(f"it is encoded as {encoding!r}, which nobody asked for")

    def limited(data: bytes) -> bytes:
        nonlocal read
        read += len(data)
        if read > LARGEST_ANSWER:
            raise UnreadableAnswerError(
                f"it is larger than {LARGEST_ANSWER // 2**20} MiB, and was not read to its end"
            )
        return data

    def decode(data: bytes) -> Iterator[bytes]:
        if inflate is None:
            yield limited(data)
            return
        while data:
            try:
                yield limited(inflate.decompress(data, _PIECE))
            except zlib.error as error:
                raise UnreadableAnswerError(f"it is called {encoding}, and is not") from error
            data = inflate.unconsumed_tail

    return decode


@functools.cache
def _streams(library: str) -> tuple[Any, Any]:
    """Return the limited streams, as subclasses of the client library's own."""
    httpx: Any = importlib.import_module(library)

    class Stream(httpx.SyncByteStream):  # type: ignore[misc]
        def __init__(self, stream: Any, decode: Callable[[bytes], Iterator[bytes]]) -> None:
            self._stream, self._decode = stream, decode

        def __iter__(self) -> Iterator[bytes]:
            for data in self._stream:
                yield from self._decode(data)

        def close(self) -> None:
            self._stream.close()

    class AsyncStream(httpx.AsyncByteStream):  # type: ignore[misc]
        def __init__(self, stream: Any, decode: Callable[[bytes], Iterator[bytes]]) -> None:
            self._stream, self._decode = stream, decode

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for data in self._stream:
                for piece in self._decode(data):
                    yield piece

        async def aclose(self) -> None:
            await self._stream.aclose()

    return Stream, AsyncStream
