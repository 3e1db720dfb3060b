"""Proves the table of options: each line of it is made to hold, and what the provider is then sent is what it says.

The lines come from `docs/generator/rules.py`, by which the tables are written: a rule that nobody can make hold, or
whose value nobody knows a sample of, fails.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import pytest
from generator.rules import Line, fate, lines
from support.http import LoopbackServer

import mellea_api
from mellea_api import stream_chat
from mellea_api._contract.errors import OptionError
from mellea_api._contract.option_rule import OptionRule
from mellea_api._contract.requests import Target
from mellea_api._options.canonical import CANONICAL
from mellea_api._options.limits import THINKING_LEVELS, Limits, common_check
from mellea_api._options.plan import plan_for
from mellea_api._options.rules import why_not

PROMPT = "What is 2 + 2?"
SYSTEM = "Be brief."
# What is tried for each type, the first that the rule takes and under which it is the one that counts.
CANDIDATES: Mapping[str, Sequence[Any]] = {
    "number": (0.5, 1.25, 0.25, 2, 5),
    "integer": (7, 3, 1, 512),
    "boolean": (True, False),
    "seconds": (30,),
    "text": (SYSTEM,),
    "texts": (["END"],),
    "thinking": (True, False, *THINKING_LEVELS),
    "tool_choice": ("required", "auto", "none"),
}


def get_weather(city: str) -> str:
    """Tells the weather of a city.

    Args:
        city: The city.
    """
    return f"sunny in {city}"


def a_tool() -> Any:
    """A tool, as this Mellea has them."""
    try:
        from mellea.backends.tools import MelleaTool
    except ImportError:
        return get_weather
    return MelleaTool.from_callable(get_weather)


@attrs.define(kw_only=True)
class Column:
    """A column of the table: a backend, or a route of LiteLLM's.

    Args:
        name: The backend's.
        rules: The rules that the column is written from.
        models: Models to try, so that each rule holds for one of them.
        server: The server that the column is about.
        samples: Values of options whose type says too little.
        beside: What an option needs beside it, to be sent at all.
        along: Places that Mellea fills beside an option's own.
        agreeing: Options that can only agree with what others say.
    """

    name: str
    rules: Sequence[OptionRule]
    models: Sequence[str]
    server: Any = None
    samples: Mapping[str, Any] = {}
    beside: Mapping[str, Mapping[str, Any]] = {}
    along: Mapping[str, Sequence[str]] = {}
    agreeing: Sequence[str] = ()

    def target(self, model: str) -> Target:
        """The column's target with a model."""
        found = mellea_api.shared_registry().backend(self.name).target(model, server=self.server)
        rules = tuple(self.rules)
        return attrs.evolve(found, descriptor=attrs.evolve(found.descriptor, options=rules))

    def lines(self) -> list[Any]:
        """All lines that can hold on this Mellea, as parameters of a test."""
        found = []
        for line in lines(self.rules, self.server):
            target = self.target(self.models[0])
            if any(
                rule.mellea and not rule.requires and why_not(rule, target, line.endpoint) is None
                for rule in line.earlier
            ):
                continue  # the rule before it needs a newer Mellea than others, and this one is
            number = len(line.earlier)
            found.append(pytest.param(line, id=f"{line.option}-{line.endpoint}-{number}"))
        return found


@attrs.frozen
class Case:
    """A line that was made to hold: a model, the options, and those that are only its conditions."""

    target: Target
    options: Mapping[str, Any]
    conditions: Mapping[str, Any]


def case(column: Column, line: Line) -> Case:
    """Finds a model and options under which a line of the table is the one that counts."""
    rule: OptionRule | None = line.rule
    if rule is None:
        conditions = dict(column.beside.get(line.option, {}))
        value = next(iter(_values(column, line.option, None)))
        return Case(column.target(column.models[0]), {**conditions, line.option: value}, conditions)
    for model in column.models:
        target = column.target(model)
        unmet = why_not(rule, target, line.endpoint)
        if unmet == "":
            continue
        for conditions in _conditions(column, line):
            for value in _values(column, line.option, rule):
                options = {**conditions, line.option: value}
                if unmet or _counts(rule, line, options, target):
                    return Case(target, options, conditions)
    raise AssertionError(
        f"no model of {list(column.models)} and no value makes this rule for {line.option} hold; "
        f"give the column one: {rule}"
    )


