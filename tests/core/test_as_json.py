"""Values become plain JSON data, without their secrets."""

from __future__ import annotations

import collections.abc
import inspect
import json
import types
import typing
from typing import Any, Literal, Union

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mellea_api import BackendUnavailableError, OptionError, OptionProblem, Secret, SessionRequest
from mellea_api._contract import descriptor, option_rule, reports, requests
from mellea_api._contract.as_json import to_json
from mellea_api.plugin import Target
from mellea_api.testing.strategies import json_values

LIVE = {reports.ModelListing}
"""Hold an exception, which has a test of its own below."""

CLASSES = [
    cls
    for module in (descriptor, option_rule, reports, requests)
    for _, cls in inspect.getmembers(module, attrs.has)
    if cls.__module__ == module.__name__ and cls not in LIVE
]


ARGUMENT = st.sampled_from(["api_key", "pull"])
# What a description checks about itself cannot be any value of the field's type.
CHECKED: dict[type, dict[str, st.SearchStrategy[Any]]] = {
    option_rule.OptionRule: {
        "name": st.sampled_from(["temperature", "native"]),
        "type": st.none() | st.sampled_from(["number", "text"]),
        "minimum": st.none() | st.integers(-9, 0),
        "maximum": st.none() | st.floats(1, 9),
        "mellea": st.none() | st.just("0.7"),
        "server": st.none() | st.just("official"),
        "requires": st.just({}) | st.just({"thinking": (None, False)}),
    },
    descriptor.CredentialField: {"name": ARGUMENT, "pattern": st.sampled_from(["", "sk-.+"])},
    descriptor.Retirement: {"day": st.just("2027-01-14")},
    descriptor.Setting: {
        "name": ARGUMENT,
        "type": st.just("any"),
        "choices": st.just(()),
    },
    descriptor.Retirement: {"day": st.just("2027-01-14")},
    descriptor.BackendDescriptor: {
        "default_model": st.none() | st.just("m"),
        "model_hint": st.sampled_from(["", "Get {model}."]),
    },
}


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Generate values of a field's type."""
    if hint is Any:
        return st.none() | json_values()
    if attrs.has(hint):
        hints = typing.get_type_hints(hint)
        names = [field.name for field in attrs.fields(hint) if field.init and field.name[0] != "_"]
        fields = {name: values(hints[name]) for name in names}
        if hint is SessionRequest:
            fields["context"] = st.sampled_from(["simple", "chat"])
        if hint is Target:  # a password in it is a secret, and goes one way only: see below
            plain = st.text(st.characters(exclude_characters="@"), max_size=8)
            fields["base_url"] = st.none() | plain
        return st.builds(hint, **{**fields, **CHECKED.get(hint, {})})
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in (Union, types.UnionType):
        return st.one_of([values(argument) for argument in arguments])
    if origin is tuple:
        return st.lists(values(arguments[0]), max_size=2).map(tuple)
    if origin is collections.abc.Mapping:
        if arguments[1] is Secret:
            return st.just({})  # secrets have tests of their own
        return st.dictionaries(st.text(max_size=5), values(arguments[1]), max_size=2)
    if origin is collections.abc.Callable:
        return st.just(len)
    simple: dict[Any, st.SearchStrategy[Any]] = {
        option_rule.Place: st.just(option_rule.Place("a.b", "b")),
        str: st.text(max_size=8),
        int: st.integers(),
        bool: st.booleans(),
        float: st.floats(allow_nan=False, allow_infinity=False) | st.integers(),
        type(None): st.none(),
    }
    return simple[hint]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
@given(data=st.data())
def test_every_value_becomes_json_with_all_its_fields(cls: Any, data: st.DataObject) -> None:
    value = data.draw(values(cls))
    plain = json.loads(to_json(value))
    assert list(plain) == [field.name for field in attrs.fields(cls) if field.init]
    for field in attrs.fields(cls):
        fact = getattr(value, field.name)
        if isinstance(fact, str | int | float | None):
            assert plain[field.name] == fact


def test_a_password_in_an_address_goes_into_no_json() -> None:
    made = Target(
        descriptor=descriptor.BackendDescriptor(name="a", summary="", default_model="m"),
        model_id="m",
        base_url="http://me:password@127.0.0.1/v1",
    )
    assert json.loads(to_json(made))["base_url"] == "http://[secret]@127.0.0.1/v1"


def test_a_header_among_the_settings_goes_into_no_json() -> None:
    made = Target(
        descriptor=descriptor.BackendDescriptor(name="a", summary="", default_model="m"),
        model_id="m",
        settings={"default_headers": {"x-key": "0123456789abcdef", "n": 1}, "pull": True},
    )
    shown = {"default_headers": {"x-key": "[secret]", "n": 1}, "pull": True}
    assert json.loads(to_json(made))["settings"] == shown


def test_every_class_is_meant() -> None:
    assert {cls.__name__ for cls in CLASSES} >= {
        "BackendDescriptor",
        "CredentialReport",
        "ModelInfo",
        "NormalizedOptions",
        "OptionsRequest",
        "SessionRequest",
        "Target",
    }


def test_a_secret_goes_nowhere() -> None:
    target = Target(
        descriptor=descriptor.BackendDescriptor(name="x", summary="", default_model="m"),
        model_id="m",
        settings={"client": Secret("sk-also-secret", source="argument")},
    )
    request = SessionRequest(
        target=target, credentials={"api_key": Secret("sk-123456789", source="argument")}
    )
    data = json.loads(to_json(request))
    assert data["credentials"] == {"api_key": "[secret]"}
    assert data["target"]["settings"] == {"client": "[secret]"}
    assert "sk-" not in json.dumps(data)


def test_what_json_does_not_have_is_described_without_its_secrets() -> None:
    secret = Secret("sk-123456789", source="argument")

    class Tool:
        def __repr__(self) -> str:
            return f"Tool({secret.reveal()})"

    class HalfMade:
        def __repr__(self) -> str:
            raise AttributeError("not yet")

    decision = reports.OptionDecision(
        name="tools", spelling="tools", outcome="kept", value=[Tool(), (1, {2}), HalfMade()]
    )
    assert json.loads(to_json(decision))["value"] == ["Tool([secret])", [1, [2]], "<HalfMade>"]


def test_an_error_becomes_its_facts() -> None:
    error = OptionError(
        "No.", next_step="Do.", backend="x", problems=(OptionProblem("stop[0]", "is empty"),)
    )
    assert json.loads(to_json({"error": error})) == {
        "error": {
            "type": "OptionError",
            "message": "No. Do.",
            "reason": "No.",
            "next_step": "Do.",
            "backend": "x",
            "variable": None,
            "problems": [{"path": "stop[0]", "message": "is empty"}],
        }
    }
    down = BackendUnavailableError("No.", next_step="Do.", backend="x", status=503)
    assert json.loads(to_json(down))["status"] == 503
