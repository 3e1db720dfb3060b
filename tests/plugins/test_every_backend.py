"""What holds on every backend that is installed, whoever wrote it: a third party's as well.

Each property goes through the whole path of a call's options, the plugin's own
`normalize_options` included, without a network, an SDK or Mellea.
"""

from __future__ import annotations

import functools
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mellea_api
from mellea_api import NormalizedOptions, OptionError, Target
from mellea_api.options.canonical import CANONICAL
from mellea_api.options.listing import list_options
from mellea_api.options.pipeline import OptionPipeline
from mellea_api.options.plan import plan_for
from mellea_api.options.spelling import canonicalise, merge
from mellea_api.testing.strategies import invalid_values, option_dicts, spelled

BACKENDS = mellea_api.shared_registry().names()
ENDPOINTS = ["chat", "completion"]
every_backend = pytest.mark.parametrize("name", BACKENDS)
every_endpoint = pytest.mark.parametrize("endpoint", ENDPOINTS)
quietly = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@functools.cache
def targets(name: str) -> list[Target]:
    """The backend's default model, its other models, and a model that nobody knows."""
    backend = mellea_api.shared_registry().backend(name)
    known = [model.id for model in backend.descriptor.models]
    return [backend.target(model) for model in dict.fromkeys([None, *known[:6], "no/such-model"])]


def pipeline(name: str, target: Target) -> OptionPipeline:
    return mellea_api.shared_registry().backend(name).pipeline(target, policy="drop")


def report(name: str, target: Target, endpoint: Any, options: Any) -> NormalizedOptions | None:
    """What becomes of options; None where the plugin refuses them, with a reason for each."""
    try:
        return pipeline(name, target).render(options, endpoint).report
    except OptionError as error:
        refused = error
    assert refused.problems
    assert all(problem.path and problem.message for problem in refused.problems)
    return None


def leaves(value: Any) -> Any:
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def at(wire: Any, path: str) -> Any:
    for step in path.split("."):
        wire = wire[step]
    return wire


@every_backend
@every_endpoint
@quietly
@given(data=st.data())
def test_the_wire_is_json_without_nulls_and_without_names_of_mellea(
    name: str, endpoint: Any, data: st.DataObject
) -> None:
    target = targets(name)[data.draw(st.integers(0, len(targets(name)) - 1))]
    options = data.draw(option_dicts(target.descriptor, endpoint=endpoint, target=target))
    found = report(name, target, endpoint, options)
    if found is None:
        return
    assert json.loads(json.dumps(found.wire, allow_nan=False)) == found.wire
    assert None not in list(leaves(dict(found.wire)))
    assert not [leaf for leaf in leaves(dict(found.wire)) if str(leaf).startswith("@@@")]


@every_backend
@every_endpoint
@quietly
@given(data=st.data())
def test_nothing_is_lost_that_is_not_in_the_report(
    name: str, endpoint: Any, data: st.DataObject
) -> None:
    target = targets(name)[data.draw(st.integers(0, len(targets(name)) - 1))]
    options = data.draw(option_dicts(target.descriptor, endpoint=endpoint, target=target))
    found = report(name, target, endpoint, options)
    if found is None:
        return
    assert {decision.spelling for decision in found.decisions} >= set(options)
    for decision in found.decisions:
        if decision.outcome == "dropped":
            assert decision.reason
            assert not decision.wire
        elif decision.wire and not decision.name.startswith("extra."):
            assert at(found.wire, decision.wire) == decision.sent or decision.wire == "messages"


@every_backend
@every_endpoint
@quietly
@given(data=st.data())
def test_the_spelling_and_the_order_do_not_matter(
    name: str, endpoint: Any, data: st.DataObject
) -> None:
    target = targets(name)[data.draw(st.integers(0, len(targets(name)) - 1))]
    options = data.draw(option_dicts(target.descriptor, endpoint=endpoint, target=target))
    other = data.draw(spelled(options, target.descriptor, target=target))
    first = report(name, target, endpoint, options)
    second = report(name, target, endpoint, dict(reversed(list(other.items()))))
    assert (first is None) == (second is None)
    if first is not None and second is not None:
        assert first.wire == second.wire


@every_backend
@every_endpoint
@quietly
@given(data=st.data())
def test_a_call_over_defaults_is_the_same_as_the_two_merged(
    name: str, endpoint: Any, data: st.DataObject
) -> None:
    target = targets(name)[data.draw(st.integers(0, len(targets(name)) - 1))]
    defaults = data.draw(option_dicts(target.descriptor, target=target))
    call = data.draw(option_dicts(target.descriptor, endpoint=endpoint, target=target))
    session = pipeline(name, target)
    try:
        session.set_defaults(defaults)
        layered: Any = session.render(call, endpoint).report.wire
    except OptionError:
        return
    plan = plan_for(target, endpoint)
    merged = merge(canonicalise(defaults, plan, source="default"), canonicalise(call, plan))
    together = report(name, target, endpoint, merged.values)
    assert together is not None
    assert together.wire == layered


@every_backend
@quietly
@given(data=st.data())
def test_what_is_wrong_everywhere_is_an_error_that_names_it(name: str, data: st.DataObject) -> None:
    target = targets(name)[data.draw(st.integers(0, len(targets(name)) - 1))]
    option = data.draw(st.sampled_from(sorted(set(CANONICAL) - {"tools", "tool_choice"})))
    value = data.draw(invalid_values(option))
    rules = [rule for rule in target.descriptor.options if rule.name == option]
    if any(rule.special or rule.convert for rule in rules):
        return  # the backend takes more than the common range (Ollama's -1), and says so
    with pytest.raises(OptionError) as refused:
        pipeline(name, target).render({option: value}, "chat")
    assert refused.value.problems
    assert refused.value.problems[0].path.startswith(option)


@every_backend
@every_endpoint
def test_what_is_listed_without_conditions_is_what_is_sent(name: str, endpoint: Any) -> None:
    examples: dict[str, Any] = {"number": 1, "integer": 20, "text": "x", "texts": ["eA=="]}
    for target in targets(name):
        listed = list_options(target, endpoint)
        depends = {option.name for option in listed if option.when}
        tried = 0
        for option in listed:
            if option.name in depends or option.type not in examples or option.choices:
                continue
            tried += 1
            found = report(name, target, endpoint, {option.name: examples[option.type]})
            assert found is not None
            (decision,) = found.decisions
            assert (decision.outcome != "dropped") == option.supported, (target.model_id, option)
            assert not option.wire or decision.wire in ("", option.wire)
        assert tried > 5, target.model_id


@every_backend
def test_it_describes_itself_and_its_catalogue(name: str) -> None:
    backend = mellea_api.shared_registry().backend(name)
    descriptor = backend.descriptor
    assert descriptor.summary
    models = mellea_api.list_models(name, freshness="offline")
    assert descriptor.default_model in [model.id for model in models]
    assert all(model.source == "catalogue" for model in models)
    assert all(rule.reason for rule in descriptor.options if not rule.supported)
    assert all(rule.source for rule in descriptor.options), "each rule says where it was read"
