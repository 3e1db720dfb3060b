"""Options that cannot be used are one error that names each, wherever they come from; nothing is sent."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.late import BACKENDS, Provider, provider

pytest.importorskip("mellea_api_ollama")
pytest.importorskip("mellea_api_openai")

import mellea_api
from mellea_api import stream_chat
from mellea_api.runtime import MelleaRuntime

VARIABLE = "MELLEA_MODEL_OPTIONS"

WRONG: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    # What is given, and what the error must say.
    "type": ({"temperature": "hot"}, ("temperature", "number")),
    "bool for a number": ({"max_tokens": True}, ("max_tokens",)),
    "text for an integer": ({"seed": "7"}, ("seed", "7")),
    "fraction for an integer": ({"max_tokens": 1.5}, ("max_tokens", "1.5")),
    "inside a list": ({"stop": ["a", 7]}, ("stop[1]",)),
    "too high": ({"temperature": 2.5}, ("temperature", "2.5", "at most 2")),
    "too low": ({"top_p": -0.1}, ("top_p", "-0.1")),
    "zero": ({"max_tokens": 0}, ("max_tokens", "0")),
    "huge": ({"seed": 10**30}, ("seed",)),
    "unknown": ({"temprature": 0.5}, ("temprature", "did you mean 'temperature'")),
    "unknown and far": ({"zzzz": 1}, ("zzzz", "extra")),
    "twice": (
        {"max_tokens": 5, "max_new_tokens": 6},
        ("max_tokens", "max_new_tokens", "5", "6"),
    ),
    "all at once": (
        {"temperature": 9, "temprature": 1, "max_tokens": 1, "num_predict": 2, "seed": "x"},
        ("temperature", "temprature", "max_tokens", "num_predict", "seed"),
    ),
    "an empty name": ({"": 1}, ("''",)),
    "a policy": ({"unsupported": "maybe"}, ("unsupported", "warn, error, drop")),
    "extra": ({"extra": 7}, ("extra",)),
}
NOT_A_NUMBER: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "nan": ({"temperature": math.nan}, ("temperature", "nan")),
    "infinity": ({"temperature": math.inf}, ("temperature", "inf")),
    "nan in extra": ({"extra": {"foo": math.nan}}, ("foo",)),
}


@pytest.fixture(params=BACKENDS)
def found(request: pytest.FixtureRequest) -> Iterator[Provider]:
    with provider(request.param) as running:
        yield running


def generations(found: Provider) -> int:
    return len([one for one in found.server.requests if one.path in found.server.fault_paths])


def check(error: mellea_api.OptionError, words: tuple[str, ...], backend: str) -> None:
    for word in words:
        assert word in str(error)
    assert error.backend == backend
    assert error.problems
    assert error.next_step
    assert str(error).endswith(error.next_step)


@pytest.mark.parametrize("case", WRONG | NOT_A_NUMBER)
def test_they_stop_a_session_before_anybody_is_asked(found: Provider, case: str) -> None:
    options, words = (WRONG | NOT_A_NUMBER)[case]
    with pytest.raises(mellea_api.OptionError) as caught:
        found.session(model_options=options)
    check(caught.value, words, found.backend)
    assert found.server.requests == []


# What is in `extra` may not be sent everywhere, and is then not looked at.
@pytest.mark.parametrize("case", [case for case in WRONG | NOT_A_NUMBER if "in extra" not in case])
def test_they_stop_a_call_on_every_way(found: Provider, case: str) -> None:
    options, words = (WRONG | NOT_A_NUMBER)[case]
    session = found.session()
    runtime = MelleaRuntime(found.backend, found.model, **found.arguments())
    calls: list[Callable[[], Any]] = [
        lambda: session.chat("Hello!", model_options=dict(options)),
        lambda: session.instruct("Hello!", model_options=dict(options)),
        lambda: asyncio.run(session.achat("Hello!", model_options=dict(options))),
        lambda: list(stream_chat(session, "Hello!", model_options=dict(options))),
        lambda: asyncio.run(raw(session, dict(options))),
        lambda: runtime.chat("Hello!", model_options=options),
        lambda: list(runtime.stream("Hello!", model_options=options)),
        lambda: runtime.instruct("Hello!", model_options=options),
        lambda: runtime.switch_model(found.model, model_options=options),
    ]
    for call in calls:
        with pytest.raises(mellea_api.OptionError) as caught:
            call()
        check(caught.value, words, found.backend)
    assert generations(found) == 0
    assert runtime.chat("Hello!") == "4"
    runtime.cleanup()


async def raw(session: Any, options: dict[str, Any]) -> Any:
    from mellea.core import CBlock

    return await session.backend.generate_from_raw(
        [CBlock("x")], ctx=session.ctx, model_options=options
    )


@pytest.mark.parametrize("value", ["hot", 7, [("temperature", 1)], {"a"}])
def test_options_that_are_no_dict_are_refused(found: Provider, value: Any) -> None:
    with pytest.raises(mellea_api.ConfigurationError, match="dict") as caught:
        found.session(model_options=value)
    assert caught.value.next_step
    with pytest.raises(mellea_api.ConfigurationError, match="dict"):
        MelleaRuntime(found.backend, found.model, value, **found.arguments())


# --- from the environment ------------------------------------------------------------------------


@pytest.mark.parametrize("case", WRONG)
def test_the_variable_is_named_where_they_come_from_it(
    found: Provider, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    options, words = WRONG[case]
    monkeypatch.setenv("MELLEA_BACKEND", found.backend)
    monkeypatch.setenv(VARIABLE, json.dumps(options))
    with pytest.raises(mellea_api.OptionError, match=VARIABLE) as caught:
        MelleaRuntime(model_id=found.model, **found.arguments())
    check(caught.value, words, found.backend)
    assert caught.value.variable == VARIABLE
    assert found.server.requests == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "JSON"),
        ("{'temperature': 1}", "JSON"),
        ("temperature=1", "JSON"),
        ('{"temperature": 1} {}', "JSON"),
        ("[]", "not an object: []"),
        ('"temperature"', "not an object"),
        ("1", "not an object"),
        ("null", "not an object"),
        ('{"a":' * 30_000, "deep"),
        ("[" * 30_000, "deep"),
        ('{"seed": ' + "9" * 5_000 + "}", ""),
        ("\ufeff{}", ""),
    ],
)
def test_text_that_is_no_object_is_an_error_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, text: str, why: str
) -> None:
    """Nothing is asked: the variable is read first."""
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(mellea_api.ConfigurationError, match=VARIABLE) as caught:
        MelleaRuntime("ollama", base_url="http://127.0.0.1:9")
    error = caught.value
    assert why in str(error)
    assert error.variable == VARIABLE
    assert error.next_step
    assert len(str(error)) < 2_000
    assert error.__cause__ is None or not isinstance(error.__cause__, RecursionError)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"temperature": NaN}', "nan"),
        ('{"temperature": Infinity}', "inf"),
        ('{"temperature": 1e999}', "inf"),
        ('{"a":' * 500 + "1" + "}" * 500, ""),
        ('{"stop": [' + "[" * 500 + "]" * 500 + "]}", ""),
    ],
)
def test_options_in_it_are_checked_as_those_that_are_given(
    monkeypatch: pytest.MonkeyPatch, text: str, why: str
) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(mellea_api.MelleaAPIError, match=VARIABLE) as caught:
        MelleaRuntime("ollama", base_url="http://127.0.0.1:9")
    error = caught.value
    assert isinstance(error, mellea_api.OptionError | mellea_api.ConfigurationError)
    assert why in str(error)
    assert error.next_step
    assert len(str(error)) < 2_000


@pytest.mark.parametrize("text", ["", " ", "\n", "{}", " {} "])
def test_empty_means_not_set(found: Provider, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("MELLEA_BACKEND", found.backend)
    monkeypatch.setenv(VARIABLE, text)
    with MelleaRuntime(model_id=found.model, **found.arguments()) as runtime:
        assert runtime.model_options == {}
        assert runtime.chat("Hello!") == "4"


def test_what_is_wrong_in_it_is_told_also_where_a_given_option_would_win(
    found: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bad value is never replaced."""
    monkeypatch.setenv("MELLEA_BACKEND", found.backend)
    monkeypatch.setenv(VARIABLE, '{"temperature": 9}')
    with pytest.raises(mellea_api.OptionError, match=VARIABLE):
        MelleaRuntime(model_id=found.model, model_options={"temperature": 1}, **found.arguments())


