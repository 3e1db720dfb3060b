"""What the value of an option must be: ranges, choices and lengths, each at its very edge."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from support.fake_options import described

from mellea_api import OptionError
from mellea_api._options.limits import Limits
from mellea_api._options.pipeline import OptionPipeline
from mellea_api.plugin import OptionRule


def render(rule: OptionRule, value: Any) -> Any:
    """What is sent for a value, and sent for it a second time."""
    session = OptionPipeline(described(rule))
    first, second = (session.render({rule.name: value}, "chat").options for _ in range(2))
    assert first == second
    return first[rule.name]


def refusal(rule: OptionRule, value: Any) -> str:
    with pytest.raises(OptionError) as caught:
        OptionPipeline(described(rule)).render({rule.name: value}, "chat")
    (problem,) = caught.value.problems or ()
    return problem.message


COMMON = [
    ("temperature", 0, -sys.float_info.min, "at least 0 and at most 2"),
    ("temperature", 2.0, 2.0000001, "at least 0 and at most 2"),
    ("top_p", 1e-9, 0, "above 0 and at most 1"),
    ("top_p", 1e-9, 0.0, "above 0 and at most 1"),
    ("top_p", 1, 1.1, "above 0 and at most 1"),
    ("repetition_penalty", 0.01, 0, "above 0"),
    ("max_tokens", 1, 0, "at least 1"),
    ("top_k", 1, 0, "at least 1"),
    ("min_p", 0, -0.1, "at least 0 and at most 1"),
    ("presence_penalty", -2, -2.1, "at least -2 and at most 2"),
    ("top_logprobs", 20, 21, "at least 0 and at most 20"),
]


@pytest.mark.parametrize(("name", "last", "beyond", "words"), COMMON)
def test_the_last_value_is_taken_and_the_next_one_is_not(
    name: str, last: Any, beyond: Any, words: str
) -> None:
    rule = OptionRule(name=name, chat=name)
    assert render(rule, last) == last
    assert refusal(rule, beyond) == f"must be {words}, not {beyond!r}"


@pytest.mark.parametrize("value", [2**64 - 1, -(2**63), 2**63])
def test_an_integer_of_64_bits_is_taken(value: int) -> None:
    assert render(OptionRule(name="own", chat="own", type="integer"), value) == value
    assert Limits(type="integer", maximum=2**70).check()(value) == value


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, 10**5000], ids=["above", "below", "far"])
def test_an_integer_of_more_bits_is_not(value: int) -> None:
    wide = OptionRule(name="own", chat="own", type="integer", minimum=-(2**80), maximum=2**80)
    bare = OptionRule(name="own", chat="own", type="integer")
    for rule in (wide, bare):
        assert refusal(rule, value).startswith("must be an integer of at most 64 bits")


@pytest.mark.parametrize(
    ("facts", "taken", "refused", "words"),
    [
        ({"minimum": 1, "exclusive_minimum": True}, [2, 1.5], [1, 0], "must be above 1"),
        ({"minimum": 1}, [1, 2], [0, 0.5], "must be at least 1"),
        ({"minimum": 1, "special": (-1,)}, [-1, 1], [0, -2], "must be at least 1 (or -1)"),
        ({"maximum": 5, "special": (7, 8)}, [5, 7, 8], [6], "must be at most 5 (or 7, 8)"),
        ({"choices": (1, 2)}, [1, 2], [3], "must be one of 1, 2"),
        ({"choices": (1,), "reason": "one is enough"}, [1], [2], "must be 1, not 2: one is enough"),
    ],
)
def test_a_rule_sets_limits_of_its_own(
    facts: dict[str, Any], taken: list[Any], refused: list[Any], words: str
) -> None:
    rule = OptionRule(name="own", chat="own", type="number", **facts)
    assert [render(rule, value) for value in taken] == taken
    assert all(refusal(rule, value).startswith(words) for value in refused)


def test_a_rule_narrows_one_side_of_the_common_range_and_keeps_the_other() -> None:
    limits = Limits.of(OptionRule(name="top_p", chat="p", maximum=0.5))
    assert (limits.minimum, limits.exclusive_minimum, limits.maximum) == (0, True, 0.5)
    limits = Limits.of(OptionRule(name="top_p", chat="p", minimum=0))
    assert (limits.minimum, limits.exclusive_minimum, limits.maximum) == (0, False, 1)


def test_a_list_has_at_most_so_many_items() -> None:
    rule = OptionRule(name="stop", chat="stop", max_items=2)
    assert render(rule, ["a", "b"]) == ["a", "b"]
    assert refusal(rule, ["a", "b", "c"]) == "takes at most 2 items, not 3"
