"""One option rule, ready to be applied: whether it holds, what it checks, and where it sends.

A place is dotted, in nested dicts: `extra_body.top_k`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from attrs import frozen

from mellea_api._contract.errors import PluginError
from mellea_api._contract.option_rule import NOTHING, Converted, Endpoint, OptionRule, Place
from mellea_api._contract.reports import OptionDecision, Outcome
from mellea_api._contract.requests import Origin, Target
from mellea_api._options.canonical import CANONICAL
from mellea_api._options.limits import CHECKS, Check, Limits, same, shown, shown_error

EXTRA: Final = "extra."
"""Prefix of names that are passed on unchecked."""


@frozen
class Entry:
    """A rule at one endpoint.

    Args:
        rule: The rule.
        native: The option's place there; None if it is not supported.
        check: Checks a value.
        key: The steps to the place in the options of Mellea's backend.
        wire: The steps to the place in the provider's JSON.
        outcome: What becomes of a value that is sent as it is.
    """

    rule: OptionRule
    native: Place | None
    check: Check
    key: tuple[str, ...]
    wire: tuple[str, ...]
    outcome: Outcome

    @classmethod
    def of(cls, rule: OptionRule, endpoint: Endpoint) -> Entry:
        """Return a rule ready to be applied at an endpoint."""
        native = rule.native(endpoint)
        key, wire = (split(native.key), split(native.wire)) if native else ((), ())
        outcome: Outcome = "renamed"
        if rule.name == "*" or ((rule.type or "any") == "any" and rule.name not in CANONICAL):
            outcome = "passed"
        elif rule.convert:
            outcome = "converted"
        elif not wire or wire[-1] == rule.name:
            outcome = "kept"
        return cls(rule, native, Limits.of(rule).check(), key, wire, outcome)

    def holds(self, options: Mapping[str, Any]) -> bool:
        """Return whether the other options are as the rule requires."""
        return all(
            any(same(options.get(other), wanted) for wanted in allowed)
            for other, allowed in self.rule.requires.items()
        )

    @property
    def plain(self) -> bool:
        """Whether the checked value is simply set under one key, whatever the other options."""
        return (
            self.native is not None
            and len(self.key) == 1
            and self.rule.convert is None
            and not self.rule.requires
        )

    @property
    def places(self) -> list[tuple[str, ...]]:
        """Where a plain value goes: for whom, and the steps."""
        return [(side, *path) for side, path in (("key", self.key), ("wire", self.wire)) if path]

    def apply(self, value: Any) -> Step:
        """Return what becomes of a value.

        Raises:
            ValueError: If it cannot be sent; the text ends a sentence that begins with the
                option's name.
            PluginError: If the rule's conversion fails.
        """
        checked = self.check(value)
        if self.rule.convert is not None:
            return Step(self, value, self._convert(checked))
        if checked == []:
            return Step(self, value, Converted.nothing("an empty list: nothing is sent"))
        return Step(self, value, Converted(checked))

    def _convert(self, checked: Any) -> Converted:
        """Run the rule's conversion, which is a plugin's code."""
        convert = self.rule.convert
        assert convert is not None
        try:
            converted = convert(checked)
        except (ValueError, PluginError):
            raise
        except Exception as error:
            failure, cause = f"raised {shown_error(error)}", error
        else:
            if isinstance(converted, Converted):
                sent = converted.value if converted.wire is NOTHING else converted.wire
                # A conversion may overflow, say.
                CHECKS["any"]([None if sent is NOTHING else sent, *converted.wires.values()])
                return converted
            failure, cause = f"returned a {type(converted).__name__}, not a Converted", None
        name = getattr(convert, "__qualname__", "") or shown(convert)
        raise PluginError(
            f"Cannot convert {self.rule.name}: the conversion {name} of {shown(checked)} "
            f"{failure}.",
            next_step="Upgrade or fix the backend's plugin, or leave the option out.",
        ) from cause


@frozen
class Step:
    """What becomes of one value: what is sent for it, and what the report says.

    Args:
        entry: The rule that decided; None if there is none.
        value: As given.
        converted: What is sent; None if the option is not supported.
        reason: Why it is not supported.
    """

    entry: Entry | None
    value: Any
    converted: Converted | None
    reason: str = ""

    @property
    def sent(self) -> Any:
        """What the provider sees at the rule's own place; `NOTHING` for nothing."""
        if self.converted is None:
            return NOTHING
        wire = self.converted.wire
        return self.converted.value if wire is NOTHING else wire

    def send(self, options: dict[str, Any], wire: dict[str, Any]) -> None:
        """Put the value where Mellea's backend and the provider look for it.

        Raises:
            PathTakenError: If another option is there.
        """
        entry, converted = self.entry, self.converted
        if entry is None or converted is None:
            return
        if converted.value is not NOTHING:
            place(options, entry.key, converted.value)
            if entry.wire:
                place(wire, entry.wire, self.sent)
        for dotted, value in converted.options.items():
            place(options, split(dotted), value)
        for dotted, value in converted.wires.items():
            place(wire, split(dotted), value)

    def decision(self, name: str, spelling: str, origin: Origin) -> OptionDecision:
        """Return what the report says.

        Args:
            name: The option's name.
            spelling: The name under which it was given.
            origin: Where the value came from.
        """
        outcome: Outcome = "dropped"
        reason = self.reason
        path: tuple[str, ...] = ()
        sent = self.sent
        if self.entry is not None and self.converted is not None:
            reason = self.converted.reason or self.entry.rule.reason
            outcome, path = self.entry.outcome, self.entry.wire
            silent = self.converted.value is NOTHING
            if silent and not self.converted.wires:
                outcome, path = "converted", ()
            elif outcome != "passed" and not silent and not same(sent, self.value):
                outcome = "converted"
            if path and sent is NOTHING:
                first, sent = next(iter(self.converted.wires.items()))
                path = split(first)
            if origin.source == "extension":
                outcome = "patched"
        return OptionDecision(
            name=name,
            spelling=spelling,
            outcome=outcome,
            value=self.value,
            wire=".".join(path),
            sent=sent if path else None,
            origin=origin.source,
            reason="; ".join(filter(None, (origin.note, reason))),
            source=self.entry.rule.source if self.entry is not None else "",
        )


