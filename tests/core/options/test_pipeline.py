"""The path of a call's options: policies, what is kept of what is given, and a plugin's own mistakes."""

from __future__ import annotations

import copy
import logging
from typing import Any

import pytest
from attrs import evolve
from support.fake_options import (
    DESCRIPTOR,
    as_percent,
    described,
    fails,
    no_converted,
    problems,
    render,
    target,
)

from mellea_api import NormalizedOptions, OptionError, PluginError
from mellea_api._contract.requests import OptionsRequest
from mellea_api._options.listing import list_options
from mellea_api._options.pipeline import OptionPipeline
from mellea_api._options.spelling import overlay
from mellea_api.plugin import MELLEA_RULES, TEXT_RULES, Converted, OptionRule

# --- policies ----------------------------------------------------------------------------------


def test_warn_warns_once_a_session_and_option(caplog: pytest.LogCaptureFixture) -> None:
    session = OptionPipeline(target(), policy="warn")
    with caplog.at_level(logging.WARNING, logger="mellea_api"):
        for _ in range(3):
            session.render({"min_p": 0.1, "presence_penalty": 1.0}, "chat")
    texts = [record.getMessage() for record in caplog.records]

    assert len(texts) == 2
    assert "does not send min_p=0.1: only big models have it." in texts[0]
    OptionPipeline(target(), policy="warn").render({"min_p": 0.1}, "chat")
    assert len(caplog.records) == 3


def test_drop_says_it_in_the_report_alone(caplog: pytest.LogCaptureFixture) -> None:
    decision = render({"min_p": 0.1}).report.decision("min_p")
    assert decision is not None
    assert decision.outcome == "dropped"
    assert not caplog.records


def test_the_report_says_where_the_rule_was_read() -> None:
    decision = render({"top_k": 40}).report.decision("top_k")
    assert decision is not None
    assert decision.source == "the fake's page"


def test_error_lists_all_that_is_not_supported() -> None:
    found = problems({"min_p": 0.1, "presence_penalty": 1, "seed": 1}, "error")
    assert set(found) == {"min_p", "presence_penalty"}
    assert found["min_p"] == "is not supported: only big models have it"


