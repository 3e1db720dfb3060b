"""The servers that a runtime talks to, and a runtime on each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.late import KEY
from support.load import MODELS, echo
from support.ollama_server import OllamaServer
from support.openai_server import OpenAIServer

pytest.importorskip("mellea_api_ollama")
pytest.importorskip("mellea_api_openai")

from mellea_api.runtime import MelleaRuntime


@pytest.fixture
def ollama(monkeypatch: pytest.MonkeyPatch) -> Iterator[OllamaServer]:
    with OllamaServer(MODELS, text=echo) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.base_url)
        yield server


@pytest.fixture
def openai(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    with OpenAIServer(text=echo) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        yield server


@pytest.fixture(params=["ollama", "openai"])
def runtime(request: pytest.FixtureRequest) -> Iterator[MelleaRuntime]:
    """A runtime on each backend."""
    request.getfixturevalue(request.param)
    with MelleaRuntime(request.param) as found:
        yield found
