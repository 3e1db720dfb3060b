"""What a rule does with an option, in words, and which rules there is something to say of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import attrs

from generator.markdown import code
from generator.signatures import value_text
from mellea_api._options.canonical import CANONICAL
from mellea_api._options.limits import THINKING_LEVELS
from mellea_api.plugin import Converted, OptionRule

__all__ = [
    "NO_SUCH",
    "SILENT",
    "Line",
    "bounds",
    "by_name",
    "cell",
    "fate",
    "lines",
    "that_count",
    "when",
]

SILENT: Final = "; nothing is sent"
NO_SUCH: Final = "no such option there"
_MANY: Final[Any] = object()


def bounds(of: Any) -> str:
    """Say the range of a canonical option, or how a rule narrows it."""
    parts = []
    low, high = of.minimum, of.maximum
    if low is not None and high is not None:
        parts.append(f"{'above ' if of.exclusive_minimum else ''}{_number(low)} to {_number(high)}")
    elif low is not None:
        parts.append(f"{'above' if of.exclusive_minimum else 'at least'} {_number(low)}")
    elif high is not None:
        parts.append(f"at most {_number(high)}")
    if getattr(of, "special", ()):
        parts.append(f"also {code(*of.special)}")
    if getattr(of, "choices", ()):
        parts.append(f"one of {code(*map(value_text, of.choices))}")
    if getattr(of, "max_items", None):
        parts.append(f"at most {of.max_items} items")
    return "; ".join(parts)


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def fate(rule: OptionRule, endpoint: str) -> tuple[str, str]:
    """Say what a rule does at an endpoint in a word or two, and where the value goes."""
    native = rule.chat if endpoint == "chat" else rule.completion
    if native is None:
        return "not supported", ""
    if rule.convert and (rule.convert == Converted.unsaid or rule.reason.endswith(SILENT)):
        return "converted to nothing", ""
    wire = native.wire
    if rule.convert:
        return "converted", wire
    return "renamed" if wire and wire.rpartition(".")[2] != rule.name else "kept", wire


def outcome(rule: OptionRule, endpoint: str) -> str:
    """Say what a rule does at an endpoint, in one phrase."""
    does, wire = fate(rule, endpoint)
    if does == "not supported":
        return f"{does}: {rule.reason}"
    if does == "converted to nothing":
        return f"{does}: {rule.reason.removesuffix(SILENT)}"
    text = does + (f": `{wire}`" if wire else "")
    needs = f"Mellea {rule.mellea} or newer" if rule.mellea else ""
    return "; ".join(filter(None, (text, bounds(rule), needs, rule.reason)))


def when(rule: OptionRule) -> str:
    """Say under which conditions a rule holds."""
    conditions = []
    for name, values in rule.requires.items():
        known = " or ".join(f"`{value!r}`" for value in values if value is not None)
        if None in values:
            known = f"{known} or not given" if known else "not given"
        conditions.append(known if name == rule.name else f"with `{name}` {known}")
    if rule.models:
        conditions.insert(0, f"models {code(*rule.models)}")
    if rule.not_models:
        conditions.insert(0, f"not models {code(*rule.not_models)}")
    return f"{', '.join(conditions)}: " if conditions else ""


def cell(rules: Iterable[OptionRule], endpoint: str) -> str:
    """Say what becomes of one option: the rules that speak of an endpoint, the first that holds."""
    said = [when(rule) + outcome(rule, endpoint) for rule in that_count(rules, endpoint)]
    return "<br>".join(dict.fromkeys(said)) or f"not supported: {NO_SUCH}"


def that_count(rules: Iterable[OptionRule], endpoint: str) -> Iterator[OptionRule]:
    """Yield the rules that speak of an endpoint, until there is no case left."""
    spoken: dict[str, set[Any]] = {}
    for rule in rules:
        speaks = (rule.chat if endpoint == "chat" else rule.completion) or not rule.supported
        if not speaks:
            continue
        if len(rule.requires) == 1:
            ((name, values),) = rule.requires.items()
            if {*values} <= spoken.get(name, set()):
                continue  # an earlier one speaks of these values on every model
        yield rule
        if rule.models or rule.not_models or (rule.mellea and rule.supported):
            continue
        if not rule.requires:
            break
        if len(rule.requires) == 1:
            ((name, values),) = rule.requires.items()
            spoken.setdefault(name, set()).update(values)
            if spoken[name] >= _cases(name, rule.name):
                break


def _cases(name: str, of: str) -> set[Any]:
    """Return the values that a condition on an option can meet; one that no set holds, if many."""
    given: dict[str, set[Any]] = {
        "thinking": {True, False, *THINKING_LEVELS},
        "boolean": {True, False},
    }
    values = given.get(CANONICAL[name].type, {_MANY}) if name in CANONICAL else {_MANY}
    return values if name == of else {*values, None}


@attrs.frozen
class Line:
    """One line of a cell: what a rule does with an option; no rule, no such option."""

    option: str
    endpoint: str
    rule: OptionRule | None
    earlier: tuple[OptionRule, ...] = ()


def lines(rules: Iterable[OptionRule], server: str | None = None) -> Iterator[Line]:
    """Yield every line of the tables of some rules; a test proves each on the backend's engine."""
    found = by_name(rules, server, models=True)
    for name in dict.fromkeys((*CANONICAL, *found)):
        for endpoint in ("chat", "completion"):
            count = list(that_count(found.get(name, ()), endpoint))
            for number, rule in enumerate(count or [None]):
                if name != "*":
                    yield Line(name, endpoint, rule, tuple(count[:number]))


_DIALECTS = {"official": "openai", "compatible": "any"}
"""Which dialect the backend `openai` takes a server for."""


def by_name(
    rules: Iterable[OptionRule], server: str | None, *, models: bool
) -> dict[str, list[OptionRule]]:
    """Return the rules for a server by option's name; those for some models only if asked for."""
    found: dict[str, list[OptionRule]] = {}
    servers = (None, server, _DIALECTS.get(server or ""))
    for rule in rules:
        if (server is None or rule.server in servers) and (models or not rule.models):
            found.setdefault(rule.name, []).append(rule)
    return found
