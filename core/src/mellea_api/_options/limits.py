"""What an option's value must be: its type and its range, listed, generated from and enforced.

A check returns the value in its plain JSON form, or raises ValueError with the end of a
sentence that begins with the option's name: "must be an integer, not '5'".
"""

from __future__ import annotations

import functools
import json
import math
import numbers
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from attrs import frozen

from mellea_api._contract.option_rule import OptionRule
from mellea_api._options.canonical import CANONICAL, CanonicalOption

Check = Callable[[Any], Any]
THINKING_LEVELS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_PLAIN: Final[Mapping[str, Any]] = {"number": float, "integer": int}
_MOST: Final = 2**63
"""The check of the type looks more closely at an integer beyond this."""
_SHOWN_LENGTH: Final = 60


@frozen(kw_only=True)
class Limits:
    """What the value of one option must be at one place.

    Args:
        type: A name in `CHECKS`.
        minimum: Least value, inclusive unless `exclusive_minimum`.
        maximum: Greatest value, inclusive.
        exclusive_minimum: Whether `minimum` itself is not allowed.
        choices: The only values allowed; empty for no such limit.
        special: Values allowed beside the range.
        max_items: Greatest number of items of a list.
        why: Why there are no other choices.
    """

    type: str
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: bool = False
    choices: tuple[Any, ...] = ()
    special: tuple[Any, ...] = ()
    max_items: int | None = None
    why: str = ""

    @classmethod
    def of(cls, rule: OptionRule) -> Limits:
        """Return the limits of the common option, as a rule narrows them."""
        common = CANONICAL.get(rule.name) or CanonicalOption(name=rule.name, type="any", help="")
        low = common if rule.minimum is None else rule
        return cls(
            type=rule.type or common.type,
            minimum=low.minimum,
            maximum=common.maximum if rule.maximum is None else rule.maximum,
            exclusive_minimum=low.exclusive_minimum,
            choices=rule.choices,
            special=rule.special,
            max_items=rule.max_items,
            why="" if rule.convert else rule.reason,  # a conversion's reason says what it does
        )

    def check(self) -> Check:
        """Return a function that returns a value checked, or raises ValueError."""
        convert = CHECKS[self.type]
        if not self.choices and self.minimum is self.maximum is self.max_items is None:
            return convert
        # A plain number well inside the range, which most callers give, needs no more.
        plain = None if self.choices else _PLAIN.get(self.type)
        low = max(-_MOST, -_MOST if self.minimum is None else self.minimum)
        high = min(_MOST, _MOST if self.maximum is None else self.maximum)

        special = self.special

        def check(value: Any) -> Any:
            if type(value) is plain and low < value < high:
                return value
            result = convert(value)
            if not (special and _among(special, result)):
                self._refuse(result, value)
            return result

        return check

    def _refuse(self, result: Any, given: Any) -> None:
        """Raise ValueError for a value that is out of range, none of the choices, or too long."""
        low, high, most = self.minimum, self.maximum, self.max_items
        if most is not None and len(result) > most:
            raise ValueError(f"takes at most {most} items, not {len(result)}")
        if (low is not None and (result <= low if self.exclusive_minimum else result < low)) or (
            high is not None and result > high
        ):
            above = "above" if self.exclusive_minimum else "at least"
            parts = [f"{above} {low}"] * (low is not None)
            parts += [f"at most {high}"] * (high is not None)
            special = f" (or {', '.join(map(str, self.special))})" if self.special else ""
            raise ValueError(f"must be {' and '.join(parts)}{special}, not {shown(given)}")
        if self.choices and not _among(self.choices, result):
            listed = ", ".join(map(repr, self.choices))
            these = f"one of {listed}" if len(self.choices) > 1 else listed
            why = f": {self.why}" if self.why else ""
            raise ValueError(f"must be {these}, not {shown(given)}{why}")


def _among(allowed: tuple[Any, ...], value: Any) -> bool:
    return any(same(value, one) for one in allowed)


@functools.cache
def common_check(name: str) -> Check:
    """Return the check of a common option that no rule of the backend narrows."""
    return Limits.of(OptionRule(name=name)).check()


def shown(value: Any) -> str:
    """Return a value as an error message can hold it: one line, printable, and not too long.

    >>> shown([1, 2])
    '[1, 2]'
    """
    try:
        text = " ".join(repr(value).split())
    except Exception:
        text = f"<{type(value).__name__}>"
    if not text.isprintable():
        text = text.encode("ascii", "backslashreplace").decode()
    return text if len(text) <= _SHOWN_LENGTH else f"{text[: _SHOWN_LENGTH - 1]}…"


