"""The models: all are made from the same primer, and differ in how far back they look."""

from __future__ import annotations

from typing import Final

from mellea_api.plugin import ModelInfo

__all__ = ["CATALOGUE", "ORDERS"]

ORDERS: Final = {"primer-4": 4, "primer-3": 3, "primer-2": 2}
"""The length of the longest run of tokens that each model has counted."""

CATALOGUE: Final[tuple[ModelInfo, ...]] = (
    ModelInfo(
        id="primer-4",
        description="Looks three tokens back: nearly always makes sense.",
        size="16K",
        default=True,
    ),
    ModelInfo(
        id="primer-3",
        description="Looks two tokens back: makes sense for half a sentence.",
        size="10K",
    ),
    ModelInfo(
        id="primer-2",
        description="Looks one token back: rambles.",
        size="5K",
    ),
)
"""The default model first; a size is the number of counts that the model holds."""
