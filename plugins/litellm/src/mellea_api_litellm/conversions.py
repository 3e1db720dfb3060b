"""From canonical values to LiteLLM's, and what LiteLLM then makes of them.

What LiteLLM makes of a value depends on the route, so these functions are made of what the rule
says, which stands in their name: `sends={"low": {"think": true}}`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

from mellea_api.options.convert import NOTHING, Conversion, Converted

__all__ = ["in_its_terms", "named", "unsaid", "word"]

_PREFIX = "sends="


def word(value: bool | str) -> str:
    """Return the level that a value of `thinking` is, as LiteLLM's `reasoning_effort` has it.

    Mellea makes `medium` of True as well, but what it makes of False depends on its version, and
    Mellea 0.8 sends a `chat_template_kwargs` beside a bool, wherever the route goes.

    >>> word(True), word(False), word("low")
    ('medium', 'none', 'low')
    """
    if isinstance(value, str):
        return value
    return "medium" if value else "none"


def effort(value: bool | str) -> Converted:
    """Say how hard to reason in a word."""
    level = word(value)
    reason = "" if isinstance(value, str) else f"{value} is the level {level!r}"
    return Converted(level, reason=reason)


def unsaid(value: object) -> Converted:
    """Send nothing: the value says what happens anyway."""
    return Converted(NOTHING)


def in_its_terms(value: Any) -> Converted:
    """Leave it to LiteLLM, which says the same in the provider's terms."""
    return Converted(value)


def named(effects: Mapping[str, Mapping[str, Any]]) -> str:
    """Return what a rule calls the conversion of levels with these effects, place by place."""
    said = json.dumps(effects, sort_keys=True, separators=(",", ":"))
    return f"{__name__}:{_PREFIX}{said}"


def __getattr__(name: str) -> Conversion:
    if not name.startswith(_PREFIX):
        raise AttributeError(name)
    return functools.partial(_sends, json.loads(name.removeprefix(_PREFIX)))


def _sends(effects: Mapping[str, Mapping[str, Any]], value: bool | str) -> Converted:
    level = word(value)
    (_, first), *others = effects[level].items()
    said = "" if isinstance(value, str) else f"{value} is the level {level!r}; "
    return Converted(
        level,
        first,
        wires=dict(others),
        reason=f"{said}LiteLLM says it in the provider's terms",
    )
