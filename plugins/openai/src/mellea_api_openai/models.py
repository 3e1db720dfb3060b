"""The models that are shown where nobody can be asked, the default one first.

Context lengths are those of OpenAI's model pages (developers.openai.com/api/docs/models,
November 2026).
"""

from __future__ import annotations

from typing import Final

from mellea_api import ModelInfo

CATALOGUE: Final[tuple[ModelInfo, ...]] = (
    ModelInfo(
        id="gpt-4o",
        description="OpenAI: text and images; does not reason",
        context_length=128_000,
        default=True,
    ),
    ModelInfo(
        id="gpt-5.1",
        description="OpenAI: reasons when asked to, with thinking='low' to 'high'",
        context_length=400_000,
    ),
    ModelInfo(
        id="gpt-oss:20b",
        description="Open weights, on a compatible server; always reasons",
        size="21B",
        context_length=131_072,
    ),
    ModelInfo(
        id="gpt-oss:120b",
        description="Open weights, on a compatible server; always reasons",
        size="117B",
        context_length=131_072,
    ),
)
"""Other models work as well: any id that the server knows."""
