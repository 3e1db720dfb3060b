"""Models to start with: a small part of https://ollama.com/library, which any server can pull.

What a server has is known only to the server; this is what can be said without asking one.
"""

from __future__ import annotations

from typing import Final

from mellea_api import ModelInfo

CATALOGUE: Final[tuple[ModelInfo, ...]] = (
    ModelInfo(
        id="granite4:micro",
        description="IBM Granite 4: instructions and tools on a small machine.",
        size="3B",
        context_length=131_072,
        default=True,
    ),
    ModelInfo(
        id="granite3.3:8b",
        description="IBM Granite 3.3: instructions, tools, and thinking on demand.",
        size="8B",
        context_length=131_072,
    ),
    ModelInfo(
        id="llama3.2:3b",
        description="Meta Llama 3.2: a small model for text, with tools.",
        size="3B",
        context_length=131_072,
    ),
    ModelInfo(
        id="llama3.3:70b",
        description="Meta Llama 3.3: a large model for text, with tools; needs some 43 GB.",
        size="70B",
        context_length=131_072,
    ),
    ModelInfo(
        id="mistral-small:latest",
        description="Mistral Small: instructions and tools in many languages.",
        size="24B",
        context_length=32_768,
    ),
    ModelInfo(
        id="phi4:14b",
        description="Microsoft Phi-4: text, mathematics and code; no tools.",
        size="14B",
        context_length=16_384,
    ),
    ModelInfo(
        id="qwen3:8b",
        description="Alibaba Qwen 3: thinks before it answers unless told otherwise; tools.",
        size="8B",
        context_length=40_960,
    ),
)
"""The default model first."""
