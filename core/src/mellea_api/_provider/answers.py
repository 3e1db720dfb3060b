"""Answers that are none, and streams that break off: what SDKs do not tell from the real thing."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any, Final

from mellea_api._contract.errors import AnswerError

_END: Final = object()


@contextlib.contextmanager
def reading_answer() -> Iterator[None]:
    """Say of what an SDK stumbles over, inside the block, that it is no answer.

    SDKs look into an answer without asking what it is: a list where a dict is expected ends in
    an `AttributeError` of theirs. The block should hold the SDK's call and nothing else.

    Raises:
        AnswerError: Instead of an AttributeError, IndexError, KeyError or TypeError.
    """
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise AnswerError(f"the SDK stumbled over it: {type(error).__name__}: {error}") from error


async def whole(pieces: Any, is_last: Callable[[Any], bool]) -> AsyncGenerator[Any]:
    """Pass on the pieces of a stream, and raise where it ends before its last piece.

    A connection that is closed in the middle of an answer looks like its end to an SDK.

    Args:
        pieces: What an SDK streams: an asynchronous iterator.
        is_last: Whether a piece says that the answer ends with it.

    Yields:
        The pieces.

    Raises:
        ConnectionError: If there were pieces, and none of them was the last.
        AnswerError: If the SDK stumbles over one.
    """
    pieces_left = aiter(pieces)
    begun = ended = False
    try:
        while True:
            with reading_answer():
                piece = await anext(pieces_left, _END)
                if piece is _END:
                    break
                begun, ended = True, ended or is_last(piece)
            yield piece
    finally:
        close = getattr(pieces, "aclose", None) or getattr(pieces, "close", None)
        if close is not None:
            await close()
    if begun and not ended:
        raise ConnectionError("the answer broke off before its end")