def test_what_is_wrong_in_the_given_options_is_not_blamed_on_it(
    found: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELLEA_BACKEND", found.backend)
    monkeypatch.setenv(VARIABLE, '{"temperature": 1}')
    with pytest.raises(mellea_api.OptionError) as caught:
        MelleaRuntime(model_id=found.model, model_options={"temperature": 9}, **found.arguments())
    assert VARIABLE not in str(caught.value)
    assert caught.value.variable is None


# --- other arguments -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timeout", 0),
        ("timeout", -1),
        ("timeout", math.nan),
        ("timeout", math.inf),
        ("timeout", 1e10),
        ("timeout", "5"),
        ("timeout", True),
        ("base_url", ""),
        ("base_url", "  "),
        ("base_url", "http://[::1"),
        ("base_url", "http://127.0.0.1:notaport"),
        ("base_url", "ftp://127.0.0.1/"),
        ("unsupported", "sometimes"),
        ("frobnicate", 1),
    ],
)
def test_other_arguments_that_cannot_be_used_are_named(
    found: Provider, name: str, value: Any
) -> None:
    for start in (found.session, lambda **more: MelleaRuntime(found.backend, found.model, **more)):
        with pytest.raises(mellea_api.MelleaAPIError) as caught:
            start(**(found.arguments() | {name: value}))  # type: ignore[operator]
        error = caught.value
        assert isinstance(
            error, mellea_api.ConfigurationError | mellea_api.BackendUnavailableError
        ), repr(error)
        assert name in str(error) or str(value).strip() in str(error)
        assert error.next_step


@pytest.mark.parametrize("value", ["", "  ", 7, object(), ["tiny"]])
def test_a_model_that_is_no_name_is_refused(found: Provider, value: Any) -> None:
    with pytest.raises(mellea_api.ConfigurationError, match="model_id"):
        mellea_api.start_session(found.backend, value, **found.arguments())


def test_two_contexts_at_once_are_refused(found: Provider) -> None:
    from mellea.stdlib.context import ChatContext

    with pytest.raises(mellea_api.ConfigurationError, match="context_type"):
        found.session(ctx=ChatContext(), context_type="chat")
    with pytest.raises(mellea_api.ConfigurationError, match="context"):
        found.session(context_type="endless")
    with pytest.raises(mellea_api.ConfigurationError, match="context"):
        MelleaRuntime(found.backend, found.model, context="endless", **found.arguments())
