"""Hypothesis strategies for model options: valid, spelt in every way, and wrong.

    from hypothesis import given
    from mellea_api.testing.strategies import option_dicts

    @given(option_dicts(DESCRIPTOR))
    def test_every_option_is_sent(options): ...

This module alone imports hypothesis; it is no dependency of the library.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from hypothesis import strategies as st

from mellea_api._contract.descriptor import BackendDescriptor
from mellea_api._contract.errors import OptionError
from mellea_api._contract.option_rule import Endpoint, OptionRule
from mellea_api._contract.requests import OptionsRequest, Target
from mellea_api._options.canonical import CANONICAL
from mellea_api._options.limits import THINKING_LEVELS, Limits, same
from mellea_api._options.plan import apply_rules, plan_for

_LEAST_INTEGER: Final = -(2**63)
_GREATEST_INTEGER: Final = 2**64 - 1
_LEFT_OUT: Final = "tools"
"""Tools are Python objects; only a test that has some can say what becomes of them."""


def json_values(max_leaves: int = 5) -> st.SearchStrategy[Any]:
    """Generate what JSON can say, except null, which means "not given" to an option.

    Args:
        max_leaves: About how many numbers, texts and so on one value holds.
    """
    leaves = (
        st.booleans()
        | st.integers(_LEAST_INTEGER, _GREATEST_INTEGER)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=8)
    )
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
        ),
        max_leaves=max_leaves,
    )


def valid_values(name: str, rule: OptionRule | None = None) -> st.SearchStrategy[Any]:
    """Generate values that an option takes.

    Args:
        name: The option's canonical name, or a backend's native one.
        rule: A backend's rule for it; None for what holds everywhere. What the rule's own
            conversion refuses is not known here; `option_dicts` leaves that out.
    """
    limits = Limits.of(rule or OptionRule(name=name))
    if limits.choices:
        found: st.SearchStrategy[Any] = st.sampled_from(limits.choices)
    elif limits.type == "integer":
        found = _integers(limits)
    elif limits.type in ("number", "seconds"):
        positive = limits.type == "seconds" and limits.minimum is None
        found = st.floats(
            0 if positive else limits.minimum,
            limits.maximum,
            exclude_min=positive or (limits.exclusive_minimum and limits.minimum is not None),
            allow_nan=False,
            allow_infinity=False,
        )
    elif limits.type == "texts":
        most = 4 if limits.max_items is None else limits.max_items
        found = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=most)
    else:
        found = {
            "boolean": st.booleans(),
            "text": st.text(max_size=20),
            "thinking": st.booleans() | st.sampled_from(THINKING_LEVELS),
            "object": st.dictionaries(st.text(max_size=8), json_values(), max_size=3),
            "tools": st.just([]),
            "tool_choice": st.sampled_from(("auto", "none", "required"))
            | st.fixed_dictionaries(
                {
                    "type": st.just("function"),
                    "function": st.fixed_dictionaries({"name": st.text(min_size=1, max_size=8)}),
                }
            ),
            "any": json_values(),
        }[limits.type]
    return found | st.sampled_from(limits.special) if limits.special else found


def _integers(limits: Limits) -> st.SearchStrategy[int]:
    low, high = limits.minimum, limits.maximum
    least = _LEAST_INTEGER if low is None else math.ceil(low)
    if limits.exclusive_minimum and low == least:
        least += 1
    return st.integers(least, _GREATEST_INTEGER if high is None else math.floor(high))


def invalid_values(name: str, rule: OptionRule | None = None) -> st.SearchStrategy[Any]:
    """Generate values that an option must refuse: of a wrong type, out of range, or unsendable.

    Args:
        name: The option's canonical name, or a backend's native one.
        rule: A backend's rule for it; None for what holds everywhere.
    """
    limits = Limits.of(rule or OptionRule(name=name))
    unsendable: st.SearchStrategy[Any] = st.sampled_from(
        [math.nan, math.inf, -math.inf, b"bytes", {1, 2}, 1j, object(), [object()], {"a": {1}}]
    )
    numbers = st.integers() | st.floats()
    wrong: dict[str, st.SearchStrategy[Any]] = {
        "integer": st.text() | st.booleans() | st.floats() | st.lists(st.integers(), max_size=2),
        "number": st.text() | st.booleans() | st.lists(st.floats(), max_size=2),
        "seconds": st.text() | st.booleans() | st.floats(max_value=0) | st.integers(max_value=0),
        "boolean": st.text() | numbers | st.lists(st.booleans(), max_size=2),
        "text": numbers | st.booleans() | st.lists(st.text(), max_size=2) | _half_a_pair(),
        "texts": numbers
        | st.booleans()
        | st.just("")
        | st.lists(st.just("") | st.integers() | _half_a_pair(), min_size=1, max_size=2)
        | st.dictionaries(st.text(), st.text(), max_size=1),
        "thinking": numbers
        | st.text(max_size=8).filter(lambda text: text not in THINKING_LEVELS)
        | st.lists(st.booleans(), max_size=2),
        "object": st.text() | numbers | st.booleans() | st.lists(st.text(), max_size=2),
        "tools": st.text() | numbers | st.booleans(),
        "tool_choice": numbers | st.booleans() | st.just("") | _half_a_pair(),
        "any": st.lists(unsendable, min_size=1, max_size=2) | _half_a_pair(),
    }
    # A list is what a list of tools is, whatever it holds; so is a dict.
    found = wrong[limits.type] | (
        unsendable.filter(lambda value: not isinstance(value, list | dict))
        if limits.type == "tools"
        else unsendable
    )
    if limits.type in ("number", "integer", "seconds"):
        found |= _out_of_range(limits)
    if limits.max_items is not None:
        most = limits.max_items
        found |= st.lists(st.text(min_size=1), min_size=most + 1, max_size=most + 3)
    allowed = (*limits.special, *limits.choices)
    return found.filter(lambda value: not any(same(value, one) for one in allowed))


def _half_a_pair() -> st.SearchStrategy[str]:
    return st.sampled_from(["\ud800", "a\udfff"])


def _out_of_range(limits: Limits) -> st.SearchStrategy[Any]:
    integer = limits.type == "integer"
    found: st.SearchStrategy[Any] = st.nothing()
    if integer:
        found |= st.integers(max_value=_LEAST_INTEGER - 1)
        found |= st.integers(min_value=_GREATEST_INTEGER + 1)
    else:
        found |= st.just(10**400)
    if limits.minimum is not None:
        below = math.ceil(limits.minimum) - 1
        found |= st.integers(max_value=below)
        if not integer:
            found |= st.floats(max_value=limits.minimum, exclude_max=not limits.exclusive_minimum)
        elif limits.exclusive_minimum:
            found |= st.just(math.floor(limits.minimum))
    if limits.maximum is not None:
        found |= st.integers(min_value=math.floor(limits.maximum) + 1)
        if not integer:
            found |= st.floats(min_value=limits.maximum, exclude_min=True)
    return found


@st.composite
def option_dicts(
    draw: st.DrawFn,
    descriptor: BackendDescriptor,
    *,
    endpoint: Endpoint = "chat",
    target: Target | None = None,
    max_size: int = 6,
) -> dict[str, Any]:
    """Generate dicts of options that a backend accepts, by canonical or native name.

    Options that it knows and does not support may be among them; `tools` is not.

    Args:
        draw: Hypothesis gives it.
        descriptor: The backend.
        endpoint: The endpoint that must accept them.
        target: The model and server; None for the default model.
        max_size: The greatest number of options.
    """
    target = target or _default(descriptor)
    reserved = {rule.name for rule in descriptor.options if rule.reserved}
    rules: dict[str, list[OptionRule | None]] = {name: [None] for name in CANONICAL}
    for rule in descriptor.options:
        if rule.name != "*" and rule.supported:
            known = rules.setdefault(rule.name, [])
            known[:] = [other for other in known if other is not None] + [rule]
    names = sorted(rules.keys() - reserved - {_LEFT_OUT})
    options: dict[str, Any] = {}
    for name in draw(st.lists(st.sampled_from(names), unique=True, max_size=max_size)):
        options[name] = draw(valid_values(name, draw(st.sampled_from(rules[name]))))
    while True:
        try:
            apply_rules(OptionsRequest(target=target, endpoint=endpoint, options=options))
        except OptionError as error:
            # Leave out what a conversion refuses, or what does not go with another option.
            paths = [problem.path for problem in error.problems or ()]
            refused = {name for name in options for path in paths if _is_in(path, name)}
            assert refused, paths
            options = {name: value for name, value in options.items() if name not in refused}
        else:
            return options


def _is_in(path: str, name: str) -> bool:
    return path == name or path.startswith(f"{name}[")


@st.composite
def spelled(
    draw: st.DrawFn,
    options: Mapping[str, Any],
    descriptor: BackendDescriptor,
    *,
    target: Target | None = None,
) -> dict[str, Any]:
    """Generate other ways to write the same options: other spellings, in another order.

    Args:
        draw: Hypothesis gives it.
        options: Options by canonical or native name.
        descriptor: The backend, whose native names are spellings too.
        target: The model and server; None for the default model.
    """
    plan = plan_for(target or _default(descriptor), "chat")
    written: dict[str, Any] = {}
    for name in draw(st.permutations(sorted(options))):
        known = [name, *(key for key, meant in plan.spellings.items() if meant == name)]
        value = options[name]
        if name == "stop" and isinstance(value, list) and len(value) == 1 and draw(st.booleans()):
            value = value[0]
        written[draw(st.sampled_from(known))] = value
    return written


def _default(descriptor: BackendDescriptor) -> Target:
    return Target(descriptor=descriptor, model_id=descriptor.default_model or "")
