"""The models that are listed without asking a region, the default one first.

Only a region knows which models it has (`mellea-api models watsonx` asks it, at no cost). Sizes and
context lengths are those of IBM's model pages (www.ibm.com/docs/en/watsonx/saas,
"Supported foundation models", November 2026).
"""

from __future__ import annotations

from typing import Final

from mellea_api import ModelInfo

CATALOGUE: Final[tuple[ModelInfo, ...]] = (
    ModelInfo(
        id="ibm/granite-3-3-8b-instruct",
        description="IBM Granite 3.3: instructions and tools; reasons when asked to",
        size="8B",
        context_length=131_072,
        default=True,
    ),
    ModelInfo(
        id="ibm/granite-4-micro-3b-instruct",
        description="IBM Granite 4: a small model for instructions and tools; does not reason",
        size="3B",
        context_length=131_072,
    ),
    ModelInfo(
        id="meta-llama/llama-3-2-3b-instruct",
        description="Meta Llama 3.2: a small model for text, with tools; does not reason",
        size="3B",
        context_length=131_072,
    ),
)
"""Other models work as well: any id that the region has."""
