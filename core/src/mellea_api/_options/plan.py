"""A backend's option rules, compiled for one model, one server and one endpoint.

Compiling picks, for each option, the rules whose conditions hold; rendering then is a look-up,
a check and an assignment per option. What goes well takes the short way; the report, and
anything that fails a check, takes the long way, which collects all problems.
"""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from mellea_api._contract.descriptor import NOTHING, Converted, Endpoint, OptionRule
from mellea_api._contract.errors import OptionError, OptionProblem, PluginError
from mellea_api._contract.reports import NormalizedOptions, OptionDecision
from mellea_api._contract.requests import OptionsRequest, Origin, Target
from mellea_api._options.canonical import CANONICAL, INTERNAL, SPELLINGS
from mellea_api._options.checks import CHECKS, Check, same, shown, shown_error
from mellea_api._options.paths import PathTakenError, split
from mellea_api._options.rules import (
    EXTRA,
    MELLEA,
    PASS_ON,
    Entry,
    canonical_check,
    compile_rule,
    send,
    shared_places,
    why_not,
    wire_path,
)

_GIVEN: Final = Origin("", "call")


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
    rules = target.descriptor.options
    what = _describe(target, endpoint)
    key = (id(rules), what, target.server, target.mellea_version, endpoint)
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
        secrets: The names of credentials, which are no options: those are shown in reports.
    """

    def __init__(self, target: Target, endpoint: Endpoint) -> None:
        self.backend = target.backend
        self.rules = target.descriptor.options  # held, so that no other ones get their id
        self.what = _describe(target, endpoint)
        self.secrets = frozenset(
            field.name for field in target.descriptor.credentials if field.secret
        )
        self._entries: dict[str, list[Entry]] = {}
        self._unmet: dict[str, str] = {}
        self.spellings: dict[str, str] = dict(SPELLINGS)
        rules = self.rules
        if not any(rule.name == "*" for rule in rules):
            rules = (*rules, PASS_ON)
        self.spellings.update((rule.name, rule.name) for rule in rules if rule.name != "*")
        for rule in rules:
            self._learn_spellings(rule)
            unmet = why_not(rule, target, endpoint)
            if unmet is None:
                self._entries.setdefault(rule.name, []).append(compile_rule(rule, endpoint))
            elif unmet:
                self._unmet.setdefault(rule.name, unmet)
        shared = shared_places(self._entries)
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
                    send(entry, name, converted, result, wire)
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
    ) -> tuple[OptionDecision, Converted | None, Entry | None]:
        if name.startswith("@@@") and name not in self._entries:
            decision = OptionDecision(
                name=name,
                spelling=spelling,
                outcome="passed",
                value=value,
                origin=origin.source,
                reason="an option of Mellea's own, which acts on it and does not send it",
            )
            return decision, Converted(value), MELLEA
        entry = self._find(name, options)
        decide = functools.partial(
            OptionDecision, name=name, spelling=spelling, value=value, origin=origin.source
        )
        self._refuse_reserved(name, options)
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
        path = wire_path(entry, name)
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
            first, sent = next(iter(converted.wires.items()))
            path = split(first)
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

    def _refuse_reserved(self, name: str, options: Mapping[str, Any]) -> None:
        """Refuse what Mellea or this library sets itself, passed on unchecked or not."""
        entry = self._find(name.removeprefix(EXTRA), options)
        if entry is not None and entry.rule.reserved:
            raise ValueError(f"cannot be given: {entry.rule.reason}")

    def _convert(self, entry: Entry, checked: Any) -> Converted:
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
                for value in (None if sent is NOTHING else sent, list(converted.wires.values())):
                    CHECKS["any"](value)  # a conversion may overflow, say
                return converted
            failure, cause = f"returned a {type(converted).__name__}, not a Converted", None
        raise PluginError(
            f"Cannot convert {entry.rule.name} for the {self.backend} backend: the conversion "
            f"{_name_of(entry.conversion)} of {shown(checked)} {failure}.",
            next_step="Upgrade or mend the backend's plugin, or leave the option out.",
            backend=self.backend,
        ) from cause

    def _find(self, name: str, options: Mapping[str, Any]) -> Entry | None:
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
        entry: Entry | None,
        decide: Callable[..., OptionDecision],
        origin: Origin,
    ) -> tuple[OptionDecision, None, None]:
        if name in CANONICAL:
            canonical_check(name)(value)  # a wrong value is wrong even where it is not sent
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


def option_error(
    backend: str, problems: Iterable[OptionProblem], what: str = "", *, model: str = ""
) -> OptionError:
    """Return the one error that lists all problems of some options.

    Args:
        backend: The backend's name.
        problems: All of them.
        what: What it is that the options cannot be used for.
        model: The model, where it is not the backend's default one.
    """
    found = tuple(problems)
    listed = "; ".join(f"{problem.path} {problem.message}" for problem in found)
    of_model = f" --model {shlex.quote(model)}" if model else ""
    return OptionError(
        f"Cannot use the model options for {what or f'the {backend} backend'}: "
        f"{listed}{_full_stop(listed)}",
        next_step=f"`mellea-api options {backend}{of_model}` shows what it takes.",
        backend=backend,
        problems=found,
    )


def _name_of(function: object) -> str:
    return getattr(function, "__qualname__", "") or shown(function)


def _full_stop(text: str) -> str:
    return "" if text.endswith(("?", ".")) else "."


def _describe(target: Target, endpoint: Endpoint) -> str:
    server = "" if not target.descriptor.official_hosts else f" on the {target.server} server"
    raw = " at the raw endpoint" if endpoint == "completion" else ""
    return f"{target.backend} model {target.model_id!r}{server}{raw}"


@functools.cache
def table_order(name: str) -> tuple[int, str]:
    """Return the key that sorts options as tables show them: common ones first, then by name."""
    order = {known: position for position, known in enumerate(CANONICAL)}
    return (order.get(name, len(order) + name.startswith(EXTRA)), name)
