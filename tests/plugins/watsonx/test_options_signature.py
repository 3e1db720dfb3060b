"""Every parameter of the SDK's calls has a rule, and what is sent is what watsonx.ai takes.

When a new SDK makes one of these fail, the message says which rule is missing or wrong.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from support.watsonx_schema import CHAT, GENERATION, PARAMETERS, objections

pytest.importorskip("mellea_api_watsonx", reason="mellea-api-watsonx is not installed")
pytest.importorskip("ibm_watsonx_ai", reason="the watsonx.ai SDK is not installed")

from ibm_watsonx_ai.foundation_models import ModelInference
from ibm_watsonx_ai.foundation_models.schema import TextChatParameters, TextGenParameters
from support.fake_options import FakeTool

from mellea_api._contract.errors import OptionError
from mellea_api._contract.option_rule import Endpoint, OptionRule
from mellea_api._contract.reports import NormalizedOptions
from mellea_api._contract.requests import OptionsRequest, Target
from mellea_api._options.canonical import CANONICAL, SPELLINGS
from mellea_api._options.limits import CHECKS, THINKING_LEVELS
from mellea_api._options.plan import apply_rules
from mellea_api.testing import option_dicts
from mellea_api_watsonx import WATSONX as DESCRIPTOR
from mellea_api_watsonx.models import CATALOGUE
from mellea_api_watsonx.options import RULES

PARAMETERS_OF: dict[Endpoint, Any] = {"chat": TextChatParameters, "completion": TextGenParameters}
TYPES = {endpoint: get_type_hints(kind) for endpoint, kind in PARAMETERS_OF.items()}
CALLS: dict[Endpoint, tuple[Any, ...]] = {
    "chat": (ModelInference.achat, ModelInference.achat_stream),
    "completion": (ModelInference.generate,),
}
NAMES: list[tuple[Endpoint, str]] = sorted(
    {
        (endpoint, name)
        for endpoint, kind in PARAMETERS_OF.items()
        for name in (
            *(field.name for field in dataclasses.fields(kind)),
            *(name for call in CALLS[endpoint] for name in inspect.signature(call).parameters),
        )
        if name != "self"
    }
)
# Of every type that a rule can have, values that its check accepts.
SAMPLES: dict[str, tuple[Any, ...]] = {
    "number": (1, 1.0),
    "integer": (1,),
    "boolean": (True, False),
    "text": ("greedy",),
    "texts": (["low"],),
    "thinking": (True, False, *THINKING_LEVELS),
    "object": ({"name": "value"},),
    "tools": ([FakeTool()],),
    "tool_choice": ("auto", "some_tool", {"type": "function", "function": {"name": "some_tool"}}),
}
# Where a parameter goes that the report shows in one place of several.
ELSEWHERE = {
    "max_tokens": "max_completion_tokens",
    "tool_choice": "tool_choice",
    "tool_choice_option": "tool_choice_option",
}


def render(
    options: dict[str, Any],
    *,
    model: str = "some/new-model",
    endpoint: Endpoint = "chat",
    mellea: str = "0.8.0",
) -> NormalizedOptions:
    target = Target(descriptor=DESCRIPTOR, model_id=model, mellea_version=mellea)
    return apply_rules(OptionsRequest(target=target, endpoint=endpoint, options=options))


def sent(wire: Any, endpoint: Endpoint) -> dict[str, Any]:
    found: dict[str, Any] = dict(wire if endpoint == "chat" else wire.get("parameters", {}))
    return found


def rules_for(parameter: str) -> list[OptionRule]:
    own = {"reasoning_effort": "thinking", "tool_choice_option": "tool_choice"}
    name = own.get(parameter) or SPELLINGS.get(parameter, parameter)
    return [rule for rule in RULES if rule.name == name]


def kinds(annotation: Any) -> set[type]:
    """Return the types of JSON that an annotation of the SDK allows, null left out."""
    origin = get_origin(annotation)
    if annotation is type(None):
        return set()
    if origin in (Union, types.UnionType):
        return set().union(*(kinds(part) for part in get_args(annotation)))
    if origin is Literal:
        return {type(value) for value in get_args(annotation)}
    if annotation is float:
        return {float, int}
    if dataclasses.is_dataclass(annotation):
        return {dict}
    named = origin or annotation
    return {str} if isinstance(named, type) and issubclass(named, str) else {named}


@pytest.mark.parametrize(("endpoint", "parameter"), NAMES)
def test_every_parameter_of_the_sdk_has_a_rule(endpoint: Endpoint, parameter: str) -> None:
    found = rules_for(parameter)
    assert found, (
        f"The SDK's {endpoint} call has a new parameter {parameter!r}. Give it a rule in "
        "mellea_api_watsonx/options.py: under its type in _NATIVE, or reserved with the reason "
        "if Mellea sets it itself."
    )
    assert any(
        rule.reserved or rule.native(endpoint) is not None or not rule.supported for rule in found
    ), f"{parameter!r} has rules, and none of them speaks of the {endpoint} endpoint"


@pytest.mark.parametrize(
    ("endpoint", "parameter"), [pair for pair in NAMES if pair[1] in TYPES[pair[0]]]
)
def test_what_is_sent_has_the_type_that_the_sdk_wants(endpoint: Endpoint, parameter: str) -> None:
    values = []
    for rule in rules_for(parameter):
        if rule.native(endpoint) is None:
            continue
        canonical = CANONICAL.get(rule.name)
        kind = rule.type or (canonical.type if canonical else "any")
        assert kind in SAMPLES, f"give {parameter!r} a type that is checked, not {kind!r}"
        for sample in SAMPLES[kind]:
            wire = sent(render({rule.name: sample}, endpoint=endpoint).wire, endpoint)
            place = ELSEWHERE.get(parameter, parameter)
            values += [wire[place]] if place in wire else []
    wanted = kinds(TYPES[endpoint][parameter])
    assert {type(value) for value in values} <= wanted
    reserved = any(rule.reserved for rule in rules_for(parameter))
    assert values or reserved or parameter == "n", f"nothing sends {parameter!r}"


def test_the_levels_of_reasoning_are_those_of_the_sdk() -> None:
    listed = {
        level
        for part in get_args(TYPES["chat"]["reasoning_effort"])
        if get_origin(part) is Literal
        for level in get_args(part)
    }
    kept = {
        level
        for level in THINKING_LEVELS
        if "reasoning_effort" in render({"thinking": level}, model="openai/gpt-oss-120b").wire
    }
    assert kept == listed


@given(option_dicts(DESCRIPTOR))
def test_whatever_is_accepted_for_a_chat_is_taken_by_watsonx(options: dict[str, Any]) -> None:
    wire = sent(render(options).wire, "chat")
    known = {name: value for name, value in wire.items() if f"extra.{name}" not in options}
    assert not objections(known, CHAT, frozenset())


@given(option_dicts(DESCRIPTOR, endpoint="completion"))
def test_whatever_is_accepted_for_a_raw_prompt_is_taken_by_watsonx(options: dict[str, Any]) -> None:
    try:
        wire = render(options, endpoint="completion").wire
    except OptionError as error:
        # Greedy decoding and what needs sampling cannot be had at once.
        assert "decoding_method" in str(error)  # noqa: PT017
        return
    assert not objections(wire, GENERATION, frozenset())
    parameters = sent(wire, "completion")
    known = {name: value for name, value in parameters.items() if f"extra.{name}" not in options}
    assert not objections(known, PARAMETERS, frozenset())


def test_every_rule_says_where_it_was_read() -> None:
    assert not [rule.name for rule in RULES if not rule.source]
    assert not [rule.name for rule in RULES if not rule.supported and not rule.reason]
    assert {rule.type for rule in RULES} <= {None, *CHECKS}


def test_the_catalogue_begins_with_the_default_model() -> None:
    assert [model.id for model in CATALOGUE] == [
        "ibm/granite-3-3-8b-instruct",
        "ibm/granite-4-micro-3b-instruct",
        "meta-llama/llama-3-2-3b-instruct",
    ]
    assert [model.id for model in CATALOGUE if model.default] == [DESCRIPTOR.default_model]


def test_reserved_names_are_refused_with_the_reason() -> None:
    for rule in RULES:
        if rule.reserved:
            with pytest.raises(OptionError, match="cannot be given"):
                render({rule.name: "x"})


@pytest.mark.parametrize(
    ("model", "thinking", "wire"),
    [
        ("ibm/granite-3-3-8b-instruct", True, {"chat_template_kwargs": {"thinking": True}}),
        ("ibm/granite-3-3-8b-instruct", "none", {"chat_template_kwargs": {"thinking": False}}),
        ("ibm/granite-3-3-8b-instruct", "high", {}),
        ("ibm/granite-4-micro-3b-instruct", True, {}),
        ("meta-llama/llama-3-2-3b-instruct", False, {}),
        ("openai/gpt-oss-120b", True, {"reasoning_effort": "medium"}),
        ("openai/gpt-oss-120b", "low", {"reasoning_effort": "low"}),
        ("openai/gpt-oss-120b", False, {}),
        ("some/new-model", "high", {"reasoning_effort": "high"}),
        ("some/new-model", False, {"chat_template_kwargs": {"thinking": False}}),
        ("some/new-model", True, {"chat_template_kwargs": {"thinking": True}}),
        ("ibm/granite-3-2b-instruct", False, {}),
        ("some/new-model", "max", {}),
    ],
)
def test_models_reason_as_they_can(model: str, thinking: Any, wire: dict[str, Any]) -> None:
    found = render({"thinking": thinking}, model=model)
    assert found.wire == wire
    decision = found.decision("thinking")
    assert decision is not None
    assert decision.outcome == (
        "dropped"
        if (not wire and thinking not in (False, "none")) or ("oss" in model and thinking is False)
        else "converted"
        if not isinstance(thinking, str) or thinking == "none"
        else decision.outcome
    )
    assert wire or decision.reason


def test_a_frequency_penalty_never_becomes_a_repetition_penalty() -> None:
    for penalty in ("frequency_penalty", "presence_penalty"):
        found = render({penalty: 0.5}, endpoint="completion")
        assert found.wire == {}
        assert "neutral value is 1" in found.decisions[0].reason
        assert render({penalty: 0.5}).wire == {penalty: 0.5}


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({"temperature": 0}, {"decoding_method": "greedy"}),
        ({"temperature": 0.5}, {"temperature": 0.5, "decoding_method": "sample"}),
        ({"temperature": 0.0, "top_p": 0.5, "top_k": 5}, {"decoding_method": "greedy"}),
        (
            {"top_p": 0.5, "top_k": 5},
            {"top_p": 0.5, "top_k": 5, "decoding_method": "sample"},
        ),
        ({"temperature": 0.5, "decoding_method": "greedy"}, {"decoding_method": "greedy"}),
        ({"stop": ["."]}, {"stop_sequences": ["."], "include_stop_sequence": False}),
        (
            {"stop": ["."], "include_stop_sequence": True},
            {"stop_sequences": ["."], "include_stop_sequence": True},
        ),
        ({"stop": []}, {}),
        ({"seed": 7, "max_tokens": 5}, {"random_seed": 7, "max_new_tokens": 5}),
        ({"thinking": False, "stream": False, "n": 1}, {}),
    ],
)
def test_the_text_generation_endpoint_is_spoken_to_in_its_own_words(
    options: dict[str, Any], parameters: dict[str, Any]
) -> None:
    assert sent(render(options, endpoint="completion").wire, "completion") == parameters


@pytest.mark.parametrize(
    ("options", "endpoint", "complaint"),
    [
        ({"temperature": 2.5}, "chat", "at most 2"),
        ({"repetition_penalty": 0.5}, "chat", "at least 1"),
        ({"repetition_penalty": 2.5}, "completion", "at most 2"),
        ({"stop": ["a"] * 5}, "chat", "at most 4"),
        ({"stop": ["a"] * 7}, "completion", "at most 6"),
        ({"seed": 0}, "completion", "at least 1"),
        ({"top_k": 101}, "completion", "at most 100"),
        ({"time_limit": 0}, "chat", "at least 1"),
        ({"temperature": 0, "decoding_method": "sample"}, "completion", "decoding_method"),
        ({"n": 2}, "chat", "must be 1, not 2"),
    ],
)
def test_what_watsonx_refuses_is_refused_before_it_is_sent(
    options: dict[str, Any], endpoint: Endpoint, complaint: str
) -> None:
    with pytest.raises(OptionError, match=complaint):
        render(options, endpoint=endpoint)


def test_the_models_own_limit_may_be_asked_for() -> None:
    assert render({"max_tokens": 0}).wire == {"max_completion_tokens": 0}