def test_the_policy_of_a_call_wins_over_that_of_the_session(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert problems({"min_p": 0.1, "unsupported": "error"}, "drop")
    session = OptionPipeline(target(), policy="error")
    with pytest.raises(OptionError):
        session.render({"min_p": 0.1}, "chat")
    session.render({"min_p": 0.1, "unsupported": "drop"}, "chat")
    assert not caplog.records


def test_the_policy_of_a_session_is_no_option_of_it() -> None:
    with pytest.raises(OptionError, match="is an argument of a session"):
        OptionPipeline(target()).set_defaults({"unsupported": "error"})


def test_an_error_of_a_plugin_that_lists_no_problems_comes_through() -> None:
    def normalize(request: OptionsRequest) -> NormalizedOptions:
        raise OptionError("The route is unknown.", next_step="Name another.")

    with pytest.raises(OptionError, match="The route is unknown"):
        OptionPipeline(target(), normalize=normalize).render({"seed": 1}, "chat")


@pytest.mark.parametrize("value", ["ignore", None, 1, ["warn"]])
def test_an_unknown_policy_is_a_problem(value: Any) -> None:
    assert "must be one of warn, error, drop" in problems({"unsupported": value})["unsupported"]


def test_a_rule_for_newer_mellea_says_which_it_needs() -> None:
    decision = render({"future": 1}).report.decision("future")
    assert decision is not None
    assert decision.reason == "needs Mellea 99.0 or newer, and 0.8.0 is installed"


def test_defaults_that_cannot_be_used_leave_the_old_ones_in_place() -> None:
    session = OptionPipeline(target())
    session.set_defaults({"seed": 1})
    with pytest.raises(OptionError):
        session.set_defaults({"seed": "x"})
    assert session.render(None, "chat").report.wire == {"body": {"seed": 1}}


def test_calls_see_the_old_defaults_until_the_new_ones_will_do() -> None:
    seen: list[Any] = []

    def review(request: Any) -> Any:
        seen.append(dict(session.defaults.values))
        return []

    session = OptionPipeline(target(), review=review)
    session.set_defaults({"seed": 1})
    with pytest.raises(OptionError):
        session.set_defaults({"seed": "x"})
    session.set_defaults({"seed": 2})
    assert seen == [{}, {"seed": 1}, {"seed": 1}]
    assert session.defaults.values == {"seed": 2}


def test_overlaying_two_dicts_means_the_same_as_session_and_call() -> None:
    under = {"num_predict": 1, "seed": 1, "extra": {"a": 1}}
    over = {"max_tokens": 2, "extra": {"b": 2}}
    session = OptionPipeline(target())
    session.set_defaults(under)
    merged = overlay(under, over, target())
    assert render(merged).options == session.render(over, "chat").options


# --- calls of the same shape --------------------------------------------------------------------


def test_a_call_like_an_earlier_one_is_rendered_with_its_own_values() -> None:
    session = OptionPipeline(target())
    session.set_defaults({"seed": 1, "temperature": 0.5})
    for seed in (2, 3):
        given = {"num_predict": seed, "random_seed": seed}
        rendered = session.render(given, "chat")
        given["random_seed"] = 99
        assert rendered.options == {"token_limit": seed, "seed": seed, "temperature": 0.5}
        assert rendered.report.wire == {"body": rendered.options}


def test_a_call_like_an_earlier_one_may_still_be_wrong_or_unset_a_default() -> None:
    session = OptionPipeline(target())
    session.set_defaults({"stop": ["a"], "anything": 1})
    assert session.render({"stop": ["b"], "anything": 2}, "chat").options["stop"] == ["b"]
    assert session.render({"stop": None, "anything": None}, "chat").options == {}
    assert session.render({"stop": [], "anything": 2}, "chat").options == {"anything": 2}
    with pytest.raises(OptionError, match="stop"):
        session.render({"stop": 5, "anything": 2}, "chat")
    assert session.render({"stop": "c", "anything": 0}, "chat").options == {
        "stop": ["c"],
        "anything": 0,
    }


def test_one_option_under_two_names_is_an_error_whatever_was_seen_before() -> None:
    session = OptionPipeline(target())
    for same in (5, 6):
        given = {"max_tokens": same, "num_predict": same}
        assert session.render(given, "chat").options == {"token_limit": same}
        with pytest.raises(OptionError, match="give it once"):
            session.render({**given, "num_predict": 7}, "chat")


def test_the_endpoints_keep_apart_what_they_know_of_a_shape() -> None:
    rule = OptionRule(name="seed", chat="here", completion="there")
    session = OptionPipeline(described(rule))
    for _ in range(2):
        assert session.render({"seed": 1}, "chat").options == {"here": 1}
        assert session.render({"seed": 1}, "completion").options == {"there": 1}


@pytest.mark.parametrize("kept", [{}, {"seed": 1}])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "x"), ("a", "y")),
        (("a", "x"), ("b", "x")),
        (("a", "x"), ("b", "x.y")),
        (("a", "x.y"), ("b", "x")),
        (("a", "x"), ("a.b", "y")),
    ],
)
def test_two_options_that_meet_at_one_place_are_an_error_each_time(
    one: tuple[str, str], other: tuple[str, str], kept: dict[str, int]
) -> None:
    """Beside one another: each alone is sent."""
    rules = (
        OptionRule(name="seed", chat=one),
        OptionRule(name="top_k", chat=other),
    )
    session = OptionPipeline(described(*rules))
    session.set_defaults(kept)
    for _ in range(2):
        assert session.render({"seed": 2}, "chat").report.wire
        with pytest.raises(OptionError, match="as well as another option"):
            session.render({"top_k": 3} if kept else {"seed": 2, "top_k": 3}, "chat")


# --- what is given stays the caller's ----------------------------------------------------------


def test_what_is_given_is_neither_changed_nor_kept() -> None:
    defaults = {"stop": ["a"], "extra": {"x": {"y": [1]}}}
    call = {"tool_choice": {"function": {"name": "f"}}, "anything": [[1]]}
    before = copy.deepcopy((defaults, call))
    session = OptionPipeline(target())
    session.set_defaults(defaults)
    rendered = session.render(call, "chat")
    assert (defaults, call) == before

    expected = copy.deepcopy(rendered.options)
    defaults["stop"].append("b")
    defaults["extra"]["x"]["y"].append(2)
    call["tool_choice"]["function"]["name"] = "g"
    call["anything"][0].append(2)

    assert rendered.options == expected
    assert rendered.report.options == expected
    for decision in rendered.report.decisions:
        assert decision.value == decision.sent
    assert session.render(before[1], "chat").options == expected


def test_what_is_returned_may_be_changed() -> None:
    """Mellea's budget forcing changes the dict that it passes on."""
    session = OptionPipeline(target())
    session.set_defaults({"stop": ["a"], "top_k": 3})
    first = session.render(None, "chat")
    first.options["stop"].append("b")
    first.options["extra_body"]["top_k"] = 4
    assert session.render(None, "chat").options == {
        "stop": ["a"],
        "extra_body": {"top_k": 3},
    }
    assert first.report.wire == {"body": {"stop": ["a"]}, "top_k": 3}


# --- a plugin's own mistakes -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (
            OptionRule(name="seed", chat="seed", convert=fails),
            "conversion fails of 1 raised KeyError",
        ),
        (OptionRule(name="seed", chat="seed", convert=no_converted), "not a Converted"),
    ],
)
def test_a_rule_that_cannot_be_applied_is_a_plugin_error(rule: OptionRule, words: str) -> None:
    with pytest.raises(PluginError, match=words):
        OptionPipeline(described(rule)).render({"seed": 1}, "chat")


