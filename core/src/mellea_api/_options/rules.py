"""One option rule, ready to be applied: whether it holds, what it checks, and where it sends."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final, Literal

from attrs import frozen

from mellea_api._contract.descriptor import NOTHING, Converted, Endpoint, OptionRule, Place
from mellea_api._contract.errors import PluginError
from mellea_api._contract.requests import Target
from mellea_api._options.canonical import CANONICAL
from mellea_api._options.checks import CHECKS, Check, same, shown
from mellea_api._options.paths import place, split

EXTRA: Final = "extra."
"""Prefix of names that are passed on unchecked."""


# For a backend that does not say where names without a rule go: where all others go.
PASS_ON: Final = OptionRule(name="*", chat="", completion="")


@frozen
class Entry:
    """One rule that holds here, ready to be applied."""

    rule: OptionRule
    native: Place | None
    check: Check
    conversion: Callable[[Any], Converted] | None
    key: tuple[str, ...]
    wire: tuple[str, ...]
    outcome: Literal["kept", "renamed", "converted", "passed"]

    @property
    def direct(self) -> bool:
        """Whether the checked value is simply set under one flat key."""
        return self.conversion is None and len(self.key) == 1 and not self.rule.requires


# Stands for the options that Mellea itself acts on.
MELLEA: Final = Entry(PASS_ON, PASS_ON.chat, CHECKS["any"], None, (), (), "passed")


def compile_rule(rule: OptionRule, endpoint: Endpoint) -> Entry:
    """Return a rule ready to be applied at an endpoint."""
    native = rule.native(endpoint)
    key = split(native.key) if native else ()
    wire = split(native.wire) if native else ()
    outcome: Literal["kept", "renamed", "converted", "passed"] = "renamed"
    if rule.name == "*" or ((rule.type or "any") == "any" and rule.name not in CANONICAL):
        outcome = "passed"
    elif rule.convert:
        outcome = "converted"
    elif not wire or wire[-1] == rule.name:
        outcome = "kept"
    return Entry(
        rule,
        native,
        _rule_check(rule),
        rule.convert,
        key,
        wire,
        outcome,
    )


def why_not(rule: OptionRule, target: Target, endpoint: Endpoint) -> str | None:
    """Return None if a rule holds; else why not, where a user would want to know, or nothing."""
    if rule.supported and rule.native(endpoint) is None:
        return ""
    model = target.model_id.lower()
    if rule.models and not any(fnmatchcase(model, pattern.lower()) for pattern in rule.models):
        return ""
    if any(fnmatchcase(model, pattern.lower()) for pattern in rule.not_models):
        return ""
    if rule.server is not None and rule.server != target.server:
        return ""
    if rule.mellea and not _at_least(target.mellea_version, rule.mellea):
        return (
            f"needs Mellea {rule.mellea} or newer, and {target.mellea_version} is installed"
            if rule.supported
            else ""
        )
    return None


def _at_least(installed: str, wanted: str) -> bool:
    def parts(version: str) -> list[int]:
        numbers = []
        for part in version.split("."):
            digits = "".join(character for character in part if character.isdigit())
            if not digits or not part[0].isdigit():
                break
            numbers.append(int(digits))
        return numbers

    return not installed or parts(installed) >= parts(wanted)


def _rule_check(rule: OptionRule) -> Check:
    canonical = CANONICAL.get(rule.name)
    kind = rule.type or (canonical.type if canonical else "any")
    minimum, exclusive = rule.minimum, rule.exclusive_minimum
    maximum = rule.maximum
    if canonical is not None:
        if minimum is None:
            minimum, exclusive = canonical.minimum, canonical.exclusive_minimum
        if maximum is None:
            maximum = canonical.maximum
    if kind not in CHECKS:
        raise PluginError(
            f"Cannot read the option rule for {rule.name!r}: there is no type {kind!r}.",
            next_step=f"The plugin's author can name one of {', '.join(sorted(CHECKS))}.",
        )
    return _bounded(
        CHECKS[kind],
        minimum,
        maximum,
        exclusive,
        rule.choices,
        rule.special,
        rule.max_items,
        "" if rule.convert else rule.reason,  # that of a conversion says what it does
    )


_PLAIN: Final[Mapping[Check, Any]] = {CHECKS["number"]: float, CHECKS["integer"]: int}
_MOST: Final = 2**63  # an integer beyond it is looked at more closely


@functools.cache
def canonical_check(name: str) -> Check:
    """Return the check of a canonical option, which no backend's rule narrows."""
    return _rule_check(OptionRule(name=name))