def _conditions(column: Column, line: Line) -> Iterator[dict[str, Any]]:
    """Other options under which a line may count: those that its rule names, then those that an earlier one excludes."""
    conditions = dict(column.beside.get(line.option, {}))
    for name, allowed in line.rule.requires.items():
        if name == line.option:
            continue
        given = [value for value in allowed if value is not None]
        if None in allowed:
            conditions.pop(name, None)
        elif given:
            conditions[name] = given[0]
    yield conditions
    for rule in line.earlier:
        for name in rule.requires:
            if name in conditions or name == line.option:
                continue
            known = next((one for one in column.rules if one.name == name and one.supported), None)
            for value in _values(column, name, known):
                yield {**conditions, name: value}


def _counts(rule: OptionRule, line: Line, options: Mapping[str, Any], target: Target) -> bool:
    if rule.reserved:
        return True
    entry = plan_for(target, line.endpoint)._find(line.option, options)
    return entry is not None and entry.rule == rule


def _values(column: Column, name: str, rule: OptionRule | None) -> Iterator[Any]:
    """Values of an option that a rule takes."""
    if rule is not None and name in rule.requires:
        yield from (value for value in rule.requires[name] if value is not None)
        return
    common = CANONICAL.get(name)
    kind = (rule and rule.type) or (common.type if common else "any")
    refused = rule is None or not rule.supported
    if name in column.samples:
        tried: Sequence[Any] = (column.samples[name], *CANDIDATES.get(kind, ()))
    elif rule is not None and rule.choices:
        tried = rule.choices
    elif kind == "tools":
        tried = ([a_tool()],)
    elif refused and kind == "any":
        tried = (1,)
    else:
        assert kind in CANDIDATES, f"no sample of {name!r}, of type {kind}: give the column one"
        tried = CANDIDATES[kind]
    check = common_check(name) if refused or rule is None else Limits.of(rule).check()
    for value in tried:
        try:
            check(value)
        except ValueError:
            continue
        yield value


# --------------------------------------------------------------------------------------- the call


def ask(session: Any, endpoint: str, options: Mapping[str, Any], *, tools: bool = False) -> None:
    """Makes a call at an endpoint, on every Mellea."""
    if endpoint == "chat":
        session.instruct(PROMPT, model_options=dict(options), strategy=None, tool_calls=tools)
        return
    from mellea.core import CBlock
    from mellea.helpers.event_loop_helper import _run_async_in_thread as run

    # On the loop that the chats are on: LiteLLM keeps clients that belong to one.
    raw = session.backend.generate_from_raw
    run(raw([CBlock(PROMPT)], ctx=session.ctx, model_options=dict(options)))


