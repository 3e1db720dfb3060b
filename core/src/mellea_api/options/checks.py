"""The types that an option's value can have, each a function from value to checked value.

A check returns the value in its plain JSON form, or raises ValueError with the end of a
sentence that begins with the option's name: "must be an integer, not '5'".
"""

from __future__ import annotations

import json
import math
import numbers
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

__all__ = ["CHECKS", "THINKING_LEVELS", "Check", "shown"]

Check = Callable[[Any], Any]

THINKING_LEVELS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_SHOWN_LENGTH: Final = 60


def shown(value: Any) -> str:
    """Return a value as an error message can hold it: one line, and not too long.

    >>> shown([1, 2])
    '[1, 2]'
    """
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    return text if len(text) <= _SHOWN_LENGTH else f"{text[: _SHOWN_LENGTH - 1]}…"


def _number(value: Any) -> float | int:
    if type(value) is float and math.isfinite(value):  # what nearly every caller gives
        return value
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise ValueError(f"must be a number, not {shown(value)}")
    if isinstance(value, int):
        return int(value)
    try:
        result = float(value)
    except (OverflowError, ValueError):
        raise ValueError(f"must be a finite number, not {shown(value)}") from None
    if not math.isfinite(result):
        raise ValueError(f"must be a finite number, not {shown(value)}")
    return result


def _integer(value: Any) -> int:
    if type(value) is int:
        return value
    if isinstance(value, bool):
        raise ValueError(f"must be an integer, not {shown(value)}")
    try:
        return int(operator.index(value))
    except TypeError:
        raise ValueError(f"must be an integer, not {shown(value)}") from None


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError(f"must be true or false, not {shown(value)}")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be text, not {shown(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("holds half of a surrogate pair, which cannot be sent") from None
    return str(value)


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, Sequence) or isinstance(value, bytes | bytearray):
        raise ValueError(f"must be text or a list of texts, not {shown(value)}")
    result = []
    for position, item in enumerate(value):
        if not isinstance(item, str) or not item:
            raise ValueError(f"[{position}] must be text that is not empty, not {shown(item)}")
        result.append(_text(item))
    return result


def _thinking(value: Any) -> bool | str:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value in THINKING_LEVELS:
        return str(value)
    raise ValueError(
        f"must be true, false or one of {', '.join(THINKING_LEVELS)}, not {shown(value)}"
    )


def _json(value: Any) -> Any:
    """Accept what JSON can say, and give it back as plain lists and dicts of its own."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except RecursionError:
        raise ValueError("is nested too deeply to be sent") from None
    except (TypeError, ValueError) as error:
        raise ValueError(f"cannot be sent as JSON: {error}") from None


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"must be an object (a dict), not {shown(value)}")
    checked = _json(dict(value))
    assert isinstance(checked, dict)
    return checked


def _seconds(value: Any) -> float | int:
    result = _number(value)
    if result <= 0:
        raise ValueError(f"must be a number of seconds above 0, not {shown(value)}")
    return result


def _tools(value: Any) -> Any:
    """Accept what Mellea takes: tools as a list, or by name; their make is Mellea's business."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return list(value)
    raise ValueError(f"must be a list of tools, or tools by name, not {shown(value)}")


def _tool_choice(value: Any) -> Any:
    if isinstance(value, str) and value:
        return value
    if isinstance(value, Mapping):
        return _object(value)
    raise ValueError(
        f"must be 'auto', 'none', 'required' or an object that names a tool, not {shown(value)}"
    )


CHECKS: Final[Mapping[str, Check]] = {
    "number": _number,
    "integer": _integer,
    "boolean": _boolean,
    "text": _text,
    "texts": _texts,
    "thinking": _thinking,
    "object": _object,
    "seconds": _seconds,
    "tools": _tools,
    "tool_choice": _tool_choice,
    "any": _json,
}
"""The check of each type name that an `OptionRule` or a `CanonicalOption` can have."""
