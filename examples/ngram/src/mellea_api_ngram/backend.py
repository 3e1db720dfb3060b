"""The one module of this plugin that imports Mellea; the core imports it for the first session."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from mellea import MelleaSession

from mellea_api.plugin import Prompt, SessionRequest, TextBackend, hookimpl
from mellea_api_ngram.model import END, TURN, load, tokenize
from mellea_api_ngram.models import ORDERS
from mellea_api_ngram.sampling import Sampling, complete

__all__ = ["NGramBackend", "create_session"]


class NGramBackend(TextBackend):
    """Answers with an n-gram model.

    Args:
        model_id: A name in the catalogue.
    """

    provider = "ngram"

    def __init__(self, model_id: str) -> None:
        super().__init__(model_id)
        self._model = load(ORDERS[model_id])

    async def generate(self, prompt: Prompt, options: Mapping[str, Any]) -> AsyncIterator[str]:
        """Go on where the prompt ends, a token at a time."""
        for text in complete(self._model, _tokens(prompt), Sampling(**options)):
            yield text
            await asyncio.sleep(0)  # whatever else runs in this event loop may go on


def _tokens(prompt: Prompt) -> list[str]:
    """Write a conversation as the primer writes them; a raw prompt stands as it is."""
    if prompt.raw:
        return tokenize(prompt.text)
    tokens = []
    for message in prompt.messages:
        tokens += tokenize(message["content"].strip())
        tokens.append(END if message["role"] == "assistant" else TURN)
    return tokens


@hookimpl
def create_session(request: SessionRequest) -> MelleaSession:
    """Build Mellea's session; options, context, timeout and errors are the core's work."""
    return request.build(NGramBackend)