def why_not(rule: OptionRule, target: Target, endpoint: Endpoint) -> str | None:
    """Return None if a rule holds; else why not, or empty text if no user would want to know."""
    if rule.supported and rule.native(endpoint) is None:
        return ""
    model = target.model_id.lower()
    if rule.models and not any(fnmatchcase(model, pattern.lower()) for pattern in rule.models):
        return ""
    if any(fnmatchcase(model, pattern.lower()) for pattern in rule.not_models):
        return ""
    if rule.server is not None and rule.server not in target.servers:
        return ""
    if rule.mellea and not _at_least(target.mellea_version, rule.mellea):
        return (
            f"needs Mellea {rule.mellea} or newer, and {target.mellea_version} is installed"
            if rule.supported
            else ""
        )
    return None


def _at_least(installed: str, wanted: str) -> bool:
    one, other = (
        [int(part) for part in re.sub(r"[^\d.].*", "", version).split(".") if part]
        for version in (installed, wanted)
    )
    return not installed or one >= other


class PathTakenError(ValueError):
    """Another value is at that place already; the text is the place."""


def split(dotted: str | tuple[str, ...]) -> tuple[str, ...]:
    """Return the steps of a dotted path; a tuple of steps stays as it is.

    >>> split("extra_body.top_k")
    ('extra_body', 'top_k')
    >>> split("")
    ()
    >>> split(("a name.with a dot",))
    ('a name.with a dot',)
    """
    if isinstance(dotted, tuple):
        return dotted
    return tuple(step for step in dotted.split(".") if step)


_HOLDERS: Final = frozenset({dict, list})


def own(value: Any) -> Any:
    """Copy lists and dicts, at every depth, but not what they hold.

    The caller may change them as soon as the call returns.

    >>> given = {"stop": ["a"]}
    >>> kept = own(given)
    >>> given["stop"].append("b")
    >>> kept
    {'stop': ['a']}
    """
    kind = type(value)
    try:
        if kind is dict:
            return {
                name: own(item) if type(item) in _HOLDERS else item for name, item in value.items()
            }
        if kind is list:
            kept = value.copy()
            for position, item in enumerate(kept):
                if type(item) in _HOLDERS:
                    kept[position] = own(item)
            return kept
    except RecursionError:
        pass  # too deep, or within itself: the checks refuse it
    return value


def place(into: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Put a value at a place, and make the dicts on the way; two dicts at one place are merged.

    Args:
        into: The outermost dict.
        path: The steps, at least one.
        value: What to put there.

    Raises:
        PathTakenError: If another value is there, or on the way.

    >>> body = {"extra_body": {"min_p": 0.1}}
    >>> place(body, ("extra_body", "top_k"), 5)
    >>> body
    {'extra_body': {'min_p': 0.1, 'top_k': 5}}
    """
    here = into
    for step in path[:-1]:
        here = here.setdefault(step, {})
        if not isinstance(here, dict):
            raise PathTakenError(".".join(path))
    last = path[-1]
    if last not in here:
        here[last] = dict(value) if isinstance(value, dict) else value
    elif isinstance(here[last], dict) and isinstance(value, dict):
        for name, item in value.items():
            place(here[last], (name,), item)
    elif isinstance(here[last], list) and isinstance(value, list) and path == ("messages",):
        here[last] = [*here[last], *value]
    elif here[last] != value:
        raise PathTakenError(".".join(path))
