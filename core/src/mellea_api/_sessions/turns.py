"""One call at a time in a conversation.

Each call of a conversation goes on from the context that it found, and leaves a longer one. Of
two that overlap, the first to end would lose its turn without a word.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any, Final

from mellea_api._contract.errors import ConcurrentUseError

_speaking: Final[dict[int, object]] = {}
"""By the id of a session or runtime, what stands for the call that it is in."""
_own: Final[contextvars.ContextVar[tuple[object, ...]]] = contextvars.ContextVar(
    "mellea_api_own_turns", default=()
)


@contextlib.contextmanager
def turn(owner: object, *, backend: str | None, alternative: str) -> Iterator[object]:
    """Keep other calls out of a conversation.

    Args:
        owner: The session or runtime whose conversation it is.
        backend: The backend's name, for the error.
        alternative: What else to do than to wait: the end of a sentence.

    Raises:
        ConcurrentUseError: If another call is in it.
    """
    token = object()
    if _speaking.setdefault(id(owner), token) is not token:  # in one step, for threads
        raise ConcurrentUseError(
            "Cannot make this call: another one is in the same conversation, and one of them "
            "would lose its turn.",
            next_step=f"Wait for it, {alternative}.",
            backend=backend,
        )
    try:
        yield token
    finally:
        del _speaking[id(owner)]


@contextlib.contextmanager
def whole_turn(owner: object, **arguments: Any) -> Iterator[None]:
    """Keep other calls out, and let those in that are part of this one.

    A requirement, or a tool, may ask the session in whose call it is.

    Args:
        owner: The session whose conversation it is.
        arguments: Those of `turn`.

    Raises:
        ConcurrentUseError: If another call is in it.
    """
    if _speaking.get(id(owner)) in _own.get():
        yield
        return
    with turn(owner, **arguments) as token:
        before = _own.set((*_own.get(), token))
        try:
            yield
        finally:
            _own.reset(before)
