"""The command `check`, and the servers that it asks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.ollama_server import OllamaServer
from support.openai_server import OpenAIServer


@pytest.fixture
def check(reported: Any) -> Any:
    """Runs `check --json`; returns what it prints, held to its schema and its exit code."""

    def run(*arguments: str) -> Any:
        found = reported("check", *arguments)
        assert found["ready"] == (found["exit_code"] == 0)
        return found

    return run


@pytest.fixture
def ollama(monkeypatch: pytest.MonkeyPatch) -> Iterator[OllamaServer]:
    with OllamaServer(["granite4:micro", "tiny"]) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.base_url)
        yield server


@pytest.fixture
def openai(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-good")
        yield server
