"""What extensions may do to options, and that the report says it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fake_options import DESCRIPTOR, described, target

from mellea_api import NormalizedOptions, OptionDecision, OptionError, PluginError
from mellea_api._options.pipeline import OptionPipeline
from mellea_api.plugin import OptionPatch, OptionRule, OptionsRequest
from mellea_api.testing import option_dicts


def patch(action: Any, name: str, value: Any = None, reason: str = "house rules") -> OptionPatch:
    return OptionPatch(action=action, name=name, value=value, reason=reason)


def render(options: dict[str, Any], *answers: Any, policy: Any = "drop") -> NormalizedOptions:
    pipeline = OptionPipeline(target(), policy=policy, review=lambda request: answers)
    return pipeline.render(options, "chat").report


def decision(report: NormalizedOptions, name: str) -> OptionDecision:
    found = report.decision(name)
    assert found is not None
    return found


def test_set_gives_an_option_a_value_and_says_what_it_was() -> None:
    report = render({"seed": 1}, [patch("set", "seed", 2)])
    assert report.wire == {"body": {"seed": 2}}
    found = decision(report, "seed")
    assert (found.outcome, found.origin, found.sent) == ("patched", "extension", 2)
    assert found.reason == "was 1; set by an extension: house rules"


def test_set_adds_an_option_that_was_not_given() -> None:
    found = decision(render({}, [patch("set", "seed", 2)]), "seed")
    assert found.reason == "not given; set by an extension: house rules"


@pytest.mark.parametrize(
    ("given", "sent"),
    [(500, 100), (100, 100), (7, 7), (None, 100), (-1, 100)],
    ids=["above", "at", "below", "not given", "no limit"],
)
def test_cap_lowers_a_number_and_bounds_what_was_not_given(given: int | None, sent: int) -> None:
    options = {} if given is None else {"num_predict": given}
    report = render(options, [patch("cap", "max_tokens", 100)])
    assert report.wire == {"body": {"token_limit": sent}}
    assert decision(report, "max_tokens").outcome == ("patched" if given != sent else "renamed")


class Whole:
    """An integer to Python, and no int: numpy has such."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value


@given(given=st.integers(1, 2**40), limit=st.integers(1, 2**40))
def test_cap_never_raises_a_number_of_any_make(given: int, limit: int) -> None:
    for value in (given, Whole(given)):
        report = render({"max_tokens": value}, [patch("cap", "max_tokens", limit)])
        assert report.wire == {"body": {"token_limit": min(given, limit)}}


@given(given=st.floats(0, 1), limit=st.floats(0, 1))
def test_cap_never_raises_a_fraction(given: float, limit: float) -> None:
    report = render({"temperature": given}, [patch("cap", "temperature", limit)])
    assert report.options["temperature"] == min(given, limit)


def test_cap_replaces_what_is_no_number() -> None:
    """It fails closed: nobody knows what a backend would make of it."""
    report = render({"anything": "unlimited"}, [patch("cap", "anything", 3)])
    assert report.wire == {"body": {"anything": 3}}


def test_remove_takes_an_option_out_and_says_so() -> None:
    report = render({"seed": 1, "temperature": 0.5}, [patch("remove", "seed")])
    assert report.wire == {"body": {"temperature": 0.5}}
    found = decision(report, "seed")
    assert (found.outcome, found.value, found.wire, found.sent) == ("patched", 1, "", None)
    assert found.reason == "was 1; remove by an extension: house rules"


def test_what_an_extension_removed_is_no_matter_of_the_policy() -> None:
    render({"min_p": 0.1}, [patch("remove", "min_p")], policy="error")


def test_forbid_refuses_an_option_that_was_given_under_its_given_name() -> None:
    with pytest.raises(OptionError) as caught:
        render({"num_predict": 1, "seed": 1}, [patch("forbid", "max_tokens")])
    (problem,) = caught.value.problems or ()
    assert problem == ("num_predict", "is forbidden: house rules")
    render({"seed": 1}, [patch("forbid", "max_tokens")])


