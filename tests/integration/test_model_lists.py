"""Model lists through the real SDKs: who is asked, how often, and what is kept of it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.faults import black_hole, refused
from support.ollama_server import OllamaServer
from support.openai_server import OpenAIServer

pytest.importorskip("mellea_api_ollama")
pytest.importorskip("mellea_api_openai")

import mellea_api
from mellea_api import (
    BackendUnavailableError,
    CredentialError,
    ModelListing,
    ModelNotFoundError,
    RequestTimeoutError,
)

CANARY = "canary/Zm9vYmFyYmF6cXV4/0123456789"
LISTS = {"ollama": "/api/tags", "openai": "/v1/models"}
Server = OllamaServer | OpenAIServer


@pytest.fixture(params=["ollama", "openai"])
def asked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A backend, its server, and how often that was asked for its list."""
    name = request.param
    server: Server = OllamaServer(["tiny"]) if name == "ollama" else OpenAIServer()
    with server:
        monkeypatch.setenv("OLLAMA_HOST", server.base_url)
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-good")
        yield name, server, lambda: len(server.calls(LISTS[name]))


def sources(models: Any) -> set[str]:
    return {model.source for model in models}


def listing(name: str, **arguments: Any) -> ModelListing:
    (found,) = mellea_api.list_all_models([name], **arguments)
    return found


def test_the_second_list_asks_nobody_and_a_live_one_asks(asked: Any) -> None:
    name, server, count = asked
    first = mellea_api.list_models(name)
    second = mellea_api.list_models(name)
    assert (sources(first), sources(second), count()) == ({"live"}, {"cached"}, 1)
    assert [model.id for model in first] == [model.id for model in second]
    assert [model.size for model in first] == [model.size for model in second]
    if name == "ollama":
        server.add_model("new")
    else:
        server.models.append("new")
    assert len(mellea_api.list_models(name)) == len(first)
    assert len(mellea_api.list_models(name, freshness="live")) == len(first) + 1
    assert len(mellea_api.list_models(name)) == len(first) + 1
    assert count() == 2


def test_a_dead_server_is_asked_every_time_and_its_old_list_is_shown(asked: Any) -> None:
    name, server, count = asked
    mellea_api.list_models(name)
    (stored,) = cache().glob("*.json")
    entry = json.loads(stored.read_text())
    stored.write_text(json.dumps({**entry, "written": entry["written"] - 10**8}))
    server.fail_next(503, path="*", times=20)
    for _ in range(3):
        found = listing(name)
        assert isinstance(found.error, BackendUnavailableError)
        assert found.error.status == 503
        assert sources(found.models) == {"cached"}
        assert found.models is not None
        assert (found.models[0].age or 0) >= 10**8
    assert count() == 4


def test_a_dead_server_without_an_old_list_is_no_empty_list() -> None:
    with refused() as nobody:
        for _ in range(2):
            found = listing("ollama", arguments={"ollama": {"base_url": nobody.base_url}})
            assert isinstance(found.error, BackendUnavailableError)
            assert found.models is None
    with black_hole() as nobody, pytest.raises(RequestTimeoutError, match=r"within 0\.3 s"):
        mellea_api.list_models("ollama", base_url=nobody.base_url, timeout=0.3)


def test_a_rejected_key_says_nothing_about_another_one() -> None:
    with OpenAIServer() as server:
        url = server.base_url
        with pytest.raises(CredentialError):
            mellea_api.list_models("openai", base_url=url, api_key="sk-wrong")
        found = mellea_api.list_models("openai", base_url=url, api_key="sk-good")
        assert sources(found) == {"live"}
        with pytest.raises(CredentialError):
            mellea_api.list_models("openai", base_url=url, api_key="sk-wrong-too")
        with pytest.raises(CredentialError):  # and a good one does not help who has none
            mellea_api.list_models("openai", base_url=url, freshness="cached")


def test_no_key_or_password_is_in_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor where the server repeats it: in its refusal, and in a model's name."""
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    with OpenAIServer(api_key=CANARY, models=["a", f"for-{CANARY}"]) as server:
        mellea_api.list_models("openai", base_url=server.base_url)
        server.fail_next(500, path="*", json={"error": {"message": f"no {CANARY}"}})
        arguments = {"openai": {"base_url": server.base_url}}
        assert listing("openai", freshness="live", arguments=arguments).error is not None
    with OpenAIServer(api_key=None) as server:  # the SDK sends the password in the key's place
        address = server.base_url.replace("//", "//me:canary-password@")
        mellea_api.list_models("openai", base_url=address)
        server.fail_next(500, path="*")
        arguments = {"openai": {"base_url": address}}
        assert listing("openai", freshness="live", arguments=arguments).error is not None
    with OpenAIServer(echo_key=True) as server, pytest.raises(CredentialError):
        mellea_api.list_models("openai", base_url=server.base_url)
    files = [path for path in cache().rglob("*") if path.is_file()]
    assert len([path for path in files if path.suffix == ".json"]) == 2
    for path in files:
        content = path.name.encode() + path.read_bytes()
        assert b"canary" not in content, path
        assert b"Zm9v" not in content, path


