"""Which option a name means, and which names are refused, or passed on unchecked."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from support.fake_options import described, problems, render, target

from mellea_api import OptionError
from mellea_api._options.canonical import INTERNAL, SPELLINGS
from mellea_api._options.pipeline import OptionPipeline
from mellea_api.plugin import BackendDescriptor, CredentialField, OptionRule, Target

# --- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("temprature", "temperature"),
        ("max_token", "max_tokens"),
        ("Temperature", "temperature"),
        ("num_predct", "num_predict"),
        ("mirostatt", "mirostat"),
    ],
)
def test_an_unknown_name_brings_the_nearest_known_one(given: str, meant: str) -> None:
    message = problems({given: 1})[given]
    assert f"did you mean {meant!r}" in message


def test_the_suggested_spelling_says_what_the_option_is_called_here() -> None:
    assert problems({"num_predct": 1})["num_predct"].endswith("'num_predict' (here: max_tokens)?")


def test_a_name_like_no_other_is_told_about_extra() -> None:
    assert "`extra={...}`" in problems({"zzzzzz": 1})["zzzzzz"]


@pytest.mark.parametrize("options", [{"temprature": 1}, {"top_k": 5, "unsupported": "error"}])
@pytest.mark.parametrize(
    ("model", "said"), [("small-1", ""), ("big-2", " --model big-2"), ("a b", " --model 'a b'")]
)
def test_the_next_step_lists_what_the_model_takes(
    options: dict[str, Any], model: str, said: str
) -> None:
    about = Target(descriptor=described().descriptor, model_id=model)
    with pytest.raises(OptionError) as caught:
        OptionPipeline(about).render(options, "chat")
    assert caught.value.next_step == f"`mellea-api options fake{said}` shows what it takes."


def test_names_that_are_no_text_are_problems() -> None:
    assert set(problems({1: 2, None: 3, ("a",): 4})) == {"1", "None", "('a',)"}


def test_a_name_that_cannot_be_printed_is_shown_escaped() -> None:
    (path,) = problems({"\ud800\n": 1})
    assert path == r"'\ud800\n'"
    (path,) = problems({"x" * 1_000_000: 1})
    assert len(path) < 100


def test_options_that_are_no_dict_are_refused() -> None:
    for given in ([("a", 1)], "temperature=1", 3):
        assert list(problems(given)) == ["model_options"]


def test_a_reserved_name_says_why_whatever_the_policy() -> None:
    for policy in ("drop", "warn", "error"):
        assert problems({"model": "x"}, policy) == {"model": "cannot be given: the session has one"}


def test_two_spellings_of_one_option_with_different_values_are_refused() -> None:
    found = problems({"max_tokens": 5, "num_predict": 6})
    assert found == {
        "max_tokens": "is given as 5, and under its other name 'num_predict' as 6; give it once"
    }


@pytest.mark.parametrize(
    "options",
    [
        {"max_tokens": 5, "num_predict": 5},
        {"max_tokens": 5, "num_predict": None},
        {"stop": "a", "stop_sequences": ["a"]},
        {"stop": ("a",), "stop_sequences": "a"},
    ],
)
def test_two_spellings_that_mean_the_same_are_one_option(options: dict[str, Any]) -> None:
    assert len(render(options).report.decisions) == 1


def test_true_and_one_are_not_the_same_value() -> None:
    assert problems({"thinking": True, "think": 1})


def test_a_key_of_mellea_wins_over_another_spelling_and_is_reported() -> None:
    options = {"max_tokens": 100, "n": 1, "@@@max_new_tokens@@@": 7}  # as budget forcing sends
    report = render(options).report

    assert report.wire == {"body": {"token_limit": 7}}
    decision = report.decision("max_tokens")
    assert decision is not None
    assert decision.spelling == "@@@max_new_tokens@@@"
    assert "wins over 'max_tokens' = 100" in decision.reason


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("MAX_NEW_TOKENS", "max_tokens"),
        ("TEMPERATURE", "temperature"),
        ("SEED", "seed"),
        ("STOP_SEQUENCES", "stop"),
        ("THINKING", "thinking"),
        ("CONTEXT_WINDOW", "context_window"),
        ("SYSTEM_PROMPT", "system_prompt"),
        ("STREAM", "stream"),
        ("STREAM_TIMEOUT", "stream_timeout"),
        ("TOOLS", "tools"),
        ("TOOL_CHOICE", "tool_choice"),
    ],
)
def test_each_option_of_mellea_is_the_common_one(key: str, name: str) -> None:
    """As the comments in `mellea/backends/model_options.py` describe them."""
    backends = pytest.importorskip("mellea.backends")
    spelling = getattr(backends.ModelOption, key, None)
    if spelling is None:
        pytest.skip(f"this Mellea has no {key}")
    assert SPELLINGS.get(spelling, spelling) == name


@pytest.mark.parametrize("inside", [False, True])
def test_a_credential_is_no_option_and_its_value_is_not_shown(inside: bool) -> None:
    about = described(credentials=CredentialField(name="api_key"))
    given = {"api_key": "sk-0123456789abcdefghij"}
    with pytest.raises(OptionError, match="give api_key= to start_session") as caught:
        OptionPipeline(about).render({"extra": given} if inside else given, "chat")
    assert "sk-0123" not in str(caught.value)


def test_a_key_that_only_mellea_acts_on_passes_and_is_not_sent() -> None:
    rendered = render({"@@@something_new@@@": {1, 2}})
    assert rendered.options == {"@@@something_new@@@": {1, 2}}
    assert rendered.report.wire == {}
    assert rendered.report.decisions[0].outcome == "passed"


def test_a_rule_for_a_key_of_mellea_counts() -> None:
    decision = render({"@@@logits@@@": True}).report.decisions[0]
    assert (decision.outcome, decision.reason) == ("dropped", "there are no logits here")


@pytest.mark.parametrize("name", sorted(INTERNAL))
def test_what_mellea_sends_by_itself_is_never_unknown(name: str) -> None:
    decision = render({name: 1}).report.decision(name)
    assert decision is not None
    assert decision.reason
    assert decision.wire == ""


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (2, "must be 1, not 2"),
        (0, "must be 1, not 0"),
        (True, "must be an integer, not True"),
        ("1", "must be an integer, not '1'"),
    ],
)
def test_more_or_less_than_one_answer_is_refused(value: Any, words: str) -> None:
    assert problems({"n": value}) == {"n": words}


# --- extra and unknown -------------------------------------------------------------------------


def test_extra_passes_names_on_unchecked_to_where_the_backend_says() -> None:
    report = render({"extra": {"whatever": [1], "a.b": 2}}).report
    assert report.wire == {"body": {"whatever": [1], "a.b": 2}}
    assert [decision.outcome for decision in report.decisions] == ["passed", "passed"]
    assert {decision.spelling for decision in report.decisions} == {
        "extra['whatever']",
        "extra['a.b']",
    }


def test_extra_does_not_overwrite_an_option() -> None:
    assert (
        "as well as another option" in problems({"seed": 1, "extra": {"seed": 2}})["extra['seed']"]
    )


def test_extra_is_no_way_to_set_what_is_reserved() -> None:
    rules = (
        OptionRule(name="model", reserved=True, reason="name it as model_id"),
        OptionRule(name="seed", chat="seed"),
    )
    descriptor = BackendDescriptor(name="x", summary="", default_model="m", options=rules)
    pipeline = OptionPipeline(Target(descriptor=descriptor, model_id="m"))
    for given in ({"model": "other"}, {"extra": {"model": "other"}}):
        with pytest.raises(OptionError, match="cannot be given: name it as model_id"):
            pipeline.render(given, "chat")


@pytest.mark.parametrize("value", [["a"], "a", 1, {1: 2}, {"": 1}])
def test_extra_is_a_dict_of_named_options(value: Any) -> None:
    assert "must be a dict of options" in problems({"extra": value})["extra"]


def test_extra_does_not_carry_names_of_mellea_to_the_provider() -> None:
    assert set(problems({"extra": {"@@@thinking@@@": 1}})) == {"extra['@@@thinking@@@']"}


def test_extra_of_session_and_call_are_merged_name_by_name() -> None:
    session = OptionPipeline(target())
    session.set_defaults({"extra": {"a": 1, "b": 1, "c": 1}})
    wire = session.render({"extra": {"b": 2, "c": None}}, "chat").report.wire
    assert wire == {"body": {"a": 1, "b": 2}}


def test_an_extra_that_is_no_json_is_refused() -> None:
    assert set(problems({"extra": {"a": object(), "b": float("nan")}})) == {
        "extra['a']",
        "extra['b']",
    }


def test_unknown_pass_passes_unknown_names_and_still_checks_the_known() -> None:
    report = render({"whatever": 1}, unknown="pass").report
    assert report.wire == {"body": {"whatever": 1}}
    assert set(problems({"whatever": 1, "top_p": 5}, unknown="pass")) == {"top_p"}


def test_unknown_pass_drops_and_reports_what_a_server_would_not_be_sent_by_mellea() -> None:
    about = evolve(
        described().descriptor, drops_unknown="compatible", official_hosts="fake.invalid"
    )
    for address, wire in (("http://fake.invalid", {"whatever": 1}), ("http://x", {})):
        where = Target(descriptor=about, model_id="small-1", base_url=address)
        rendered = OptionPipeline(where, unknown="pass").render({"whatever": 1}, "chat")
        decision = rendered.report.decision("whatever")
        assert rendered.report.wire == wire
        assert (decision is None) is bool(wire)
        assert not decision or decision.outcome == "dropped"
        # Asked for by name, it is sent.
        given = {"extra": {"whatever": 1}}
        assert OptionPipeline(where).render(given, "chat").report.wire == {"whatever": 1}


def test_both_of_a_providers_own_names_are_spellings_of_the_option() -> None:
    about = described(OptionRule(name="seed", chat=("body.start_value", "parameters.random_start")))
    for spelling in ("start_value", "random_start"):
        report = OptionPipeline(about).render({spelling: 1}, "chat").report
        assert report.wire == {"parameters": {"random_start": 1}}


def test_what_has_no_place_says_at_which_endpoint() -> None:
    about = described(OptionRule(name="seed", chat="seed", completion="seed"))
    for endpoint, words in (("chat", "'small-1' has"), ("completion", "at the raw endpoint has")):
        with pytest.raises(OptionError) as caught:
            OptionPipeline(about, policy="error").render({"top_k": 1}, endpoint)  # type: ignore[arg-type]
        assert words in str(caught.value)