def same(one: Any, other: Any) -> bool:
    """Compare without taking True for 1; values that cannot be compared equal only themselves.

    >>> same(1, 1.0), same(1, True)
    (True, False)
    """
    try:
        return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)
    except Exception:
        return one is other


def _number(value: Any) -> float | int:
    if type(value) is float and math.isfinite(value):  # what most callers give
        return value
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise ValueError(f"must be a number, not {shown(value)}")
    try:
        result = float(value)
    except Exception:  # too large; or an object whose own conversion fails
        result = math.inf
    if not math.isfinite(result):
        raise ValueError(f"must be a finite number, not {shown(value)}")
    if isinstance(value, int):
        return int(value)
    return result


def _integer(value: Any) -> int:
    result = value
    if type(value) is not int:
        try:
            result = None if isinstance(value, bool) else int(operator.index(value))
        except Exception:
            result = None
        if result is None:
            raise ValueError(f"must be an integer, not {shown(value)}")
    if not -(2**63) <= result < 2**64:
        # No provider holds more, and from 4,300 digits on it cannot be written as JSON.
        raise ValueError(f"must be an integer of at most 64 bits, not {shown(value)}")
    return int(result)


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
    return str.__str__(value)  # str() of a member of a text enum is not its value


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        value = [value]
    elif type(value) is not list:
        if not isinstance(value, Sequence) or isinstance(value, bytes | bytearray):
            raise ValueError(f"must be text or a list of texts, not {shown(value)}")
        value = _copied(list, value)
    result = []
    for position, item in enumerate(value):
        if type(item) is str and item.isascii() and item:  # what most callers give
            result.append(item)
            continue
        if not isinstance(item, str) or not item:
            raise ValueError(f"[{position}] must be text that is not empty, not {shown(item)}")
        try:
            result.append(_text(item))
        except ValueError as error:
            raise ValueError(f"[{position}] {error}") from None
    return result


def _copied(kind: type, value: Any) -> Any:
    """Return a container of any class as a list or dict."""
    try:
        return kind(value)
    except Exception as error:
        raise ValueError(f"cannot be read: {shown_error(error)}") from None


def _thinking(value: Any) -> bool | str:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value in THINKING_LEVELS:
        return _text(value)
    raise ValueError(
        f"must be true, false or one of {', '.join(THINKING_LEVELS)}, not {shown(value)}"
    )


def _json(value: Any) -> Any:
    """Accept what JSON can say, and return it as plain lists and dicts."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        text.encode()  # half of a surrogate pair cannot be sent
        return json.loads(text)
    except RecursionError:
        raise ValueError("is nested too deeply to be sent") from None
    except Exception as error:  # whatever an object's own methods raise
        raise ValueError(f"cannot be sent as JSON: {shown_error(error)}") from None


def shown_error(error: Exception) -> str:
    """Return an exception as an error message can hold it.

    >>> shown_error(ValueError("no"))
    'ValueError: no'
    """
    try:
        said = " ".join(str(error).split()).encode("ascii", "backslashreplace").decode()
    except Exception:
        said = ""
    text = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return text if len(text) <= 2 * _SHOWN_LENGTH else f"{text[: 2 * _SHOWN_LENGTH - 1]}…"


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"must be an object (a dict), not {shown(value)}")
    checked = _json(_copied(dict, value))
    assert isinstance(checked, dict)
    return checked


def _seconds(value: Any) -> float | int:
    result = _number(value)
    if result <= 0:
        raise ValueError(f"must be a number of seconds above 0, not {shown(value)}")
    return result


def _tools(value: Any) -> Any:
    """Accept what Mellea takes: a list of tools, or tools by name."""
    if isinstance(value, Mapping):
        tools = _copied(dict, value)
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        tools = _copied(list, value)
    else:
        raise ValueError(f"must be a list of tools, or tools by name, not {shown(value)}")
    for place, tool in tools.items() if isinstance(tools, dict) else enumerate(tools):
        # Mellea asserts that each can be called; a description in JSON cannot.
        if not (callable(tool) or callable(getattr(tool, "run", None))):
            raise ValueError(
                f"[{shown(place)}] must be a tool that can be called, not {shown(tool)}"
            )
    return tools


def _tool_choice(value: Any) -> Any:
    if isinstance(value, str) and value:
        return _text(value)
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
