"""Keep secrets out of tracebacks, which some tools print with the values of local variables.

rich, pytest and error trackers do that, and an SDK holds the key in a variable of nearly every
frame. `veiled` writes the stack of an exception down as a note, and drops the frames. `hide` wraps
what a caller passed by name, so that no frame of this library shows it. `plain` unwraps it.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from traceback import walk_stack, walk_tb
from typing import Any, Final, TypeVar

from mellea_api._secrecy.secrets import MOST_READ, Secret, one_line, redact

Error = TypeVar("Error", bound=BaseException)

_STACK: Final = "Stack, most recent call last:"
_MOST_FRAMES: Final = 60
"""In one note; an endless recursion has a thousand."""
_MOST_ERRORS: Final = 20
"""Of pydantic's in one text."""
_PACKAGE: Final = __name__.partition(".")[0]


def veiled(error: Error) -> Error:
    """Remove what may show a secret from one of our exceptions, and from all that led to it.

    The cost does not grow with what the variables hold: a prompt may be large, and an event loop
    may be waiting.

    An exception that our caller was handling before it called us, and that Python links to ours,
    stays as it is.

    Args:
        error: The exception, whose own text is masked already. It is changed in place.
    """
    cause = error.__cause__ or _context(error)
    if error.__cause__ is None and error.__suppress_context__:
        error.__context__ = None
    elif cause is not None and shows_secret(cause):
        masked = RuntimeError(f"{type(cause).__name__}: {one_line(words_of(cause))}")
        masked.__traceback__ = cause.__traceback__
        error.__cause__, error.__context__ = masked, None
    for reached in _reachable(error):
        _write_stack_down(reached)
    return error


def shows_secret(error: BaseException) -> bool:
    """Return whether an exception, or one that led to it, may show a secret in text or attributes.

    One that holds more than is looked at may: what it costs does not grow with an answer.
    """
    for found in _reachable(error):
        if hasattr(found, "errors"):  # pydantic's: see words_of
            return True
        # SDKs keep the body of an answer in an attribute, which error trackers show.
        try:
            held = _texts_in(found.args, vars(found))
            if held is not None:  # else its text may take long to write
                held = _texts_in(held, str(found))
        except Exception:  # as of JSON that is nested too deeply to be written
            return True
        if held is None or redact(held) != held:
            return True
    return False


def _texts_in(*values: Any) -> str | None:
    """Return all text in values, however deeply they are nested; None if it is too much."""
    pending, texts, size = list(values), [], 0
    while pending:
        one = pending.pop()
        if isinstance(one, Mapping | list | tuple | set | frozenset):
            size += 1 + len(one)
            if size <= MOST_READ:
                pending += (*one.keys(), *one.values()) if isinstance(one, Mapping) else one
        else:
            texts.append(one if isinstance(one, str) else repr(one))
            size += len(texts[-1])
        if size > MOST_READ:
            return None
    return "\n".join(texts)


def words_of(error: BaseException) -> str:
    """Return an exception's text without the input of pydantic's, which is cut in its middle.

    Half a key is not recognized as one, and to write a large input takes seconds.
    """
    try:
        if (count := error.error_count()) > _MOST_ERRORS:  # type: ignore[attr-defined]
            return f"{count} parts are malformed"
        wrong: Any = error.errors(include_input=False, include_url=False)  # type: ignore[attr-defined]
        return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in wrong)
    except Exception:  # it is another one
        with contextlib.suppress(Exception):
            return str(error)
        return "its text cannot be written"


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and those that it came from, outermost first, up to our caller's."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or _context(current)


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
        pending += (found.__cause__, _context(found))
        if isinstance(found, BaseExceptionGroup):
            pending += found.exceptions


def _context(error: BaseException) -> BaseException | None:
    """Return an exception's context, unless that is one that our caller is handling.

    The frame that handles an exception is the first one in its traceback. It still runs, and is no
    frame of this library, only if that exception is our caller's.
    """
    context = error.__context__
    if context is None or context.__traceback__ is None:
        return context
    handler = context.__traceback__.tb_frame
    if str(handler.f_globals.get("__name__")).partition(".")[0] == _PACKAGE:
        return context
    running = (frame for frame, _ in walk_stack(sys._getframe()))
    return None if handler in running else context


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
    """An argument that may be a secret. It is no attrs class: rich shows the fields of those."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"<hidden {type(self.value).__name__}>"


_SHOWN: Final = (type(None), bool, int, float, Secret, _Hidden)


def hidden(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Hide the values of a caller's arguments: see `hide`."""
    return {name: hide(value) for name, value in arguments.items()}


def hide(argument: Any) -> Any:
    """Wrap an argument so that no traceback shows its value, unless it cannot be a secret."""
    return argument if isinstance(argument, _SHOWN) else _Hidden(argument)


def plain(argument: Any) -> Any:
    """Return an argument as the caller passed it."""
    return argument.value if isinstance(argument, _Hidden) else argument
