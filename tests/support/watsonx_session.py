"""What the tests of the watsonx backend share: a session, and the ways into generation."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.watsonx_server import API_KEY, PROJECT

DEPRECATED = pytest.mark.filterwarnings("ignore:Watsonx Backend is deprecated:DeprecationWarning")
"""Mellea warns so whenever its backend is built; users are to see it."""


def start(model_id: str | None = None, **arguments: Any) -> Any:
    """Starts a session with the key and the project that the loopback server knows."""
    import mellea_api

    arguments = {"api_key": API_KEY, "project_id": PROJECT} | arguments
    return mellea_api.start_session("watsonx", model_id, **arguments)


def write(session: Any, *prompts: str, **options: Any) -> list[str]:
    """Takes prompts to the text generation endpoint; `generate_from_raw` is there on every Mellea."""
    from mellea.core import CBlock

    async def run() -> Any:
        return await session.backend.generate_from_raw(
            [CBlock(prompt) for prompt in prompts], session.ctx, model_options=options
        )

    found = asyncio.run(run())
    return [answer.value for answer in (found[0] if isinstance(found, tuple) else found)]


def said(answer: Any) -> str:
    """The text of a chat's answer."""
    return str(getattr(answer, "content", answer))
