"""Which backend, model and options a runtime uses, and what becomes of a bad environment."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.late import provider
from support.load import generations
from support.ollama_server import OllamaServer
from support.openai_server import OpenAIServer

import mellea_api
from mellea_api.runtime import MelleaRuntime

# --- what it uses ------------------------------------------------------------------------------


def test_without_anything_it_is_the_default_model_on_ollama(ollama: OllamaServer) -> None:
    with MelleaRuntime() as runtime:
        assert (runtime.backend, runtime.model_id) == ("ollama", "granite4:micro")
        assert (runtime.model_options, runtime.run_id) == ({}, None)
        assert runtime.chat("Hello!") == "Hello!"
    assert generations(ollama)[0]["model"] == "granite4:micro"
    assert generations(ollama)[0]["options"] == {}


def test_the_environment_is_used_where_nothing_is_given(
    openai: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELLEA_BACKEND", "openai")
    monkeypatch.setenv("MELLEA_MODEL_ID", "gpt-4.1")
    monkeypatch.setenv("MELLEA_MODEL_OPTIONS", '{"max_tokens": 9}')
    monkeypatch.setenv("MELLEA_RUN_ID", "run-7")
    with MelleaRuntime() as runtime:
        assert (runtime.backend, runtime.model_id) == ("openai", "gpt-4.1")
        assert (runtime.model_options, runtime.run_id) == ({"max_tokens": 9}, "run-7")
        runtime.chat("Hello!")
    assert generations(openai)[0]["max_completion_tokens"] == 9


def test_what_is_given_wins_over_the_environment(
    ollama: OllamaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELLEA_BACKEND", "openai")
    monkeypatch.setenv("MELLEA_MODEL_ID", "gpt-4.1")
    monkeypatch.setenv("MELLEA_RUN_ID", "run-7")
    with MelleaRuntime("ollama", "one", {"temperature": 0.5}, "run-8") as runtime:
        assert (runtime.backend, runtime.model_id, runtime.run_id) == ("ollama", "one", "run-8")
        assert runtime.model_options == {"temperature": 0.5}


@pytest.mark.parametrize("named", ["ollama", None])
def test_the_environments_model_and_options_belong_to_its_backend(
    ollama: OllamaServer, monkeypatch: pytest.MonkeyPatch, named: str | None
) -> None:
    """Without MELLEA_BACKEND, that is the default one."""
    monkeypatch.setenv("MELLEA_MODEL_ID", "llama3.2:3b")
    monkeypatch.setenv("MELLEA_MODEL_OPTIONS", '{"num_ctx": 512}')
    with MelleaRuntime(named) as runtime:
        assert runtime.model_id == "llama3.2:3b"
        assert runtime.model_options == {"num_ctx": 512}


def test_they_do_not_apply_to_another_backend(
    openai: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELLEA_MODEL_ID", "llama3.2:3b")
    monkeypatch.setenv("MELLEA_MODEL_OPTIONS", '{"num_ctx": 512, "max_tokens": 9}')
    with MelleaRuntime("openai") as runtime:
        assert (runtime.model_id, runtime.model_options) == ("gpt-5.4-mini", {})
        runtime.chat("Hello!")
    assert "max_completion_tokens" not in generations(openai)[0]


def test_nor_after_a_switch_to_another_backend(
    ollama: OllamaServer, openai: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELLEA_MODEL_ID", "llama3.2:3b")
    monkeypatch.setenv("MELLEA_MODEL_OPTIONS", '{"max_tokens": 9}')
    with MelleaRuntime(model_options={"temperature": 0.5}) as runtime:
        runtime.switch_model(backend="openai")
        assert (runtime.backend, runtime.model_id) == ("openai", "gpt-5.4-mini")
        # What was given to the runtime, and not by the environment, stays.
        assert runtime.model_options == {"temperature": 0.5}
        runtime.switch_model("one", backend="ollama")
        assert runtime.model_options == {"max_tokens": 9, "temperature": 0.5}


@pytest.mark.parametrize(
    ("environment", "given", "sent"),
    [
        ({"max_tokens": 9, "top_k": 3}, {"num_predict": 4}, {"num_predict": 4, "top_k": 3}),
        ({"num_predict": 9}, {"@@@max_new_tokens@@@": 4}, {"num_predict": 4}),
        ({"temperature": 0.5, "max_tokens": 9}, {"max_tokens": None}, {"temperature": 0.5}),
        ({"stop": "a"}, {"stop_sequences": ["b"]}, {"stop": ["b"]}),
        (
            {"extra": {"mirostat": 1, "mirostat_eta": 0.5}},
            {"extra": {"mirostat": 2}},
            {"mirostat": 2, "mirostat_eta": 0.5},
        ),
    ],
)
def test_given_options_win_one_by_one_whatever_the_spelling(
    ollama: OllamaServer,
    monkeypatch: pytest.MonkeyPatch,
    environment: Any,
    given: Any,
    sent: Any,
) -> None:
    monkeypatch.setenv("MELLEA_MODEL_OPTIONS", json.dumps(environment))
    with MelleaRuntime(model_options=given) as runtime:
        runtime.chat("Hello!")
    assert generations(ollama)[0]["options"] == sent


def test_a_calls_options_win_over_all(
    ollama: OllamaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELLEA_MODEL_OPTIONS", '{"max_tokens": 9}')
    with MelleaRuntime(model_options={"temperature": 0.5}) as runtime:
        for call in (runtime.chat, runtime.instruct):
            call("Hello!", model_options={"num_predict": 4})
        list(runtime.stream("Hello!", model_options={"num_predict": 4}))
    assert [found["options"] for found in generations(ollama)] == [
        {"temperature": 0.5, "num_predict": 4}
    ] * 3


# --- a bad environment ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "value", "kind"),
    [
        ("MELLEA_BACKEND", "nix", mellea_api.BackendNotFoundError),
        ("MELLEA_BACKEND", "hf", mellea_api.BackendNotFoundError),
        ("MELLEA_MODEL_ID", "nix", mellea_api.ModelNotFoundError),
        ("MELLEA_MODEL_OPTIONS", "{", mellea_api.ConfigurationError),
        ("MELLEA_MODEL_OPTIONS", '{"temperature": 9}', mellea_api.OptionError),
        ("MELLEA_RUN_ID", "a\nb", mellea_api.ConfigurationError),
        ("MELLEA_RUN_ID", "x" * 201, mellea_api.ConfigurationError),
        ("MELLEA_API_UNSUPPORTED", "sometimes", mellea_api.ConfigurationError),
    ],
)
def test_a_bad_value_names_its_variable_and_is_never_replaced(
    ollama: OllamaServer,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    kind: type[mellea_api.MelleaAPIError],
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(kind) as caught:
        MelleaRuntime()
    assert variable in str(caught.value)
    assert caught.value.next_step
    if isinstance(caught.value, mellea_api.ConfigurationError):
        assert caught.value.variable == variable


def test_a_server_that_is_down_is_not_blamed_on_the_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with provider("ollama") as found:
        address = found.server.base_url
    monkeypatch.setenv("MELLEA_MODEL_ID", "tiny")
    monkeypatch.setenv("OLLAMA_HOST", address)
    with pytest.raises(mellea_api.BackendUnavailableError) as caught:
        MelleaRuntime()
    assert "MELLEA_MODEL_ID" not in str(caught.value)
    assert "ollama serve" in str(caught.value)


def test_an_option_that_is_not_supported_names_its_variable_too(
    openai: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELLEA_BACKEND", "openai")
    monkeypatch.setenv("MELLEA_MODEL_OPTIONS", '{"top_k": 3}')
    with pytest.raises(mellea_api.OptionError, match="MELLEA_MODEL_OPTIONS"):
        MelleaRuntime(unsupported="error", server="official")
    with MelleaRuntime(unsupported="drop", server="official", model_options={"seed": 1}) as runtime:
        assert runtime.chat("Hello!") == "Hello!"


@pytest.mark.parametrize(
    "variable", ["MELLEA_BACKEND", "MELLEA_MODEL_ID", "MELLEA_MODEL_OPTIONS", "MELLEA_RUN_ID"]
)
@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_value_counts_as_not_set(
    ollama: OllamaServer, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with MelleaRuntime() as runtime:
        assert (runtime.backend, runtime.model_id) == ("ollama", "granite4:micro")
        assert (runtime.model_options, runtime.run_id) == ({}, None)
