"""The ways around normalization that docs/design.md lists are ways around, and no others need listing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.ollama_server import OllamaServer

from mellea_api import options_report, start_session


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Any:
    with OllamaServer() as server:
        monkeypatch.setenv("OLLAMA_HOST", server.base_url)
        yield server


def test_a_session_built_by_hand_is_not_adopted(server: OllamaServer) -> None:
    from mellea import MelleaSession
    from mellea.backends.ollama import OllamaModelBackend

    session = MelleaSession(OllamaModelBackend("tiny"))
    session.chat("Hello!", model_options={"max_tokens": 5})
    assert server.calls("/api/chat")[-1].json["options"] == {"max_tokens": 5}
    assert options_report(session) is None


def test_the_original_classs_own_method_sends_what_it_is_given(server: OllamaServer) -> None:
    from mellea.backends.ollama import OllamaModelBackend
    from mellea.stdlib.components import Message
    from mellea.stdlib.context import SimpleContext

    backend = start_session("ollama", "tiny", model_options={"temperature": 0.5}).backend

    async def call() -> None:
        # The innermost of the methods that the core overrides.
        original = OllamaModelBackend.generate_from_chat_context
        result = await original(
            backend, Message("user", "Hello!"), SimpleContext(), model_options={"max_tokens": 5}
        )
        thunk = result[0] if isinstance(result, tuple) else result
        await thunk.avalue()

    asyncio.run(call())
    options = server.calls("/api/chat")[-1].json["options"]
    assert options["max_tokens"] == 5
    assert options_report(backend) is None


def test_the_sdks_client_knows_nothing_of_the_sessions_options(server: OllamaServer) -> None:
    backend: Any = start_session("ollama", "tiny", model_options={"temperature": 0.5}).backend
    backend._client.chat("tiny", messages=[{"role": "user", "content": "Hello!"}])
    assert not server.calls("/api/chat")[-1].json.get("options")
