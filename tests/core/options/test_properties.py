"""What holds for all options: of spelling, merging, reporting and rendering."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.fake_options import DESCRIPTOR, RULES, described, target

from mellea_api import OptionError
from mellea_api._contract.option_rule import Endpoint
from mellea_api._contract.reports import NormalizedOptions
from mellea_api._contract.requests import OptionsRequest
from mellea_api._options.canonical import CANONICAL
from mellea_api._options.limits import CHECKS
from mellea_api._options.pipeline import OptionPipeline
from mellea_api._options.plan import apply_rules, plan_for
from mellea_api._options.spelling import canonicalise, merge
from mellea_api.plugin import OptionRule, Target
from mellea_api.testing.strategies import (
    invalid_values,
    json_values,
    option_dicts,
    spelled,
    valid_values,
)

ENDPOINTS: tuple[Endpoint, ...] = ("chat", "completion")
NUMERIC = ("number", "integer", "seconds")


def pipeline(**settings: Any) -> OptionPipeline:
    return OptionPipeline(target(), policy="drop", **settings)


def outcome(pipeline: OptionPipeline, options: Any, endpoint: Endpoint = "chat") -> Any:
    """What comes of options: what is sent, or the names of those that cannot be."""
    try:
        rendered = pipeline.render(options, endpoint)
    except OptionError as error:
        return "refused", {problem.message for problem in error.problems or ()}
    return rendered.options, rendered.report.wire


def rendered(target: Target, options: Any) -> NormalizedOptions:
    return apply_rules(OptionsRequest(target=target, endpoint="chat", options=options))


def leaves(wire: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(wire, dict) and wire:
        for name, item in wire.items():
            yield from leaves(item, (*path, name))
    else:
        yield path, wire


def at(wire: Any, dotted: str) -> Any:
    for step in dotted.split("."):
        wire = wire[step]
    return wire


# --- spelling ----------------------------------------------------------------------------------


@given(st.data(), option_dicts(DESCRIPTOR))
def test_canonicalising_does_not_depend_on_spelling_or_order(
    data: st.DataObject, options: dict[str, Any]
) -> None:
    plan = plan_for(target(), "chat")
    one = canonicalise(data.draw(spelled(options, DESCRIPTOR)), plan)
    other = canonicalise(data.draw(spelled(options, DESCRIPTOR)), plan)

    assert not one.problems
    assert as_list(one.values) == as_list(other.values) == as_list(options)


def as_list(values: dict[str, Any]) -> dict[str, Any]:
    """The same values with the one text of `stop`, which may stand for a list, as a list."""
    stop = values.get("stop")
    return {**values, "stop": [stop]} if isinstance(stop, str) else values


@given(st.data(), option_dicts(DESCRIPTOR))
def test_canonicalising_twice_is_canonicalising_once(
    data: st.DataObject, options: dict[str, Any]
) -> None:
    plan = plan_for(target(), "chat")
    once = canonicalise(data.draw(spelled(options, DESCRIPTOR)), plan)
    assert canonicalise(once.values, plan).values == once.values


@given(st.data(), option_dicts(DESCRIPTOR), st.sampled_from(ENDPOINTS))
def test_spelling_and_order_do_not_change_what_is_sent(
    data: st.DataObject, options: dict[str, Any], endpoint: Endpoint
) -> None:
    written = data.draw(spelled(options, DESCRIPTOR))
    assert outcome(pipeline(), written, endpoint) == outcome(pipeline(), options, endpoint)


# --- defaults and calls ------------------------------------------------------------------------


@given(
    st.data(),
    option_dicts(DESCRIPTOR),
    option_dicts(DESCRIPTOR),
    st.sampled_from(ENDPOINTS),
)
def test_defaults_and_call_render_as_their_merge(
    data: st.DataObject, defaults: dict[str, Any], call: dict[str, Any], endpoint: Endpoint
) -> None:
    """The call wins whatever the spelling, and None in it unsets a default."""
    names = sorted(defaults.keys() - call.keys())
    unset = data.draw(st.sets(st.sampled_from(names))) if names else set()
    call |= dict.fromkeys(unset)
    together = {name: value for name, value in {**defaults, **call}.items() if value is not None}

    session = pipeline()
    session.set_defaults(data.draw(spelled(defaults, DESCRIPTOR)))
    result = outcome(session, data.draw(spelled(call, DESCRIPTOR)), endpoint)

    assert result == outcome(pipeline(), together, endpoint)


@given(st.data(), option_dicts(DESCRIPTOR), option_dicts(DESCRIPTOR))
def test_merging_is_laying_one_dict_over_the_other(
    data: st.DataObject, defaults: dict[str, Any], call: dict[str, Any]
) -> None:
    plan = plan_for(target(), "chat")
    merged = merge(
        canonicalise(data.draw(spelled(defaults, DESCRIPTOR)), plan, source="default"),
        canonicalise(data.draw(spelled(call, DESCRIPTOR)), plan),
    )
    assert as_list(merged.values) == {**defaults, **call}
    for name, origin in merged.origins.items():
        assert origin.source == ("call" if name in call else "default")


# --- the report --------------------------------------------------------------------------------


@given(st.data(), option_dicts(DESCRIPTOR), st.sampled_from(ENDPOINTS))
def test_each_given_option_has_exactly_one_decision(
    data: st.DataObject, options: dict[str, Any], endpoint: Endpoint
) -> None:
    written = data.draw(spelled(options, DESCRIPTOR))
    report = assumed(pipeline(), written, endpoint).report

    assert sorted(decision.name for decision in report.decisions) == sorted(options)
    assert {decision.spelling for decision in report.decisions} == set(written)
    for decision in report.decisions:
        assert decision.value == written[decision.spelling]


@given(st.data(), option_dicts(DESCRIPTOR), st.sampled_from(ENDPOINTS))
def test_what_is_sent_is_where_the_decision_says_and_nothing_else_is(
    data: st.DataObject, options: dict[str, Any], endpoint: Endpoint
) -> None:
    options |= {"extra": data.draw(st.dictionaries(st.sampled_from("xyz"), json_values()))}
    report = assumed(pipeline(), options, endpoint).report
    rest = copy.deepcopy(dict(report.wire))

    for decision in report.decisions:
        if decision.wire:
            assert at(report.wire, decision.wire) == decision.sent
            above, _, last = decision.wire.rpartition(".")
            del (at(rest, above) if above else rest)[last]
        else:
            assert decision.sent is None
            assert decision.outcome in ("dropped", "converted")
        if decision.outcome == "dropped":
            assert decision.reason
    assert [path for path, value in leaves(rest) if value != {}] == []


@given(st.data(), option_dicts(DESCRIPTOR), st.sampled_from(ENDPOINTS))
def test_the_wire_is_json_without_names_of_mellea_and_without_none(
    data: st.DataObject, options: dict[str, Any], endpoint: Endpoint
) -> None:
    options |= {"@@@some_future_option@@@": data.draw(json_values())}
    wire = assumed(pipeline(), options, endpoint).report.wire

    assert json.loads(json.dumps(wire, allow_nan=False)) == wire
    json.dumps(wire, ensure_ascii=False).encode()
    for path, value in leaves(wire):
        assert value is not None
        assert not any(step.startswith("@@@") for step in path)


@given(option_dicts(DESCRIPTOR), st.sampled_from(ENDPOINTS))
def test_the_report_of_a_call_is_about_what_was_sent(
    options: dict[str, Any], endpoint: Endpoint
) -> None:
    rendered = assumed(pipeline(), options, endpoint)
    assert rendered.report.options == rendered.options


def assumed(pipeline: OptionPipeline, options: Any, endpoint: Endpoint) -> Any:
    """Render options; what one endpoint takes, the other may refuse."""
    try:
        return pipeline.render(options, endpoint)
    except OptionError:
        assume(endpoint == "completion" or "extra" in options)
        return assume(False)


# --- with and without the report ------------------------------------------------------------

PLACES = ["a", "b", "deep", "deep.a", "deep.b", "deep.a.x"]


@st.composite
def targets(draw: st.DrawFn) -> Target:
    """Backends whose options collide: with places of one another, above them and below."""
    names = draw(st.lists(st.sampled_from(sorted({*CANONICAL, "own"} - {"tools"})), unique=True))
    rules = []
    for name in names:
        place = st.sampled_from([*PLACES, name])
        native = (draw(place), draw(place | st.just("")))
        rules.append(OptionRule(name=name, chat=native))
    return described(*rules)


@given(st.data(), targets())
def test_what_is_sent_is_what_the_report_says_wherever_options_go(
    data: st.DataObject, target: Target
) -> None:
    names = sorted({rule.name for rule in target.descriptor.options}) or ["temperature"]
    chosen = data.draw(st.lists(st.sampled_from(names), unique=True, max_size=4))
    session = OptionPipeline(target, policy="drop")
    for _ in range(2):  # the second call finds what the first one left
        options = {
            name: data.draw(valid_values(name) | invalid_values(name), label=name)
            for name in chosen
        }
        try:
            expected = rendered(target, options).options
        except OptionError:
            with pytest.raises(OptionError):
                session.render(options, "chat")
        else:
            assert session.render(options, "chat").options == expected


@pytest.mark.parametrize("defaults", [{}, {"anything": 1}])
def test_none_is_not_sent_for_an_option_that_may_be_anything(defaults: dict[str, Any]) -> None:
    found = OptionPipeline(described(OptionRule(name="anything", chat="anything")))
    found.set_defaults(defaults)
    assert found.render({"anything": None}, "chat").options == {}


@given(option_dicts(DESCRIPTOR))
def test_common_options_are_rendered_without_the_report(options: dict[str, Any]) -> None:
    common = [name for name in options if name in ("temperature", "max_tokens", "top_p", "stop")]
    assert plan_for(target(), "chat").recipe((), common) is not None


# --- checking ----------------------------------------------------------------------------------


def rule_of(name: str) -> OptionRule | None:
    return next((rule for rule in RULES if rule.name == name and rule.supported), None)


CHECKED = sorted({*CANONICAL, "mirostat", "anything"} - {"tools"})


@pytest.mark.parametrize("name", CHECKED)
@given(data=st.data())
def test_a_wrong_value_is_an_error_that_names_it(name: str, data: st.DataObject) -> None:
    value = data.draw(invalid_values(name, rule_of(name)))
    with pytest.raises(OptionError) as caught:
        pipeline().render({name: value}, "chat")

    (problem,) = caught.value.problems or ()
    assert problem.path.partition("[")[0] == name
    assert f"{problem.path} {problem.message}" in str(caught.value)
    assert str(caught.value).endswith("`mellea-api options fake` shows what it takes.")


@pytest.mark.parametrize("name", CHECKED)
@given(data=st.data())
def test_a_right_value_is_accepted(name: str, data: st.DataObject) -> None:
    value = data.draw(valid_values(name, rule_of(name)))
    report = pipeline().render({name: value}, "chat").report
    assert [decision.name for decision in report.decisions] == [name]


@given(st.data(), option_dicts(DESCRIPTOR))
def test_all_wrong_options_are_listed_and_no_others(
    data: st.DataObject, options: dict[str, Any]
) -> None:
    wrong = data.draw(st.lists(st.sampled_from(CHECKED), unique=True, min_size=1, max_size=5))
    for name in wrong:
        options[name] = data.draw(invalid_values(name, rule_of(name)))
    options.pop("top_logprobs", None) if "top_logprobs" not in wrong else None
    unknown = data.draw(st.sampled_from([{}, {"no_such_option": 1}]))
    written = data.draw(spelled(options, DESCRIPTOR))

    with pytest.raises(OptionError) as caught:
        pipeline().render({**written, **unknown}, "chat")

    spellings = plan_for(target(), "chat").spellings
    paths = [problem.path.partition("[")[0] for problem in caught.value.problems or ()]
    assert sorted(spellings.get(path, path) for path in paths) == sorted({*wrong, *unknown})


@pytest.mark.parametrize("name", sorted(CANONICAL))
@given(data=st.data())
def test_a_wrong_value_is_wrong_also_where_the_option_is_not_supported(
    name: str, data: st.DataObject
) -> None:
    value = data.draw(invalid_values(name))
    bare = OptionPipeline(described(), policy="drop")
    with pytest.raises(OptionError):
        bare.render({name: value}, "chat")


@pytest.mark.parametrize(
    "name", [option.name for option in CANONICAL.values() if option.type in NUMERIC]
)
@given(data=st.data())
def test_what_passes_is_in_range(name: str, data: st.DataObject) -> None:
    canonical = CANONICAL[name]
    value = data.draw(valid_values(name) | invalid_values(name))
    try:
        sent = rendered(described(OptionRule(name=name, chat=name)), {name: value})
    except OptionError:
        return
    number = sent.wire[name]
    assert type(number) in (int, float)
    assert number == value
    low, high = canonical.minimum, canonical.maximum
    if low is not None:
        assert number > low if canonical.exclusive_minimum else number >= low
    assert high is None or number <= high


@pytest.mark.parametrize("kind", sorted(CHECKS.keys() - {"tools"}))
@given(value=json_values() | st.none() | st.floats() | st.binary() | st.sets(st.integers()))
def test_a_check_accepts_its_own_result(kind: str, value: Any) -> None:
    try:
        once = CHECKS[kind](value)
    except ValueError:
        return
    assert CHECKS[kind](once) == once
    json.dumps(once, allow_nan=False)