def cache() -> Path:
    return Path(os.environ["XDG_CACHE_HOME"]) / "mellea-api" / "models"


def test_explaining_and_naming_backends_touch_no_cache() -> None:
    mellea_api.shared_registry().backends()
    mellea_api.explain_options("ollama", {"seed": 1})
    mellea_api.validate_credentials("openai")
    with pytest.raises(ModelNotFoundError), OllamaServer([]) as server:
        mellea_api.start_session("ollama", "granite4:mirco", base_url=server.base_url)
    mellea_api.list_models("ollama", freshness="offline")
    assert not cache().exists()


# ------------------------------------------------------------------------------ names of models


def test_a_misspelt_model_is_told_the_nearest_that_is_there() -> None:
    with (
        OllamaServer(["granite4:micro", "other"]) as server,
        pytest.raises(ModelNotFoundError) as caught,
    ):
        mellea_api.start_session("ollama", "granite4:mirco", base_url=server.base_url)
    error = caught.value
    assert error.known == ("granite4:micro", "other:latest")
    assert error.next_step.startswith("Did you mean 'granite4:micro'? If not: ")
    assert str(error).endswith(error.next_step)


def test_of_a_server_that_has_none_the_catalogue_is_the_next_best() -> None:
    with OllamaServer(["tiny"]) as server, pytest.raises(ModelNotFoundError) as caught:
        mellea_api.start_session("ollama", "granite4:mirco", base_url=server.base_url)
    assert caught.value.known == ("tiny:latest",)
    assert "Did you mean 'granite4:micro'?" in str(caught.value)


def test_a_model_that_is_spelt_right_and_not_there_is_not_asked_about() -> None:
    with OllamaServer(["granite4:micro-h"]) as server, pytest.raises(ModelNotFoundError) as caught:
        mellea_api.start_session("ollama", "granite4:micro", base_url=server.base_url)
    assert "Did you mean" not in str(caught.value)
    assert "ollama pull granite4:micro" in str(caught.value)


@pytest.mark.parametrize(
    ("kept", "name", "meant"),
    [(False, "gpt-6-lna", "gpt-6-luna"), (True, "gpt-4o-mni", "gpt-4o-mini")],
)
def test_where_the_provider_names_nothing_what_is_known_helps(
    kept: bool, name: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenAI says of one model that it is not there; the list may have been kept."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-good")
    with OpenAIServer() as server:
        arguments = {"base_url": server.base_url, "server": "official"}
        if kept:
            mellea_api.list_models("openai", **arguments)
        before = len(server.calls("/v1/models"))
        with pytest.raises(ModelNotFoundError) as caught:
            mellea_api.start_session("openai", name, **arguments)
        assert len(server.calls("/v1/models")) == before
    known = caught.value.known
    assert known is not None
    assert known[0] == meant
    assert f"Did you mean {meant!r}?" in str(caught.value)


def test_a_model_that_goes_during_a_session_is_told_the_nearest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-good")
    with OpenAIServer() as server:
        session = mellea_api.start_session(
            "openai", "gpt-6-lna", base_url=server.base_url, check=False
        )
        asked = len(server.requests)
        with pytest.raises(ModelNotFoundError) as caught:
            session.chat("Hello!")
        assert len(server.requests) == asked + 1  # the call itself
    assert caught.value.known is not None
    assert caught.value.known[0] == "gpt-6-luna"
    assert "Did you mean 'gpt-6-luna'? If not: " in str(caught.value)


def test_an_old_or_partial_list_refuses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with OllamaServer(["tiny"]) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.base_url)
        mellea_api.list_models("ollama")
        server.add_model("new-one")
        assert mellea_api.start_session("ollama", "new-one").chat("Hello!").content == "4"


@pytest.mark.parametrize(
    ("name", "level", "asks"),
    [
        ("gpt-4o-mni", "WARNING", "did you mean 'gpt-4o-mini'?"),
        ("my-own", "INFO", ""),
        ("gpt-4o-mini", "INFO", ""),
    ],
)
def test_a_name_that_nobody_was_asked_about_is_compared_with_the_list_that_was_kept(
    name: str, level: str, asks: str, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-good")
    caplog.set_level("INFO", "mellea_api")
    with OpenAIServer() as server:
        mellea_api.list_models("openai", base_url=server.base_url)
        mellea_api.start_session("openai", name, base_url=server.base_url, check=False)
        assert not server.calls(f"/v1/models/{name}")
    (said,) = [found for found in caplog.records if "was not checked" in found.message]
    assert said.levelname == level
    assert said.message.endswith(
        f"(check=False).{asks and ' It is not among those that are known: '}{asks}"
    )


def test_a_catalogue_alone_warns_of_nothing(caplog: Any) -> None:
    """It has a few models of many: a newer one is like an older one, and right."""
    caplog.set_level("INFO", "mellea_api")
    with OpenAIServer(api_key=None, strict=False) as server:
        mellea_api.start_session("openai", "gpt-5.2", base_url=server.base_url, check=False)
    (said,) = [found for found in caplog.records if "was not checked" in found.message]
    assert said.levelname == "INFO"
