"""Models to start with: a small part of https://huggingface.co/models, the default one first.

Sizes and context lengths are those of the models' pages and configurations (November 2026).
"""

from __future__ import annotations

from typing import Final

from mellea_api import ModelInfo

CATALOGUE: Final[tuple[ModelInfo, ...]] = (
    ModelInfo(
        id="meta-llama/Llama-3.2-3B-Instruct",
        description="Meta Llama 3.2: a small model for text; gated, ask for access on its page.",
        size="3B",
        context_length=131_072,
        default=True,
    ),
    ModelInfo(
        id="ibm-granite/granite-4.0-micro",
        description="IBM Granite 4: instructions and tools on a small machine.",
        size="3B",
        context_length=131_072,
    ),
    ModelInfo(
        id="ibm-granite/granite-3.3-8b-instruct",
        description="IBM Granite 3.3: instructions, tools, and thinking on demand.",
        size="8B",
        context_length=131_072,
    ),
    ModelInfo(
        id="Qwen/Qwen3-4B",
        description="Alibaba Qwen 3: thinks before it answers unless told otherwise; tools.",
        size="4B",
        context_length=40_960,
    ),
    ModelInfo(
        id="HuggingFaceTB/SmolLM2-135M-Instruct",
        description="SmolLM2: answers on any machine, for trying things out.",
        size="135M",
        context_length=8_192,
    ),
)
"""Other models work as well: any for causal language modelling, by id or folder."""
