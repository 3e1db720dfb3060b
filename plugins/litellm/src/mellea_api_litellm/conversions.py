"""From canonical values to LiteLLM's, and what LiteLLM then makes of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from mellea_api.plugin import Converted, effort

__all__ = ["in_its_terms", "levels_as"]

_TERMS = "LiteLLM says it in the provider's terms"


def in_its_terms(value: Any) -> Converted:
    """Leave it to LiteLLM, which says the same in the provider's terms."""
    return Converted(value)


def levels_as(sent: Mapping[str, Mapping[str, Any]]) -> Callable[[bool | str], Converted]:
    """Return the conversion of levels of reasoning that LiteLLM sends in other terms.

    Args:
        sent: What it sends for each level: values by their place in the JSON.
    """
    return functools.partial(_level, sent)


def _level(sent: Mapping[str, Mapping[str, Any]], value: bool | str) -> Converted:
    level = effort(value)
    (_, first), *others = sent[level.value].items()
    reason = "; ".join(filter(None, (level.reason, _TERMS)))
    return Converted(level.value, first, wires=dict(others), reason=reason)
