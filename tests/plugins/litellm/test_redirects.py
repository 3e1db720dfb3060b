"""A redirect leads nobody's key away, also on routes whose keys are in headers of the provider's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.faults import FaultServer
from support.messages import Reply
from support.openai_server import OpenAIServer

pytest.importorskip("mellea_api_litellm")

import mellea_api
from mellea_api.streaming import stream_chat

pytestmark = pytest.mark.usefixtures("sdk")

KEY = "a-key-of-the-provider-0123456789"
WAYS: dict[str, Callable[[Any], Any]] = {
    "chat": lambda session: session.chat("Hello!"),
    "stream": lambda session: list(stream_chat(session, "Hello!")),
}


LIKE = (
    "deepseek/deepseek-chat",
    "groq/gemma2-9b-it",
    "mistral/mistral-small-latest",
    "openrouter/openai/gpt-4o",
    "xai/grok-4",
)
"""Routes to servers that speak as OpenAI's does."""


@pytest.mark.parametrize("route", LIKE)
@pytest.mark.parametrize("way", WAYS)
def test_an_answer_comes_through_the_careful_client(
    route: str, way: str, compatible_server: OpenAIServer
) -> None:
    compatible_server.models.append(route.partition("/")[2])
    session = mellea_api.start_session(
        "litellm", route, base_url=compatible_server.base_url, api_key=KEY, check=False, timeout=5
    )
    answer = WAYS[way](session)
    assert "".join(answer if way == "stream" else answer.content) == "4"
    assert compatible_server.last.headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("route", ["anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-flash", *LIKE])
@pytest.mark.parametrize("status", [302, 307])
@pytest.mark.parametrize("way", WAYS)
def test_a_key_follows_no_redirect(route: str, status: int, way: str) -> None:
    with FaultServer(lambda request: Reply(json={})) as stranger:
        headers = {"location": f"{stranger.url}/elsewhere"}
        with FaultServer(lambda request: Reply(status, headers=headers)) as server:
            session = mellea_api.start_session(
                "litellm", route, base_url=server.base_url, api_key=KEY, check=False, timeout=5
            )
            with pytest.raises(mellea_api.ProviderError) as caught:
                WAYS[way](session)
            assert any(KEY in repr(vars(request)) for request in server.requests)
        assert stranger.requests == []
    assert caught.value.next_step
    assert KEY not in str(caught.value)
