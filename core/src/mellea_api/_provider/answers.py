"""Find malformed answers and interrupted streams, which SDKs take for good ones."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from typing import Any, Final

from mellea_api._contract.errors import AnswerError, BackendUnavailableError
from mellea_api._contract.said import words_and_codes

_END: Final = object()
_ENDED: Final = "the answer ended with an error"


class RefusedWithSuccessError(Exception):
    """An answer with a good status that is an error; its text is what the server said.

    Args:
        answer: The answer.

    Attributes:
        body: The error in it: text, or an object with `message`, `code` and `type`.
    """

    def __init__(self, answer: Mapping[str, Any]) -> None:
        self.body: Any = answer.get("error") or answer
        super().__init__(words_and_codes(self.body)[0])


def refuse_error(answer: object) -> None:
    """Raise if an answer with a good status, or a piece of one, is an error.

    Args:
        answer: What its JSON says.

    Raises:
        RefusedWithSuccessError: If it is `{"error": ...}` or `{"object": "error", ...}`, as LM
            Studio sends them, or a choice ended with an error, as OpenRouter's do.
    """
    if not isinstance(answer, Mapping):
        return
    choices, error = answer.get("choices"), answer.get("error")
    if not choices and (error or answer.get("object") == "error"):
        raise RefusedWithSuccessError(answer)
    for choice in choices if isinstance(choices, list) else ():
        own = isinstance(choice, Mapping) and choice.get("error")
        if own or (isinstance(choice, Mapping) and choice.get("finish_reason") == "error"):
            raise RefusedWithSuccessError({"error": own or error or _ENDED})


@contextlib.contextmanager
def reading_answer() -> Iterator[None]:
    """Turn what an SDK raises for a malformed answer, inside the block, into an AnswerError.

    SDKs do not check the shape of an answer: a list instead of a dict ends in an
    `AttributeError`. Put only the SDK's call into the block.

    Raises:
        AnswerError: Instead of an AttributeError, IndexError, KeyError or TypeError.
    """
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise AnswerError(f"the SDK stumbled over it: {type(error).__name__}: {error}") from error


async def whole(
    pieces: Any, is_last: Callable[[Any], bool], ended: Callable[[], bool] | None = None
) -> AsyncGenerator[Any]:
    """Pass on the pieces of a stream, and raise if it ends before its last piece.

    SDKs take a connection that closes in the middle of an answer for the answer's end.

    Args:
        pieces: What an SDK streams: an asynchronous iterator.
        is_last: Whether a piece says that the answer ends with it.
        ended: Whether the stream had another mark of its end, once there are no more pieces.

    Yields:
        The pieces.

    Raises:
        BackendUnavailableError: If there were pieces, and none of them was the last.
        AnswerError: If the SDK fails on a malformed piece.
    """
    pieces_left = aiter(pieces)
    begun = last = False
    try:
        while True:
            with reading_answer():
                piece = await anext(pieces_left, _END)
                if piece is _END:
                    break
                begun, last = True, last or is_last(piece)
            yield piece
    finally:
        close = getattr(pieces, "aclose", None) or getattr(pieces, "close", None)
        if close is not None:
            await close()
    if begun and not last and not (ended and ended()):
        raise BackendUnavailableError("the answer broke off before its end")
