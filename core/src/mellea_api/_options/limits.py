"""The type and the range of an option: one value that is listed, generated from and enforced."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from mellea_api._contract.descriptor import OptionRule
from mellea_api._options.canonical import CANONICAL, CanonicalOption
from mellea_api._options.checks import CHECKS, Check, same, shown

_PLAIN: Final[Mapping[str, Any]] = {"number": float, "integer": int}
_MOST: Final = 2**63
"""The check of the type looks more closely at an integer beyond this."""


@frozen(kw_only=True)
class Limits:
    """What the value of one option must be at one place.

    Args:
        type: A name in `mellea_api._options.checks.CHECKS`.
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

        special, most = self.special, self.max_items
        bounded = bool(self.choices) or not self.minimum is self.maximum is None

        def check(value: Any) -> Any:
            if type(value) is plain and low < value < high:
                return value
            result = convert(value)
            if special and _among(special, result):
                return result
            if bounded:
                self._refuse(result, value)
            if most is not None and len(result) > most:
                raise ValueError(f"takes at most {most} items, not {len(result)}")
            return result

        return check

    def _refuse(self, result: Any, given: Any) -> None:
        """Raise ValueError for a value that is out of range, or none of the choices."""
        low, high = self.minimum, self.maximum
        if (low is not None and (result <= low if self.exclusive_minimum else result < low)) or (
            high is not None and result > high
        ):
            raise ValueError(f"must be {self._range()}, not {shown(given)}")
        if self.choices and not _among(self.choices, result):
            listed = ", ".join(map(repr, self.choices))
            these = f"one of {listed}" if len(self.choices) > 1 else listed
            why = f": {self.why}" if self.why else ""
            raise ValueError(f"must be {these}, not {shown(given)}{why}")

    def _range(self) -> str:
        low, high = self.minimum, self.maximum
        above = "above" if self.exclusive_minimum else "at least"
        parts = [f"{above} {low}"] * (low is not None) + [f"at most {high}"] * (high is not None)
        special = f" (or {', '.join(map(str, self.special))})" if self.special else ""
        return " and ".join(parts) + special


def _among(allowed: tuple[Any, ...], value: Any) -> bool:
    return any(same(value, one) for one in allowed)


@functools.cache
def common_check(name: str) -> Check:
    """Return the check of a common option that no backend's rule narrows."""
    return Limits.of(OptionRule(name=name)).check()
