"""Keep secrets out of tracebacks, which some tools print with the values of local variables.

rich, pytest and error trackers do that, and an SDK holds the key in a variable of nearly every
frame. `veiled` writes the stack of an exception down as a note, and drops the frames. `hide` wraps
what a caller passed by name, so that no frame of this library shows it. `plain` unwraps it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from traceback import walk_tb
from typing import Any, Final, TypeVar, cast

from mellea_api._secrecy.secrets import Secret, redact

Error = TypeVar("Error", bound=BaseException)

_OPEN: Final = (type(None), bool, int, float, Secret)
_STACK: Final = "Stack, most recent call last:"
_MOST_FRAMES: Final = 60
"""In one note; an endless recursion has a thousand."""


def veiled(error: Error) -> Error:
    """Remove what may show a secret from one of our exceptions, and from all that led to it.

    The cost does not grow with what the variables hold: a prompt may be large, and an event loop
    may be waiting.

    Args:
        error: The exception, whose own text is masked already. It is changed in place.
    """
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is None:
        error.__context__ = None
    elif shows_secret(cause):
        masked = RuntimeError(f"{type(cause).__name__}: {redact(str(cause))}")
        masked.__traceback__ = cause.__traceback__
        error.__cause__, error.__context__ = masked, None
    for reached in _reachable(error):
        _write_stack_down(reached)
    return error


def shows_secret(error: BaseException) -> bool:
    """Return whether an exception, or one that led to it, has a secret in text or attributes."""
    # SDKs keep the body of an answer in an attribute, which error trackers show.
    texts = (f"{found} {found.args!r} {vars(found)!r}" for found in _reachable(error))
    return any(redact(text) != text for text in texts)


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and those that it came from, outermost first."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _reachable(error: BaseException) -> Iterator[BaseException]:
    """Yield all that an exception leads to; an error tracker shows suppressed contexts too."""
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


def _write_stack_down(error: BaseException) -> None:
    lines = [
        f'\n  File "{frame.f_code.co_filename}", line {line}, in {frame.f_code.co_name}'
        for frame, line in walk_tb(error.__traceback__)
    ]
    if not lines:
        return
    if len(lines) > _MOST_FRAMES:
        half = _MOST_FRAMES // 2
        lines[half:-half] = [f"\n  ... {len(lines) - 2 * half} frames ..."]
    error.__traceback__ = None
    notes = getattr(error, "__notes__", [])
    inner = next((note for note in notes if note.startswith(_STACK)), None)
    if inner is not None:  # it was veiled deeper in the stack, and raised again
        notes.remove(inner)
        lines.append(inner.removeprefix(_STACK))
    error.add_note(_STACK + "".join(lines))


class _Hidden:
    """An argument that may be a secret."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"<hidden {type(self.value).__name__}>"


def hidden(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Hide the values of a caller's arguments: see `hide`."""
    return {name: hide(value) for name, value in arguments.items()}


def hide(argument: Any) -> Any:
    """Wrap an argument so that no traceback shows its value, unless it cannot be a secret."""
    return argument if isinstance(argument, (*_OPEN, _Hidden)) else _Hidden(argument)


def plain(argument: Any) -> Any:
    """Return an argument as the caller passed it."""
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
