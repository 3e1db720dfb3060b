"""The path of a call's options: names, policies, what Mellea itself sends, and what is kept."""

from __future__ import annotations

import copy
import enum
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from support.fake_options import DESCRIPTOR, MODULE, described, target

from mellea_api import BackendDescriptor, OptionError, OptionRule, PluginError, Target
from mellea_api.options.canonical import CANONICAL, INTERNAL
from mellea_api.options.pipeline import OptionPipeline, Rendered
from mellea_api.options.spelling import overlay


def render(options: Any, policy: Any = "drop", **settings: Any) -> Rendered:
    return OptionPipeline(target(), policy=policy, **settings).render(options, "chat")


def problems(options: Any, policy: Any = "drop", **settings: Any) -> dict[str, str]:
    with pytest.raises(OptionError) as caught:
        render(options, policy, **settings)
    return {problem.path: problem.message for problem in caught.value.problems or ()}


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


@pytest.mark.parametrize("value", [2, 0, True, "1"])
def test_more_or_less_than_one_answer_is_refused(value: Any) -> None:
    assert "must be 1" in problems({"n": value})["n"]


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


def test_error_lists_all_that_is_not_supported() -> None:
    found = problems({"min_p": 0.1, "presence_penalty": 1, "seed": 1}, "error")
    assert set(found) == {"min_p", "presence_penalty"}
    assert found["min_p"] == "is not supported: only big models have it"


def test_the_policy_of_a_call_wins_over_that_of_the_defaults_and_of_the_session(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert problems({"min_p": 0.1, "unsupported": "error"}, "drop")
    session = OptionPipeline(target(), policy="drop")
    session.set_defaults({"unsupported": "error"})
    with pytest.raises(OptionError):
        session.render({"min_p": 0.1}, "chat")
    session.render({"min_p": 0.1, "unsupported": "drop"}, "chat")
    assert not caplog.records


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


# --- hostile values ----------------------------------------------------------------------------


class BrokenError(Exception):
    """None of the library's business."""


def broken(*_: object, **__: object) -> Any:
    raise BrokenError


class Odd:
    __eq__ = __ne__ = __repr__ = __str__ = __bool__ = __len__ = broken
    __hash__ = object.__hash__


class OddNumber(float):
    __eq__ = __ne__ = __lt__ = __gt__ = __le__ = __ge__ = __float__ = __repr__ = broken
    __hash__ = object.__hash__


class OddInteger(int):
    __index__ = __int__ = __repr__ = __lt__ = __gt__ = __eq__ = __float__ = broken
    __hash__ = object.__hash__


class OddList(Sequence[Any]):
    __getitem__ = __len__ = __iter__ = __eq__ = __repr__ = broken
    __hash__ = object.__hash__


class OddDict(Mapping[str, Any]):
    __getitem__ = __len__ = __iter__ = __eq__ = __repr__ = broken
    __hash__ = object.__hash__


class Index:
    __index__ = broken


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def endless() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


HOSTILE = {
    "odd": Odd(),
    "number": OddNumber(0.5),
    "integer": OddInteger(5),
    "list": OddList(),
    "dict": OddDict(),
    "index": Index(),
    "odd items": [Odd(), OddInteger(1)],
    "odd values": {"a": OddNumber(1)},
    "deep": nested(100_000),
    "endless": endless(),
    "huge": 10**5000,
    "huger": [10**5000],
    "half a pair": "\ud800",
    "half a pair inside": {"a": ["\udfff"]},
    "half a pair as a name": {"\ud800": 1},
    "bytes": b"\xff",
    "exception": BrokenError(),
}


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize(
    "name",
    [*sorted(CANONICAL), "mirostat", "anything", "extra", "unsupported", "n", "documents", "even"],
)
def test_no_value_gets_out_as_a_foreign_exception(name: str, value: Any) -> None:
    texts = []
    for options in ({name: value}, {"extra": {name: value}}, {name: value, f"{name}x": value}):
        session = OptionPipeline(target(), policy="warn")
        for use in (session.set_defaults, lambda given, to=session: to.render(given, "chat")):
            try:
                use(options)
            except OptionError as error:
                texts.append(str(error))
    for text in texts:
        assert len(text.encode()) < 3000
        assert "\n" not in text


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_two_spellings_that_cannot_be_compared_are_no_foreign_exception(value: Any) -> None:
    assert problems(
        {"num_predict": value, "max_tokens": 3, "temperature": value, "logprobs": value}
    )


def test_a_mapping_that_cannot_be_read_is_an_option_error() -> None:
    assert set(problems(OddDict())) == {"model_options"}


def test_a_member_of_a_text_enum_means_its_value() -> None:
    class Words(str, enum.Enum):  # noqa: UP042 - StrEnum's str() is its value
        LOW = "low"
        END = "end"

    class Numbers(enum.IntEnum):
        SEVEN = 7

    options = {"thinking": Words.LOW, "stop": [Words.END], "seed": Numbers.SEVEN}
    wire = render({**options, "system_prompt": Words.END}).report.wire
    assert wire["think"] == "low"
    assert type(wire["think"]) is str
    assert wire["body"] == {"seed": 7, "stop": ["end"]}
    assert wire["messages"] == [{"role": "system", "content": "end"}]


def test_an_item_of_a_list_is_named_by_its_place() -> None:
    assert problems({"stop": ["a", "b", ""]}) == {
        "stop[2]": "must be text that is not empty, not ''"
    }
    assert set(problems({"stop_sequences": ["a", "\ud800"]})) == {"stop_sequences[1]"}


# --- a plugin's own mistakes -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (OptionRule(name="seed", chat="seed", convert=f"{MODULE}:fails"), "KeyError"),
        (OptionRule(name="seed", chat="seed", convert=f"{MODULE}:no_converted"), "not a Converted"),
        (OptionRule(name="seed", chat="seed", convert="no.such.module:f"), "no.such.module"),
        (OptionRule(name="seed", chat="seed", convert=f"{MODULE}:missing"), "missing"),
        (OptionRule(name="seed", chat="seed", convert=f"{MODULE}:MODULE"), "not a function"),
        (OptionRule(name="seed", chat="seed", convert="no_such_name"), "no_such_name"),
        (OptionRule(name="seed", chat="seed", type="int"), "no type 'int'"),
    ],
)
def test_a_rule_that_cannot_be_applied_is_a_plugin_error(rule: OptionRule, words: str) -> None:
    with pytest.raises(PluginError, match=words):
        OptionPipeline(described(rule)).render({"seed": 1}, "chat")


def test_a_conversion_that_overflows_is_refused() -> None:
    rule = OptionRule(name="temperature", chat="t", convert=f"{MODULE}:as_percent", maximum=1e308)
    with pytest.raises(OptionError, match="JSON"):
        OptionPipeline(described(rule)).render({"temperature": 1e307}, "chat")


def test_a_conversion_refuses_a_value_with_its_own_words() -> None:
    assert problems({"even": 3}) == {"even": "must be even"}


def test_plans_of_two_backends_with_the_same_rules_keep_their_names() -> None:
    from mellea_api.descriptor import BackendDescriptor
    from mellea_api.options.plan import plan_for

    for name in ("one", "other") * 50:  # the id of a descriptor may come again
        descriptor = BackendDescriptor(
            name=name, summary="", default_model="m", options=DESCRIPTOR.options
        )
        assert plan_for(target("m", descriptor), "chat").backend == name
