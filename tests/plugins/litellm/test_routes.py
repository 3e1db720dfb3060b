"""What LiteLLM says of a route is asked once for each version of LiteLLM, in a process of its own."""

from __future__ import annotations

import functools
import json
import os
import sys
from pathlib import Path
from typing import Any

import platformdirs
import pytest

pytest.importorskip("mellea_api_litellm")
pytest.importorskip("litellm")

import mellea_api
from mellea_api._provider import apart
from mellea_api_litellm import probe, routes

CACHE = functools.partial(platformdirs.user_cache_path, "mellea-api", appauthor=False)
SAID = {"provider": "ollama_chat", "model": "x", "places": {"seed": "options.seed"}}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A process without LiteLLM in it, in which asking takes no time: the routes that were asked for."""
    found: list[str] = []

    def call(function: Any, timeout: float, question: str) -> Any:
        found.append(question)
        return SAID

    monkeypatch.setattr(routes, "_known", {})
    monkeypatch.setattr(apart, "call_apart", call)
    monkeypatch.delitem(sys.modules, "litellm")
    return found


def again() -> Any:
    """Find the route as a new process would."""
    routes._known.clear()
    return routes.find("ollama_chat/x")


def kept() -> Path:
    (found,) = (CACHE() / "litellm").glob("*/*")
    return found


def test_a_route_is_asked_for_once(asked: list[str]) -> None:
    for _ in range(3):
        found = again()
        assert (found.provider, found.places) == ("ollama_chat", {"seed": "options.seed"})
    assert asked == ["ollama_chat/x"]


def test_another_version_of_litellm_is_asked_anew(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    again()
    monkeypatch.setattr(routes, "litellm_version", lambda: "99.0")
    again()
    assert len(asked) == 2


@pytest.mark.parametrize("damage", ["", "{", "[]", "3", '{"another/route": {}}'])
def test_a_damaged_answer_is_asked_for_again(asked: list[str], damage: str) -> None:
    again()
    kept().write_text(damage)
    again()
    again()
    assert len(asked) == 2


@pytest.mark.skipif(os.name != "posix", reason="folders have no mode there")
def test_the_folder_is_this_users_alone(asked: list[str]) -> None:
    again()
    folder = kept().parent
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)  # so that anybody may have written there
    again()
    assert len(asked) == 2


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root gives links away")
def test_another_users_link_is_not_followed(
    asked: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    documents, link = tmp_path / "documents", CACHE()
    documents.mkdir(mode=0o700)
    link.symlink_to(documents)
    os.chown(link, 65534, 65534, follow_symlinks=False)
    again()
    again()
    assert len(asked) == 2
    assert not list(documents.iterdir())


def test_a_folder_that_cannot_be_written_is_done_without(
    asked: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    again()
    again()
    assert len(asked) == 2


def test_where_litellm_cannot_be_imported_the_error_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "litellm.py").write_text("raise ImportError('it is broken')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(routes, "_known", {})
    monkeypatch.delitem(sys.modules, "litellm")
    with pytest.raises(mellea_api.PluginError, match="it is broken"):
        routes.find("ollama_chat/x")


@pytest.mark.slow
@pytest.mark.usefixtures("sdk")
def test_the_process_says_the_same_as_this_one() -> None:
    for question in ("ollama_chat/tiny", "openaj/gpt-4o"):
        said = apart.call_apart(probe.answer, 120.0, question)
        assert said == json.loads(json.dumps(probe.answer(question)))


@pytest.mark.usefixtures("sdk")
def test_asking_litellm_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """LiteLLM asks an Ollama server for facts about a model while it makes a request's body."""
    import httpx

    sent: list[Any] = []
    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", lambda *args: sent.append(args))
    assert probe.answer("ollama_chat/tiny")["places"]["seed"] == "options.seed"
    assert sent == []


@pytest.mark.usefixtures("sdk")
def test_a_model_that_litellm_itself_refuses_is_no_route(monkeypatch: pytest.MonkeyPatch) -> None:
    """LiteLLM 1.110 has providers of which it knows all models."""
    import litellm
    from litellm.llms.base_llm.chat.transformation import BaseLLMException

    def refuse(**_: Any) -> Any:
        raise BaseLLMException(status_code=400, message="Unknown model 'x'. Choose 'y'.")

    monkeypatch.setattr(litellm, "get_optional_params", refuse)
    assert routes.find("groq/refused") is None
    with pytest.raises(mellea_api.ModelNotFoundError, match="Choose 'y'"):
        mellea_api.start_session("litellm", "groq/refused", api_key="x")


@pytest.mark.usefixtures("sdk")
def test_a_provider_that_the_program_has_added_is_a_route(monkeypatch: pytest.MonkeyPatch) -> None:
    import litellm

    assert routes.find("mine/model") is None
    monkeypatch.setattr(litellm, "provider_list", [*litellm.provider_list, "mine"])
    monkeypatch.setattr(litellm, "_custom_providers", ["mine"], raising=False)
    found = routes.find("mine/model")
    assert found is not None
    assert found.provider == "mine"
