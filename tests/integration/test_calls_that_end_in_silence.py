"""An SDK that cancels its own task says nothing to Mellea, which would wait for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from support.ollama_server import OllamaServer

pytest.importorskip("mellea_api_ollama")

import mellea_api
from mellea_api import stream_chat

WAYS: dict[str, Callable[[Any], Any]] = {
    "chat": lambda session: session.chat("Hello!"),
    "stream": lambda session: list(stream_chat(session, "Hello!")),
}


@pytest.mark.parametrize("way", WAYS)
def test_it_is_an_error_that_names_the_backend(
    way: str, ollama_server: OllamaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ollama

    async def chat(*args: Any, **arguments: Any) -> Any:
        raise asyncio.CancelledError

    base_url = ollama_server.base_url
    session = mellea_api.start_session("ollama", "tiny", base_url=base_url, timeout=20)
    with monkeypatch.context() as patch:
        patch.setattr(ollama.AsyncClient, "chat", chat)
        with pytest.raises(mellea_api.PluginError, match="CancelledError"):
            WAYS[way](session)
    assert session.chat("Hello!").content
