"""A backend's option rules, compiled for one model, one server and one endpoint.

Compiling picks, for each option, the rules whose conditions hold; rendering then is a look-up,
a check and an assignment per option. What goes well takes the short way; the report, and
anything that fails a check, takes the long way, which collects all problems.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final, Literal

from attrs import frozen

from mellea_api.descriptor import Endpoint, Native, OptionRule
from mellea_api.errors import OptionError, OptionProblem, PluginError
from mellea_api.options.canonical import CANONICAL, INTERNAL, SPELLINGS
from mellea_api.options.checks import CHECKS, Check, same, shown, shown_error
from mellea_api.options.convert import NOTHING, Conversion, Converted, find_conversion
from mellea_api.options.paths import PathTaken, place, split
from mellea_api.reports import NormalizedOptions, OptionDecision
from mellea_api.requests import OptionsRequest, Origin, Target

__all__ = ["EXTRA", "Plan", "apply_rules", "option_error", "plan_for", "spelled", "table_order"]

EXTRA: Final = "extra."
"""Prefix of names that are passed on unchecked."""

_GIVEN: Final = Origin("", "call")
# For a backend that does not say where names without a rule go: where all others go.
_PASS_ON: Final = OptionRule(
    name="*", chat=Native(key="", wire=""), completion=Native(key="", wire="")
)


def apply_rules(request: OptionsRequest) -> NormalizedOptions:
    """Render options by the descriptor's rules, with the full report.

    Args:
        request: Canonical options for a target and endpoint.

    Raises:
        OptionError: If an option cannot be sent as it was given; lists all problems.
    """
    return plan_for(request.target, request.endpoint).report(request.options, request.origins)


def plan_for(target: Target, endpoint: Endpoint) -> Plan:
    """Return the compiled plan for a target; compiled once for those that share it."""
    descriptor = target.descriptor
    key = (id(descriptor), target.model_id, target.server, target.mellea_version, endpoint)
    found = _plans.get(key)
    if found is None or found.descriptor is not descriptor:
        if len(_plans) >= _MOST_PLANS:
            _plans.clear()
        found = _plans[key] = Plan(target, endpoint)
    return found


_MOST_PLANS: Final = 512
_plans: dict[tuple[object, ...], Plan] = {}


def spelled(origin: Origin | None, name: str) -> str:
    """Return the name under which the user gave an option, for messages."""
    return origin.spelling if origin and origin.spelling else name.removeprefix(EXTRA)


@frozen
class _Entry:
    """One rule that holds here, ready to be applied."""

    rule: OptionRule
    native: Native | None
    check: Check
    conversion: Conversion | None
    key: tuple[str, ...]
    wire: tuple[str, ...]
    outcome: Literal["kept", "renamed", "converted", "passed"]

    @property
    def direct(self) -> bool:
        """Whether the checked value is simply set under one flat key."""
        return self.conversion is None and len(self.key) == 1 and not self.rule.requires


# Stands for the options that Mellea itself acts on.
_MELLEA: Final = _Entry(_PASS_ON, _PASS_ON.chat, CHECKS["any"], None, (), (), "passed")


class Plan:
    """What one model behind one server at one endpoint does with each option.

    Args:
        target: Backend, model and server.
        endpoint: `chat` or `completion`.

    Attributes:
        spellings: The name (canonical, or native) of every spelling that is understood here.
    """

    def __init__(self, target: Target, endpoint: Endpoint) -> None:
        self.backend = target.backend
        self.descriptor = target.descriptor  # held, so that no other one gets its id
        self.rules = target.descriptor.options
        self.what = _describe(target, endpoint)
        self._entries: dict[str, list[_Entry]] = {}
        self._unmet: dict[str, str] = {}
        self.spellings: dict[str, str] = dict(SPELLINGS)
        rules = self.rules
        if not any(rule.name == "*" for rule in rules):
            rules = (*rules, _PASS_ON)
        self.spellings.update((rule.name, rule.name) for rule in rules if rule.name != "*")
        for rule in rules:
            self._learn_spellings(rule)
            why_not = _why_not(rule, target, endpoint)
            if why_not is None:
                self._entries.setdefault(rule.name, []).append(_compile(rule, endpoint))
            elif why_not:
                self._unmet.setdefault(rule.name, why_not)
        shared = _shared_places(self._entries)
        direct: dict[str, tuple[str, Check]] = {
            name: (entries[0].key[0], entries[0].check)
            for name, entries in self._entries.items()
            if entries[0].native is not None
            and entries[0].direct
            and name != "*"
            and not shared & {("key", entries[0].key), ("wire", entries[0].wire)}
        }
        self._direct: dict[str, tuple[str, Check]] = {
            spelling: direct[name] for spelling, name in self.spellings.items() if name in direct
        }

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

    def cases(self, name: str) -> list[tuple[OptionRule, str | None]]:
        """Return the rules that hold for an option, up to the first without conditions.

        Returns:
            Each with the place in the provider's JSON, or None where it is not supported.
        """
        found: list[tuple[OptionRule, str | None]] = []
        for entry in self._entries.get(name, ()):
            found.append((entry.rule, None if entry.native is None else entry.native.wire))
            if not entry.rule.requires:
                break
        return found

    def unmet(self, name: str) -> str:
        """Return why the rules for an option do not hold here, where a user would want to know."""
        return self._unmet.get(name, "")

    def short(self, options: Mapping[str, Any]) -> dict[str, Any] | None:
        """Render options the short way.

        Args:
            options: Values by any spelling.

        Returns:
            What Mellea's backend gets; or None if an option needs the long way.
        """
        direct = self._direct
        result: dict[str, Any] = {}
        try:
            for spelling, value in options.items():
                entry = direct.get(spelling)
                if entry is None or entry[0] in result:
                    return None  # unknown, not simple, or given under two spellings
                checked = result[entry[0]] = entry[1](value)
                if not checked and (checked is None or checked == []):
                    return None
        except ValueError:
            return None
        return result

    def report(
        self, options: Mapping[str, Any], origins: Mapping[str, Origin] | None = None
    ) -> NormalizedOptions:
        """Render options the long way: with a decision for each, and all problems at once.

        Args:
            options: Values by canonical name, nothing None.
            origins: Where each came from; unnamed ones count as given in the call.

        Raises:
            OptionError: If any option cannot be sent as it was given.
        """
        origins = origins or {}
        result: dict[str, Any] = {}
        wire: dict[str, Any] = {}
        decisions: list[OptionDecision] = []
        problems: list[OptionProblem] = []
        for name in sorted(options, key=table_order):
            value = options[name]
            origin = origins.get(name, _GIVEN)
            spelling = spelled(origin, name)
            try:
                decision, converted, entry = self._decide(name, value, options, origin, spelling)
                if converted is not None and entry is not None:
                    _send(entry, name, converted, result, wire)
            except PathTaken as taken:
                problems.append(
                    OptionProblem(spelling, f"would be sent to {taken} as well as another option")
                )
            except ValueError as error:
                item, bracket, message = str(error).partition("] ")  # "[2] must be text"
                inside = bracket and item.startswith("[")
                path = f"{spelling}{item}]" if inside else spelling
                problems.append(OptionProblem(path, message if inside else str(error)))
            else:
                decisions.append(decision)
        if problems:
            raise option_error(self.backend, problems, self.what)
        return NormalizedOptions(options=result, wire=wire, decisions=decisions)

    def _decide(
        self,
        name: str,
        value: Any,
        options: Mapping[str, Any],
        origin: Origin,
        spelling: str,
    ) -> tuple[OptionDecision, Converted | None, _Entry | None]:
        if name.startswith("@@@") and name not in self._entries:
            decision = OptionDecision(
                name=name,
                spelling=spelling,
                outcome="passed",
                value=value,
                origin=origin.source,
                reason="an option of Mellea's own, which acts on it and does not send it",
            )
            return decision, Converted(value), _MELLEA
        entry = self._find(name, options)
        decide = functools.partial(
            OptionDecision, name=name, spelling=spelling, value=value, origin=origin.source
        )
        if entry is None or entry.native is None:
            return self._unsupported(name, value, entry, decide, origin)
        checked = entry.check(value)
        rule = entry.rule
        if entry.conversion is not None:
            converted = self._convert(entry, checked)
        elif checked == []:
            converted = Converted(NOTHING, reason="an empty list: nothing is sent")
        else:
            converted = Converted(checked)
        path = _wire_path(entry, name)
        sent = converted.value if converted.wire is NOTHING else converted.wire
        nothing = converted.value is NOTHING and not converted.wires
        outcome = "converted" if nothing else entry.outcome
        unchanged = converted.value is NOTHING or same(sent, value)
        if entry.outcome != "passed" and not unchanged:
            outcome = "converted"
        reasons = [origin.note, converted.reason or rule.reason]
        if nothing or not path:
            path, sent = (), None
        elif sent is NOTHING:
            path, sent = tuple(converted.wires)[:1], next(iter(converted.wires.values()))
        return (
            decide(
                outcome="patched" if origin.source == "extension" else outcome,
                wire=".".join(path),
                sent=sent,
                reason="; ".join(filter(None, reasons)),
                source=rule.source,
            ),
            converted,
            entry,
        )

    def _convert(self, entry: _Entry, checked: Any) -> Converted:
        """Run a rule's conversion, which is a plugin's code; ValueError is its way to refuse."""
        assert entry.conversion is not None
        try:
            converted = entry.conversion(checked)
        except (ValueError, PluginError):
            raise
        except Exception as error:
            failure, cause = f"raised {shown_error(error)}", error
        else:
            if isinstance(converted, Converted):
                sent = converted.value if converted.wire is NOTHING else converted.wire
                for value in (None if sent is NOTHING else sent, dict(converted.wires)):
                    CHECKS["any"](value)  # a conversion may overflow, say
                return converted
            failure, cause = f"returned a {type(converted).__name__}, not a Converted", None
        raise PluginError(
            f"Cannot convert {entry.rule.name} for the {self.backend} backend: the conversion "
            f"{entry.rule.convert!r} of {shown(checked)} {failure}.",
            next_step="Upgrade or mend the backend's plugin, or leave the option out.",
            backend=self.backend,
        ) from cause

    def _find(self, name: str, options: Mapping[str, Any]) -> _Entry | None:
        for entry in self._entries.get("*" if name.startswith(EXTRA) else name, ()):
            if all(
                any(same(options.get(other), wanted) for wanted in allowed)
                for other, allowed in entry.rule.requires.items()
            ):
                return entry
        return None

    def _unsupported(
        self,
        name: str,
        value: Any,
        entry: _Entry | None,
        decide: Callable[..., OptionDecision],
        origin: Origin,
    ) -> tuple[OptionDecision, None, None]:
        if entry is not None and entry.rule.reserved:
            raise ValueError(f"cannot be given: {entry.rule.reason}")
        if name in CANONICAL:
            _canonical_check(name)(value)  # a wrong value is wrong even where it is not sent
        if name == "n" and entry is None:
            if not same(value, 1):
                raise ValueError(f"must be 1, since Mellea reads one answer, not {shown(value)}")
            reason = "one answer is what this backend gives anyway; nothing is sent"
            return decide(outcome="converted", reason=reason), None, None
        reason = entry.rule.reason if entry is not None else self._unmet.get(name, "")
        if not reason and name in INTERNAL:
            reason = f"{INTERNAL[name]}; {self.backend} has no such option"
        reason = reason or f"{self.what} has no such option"
        source = entry.rule.source if entry is not None else ""
        full = "; ".join(filter(None, (origin.note, reason)))
        return decide(outcome="dropped", reason=full, source=source), None, None


def option_error(backend: str, problems: Iterable[OptionProblem], what: str = "") -> OptionError:
    """Return the one error that lists all problems of some options."""
    found = tuple(problems)
    listed = "; ".join(f"{problem.path} {problem.message}" for problem in found)
    return OptionError(
        f"Cannot use the model options for {what or f'the {backend} backend'}: {listed}{_full_stop(listed)}",
        next_step=f"`mellea-api options {backend}` shows what it takes.",
        backend=backend,
        problems=found,
    )


def _full_stop(text: str) -> str:
    return "" if text.endswith(("?", ".")) else "."


def _describe(target: Target, endpoint: Endpoint) -> str:
    server = "" if not target.descriptor.official_hosts else f" on the {target.server} server"
    raw = " at the raw endpoint" if endpoint == "completion" else ""
    return f"{target.backend} model {target.model_id!r}{server}{raw}"


def _why_not(rule: OptionRule, target: Target, endpoint: Endpoint) -> str | None:
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


def _compile(rule: OptionRule, endpoint: Endpoint) -> _Entry:
    native = rule.native(endpoint)
    key = split(native.key) if native else ()
    wire = split(native.wire) if native else ()
    outcome: Literal["kept", "renamed", "converted", "passed"] = "renamed"
    if rule.name == "*" or (rule.type or "any") == "any" and rule.name not in CANONICAL:
        outcome = "passed"
    elif rule.convert:
        outcome = "converted"
    elif not wire or wire[-1] == rule.name:
        outcome = "kept"
    return _Entry(
        rule,
        native,
        _rule_check(rule),
        find_conversion(rule.convert) if rule.convert else None,
        key,
        wire,
        outcome,
    )


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
        CHECKS[kind], minimum, maximum, exclusive, rule.choices, rule.special, rule.max_items
    )


_PLAIN: Final[Mapping[Check, Any]] = {CHECKS["number"]: float, CHECKS["integer"]: int}
_MOST: Final = 2**63  # an integer beyond it is looked at more closely


@functools.cache
def _canonical_check(name: str) -> Check:
    return _rule_check(OptionRule(name=name))


def _bounded(
    check: Check,
    minimum: float | None,
    maximum: float | None,
    exclusive: bool,
    choices: tuple[Any, ...],
    special: tuple[Any, ...],
    max_items: int | None,
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
            raise ValueError(f"must be one of {listed}, not {shown(value)}")
        if max_items is not None and len(result) > max_items:
            raise ValueError(f"takes at most {max_items} items, not {len(result)}")
        return result

    return checked


def _shared_places(entries: Mapping[str, list[_Entry]]) -> set[tuple[str, tuple[str, ...]]]:
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


def _wire_path(entry: _Entry, name: str) -> tuple[str, ...]:
    if name.startswith(EXTRA):
        return (*entry.wire, name.removeprefix(EXTRA))
    return entry.wire


def _send(
    entry: _Entry, name: str, converted: Converted, result: dict[str, Any], wire: dict[str, Any]
) -> None:
    """Put a converted value where Mellea's backend and the provider look for it."""
    if entry is _MELLEA:
        result[name] = converted.value
        return
    key = entry.key
    if name.startswith(EXTRA):
        key = (*key, name.removeprefix(EXTRA))
    if converted.value is not NOTHING:
        place(result, key, converted.value)
        path = _wire_path(entry, name)
        if path:
            place(wire, path, converted.value if converted.wire is NOTHING else converted.wire)
    for dotted, value in converted.options.items():
        place(result, split(dotted), value)
    for dotted, value in converted.wires.items():
        place(wire, split(dotted), value)


@functools.cache
def table_order(name: str) -> tuple[int, str]:
    """Return the key that sorts options as tables show them: common ones first, then by name."""
    order = {known: position for position, known in enumerate(CANONICAL)}
    return (order.get(name, len(order) + name.startswith(EXTRA)), name)
