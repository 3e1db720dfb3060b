"""A backend's option rules, compiled for one model, one server and one endpoint."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from attrs import evolve

from mellea_api._contract.errors import OptionError, OptionProblem
from mellea_api._contract.option_rule import Endpoint, OptionRule, Place
from mellea_api._contract.refusals import completed
from mellea_api._contract.reports import NormalizedOptions
from mellea_api._contract.requests import OptionsRequest, Origin, Target
from mellea_api._options.canonical import CANONICAL, INTERNAL, MERGED, SPELLINGS
from mellea_api._options.limits import Check, Limits, common_check
from mellea_api._options.rules import EXTRA, Entry, PathTakenError, Step, why_not
from mellea_api._options.shared_rules import ONE_ANSWER

_IMMUTABLE: Final = frozenset({"number", "integer", "boolean", "text", "thinking", "seconds"})


class Recipe(NamedTuple):
    """How options of some names are rendered, whatever their values.

    Attributes:
        steps: For each option that counts: under which name it is given, the key that Mellea's
            backend has for it, and its check.
        changeable: The names of the call's options whose values the caller may change later.
    """

    steps: list[tuple[str, str, Check]]
    changeable: list[str]


_GIVEN: Final = Origin("", "call")
# For a backend without rules for these.
_DEFAULTS: Final = (OptionRule(name="*", chat="", completion=""), ONE_ANSWER)
_MELLEA: Final = Entry(
    OptionRule(name="*", reason="an option of Mellea's own, which acts on it and does not send it"),
    Place("", ""),
    lambda value: value,
    (),
    (),
    "passed",
)


def apply_rules(request: OptionsRequest) -> NormalizedOptions:
    """Render options by the descriptor's rules, with the full report.

    Args:
        request: Canonical options; one without an origin counts as given in the call.

    Raises:
        OptionError: If an option cannot be sent as it was given; lists all problems.
    """
    plan = plan_for(request.target, request.endpoint)
    result: dict[str, Any] = {}
    wire: dict[str, Any] = {}
    decisions = []
    problems: list[OptionProblem] = []
    for name in sorted(request.options, key=table_order):
        origin = request.origins.get(name, _GIVEN)
        spelling = spelled(origin, name)
        try:
            step = plan.step(name, request.options)
            step.send(result, wire)
        except PathTakenError as taken:
            problems.append(
                OptionProblem(spelling, f"would be sent to {taken} as well as another option")
            )
        except ValueError as error:
            item, bracket, message = str(error).partition("] ")  # "[2] must be text"
            inside = bracket and item.startswith("[")
            path = f"{spelling}{item}]" if inside else spelling
            problems.append(OptionProblem(path, message if inside else str(error)))
        else:
            decisions.append(step.decision(name, spelling, origin))
    if problems:
        raise completed(OptionError(problems=problems), request.target)
    return NormalizedOptions(options=result, wire=wire, decisions=decisions)


def plan_for(target: Target, endpoint: Endpoint) -> Plan:
    """Return the compiled plan for a target; compiled once for those that share it."""
    rules = target.descriptor.options
    about = (target.backend, target.model_id, target.servers, target.mellea_version)
    key = (id(rules), *about, endpoint)
    found = _plans.get(key)
    if found is None or found.rules is not rules:
        if len(_plans) >= _MOST_PLANS:
            _plans.clear()
        found = _plans[key] = Plan(target, endpoint)
    return found


_MOST_PLANS: Final = 512
_plans: dict[tuple[object, ...], Plan] = {}


def spelled(origin: Origin | None, name: str) -> str:
    """Return the name under which the user gave an option, for messages."""
    return origin.spelling if origin and origin.spelling else name.removeprefix(EXTRA)


class Plan:
    """What one model behind one server at one endpoint does with each option.

    Args:
        target: Backend, model and server.
        endpoint: `chat` or `completion`.

    Attributes:
        spellings: The name (canonical, or native) of every spelling that is understood here.
        secrets: The names of credentials, which are no options: reports show options.
        passes: Whether names that mean nothing here are sent, under `unknown="pass"`.
        entries: The rules that hold, by the option's name; the first whose `requires` is met
            counts.
        unmet: Why the rules for an option do not hold, if a user would want to know.
    """

    def __init__(self, target: Target, endpoint: Endpoint) -> None:
        self.backend = target.backend
        self.rules = target.descriptor.options  # held, so that no other ones get their id
        self.what = _describe(target, endpoint)
        self.secrets = frozenset(
            field.name for field in target.descriptor.credentials if field.secret
        )
        self.passes = not {*target.servers} & {*target.descriptor.drops_unknown}
        self.entries: dict[str, list[Entry]] = {}
        self.unmet: dict[str, str] = {}
        self.spellings: dict[str, str] = dict(SPELLINGS)
        names = {rule.name for rule in self.rules}
        self.spellings.update((name, name) for name in names - {"*"})
        for rule in (*self.rules, *(rule for rule in _DEFAULTS if rule.name not in names)):
            self._learn_spellings(rule)
            unmet = why_not(rule, target, endpoint)
            if unmet is None:
                self.entries.setdefault(rule.name, []).append(Entry.of(rule, endpoint))
            elif unmet:
                self.unmet.setdefault(rule.name, unmet)

    def _learn_spellings(self, rule: OptionRule) -> None:
        """Take the provider's own name of an option for a spelling of it."""
        for native in (rule.chat, rule.completion):
            if native and rule.name != "*":
                # What is converted may go to a place that is more than this option.
                paths = (native.key,) if rule.convert else (native.key, native.wire)
                for name in filter(None, (path.rpartition(".")[2] for path in paths)):
                    self.spellings.setdefault(name, rule.name)

    def known(self) -> list[str]:
        """Return every name that means something here, for suggestions."""
        return [name for name in (*self.spellings, *INTERNAL) if not name.startswith("@@@")]

    def takes(self, name: str, value: Any) -> bool:
        """Return whether an option of this name and value, alone, has a place here."""
        entry = self._find(name, {name: value})
        return entry is not None and entry.native is not None

    def recipe(self, defaults: Iterable[str], call: Sequence[str]) -> Recipe | None:
        """Return how to render options without a report, whatever their values.

        Args:
            defaults: The names of the session's options.
            call: The call's options, as they are spelt.

        Returns:
            None if some option needs more than to be checked and set under one key, or if its
            place is that of another one, holds it, or lies within it.
        """
        if not defaults and not call:
            return Recipe([], [])
        given = {self.spellings.get(spelling, ""): spelling for spelling in call}
        spelt = {**{name: name for name in defaults}, **given}
        entries = {
            spelt[name]: found[0]
            for name in spelt
            if (found := self.entries.get(name)) and found[0].plain
        }
        places = [place for entry in entries.values() for place in entry.places]
        if (
            len(given) < len(call)
            or MERGED.intersection(spelt)
            or len(entries) < len(spelt)
            or any(one == other[: len(one)] for one, other in itertools.permutations(places, 2))
        ):
            return None
        return Recipe(
            [(spelling, entry.key[0], entry.check) for spelling, entry in entries.items()],
            [
                spelling
                for spelling in call
                if Limits.of(entries[spelling].rule).type not in _IMMUTABLE
            ],
        )

    def step(self, name: str, options: Mapping[str, Any]) -> Step:
        """Return what becomes of one of some options.

        Raises:
            ValueError: If it cannot be sent.
        """
        value = options[name]
        bare = name.removeprefix(EXTRA)
        named = self._find(bare, options)
        if named is not None and named.rule.reserved:  # passed on unchecked or not
            raise ValueError(f"cannot be given: {named.rule.reason}")
        entry = named if bare == name else self._find("*", options)
        if entry is not None and bare != name:
            entry = evolve(entry, key=(*entry.key, bare), wire=(*entry.wire, bare))
        elif name.startswith("@@@") and name not in self.entries:
            entry = evolve(_MELLEA, key=(name,))
        if entry is not None and entry.native is not None:
            return entry.apply(value)
        if name in CANONICAL:
            common_check(name)(value)  # a wrong value is wrong even where it is not sent
        reason = entry.rule.reason if entry is not None else self.unmet.get(name, "")
        if not reason and name in INTERNAL:
            reason = f"{INTERNAL[name]}; {self.backend} has no such option"
        return Step(entry, value, None, reason or f"{self.what} has no such option")

    def _find(self, name: str, options: Mapping[str, Any]) -> Entry | None:
        for entry in self.entries.get(name, ()):
            if not entry.rule.requires or entry.holds(options):
                return entry
        return None


def _describe(target: Target, endpoint: Endpoint) -> str:
    server = "" if not target.descriptor.official_hosts else f" on the {target.server} server"
    raw = " at the raw endpoint" if endpoint == "completion" else ""
    return f"{target.backend} model {target.model_id!r}{server}{raw}"


@functools.cache
def table_order(name: str) -> tuple[int, str]:
    """Return the key that sorts options as tables show them: common ones first, then by name."""
    order = {known: position for position, known in enumerate(CANONICAL)}
    return (order.get(name, len(order) + name.startswith(EXTRA)), name)