@pytest.mark.parametrize(("said", "shown"), [("no", "raised KeyError: 'no'"), ("x" * 9999, "…")])
def test_what_a_conversion_raises_is_shown_whole_unless_it_is_long(said: str, shown: str) -> None:
    def convert(value: Any) -> Converted:
        raise KeyError(said)

    rule = OptionRule(name="seed", chat="seed", convert=convert)
    with pytest.raises(PluginError) as caught:
        OptionPipeline(described(rule)).render({"seed": 1}, "chat")
    assert shown in str(caught.value)
    assert ("…" in str(caught.value)) is (shown == "…")
    assert len(str(caught.value)) < 500


def test_a_conversion_that_overflows_is_refused() -> None:
    rule = OptionRule(name="temperature", chat="t", convert=as_percent, maximum=1e308)
    with pytest.raises(OptionError, match="JSON"):
        OptionPipeline(described(rule)).render({"temperature": 1e307}, "chat")


def test_a_conversion_refuses_a_value_with_its_own_words() -> None:
    assert problems({"even": 3}) == {"even": "must be even"}


def test_plans_of_two_backends_with_the_same_rules_keep_their_names() -> None:
    from mellea_api._contract.descriptor import BackendDescriptor
    from mellea_api._options.plan import plan_for

    for name in ("one", "other") * 50:  # the id of a descriptor may come again
        descriptor = BackendDescriptor(
            name=name, summary="", default_model="m", options=DESCRIPTOR.options
        )
        assert plan_for(target("m", descriptor), "chat").backend == name


@pytest.mark.parametrize(
    ("session", "call", "sent"),
    [
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": 1, "b": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"deep": {"x": 1}}, {"deep": {"y": 2}}, {"deep": {"y": 2}}),
        ({"a": 1}, None, None),
        (None, {"a": 1}, {"a": 1}),
    ],
)
@pytest.mark.parametrize("name", ["extra_body", "extra_headers", "extra_query"])
@pytest.mark.parametrize("convert", [None, Converted])
def test_what_holds_options_is_merged_key_by_key(
    name: str, session: Any, call: Any, sent: Any, convert: Any
) -> None:
    rule = OptionRule(name=name, chat=name, type="object", convert=convert)
    about = described(rule)
    pipeline = OptionPipeline(about)
    pipeline.set_defaults({name: session} if session else {})
    assert pipeline.render({name: call}, "chat").options.get(name) == sent
    under = {name: session} if session else {}
    assert overlay(under, {name: call}, about).get(name) == (sent if call else call)


def test_plain_functions_are_tools_to_an_old_mellea_alone() -> None:
    def weather(city: str) -> str:
        return "sunny"

    about = described(*MELLEA_RULES)
    for given in ([weather], {"weather": weather}):
        old = evolve(about, mellea_version="0.3.0")
        report = OptionPipeline(old).render({"tools": given}, "chat").report
        assert report.wire["tools"][0]["function"]["name"] == "weather"
        with pytest.raises(OptionError, match=r"tools\[.*\] must be a tool of Mellea's"):
            OptionPipeline(evolve(about, mellea_version="0.4.0")).render({"tools": given}, "chat")


@pytest.mark.parametrize("name", ["stop", "logit_bias"])
def test_a_report_that_is_read_late_shows_what_was_sent(name: str) -> None:
    rules = (*OptionRule.sent("stop seed"), *OptionRule.sent("logit_bias", type="object"))
    session = OptionPipeline(described(*rules))
    given: dict[str, Any] = {"stop": ["a"], "logit_bias": {"a": 1}}
    rendered = session.render({name: given[name], "seed": 1}, "chat")
    kept = copy.deepcopy(given[name])
    given[name].clear()
    decision = rendered.report.decision(name)
    assert decision is not None
    assert decision.sent == decision.value == kept == rendered.options[name]


def test_a_raw_prompt_is_never_streamed_and_says_so_only_if_asked_to_be() -> None:
    """Mellea's `generate_from_raw` asks for the whole answer, whatever its options say."""
    pipeline = OptionPipeline(described(*MELLEA_RULES))
    (said,) = pipeline.render({"stream": False}, "completion").report.decisions
    assert (said.outcome, said.sent) == ("converted", None)
    (said,) = pipeline.render({"stream": True}, "completion").report.decisions
    assert (said.outcome, said.reason) == ("dropped", "Mellea cannot stream from the raw endpoint")


@pytest.mark.parametrize("rules", [MELLEA_RULES, TEXT_RULES])
def test_each_shared_rule_says_where_it_was_read(rules: tuple[OptionRule, ...]) -> None:
    assert [rule.name for rule in rules if not rule.source] == []


def test_the_list_of_options_says_what_a_common_one_does() -> None:
    listed = {one.rule.name: one for one in list_options(target(), "chat")}
    assert "likeliest token" in listed["temperature"].help
    assert listed["mirostat"].help == ""
