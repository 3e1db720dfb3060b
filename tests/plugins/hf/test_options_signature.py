"""Every parameter of `generate()` has a rule, in the transformers that is installed.

When a new transformers makes one of these fail, the message says which rule is missing.
"""

from __future__ import annotations

import inspect
from typing import Any

import pytest

pytest.importorskip("mellea_api_hf", reason="mellea-api-hf is not installed")

from support.fake_options import FakeTool

from mellea_api._contract.descriptor import BackendDescriptor
from mellea_api._contract.errors import OptionError
from mellea_api._contract.option_rule import Endpoint, OptionRule
from mellea_api._contract.reports import NormalizedOptions
from mellea_api._contract.requests import OptionsRequest, Target
from mellea_api._options.canonical import CANONICAL, SPELLINGS
from mellea_api._options.limits import CHECKS
from mellea_api._options.plan import apply_rules
from mellea_api_hf.models import CATALOGUE
from mellea_api_hf.options import RULES, SAMPLING

DESCRIPTOR = BackendDescriptor(
    name="hf", summary="", default_model=CATALOGUE[0].id, options=RULES, models=CATALOGUE
)


def render(
    options: dict[str, Any], *, endpoint: Endpoint = "chat", mellea: str = "0.8.0"
) -> NormalizedOptions:
    target = Target(descriptor=DESCRIPTOR, model_id="tiny", mellea_version=mellea)
    request = OptionsRequest(target=target, endpoint=endpoint, options=options)
    return apply_rules(request)


def rules_for(parameter: str) -> list[OptionRule]:
    return [rule for rule in RULES if rule.name == SPELLINGS.get(parameter, parameter)]


def test_every_parameter_of_generation_config_and_of_generate_has_a_rule() -> None:
    transformers = pytest.importorskip("transformers", reason='needs "mellea[hf]"')
    from transformers.generation.utils import GenerationMixin

    config = {name for name in vars(transformers.GenerationConfig()) if not name.startswith("_")}
    arguments = set(inspect.signature(GenerationMixin.generate).parameters) - {"self", "kwargs"}
    assert not sorted(name for name in config | arguments if not rules_for(name))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.name}-{rule.supported}")
def test_a_rule_says_where_it_was_read_and_why_it_sends_nothing(rule: OptionRule) -> None:
    assert rule.source
    assert rule.supported or rule.reason
    assert rule.type is None or rule.type in CHECKS


@pytest.mark.parametrize("name", CANONICAL)
@pytest.mark.parametrize("endpoint", ["chat", "completion"])
def test_every_common_option_is_sent_or_has_a_reason(name: str, endpoint: Endpoint) -> None:
    samples: dict[str, Any] = {
        "integer": 3,
        "number": 0.5,
        "texts": ["x"],
        "text": "x",
        "boolean": True,
        "thinking": True,
        "seconds": 1,
        "tools": [FakeTool()],
        "tool_choice": "auto",
    }
    decision = render({name: samples[CANONICAL[name].type]}, endpoint=endpoint).decision(name)
    assert decision is not None
    assert decision.outcome != "dropped" or decision.reason


@pytest.mark.parametrize(
    ("given", "wire"),
    [
        ({"max_tokens": 5}, {"max_new_tokens": 5}),
        ({"temperature": 0}, {"do_sample": False}),
        ({"temperature": 0.0, "top_p": 0.5, "top_k": 3, "min_p": 0.1}, {"do_sample": False}),
        ({"temperature": 0.7}, {"temperature": 0.7, "do_sample": True}),
        ({"top_p": 0.5}, {"top_p": 0.5, "do_sample": True}),
        ({"top_k": 3}, {"top_k": 3, "do_sample": True}),
        ({"min_p": 0.1}, {"min_p": 0.1, "do_sample": True}),
        ({"typical_p": 0.1}, {"typical_p": 0.1, "do_sample": True}),
        ({"stop": ["a", "b"]}, {"stop_strings": ["a", "b"]}),
        ({"seed": 7}, {"seed": 7}),
        ({"do_sample": True}, {"do_sample": True}),
        ({"temperature": 0, "do_sample": False}, {"do_sample": False}),
        ({"temperature": 0.7, "do_sample": True}, {"temperature": 0.7, "do_sample": True}),
        ({"n": 1}, {}),
        ({"length_penalty": 2.0}, {}),
        ({"early_stopping": True, "num_beams": 1}, {"num_beams": 1}),
        ({"length_penalty": 2.0, "num_beams": 3}, {"length_penalty": 2.0, "num_beams": 3}),
        ({"epsilon_cutoff": 1}, {}),
        ({"eta_cutoff": 0.0}, {}),
        ({"eta_cutoff": 0.5}, {"eta_cutoff": 0.5, "do_sample": True}),
    ],
)
def test_what_generate_is_given(given: dict[str, Any], wire: dict[str, Any]) -> None:
    assert render(given).wire == wire
    assert render(given, endpoint="completion").wire == wire


@pytest.mark.parametrize(
    ("thinking", "switch"), [(True, True), ("low", True), ("none", False), (False, False)]
)
def test_the_switch_of_a_chat_template_is_reported_as_it_is_sent(
    thinking: Any, switch: bool
) -> None:
    rendered = render({"thinking": thinking})
    assert rendered.wire == {"chat_template_kwargs": {"enable_thinking": switch}}
    assert rendered.options == {"@@@thinking@@@": thinking}


@pytest.mark.parametrize(
    "given",
    [
        {"seed": 2**32},
        {"n": 2},
        {"do_sample": True, "temperature": 0},
        {"do_sample": False, "temperature": 0.5},
        {"do_sample": False, "top_k": 5},
        {"num_beams": 3, "stream": True},
        {"num_return_sequences": 2},
        {"temperature": 2.5},
        {"top_p": 0},
        *({name: 1} for name in ("streamer", "generation_config", "logits_processor", "tokenizer")),
    ],
)
def test_what_cannot_be_meant_is_an_error(given: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        render(given)


@pytest.mark.parametrize("name", [name for name in SAMPLING if name != "temperature"])
def test_greedy_says_that_what_shapes_sampling_has_no_effect(name: str) -> None:
    value = 3 if name == "top_k" else 0.5
    decision = render({"temperature": 0, name: value}).decision(name)
    assert decision is not None
    assert (decision.outcome, decision.wire) == ("converted", "")
    assert "temperature=0" in decision.reason


def test_the_neutral_frequency_penalty_never_becomes_a_repetition_penalty() -> None:
    rendered = render({"frequency_penalty": 0.0, "presence_penalty": 0.5})
    assert rendered.wire == {}
    assert {decision.outcome for decision in rendered.decisions} == {"dropped"}


def test_scores_need_a_mellea_that_returns_them() -> None:
    assert render({"@@@logits@@@": True}, mellea="0.7.0").options == {"@@@logits@@@": True}
    decision = render({"@@@logits@@@": True}, mellea="0.6.0").decision("@@@logits@@@")
    assert decision is not None
    assert decision.outcome == "dropped"
    assert "0.7" in decision.reason


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"temperature": 0, "do_sample": True}, "must be False, not True: temperature=0"),
        ({"top_k": 5, "do_sample": False}, "must be True, not False: an option that shapes"),
    ],
)
def test_a_do_sample_that_another_option_contradicts_is_an_error_that_says_so(
    options: dict[str, Any], says: str
) -> None:
    with pytest.raises(OptionError) as caught:
        render(options)
    assert says in str(caught.value)
