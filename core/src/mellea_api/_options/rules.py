"""One option rule, ready to be applied: whether it holds, what it checks, and where it sends."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from attrs import frozen

from mellea_api._contract.descriptor import NOTHING, Converted, Endpoint, OptionRule, Place
from mellea_api._contract.errors import PluginError
from mellea_api._contract.reports import OptionDecision, Outcome
from mellea_api._contract.requests import Origin, Target
from mellea_api._options.canonical import CANONICAL
from mellea_api._options.checks import CHECKS, Check, same, shown, shown_error
from mellea_api._options.limits import Limits
from mellea_api._options.paths import place, split

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
    """Return None if a rule holds; else why not, where a user would want to know, or nothing."""
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
    def parts(version: str) -> list[int]:
        numbers = []
        for part in version.split("."):
            digits = "".join(character for character in part if character.isdigit())
            if not digits or not part[0].isdigit():
                break
            numbers.append(int(digits))
        return numbers

    return not installed or parts(installed) >= parts(wanted)
