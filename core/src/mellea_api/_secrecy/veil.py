"""Keeps secrets out of tracebacks, which some tools print with the values of local variables.

rich, cgitb, pytest and error trackers do so. A key lies in a variable of nearly every frame of an
SDK that was called with it, and a caller's `api_key=` in frames of ours.

- `hidden` wraps what a caller gave by name, first thing in each public function: from then on no
  frame of this library holds it in the open. `plain` gives it back.
- `veiled` takes out of an exception, and of all that it came from, the frames in which a variable
  shows a living secret or an address with a password, and says on the exception how many; of a
  cause that itself shows one it leaves the masked text.
- `environment` is the process's environment for those who read it: each secret is in there, also
  those that nobody has looked at.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator, Mapping
from types import FrameType, TracebackType
from typing import Any, Final, TypeVar, cast

from mellea_api._secrecy.secrets import Secret, redact

Error = TypeVar("Error", bound=BaseException)

_OPEN: Final = (type(None), bool, int, float, Secret)


class _Hidden:
    """An argument that may be a secret: what it is, is known once its backend is."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"<hidden {type(self.value).__name__}>"


def hidden(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return a caller's arguments so that no traceback shows their values.

    Args:
        arguments: What the caller gave by name; what is hidden already stays so.
    """
    return {name: hide(value) for name, value in arguments.items()}


def hide(argument: Any) -> Any:
    """Return an argument so that no traceback shows its value; what is no secret stays itself."""
    return argument if isinstance(argument, (*_OPEN, _Hidden)) else _Hidden(argument)


def plain(argument: Any) -> Any:
    """Return an argument as the caller gave it."""
    return argument.value if isinstance(argument, _Hidden) else argument


class _Environment:
    """Variables and their values, which no traceback shows.

    It is no subclass of `Mapping`: error trackers write down the contents of those.
    """

    __slots__ = ("_of",)

    def __init__(self, of: Mapping[str, str] | None) -> None:
        self._of = _Hidden(of)

    def _values(self) -> Mapping[str, str]:
        of: Mapping[str, str] | None = self._of.value
        return os.environ if of is None else of

    def __getitem__(self, name: str) -> str:
        return self._values()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values())

    def __len__(self) -> int:
        return len(self._values())

    def __contains__(self, name: object) -> bool:
        return name in self._values()

    def __repr__(self) -> str:
        return "<environment>"

    def get(self, name: str, default: str | None = None) -> str | None:
        return self._values().get(name, default)

    def keys(self) -> Any:
        return self._values().keys()

    def values(self) -> Any:
        return self._values().values()

    def items(self) -> Any:
        return self._values().items()


def environment(given: Mapping[str, str] | None = None) -> Mapping[str, str]:
    """Return an environment so that no traceback shows its values.

    Args:
        given: The variables; None for those of the process, as they are when they are read.
    """
    found: Any = given
    hides = isinstance(found, _Environment)
    return cast("Mapping[str, str]", found if hides else _Environment(found))


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and those that it came from, outermost first."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def veiled(error: Error) -> Error:
    """Return an exception of this library as anybody may see it.

    Args:
        error: The exception; its own text has been masked. It is changed in place.
    """
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    _take_out_frames(error)
    if cause is None:
        error.__context__ = None
    elif shows_secret(cause):
        safe = RuntimeError(f"{type(cause).__name__}: {redact(str(cause))}")
        safe.__traceback__ = cause.__traceback__
        _take_out_frames(safe)
        error.__cause__, error.__context__ = safe, None
    else:
        for found in _reachable(cause):
            _take_out_frames(found)
    return error


def shows_secret(error: BaseException) -> bool:
    """Return whether the text of an exception, or of one that it came from, holds a secret."""
    return any(_shows_secret(found) for found in _reachable(error))


def _reachable(error: BaseException) -> Iterator[BaseException]:
    """Yield all that an exception leads to: an error tracker also shows a suppressed context."""
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        found = pending.pop()
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        pending += (found.__cause__, found.__context__)
        if isinstance(found, BaseExceptionGroup):
            pending += found.exceptions


def shows_secret_anywhere(error: BaseException) -> bool:
    """Return whether an exception on a log record shows a secret in a variable or its text."""
    return any(
        _shows_secret(found)
        or any(_frame_shows_secret(frame) for frame, _ in traceback.walk_tb(found.__traceback__))
        for found in _reachable(error)
    )


def _shows_secret(error: BaseException) -> bool:
    # SDKs keep the answer's body in an attribute, which other tools than a traceback show.
    return _shows(f"{error} {error.args!r} {vars(error)!r}")


def _take_out_frames(error: BaseException) -> None:
    kept: list[TracebackType] = []
    taken = 0
    trace = error.__traceback__
    while trace is not None:
        if _frame_shows_secret(trace.tb_frame):
            taken += 1
        else:
            kept.append(trace)
        trace = trace.tb_next
    if not taken:
        return
    rest: TracebackType | None = None
    for part in reversed(kept):
        rest = TracebackType(rest, part.tb_frame, part.tb_lasti, part.tb_lineno)
    error.__traceback__ = rest
    left_out = "1 frame" if taken == 1 else f"{taken} frames"
    are = "is" if taken == 1 else "are"
    error.add_note(f"({left_out} with a credential in a variable {are} left out here.)")


def _frame_shows_secret(frame: FrameType) -> bool:
    return any(_value_shows_secret(value) for value in frame.f_locals.values())


def _value_shows_secret(value: Any) -> bool:
    if isinstance(value, _OPEN):
        return False
    try:
        return _shows(value if isinstance(value, str) else repr(value))
    except Exception:  # a half-made object has no repr, and shows nothing
        return False


def _shows(text: str) -> bool:
    return redact(text) != text
