"""Fixtures for every test of the project; the root conftest loads them with `pytest_plugins`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support import llamacpp as engine
from support.llamacpp import LlamaCppServer
from support.ollama_server import OllamaServer
from support.openai_server import OpenAIServer


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model's file; skips, with the reason, where it cannot be made."""
    if reason := engine.available():
        pytest.skip(f"the llama.cpp engine is not available: {reason}")
    from support.tiny_model import build_gguf

    return build_gguf(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


@pytest.fixture(scope="session")
def llamacpp(tiny_gguf: Path) -> Iterator[LlamaCppServer]:
    """A real llama.cpp server with the tiny model; it takes any key."""
    with LlamaCppServer(tiny_gguf) as server:
        yield server


@pytest.fixture
def ollama_server() -> Iterator[OllamaServer]:
    """A loopback Ollama with the model "tiny" and canned answers."""
    with OllamaServer() as server:
        yield server


@pytest.fixture
def openai_server() -> Iterator[OpenAIServer]:
    """A loopback OpenAI that takes the key "sk-good", with canned answers."""
    with OpenAIServer() as server:
        yield server


@pytest.fixture
def compatible_server() -> Iterator[OpenAIServer]:
    """A loopback server that is merely compatible with OpenAI: the model "tiny", any key, the usual extensions."""
    with OpenAIServer(api_key=None, strict=False) as server:
        yield server