def leaves(body: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """What stands at the end of each path; lists and empty objects are ends."""
    if not isinstance(body, Mapping) or not body:
        return {path: body}
    found: dict[tuple[str, ...], Any] = {}
    for name, value in body.items():
        found |= leaves(value, (*path, str(name)))
    return found


def at(body: Any, place: str) -> Any:
    """What stands at a place of the table, such as `options.num_predict`."""
    for step in place.split("."):
        assert isinstance(body, Mapping), (place, body)
        assert step in body, (place, body)
        body = body[step]
    return body


@attrs.frozen
class Seen:
    """What two calls sent: one with the option, and one with its conditions alone."""

    body: Mapping[str, Any]
    plain: Mapping[str, Any]

    @property
    def changed(self) -> dict[tuple[str, ...], Any]:
        """What is in the one and not in the other, or otherwise."""
        before = leaves(self.plain)
        return {
            path: value
            for path, value in leaves(self.body).items()
            if path not in before or not _same(before[path], value)
        }


def _reason(line: Line) -> str:
    return line.rule.reason if line.rule is not None else "no such option"


def _holds(one: Any, part: Any) -> bool:
    """Whether JSON has all that another has, and maybe more."""
    if isinstance(one, Mapping) and isinstance(part, Mapping):
        return all(name in one and _holds(one[name], part[name]) for name in part)
    return _same(one, part)


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def prove(
    column: Column,
    line: Line,
    session: Callable[[Target], Any],
    send: Callable[[Any, str, Mapping[str, Any], bool], Mapping[str, Any]],
    effects: Mapping[str, Callable[[Any, Case, Seen], None]],
) -> None:
    """Makes a line hold, and holds what is sent to what it says.

    Args:
        column: The column that it stands in.
        line: The line.
        session: Gives a session with a target's model.
        send: Makes a call in a session at an endpoint with options, tools offered or not, and returns what was sent.
        effects: How an option is seen for which the table names no place in the JSON.
    """
    found = case(column, line)
    here = session(found.target)
    options = dict(found.options)
    if line.rule is not None and line.rule.reserved:
        with pytest.raises(OptionError) as refused:
            send(here, line.endpoint, options, False)
        assert f"{line.option} cannot be given: {line.rule.reason}" in str(refused.value)
        return
    offers = "tools" in options
    plain = send(here, line.endpoint, found.conditions, offers)
    body = send(here, line.endpoint, options, offers)
    report = mellea_api.options_report(here)
    assert report is not None
    decision = report.decision(line.option)
    assert decision is not None
    seen = Seen(body, plain)
    does, place = ("not supported", "")
    unmet = None
    if line.rule is not None:
        does, place = fate(line.rule, line.endpoint)
        unmet = why_not(line.rule, found.target, line.endpoint)
    entries = plan_for(found.target, line.endpoint).entries.get(line.option, ())
    if unmet and any(entry.native for entry in entries):
        return  # an older Mellea has a line of its own
    if does == "not supported" or unmet:
        assert decision.outcome == "dropped"
        # Where Mellea is too old, the next line says the same.
        assert (line.rule.mellea if unmet else _reason(line)) in decision.reason
        assert body == plain
        return
    if does == "converted to nothing":
        assert (decision.outcome, decision.wire) == ("converted", "")
        assert body == plain
        return
    value = options[line.option]
    expected = ("converted",) if does == "converted" else ("kept", "renamed")
    assert decision.outcome in (*expected, "passed")  # passed: of any type, so not checked
    allowed = leaves(report.wire)
    if place == "messages":
        sent = report.wire["messages"]
        first, rest = body["messages"][: len(sent)], body["messages"][len(sent) :]
        assert all(_holds(one, said) for one, said in zip(first, sent, strict=True))
        assert rest == plain["messages"]
        assert seen.changed == {("messages",): body["messages"]}
        return
    if place:
        assert decision.wire == place
        sent = at(body, place)
        along = {*column.along.get(line.option, ())}
        if line.option == "tools":
            # Of plain functions, as Mellea 0.3 has them, the report knows the names alone.
            assert all(_holds(one, said) for one, said in zip(sent, decision.sent, strict=True))
            along.add(place)
        else:
            assert _same(sent, decision.sent if does == "converted" else value)
        if line.option not in column.agreeing:
            assert seen.changed, "an option that is sent changes what is sent"
        stray = {
            path: value
            for path, value in seen.changed.items()
            if not {path[0], ".".join(path)} & along
            and not (path in allowed and _same(allowed[path], value))
        }
        assert not stray, "more than the report says is sent"
        return
    assert line.option in effects, f"how is {line.option} seen? The table names no place for it"
    effects[line.option](here, found, seen)


def patience(server: LoopbackServer) -> Callable[[Any, Case, Seen], None]:
    """The effect of `stream_timeout`: nothing else is sent, and Mellea gives up on a server that is slower."""

    def effect(session: Any, found: Case, seen: Seen) -> None:
        assert seen.body == seen.plain
        server.chunk_delay = 0.5
        try:
            with pytest.raises(mellea_api.MelleaAPIError) as late:
                list(stream_chat(session, PROMPT, model_options={"stream_timeout": 0.05}))
        finally:
            server.chunk_delay = 0.0
        assert isinstance(late.value, TimeoutError)

    return effect


def written_once(text: Any) -> Callable[[Any, Case, Seen], None]:
    """The effect of an option that the provider is told somewhere: its text stands in what was added."""

    def effect(session: Any, found: Case, seen: Seen) -> None:
        assert text in json.dumps([*seen.changed.values()])
        assert text not in json.dumps(seen.plain)

    return effect
