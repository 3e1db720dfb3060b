"""What LiteLLM says of a route is asked once for each version of LiteLLM, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mellea_api_litellm")
pytest.importorskip("litellm")

import mellea_api
from mellea_api_litellm import probe, routes

SAID = {"provider": "ollama_chat", "model": "x", "places": {"seed": "options.seed"}}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A process without LiteLLM in it, in which asking takes no time: the routes that were asked for."""
    found: list[str] = []

    def run(command: list[str], **_: Any) -> Any:
        found.append(command[-1])
        said = json.dumps({command[-1]: SAID})
        return subprocess.CompletedProcess(command, 0, stdout=said, stderr="")

    monkeypatch.setattr(routes, "_known", {})
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.delitem(sys.modules, "litellm")
    return found


def again() -> Any:
    """Find the route as a new process would."""
    routes._known.clear()
    return routes.find("ollama_chat/x")


def kept() -> Path:
    (found,) = routes._cache_folder().iterdir()
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
    folder = routes._cache_folder()
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)  # so that anybody may have written there
    again()
    assert len(asked) == 2


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root gives links away")
def test_another_users_link_is_not_followed(
    asked: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    documents, link = tmp_path / "documents", tmp_path / "mellea-api"
    documents.mkdir(mode=0o700)
    link.symlink_to(documents)
    os.chown(link, 65534, 65534, follow_symlinks=False)
    monkeypatch.setattr(routes, "_cache_folder", lambda: link / "litellm" / "1.0")
    again()
    again()
    assert len(asked) == 2
    assert not list(documents.iterdir())


def test_a_folder_that_cannot_be_written_is_done_without(
    asked: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(routes, "_cache_folder", lambda: tmp_path / "file" / "folder")
    again()
    again()
    assert len(asked) == 2


def test_where_litellm_cannot_be_imported_the_error_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "litellm.py").write_text("raise ImportError('it is broken')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(routes, "_known", {})
    monkeypatch.delitem(sys.modules, "litellm")
    with pytest.raises(mellea_api.PluginError, match="it is broken"):
        routes.find("ollama_chat/x")


@pytest.mark.slow
@pytest.mark.usefixtures("sdk")
def test_the_process_says_the_same_as_this_one() -> None:
    """It writes nothing else to its standard output, and asks nobody."""
    for question in ("ollama_chat/tiny", "openaj/gpt-4o"):
        run = subprocess.run(
            [sys.executable, "-m", "mellea_api_litellm.probe", question],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        )
        here = json.loads(json.dumps(probe.answer(question)))
        assert json.loads(run.stdout) == {question: here}


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
