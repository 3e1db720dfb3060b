"""The models that are shown where nobody can be asked, and those that OpenAI shuts down.

Context lengths are those of OpenAI's model pages (developers.openai.com/api/docs/models,
November 2026).
"""

from __future__ import annotations

from typing import Final

from mellea_api.plugin import ModelInfo, Retirement

CATALOGUE: Final[tuple[ModelInfo, ...]] = (
    ModelInfo(
        id="gpt-5.4-mini",
        description="OpenAI: reasons when asked to, with thinking='low' to 'xhigh'",
        context_length=400_000,
        default=True,
    ),
    ModelInfo(
        id="gpt-6-luna",
        description="OpenAI: reasons unless told not to, with thinking=False",
        context_length=1_050_000,
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

_PAGE: Final = "developers.openai.com/api/docs/deprecations, November 2026"


def _shut(day: str, models: str, instead: str = "") -> Retirement:
    return Retirement(day=day, models=models.split(), instead=instead, source=_PAGE)


RETIREMENTS: Final[tuple[Retirement, ...]] = (
    _shut("2024-09-13", "gpt-3.5-turbo-16k gpt-3.5-turbo-16k-0613 gpt-3.5-turbo-0301"),
    _shut("2024-09-13", "gpt-3.5-turbo-0613"),
    _shut("2024-12-06", "gpt-4-vision-preview"),
    _shut("2025-06-06", "gpt-4-32k*"),
    _shut("2025-07-28", "o1-preview*"),
    _shut("2025-10-10", "gpt-4o-audio-preview-2024-10-01"),
    _shut("2025-10-27", "o1-mini*"),
    _shut("2026-02-12", "codex-mini-latest"),
    _shut("2026-02-17", "chatgpt-4o-latest"),
    _shut("2026-03-26", "gpt-4-0125-preview gpt-4-turbo-preview gpt-4-0314"),
    _shut("2026-05-07", "gpt-4o-audio-preview* gpt-4o-mini-audio-preview*"),
    _shut("2026-07-23", "gpt-5.1-codex gpt-5.1-chat-latest gpt-5-chat-latest"),
    _shut("2026-07-23", "gpt-4o-search-preview* gpt-4o-mini-search-preview*"),
    _shut("2026-08-10", "gpt-5.3-chat-latest gpt-5.2-chat-latest"),
    _shut("2026-09-28", "gpt-3.5-turbo-1106"),
    _shut("2026-10-23", "gpt-3.5-turbo gpt-3.5-turbo-0125 o4-mini o4-mini-20*", "gpt-5.6-terra"),
    _shut("2026-10-23", "gpt-4 gpt-4-0613 gpt-4-1106-preview gpt-4-turbo", "gpt-5.6-sol"),
    _shut("2026-10-23", "gpt-4-turbo-2024-04-09 gpt-4o-2024-05-13", "gpt-5.6-sol"),
    _shut("2026-10-23", "o1 o1-2024-12-17 o1-pro* o3-mini o3-mini-20*", "gpt-5.6-sol"),
    _shut("2026-10-23", "gpt-4.1-nano*", "gpt-5.6-luna"),
    _shut("2026-12-11", "gpt-5 gpt-5-20* o3 o3-20* o3-pro* gpt-5-pro*", "gpt-6.1-sol"),
    _shut("2026-12-11", "gpt-5-mini*", "gpt-6.1-terra"),
    _shut("2026-12-11", "gpt-5-nano*", "gpt-6-luna"),
    _shut("2027-01-14", "gpt-4o gpt-4o-20* gpt-4o-mini gpt-4o-mini-20*", "gpt-6-luna"),
    _shut("2027-01-14", "gpt-4.1 gpt-4.1-20* gpt-4.1-mini*", "gpt-6-luna"),
    _shut("2027-01-20", "gpt-audio-mini*"),
    _shut("2027-04-01", "gpt-5.1 gpt-5.1-20* gpt-5.4-nano*"),
)
"""When OpenAI shuts which models down, as openai 3.57.0 has it in types/shared/chat_model.py."""
