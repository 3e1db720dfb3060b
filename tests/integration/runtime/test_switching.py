"""How a runtime changes its model."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.fake_plugins import backend, registry
from support.late import KEY
from support.load import MODELS, generations
from support.ollama_server import OllamaServer
from support.openai_server import OpenAIServer
from support.waiting import until

import mellea_api
from mellea_api._api import owned
from mellea_api.runtime import MelleaRuntime


def test_a_switch_changes_the_model_and_says_so(ollama: OllamaServer) -> None:
    with MelleaRuntime(model_id="one", model_options={"max_tokens": 9}) as runtime:
        runtime.chat("1")
        runtime.switch_model("two")
        assert runtime.model_id == "two"
        runtime.chat("2")
        runtime.switch_model("one", model_options={"top_k": 3})
        runtime.chat("3")
        runtime.switch_model()
        runtime.chat("4")
    told = [(found["model"], found["options"]) for found in generations(ollama)]
    assert told == [
        ("one", {"num_predict": 9}),
        ("two", {"num_predict": 9}),
        ("one", {"top_k": 3}),
        ("granite4:micro", {"top_k": 3}),
    ]


def test_switching_back_asks_nobody_anything(ollama: OllamaServer, openai: OpenAIServer) -> None:
    with MelleaRuntime(model_id="one") as runtime:
        first = runtime.session
        runtime.switch_model(backend="openai")
        before = len(ollama.requests), len(openai.requests)
        runtime.switch_model("one", backend="ollama")
        assert runtime.session is first
        runtime.switch_model("gpt-5.4-mini", backend="openai")
        assert (len(ollama.requests), len(openai.requests)) == before


def test_only_a_few_backends_are_kept_and_the_others_closed(
    ollama: OllamaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[Any] = []
    monkeypatch.setattr(owned, "close", closed.append)
    with MelleaRuntime(model_id=MODELS[0]) as runtime:
        backends = [runtime.session.backend]
        for model in MODELS[1:]:
            runtime.switch_model(model)
            backends.append(runtime.session.backend)
        assert closed == backends[:2]
        runtime.switch_model(MODELS[2])
        assert runtime.session.backend is backends[2]
        runtime.switch_model(MODELS[0])
        assert runtime.session.backend is not backends[0]
        assert runtime.chat("Hello!") == "Hello!"


def failing(runtime: MelleaRuntime) -> list[tuple[type[Exception], Callable[[], None]]]:
    """Switches that cannot be, each with its error."""
    return [
        (mellea_api.ModelNotFoundError, lambda: runtime.switch_model("nix")),
        (mellea_api.BackendNotFoundError, lambda: runtime.switch_model(backend="nix")),
        (mellea_api.CredentialError, lambda: runtime.switch_model(backend="openai")),
        (
            mellea_api.OptionError,
            lambda: runtime.switch_model("two", model_options={"temperature": 9}),
        ),
        (
            mellea_api.OptionError,  # on a backend that is kept
            lambda: runtime.switch_model("one", model_options={"temprature": 1}),
        ),
        (
            mellea_api.ConfigurationError,
            lambda: runtime.switch_model("two", model_options="hot"),  # type: ignore[arg-type]
        ),
        (mellea_api.ConfigurationError, lambda: runtime.switch_model("two", base_url="")),
        (mellea_api.ConfigurationError, lambda: runtime.switch_model("two", bogus=1)),
        (mellea_api.ConfigurationError, lambda: runtime.switch_model(7)),
    ]


@pytest.mark.parametrize("number", range(9))
@pytest.mark.parametrize("context", ["simple", "chat"])
def test_a_switch_that_fails_leaves_all_as_it_was(
    ollama: OllamaServer, number: int, context: str
) -> None:
    with MelleaRuntime(model_id="one", model_options={"top_k": 3}, context=context) as runtime:
        runtime.chat("Hello!")
        session, turns = runtime.session, list(runtime.session.ctx.as_list())
        kind, switch = failing(runtime)[number]
        with pytest.raises(kind) as caught:
            switch()
        assert isinstance(caught.value, mellea_api.MelleaAPIError)
        assert runtime.session is session
        assert (runtime.backend, runtime.model_id) == ("ollama", "one")
        assert runtime.model_options == {"top_k": 3}
        assert runtime.session.ctx.as_list() == turns
        assert runtime.chat("Again.") == "Again."
        assert generations(ollama)[-1]["model"] == "one"
        assert generations(ollama)[-1]["options"] == {"top_k": 3}
        # Nor do the arguments of the failure stay behind.
        runtime.switch_model("two")
        assert runtime.chat("Two.") == "Two."


def test_arguments_belong_to_the_backend_that_they_were_given_for(
    ollama: OllamaServer, openai: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with MelleaRuntime("openai", api_key=KEY) as runtime:
        runtime.switch_model("one", backend="ollama")  # takes no api_key=
        assert runtime.chat("Hello!") == "Hello!"
        runtime.switch_model("gpt-4.1", backend="openai")
        assert runtime.chat("Hello!") == "Hello!"


def test_they_belong_to_it_by_any_of_its_names(
    openai: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    names = ("openai", "gpt")
    both = registry(*(backend(name, "mellea_api_openai:OPENAI") for name in names))
    with MelleaRuntime("openai", api_key=KEY, registry=both) as runtime:
        runtime.switch_model("gpt-4.1", backend="gpt")
        assert runtime.chat("Hello!") == "Hello!"
    assert generations(openai)[-1]["model"] == "gpt-4.1"


def test_a_conversation_goes_on_with_the_new_model(
    ollama: OllamaServer, openai: OpenAIServer
) -> None:
    with MelleaRuntime(model_id="one", context="chat") as runtime:
        runtime.chat("first")
        runtime.switch_model("two")
        "".join(runtime.stream("second"))
        runtime.switch_model(backend="openai")
        runtime.chat("third")
        runtime.switch_model("one", backend="ollama")
        runtime.chat("fourth")
    said = [[message["content"] for message in found["messages"]] for found in generations(ollama)]
    assert said[1] == ["first", "first", "second"]
    assert [found["content"] for found in generations(openai)[0]["messages"]] == [
        *said[1],
        "second",
        "third",
    ]
    assert said[2] == ["first", "first", "second", "second", "third", "third", "fourth"]


def test_calls_that_are_running_end_on_the_old_model(ollama: OllamaServer) -> None:
    with MelleaRuntime(model_id="one") as runtime, ThreadPoolExecutor(1) as threads:
        runtime.switch_model("two")
        runtime.switch_model("one")
        ollama.latency = 0.5
        running = threads.submit(runtime.chat, "Hello!")
        until(lambda: generations(ollama))
        runtime.switch_model("two")
        assert not running.done()
        assert running.result(20) == "Hello!"
    assert [found["model"] for found in generations(ollama)] == ["one"]