def _bounded(
    check: Check,
    minimum: float | None,
    maximum: float | None,
    exclusive: bool,
    choices: tuple[Any, ...],
    special: tuple[Any, ...],
    max_items: int | None,
    why: str,
) -> Check:
    """Return a check that also holds a value to a range, to choices and to a length."""
    if minimum is None and maximum is None and not choices and max_items is None:
        return check
    low = f"{'above' if exclusive else 'at least'} {minimum}" if minimum is not None else ""
    high = f"at most {maximum}" if maximum is not None else ""
    also = f" (or {', '.join(map(str, special))})" if special else ""
    wanted = " and ".join(filter(None, (low, high))) + also
    # A plain number well inside the range, as nearly every caller gives it, needs no more.
    plain = None if choices else _PLAIN.get(check)
    floor = max(-_MOST, -_MOST if minimum is None else minimum)
    ceiling = min(_MOST, _MOST if maximum is None else maximum)

    def checked(value: Any) -> Any:
        if type(value) is plain and floor < value < ceiling:
            return value
        result = check(value)
        if special and any(same(result, allowed) for allowed in special):
            return result
        if minimum is not None and (result <= minimum if exclusive else result < minimum):
            raise ValueError(f"must be {wanted}, not {shown(value)}")
        if maximum is not None and result > maximum:
            raise ValueError(f"must be {wanted}, not {shown(value)}")
        if choices and not any(same(result, allowed) for allowed in choices):
            listed = ", ".join(repr(choice) for choice in choices)
            these = f"one of {listed}" if len(choices) > 1 else listed
            raise ValueError(f"must be {these}, not {shown(value)}{f': {why}' if why else ''}")
        if max_items is not None and len(result) > max_items:
            raise ValueError(f"takes at most {max_items} items, not {len(result)}")
        return result

    return checked


def shared_places(entries: Mapping[str, list[Entry]]) -> set[tuple[str, tuple[str, ...]]]:
    """Return the places that options of several names go to, or through.

    Only the long way sees that one of them would overwrite another.
    """
    owners: dict[tuple[str, tuple[str, ...]], set[str]] = {}
    ends: set[tuple[str, tuple[str, ...]]] = set()
    paths = [
        (name, side, path)
        for name, candidates in entries.items()
        if name != "*"
        for entry in candidates
        for side, path in (("key", entry.key), ("wire", entry.wire))
        if path
    ]
    for name, side, path in paths:
        ends.add((side, path))
        for length in range(1, len(path) + 1):
            owners.setdefault((side, path[:length]), set()).add(name)
    shared = {place for place in ends if len(owners[place]) > 1}
    for _, side, path in paths:  # below a place that another option fills as a whole
        if any((side, path[:length]) in shared for length in range(1, len(path))):
            shared.add((side, path))
    return shared


def wire_path(entry: Entry, name: str) -> tuple[str, ...]:
    """Return an option's place in the provider's JSON, as steps."""
    if name.startswith(EXTRA):
        return (*entry.wire, name.removeprefix(EXTRA))
    return entry.wire


def send(
    entry: Entry, name: str, converted: Converted, result: dict[str, Any], wire: dict[str, Any]
) -> None:
    """Put a converted value where Mellea's backend and the provider look for it."""
    if entry is MELLEA:
        result[name] = converted.value
        return
    key = entry.key
    if name.startswith(EXTRA):
        key = (*key, name.removeprefix(EXTRA))
    if converted.value is not NOTHING:
        place(result, key, converted.value)
        path = wire_path(entry, name)
        if path:
            place(wire, path, converted.value if converted.wire is NOTHING else converted.wire)
    for dotted, value in converted.options.items():
        place(result, split(dotted), value)
    for dotted, value in converted.wires.items():
        place(wire, split(dotted), value)