def test_all_that_is_forbidden_is_listed_with_what_is_unknown() -> None:
    with pytest.raises(OptionError) as caught:
        render(
            {"seed": 1, "top_k": 1, "nope": 1},
            [patch("forbid", "seed")],
            [patch("forbid", "top_k")],
        )
    assert {problem.path for problem in caught.value.problems or ()} == {"seed", "top_k", "nope"}


def test_patches_apply_in_order_and_the_last_one_counts() -> None:
    report = render(
        {"max_tokens": 500},
        [patch("set", "max_tokens", 300, "first")],
        None,
        [patch("cap", "max_tokens", 200, "second"), patch("cap", "max_tokens", 250, "third")],
    )
    assert report.wire == {"body": {"token_limit": 200}}
    assert decision(report, "max_tokens").reason == "was 300; cap by an extension: second"


def test_a_patched_value_is_checked_like_any_other() -> None:
    with pytest.raises(OptionError, match="temperature must be"):
        render({}, [patch("set", "temperature", 5)])


def test_a_patch_that_changes_nothing_leaves_no_trace() -> None:
    report = render({"seed": 1}, [patch("set", "seed", 1), patch("remove", "top_k")])
    assert decision(report, "seed").outcome == "kept"
    assert len(report.decisions) == 1


def test_true_is_not_taken_for_one() -> None:
    report = render({"logprobs": True, "anything": 1}, [patch("set", "anything", True)])
    assert report.wire["body"]["anything"] is True


@pytest.mark.parametrize(
    "wrong",
    [
        "patch",
        None,
        patch("set", "seed", 1, ""),
        patch("set", "seed", 1, "  "),
        patch("drop", "seed"),
        patch("cap", "seed", "many"),
        patch("cap", "seed"),
        OptionPatch(action="set", name=3, value=1, reason="x"),  # type: ignore[arg-type]
    ],
)
def test_a_patch_without_a_reason_or_sense_is_a_plugin_error(wrong: Any) -> None:
    with pytest.raises(PluginError, match="review_options"):
        render({"seed": 1}, [wrong])


def test_an_extension_sees_canonical_options_of_session_and_call() -> None:
    seen: list[OptionsRequest] = []
    pipeline = OptionPipeline(target(), review=lambda request: seen.append(request) or [])
    pipeline.set_defaults({"num_predict": 5, "seed": 1})
    seen.clear()
    pipeline.render({"max_new_tokens": 6, "seed": None, "extra": {"x": 1}}, "chat")
    (request,) = seen
    assert request.options == {"max_tokens": 6, "extra.x": 1}
    assert request.origins["max_tokens"].spelling == "max_new_tokens"
    assert request.endpoint == "chat"


@given(option_dicts(DESCRIPTOR), st.sampled_from(["temperature", "seed", "stop", "thinking"]))
def test_removing_is_the_same_as_not_giving(options: dict[str, Any], name: str) -> None:
    rest = {known: value for known, value in options.items() if known != name}
    report = render(options, [patch("remove", name)])
    assert report.wire == render(rest).wire
    assert {found.name for found in report.decisions} == set(options)


def test_what_was_removed_is_reported_for_a_plugin_that_renders_by_itself() -> None:
    pipeline = OptionPipeline(
        described(OptionRule(name="seed", chat="seed")),
        review=lambda request: [[patch("remove", "seed")]],
        normalize=lambda request: NormalizedOptions(),
    )
    assert decision(pipeline.render({"seed": 1}, "chat").report, "seed").outcome == "patched"


def test_values_that_cannot_be_compared_or_shown_do_no_harm() -> None:
    class Odd:
        def __eq__(self, other: object) -> bool:
            raise RuntimeError

        def __repr__(self) -> str:
            raise RuntimeError

        __hash__ = object.__hash__

    for action in ("set", "cap", "remove"):
        report = render({"anything": Odd(), "seed": 1}, [patch(action, "anything", 1)])
        assert "was <Odd>" in decision(report, "anything").reason
