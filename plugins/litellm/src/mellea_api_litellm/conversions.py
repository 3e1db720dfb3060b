"""From canonical values to LiteLLM's, and what LiteLLM then makes of them.

What LiteLLM makes of a value depends on the route, so these functions are made of what the rule
says, which stands in their name: `sends={"low": {"think": true}}`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

from mellea_api._contract.descriptor import Converted
from mellea_api._options.convert import Conversion, effort

__all__ = ["in_its_terms", "named"]

_PREFIX = "sends="


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
    said = effort(value)
    (_, first), *others = effects[said.value].items()
    terms = "LiteLLM says it in the provider's terms"
    return Converted(
        said.value,
        first,
        wires=dict(others),
        reason="; ".join(filter(None, (said.reason, terms))),
    )
