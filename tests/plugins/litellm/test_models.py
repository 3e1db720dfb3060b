"""Listing thousands of routes so that one can be found: by credentials, by provider, by server."""

from __future__ import annotations

import pytest
from support.openai_server import OpenAIServer

pytest.importorskip("mellea_api_litellm")
pytest.importorskip("litellm")

from click.testing import CliRunner

import mellea_api
from mellea_api._cli.app import app
from mellea_api_litellm.routes import find


def ids(**arguments: object) -> list[str]:
    return [model.id for model in mellea_api.list_models("litellm", **arguments)]  # type: ignore[arg-type]


def test_without_credentials_only_the_default_is_listed() -> None:
    assert ids() == ["ollama_chat/granite4:micro"]


def test_what_there_are_credentials_for_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-x")
    found = ids()
    assert "claude-sonnet-4-5" in found
    assert 5 < len(found) < 100
    assert not [name for name in found if name.startswith("gpt")]


def test_a_provider_can_be_named() -> None:
    found = mellea_api.list_models("litellm", provider="watsonx", freshness="offline")
    assert all(model.id.startswith("watsonx/") for model in found)
    assert {model.description for model in found} == {"watsonx"}
    assert any(model.context_length for model in found)


def test_each_model_that_is_listed_is_a_route() -> None:
    found = ids(provider="mistral")
    assert len(found) > 20
    assert len(set(found)) == len(found)
    assert all(find(name) is not None for name in found[:5])


def test_a_model_that_is_shut_down_has_its_day_from_litellm() -> None:
    """In the list, and for a route; of another provider's model of the same name nothing is said."""
    import litellm

    known = {
        name: facts["deprecation_date"]
        for name, facts in litellm.model_cost.items()
        if (facts.get("litellm_provider"), facts.get("mode")) == ("openai", "chat")
        if facts.get("deprecation_date") and "/" not in name
    }
    (name, expected), *_ = known.items()
    found = mellea_api.list_models("litellm", provider="openai", freshness="offline")
    assert {model.id: model.shutdown for model in found}[name] == expected
    backend = mellea_api.shared_registry().backend("litellm")
    for route, day in ((name, expected), (f"openai/{name}", expected), (f"groq/{name}", None)):
        told = backend.target(route).retirement()
        assert (told and told.day) == day
    assert backend.target(name, "http://127.0.0.1:9/v1").retirement() is None


def test_a_misspelt_provider_is_an_error_that_helps() -> None:
    with pytest.raises(mellea_api.ConfigurationError, match="anthropic"):
        ids(provider="antropic")


@pytest.mark.parametrize(
    ("settings", "word"), [({"provdier": "anthropic"}, "'provider'"), ({"provider": 3}, "provider")]
)
@pytest.mark.parametrize("base_url", [None, "http://127.0.0.1:9/v1"])
def test_a_filter_that_is_none_lists_nothing(
    settings: dict[str, str], word: str, base_url: str | None
) -> None:
    with pytest.raises(mellea_api.ConfigurationError, match=word):
        ids(base_url=base_url, **settings)


def test_the_command_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-x")
    found = [
        CliRunner()
        .invoke(app, ["models", "litellm", *words], catch_exceptions=False)
        .stdout.splitlines()
        for words in (
            (),
            ("--set", "provider=mistral"),
        )
    ]
    of = [
        {line.split()[1].partition("/")[0] for line in lines[1:] if line.startswith("litellm ")}
        for lines in found
    ]
    assert "claude-sonnet-4-5" in of[0]
    assert of[1] == {"mistral"}


def test_a_server_is_asked(compatible_server: OpenAIServer) -> None:
    assert ids(base_url=compatible_server.base_url) == ["openai/tiny"]
    assert compatible_server.last.path == "/v1/models"


def test_a_server_that_is_not_there_is_an_error() -> None:
    with pytest.raises(mellea_api.BackendUnavailableError):
        ids(base_url="http://127.0.0.1:9/v1")


def test_a_servers_list_is_kept_for_the_key_that_it_was_given_for(
    compatible_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key of a route is in the environment, under a name that the core does not know."""
    for key, asked in (("sk-one", 1), ("sk-one", 1), ("sk-two", 2), ("sk-one", 2)):
        monkeypatch.setenv("OPENAI_API_KEY", key)
        assert ids(base_url=compatible_server.base_url) == ["openai/tiny"]
        assert len(compatible_server.requests) == asked
