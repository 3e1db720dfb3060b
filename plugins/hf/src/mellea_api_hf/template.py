"""The variables of a model's chat template: which there are, and which say how hard to think."""

from __future__ import annotations

import functools
from typing import Any, Final

__all__ = ["template_variables", "thinking_variables"]

_THINKING_VARIABLES: Final = ("think", "thinking", "enable_thinking")


@functools.lru_cache(maxsize=64)
def template_variables(template: Any) -> frozenset[str]:
    """Return the names that a chat template takes from outside.

    Args:
        template: Its text; anything else declares nothing.
    """
    if not isinstance(template, str) or not template:
        return frozenset()
    import jinja2
    import jinja2.meta

    environment = jinja2.Environment(extensions=["jinja2.ext.loopcontrols"], autoescape=True)
    try:
        return frozenset(jinja2.meta.find_undeclared_variables(environment.parse(template)))
    except jinja2.TemplateSyntaxError:
        return frozenset()


def thinking_variables(value: bool | str, declared: frozenset[str]) -> dict[str, Any]:
    """Return the variables that say to a chat template whether, and how hard, to think.

    >>> thinking_variables("low", frozenset({"enable_thinking"}))
    {'enable_thinking': True}
    >>> thinking_variables("low", frozenset({"enable_thinking", "reasoning_effort"}))
    {'enable_thinking': True, 'reasoning_effort': 'low'}
    """
    found: dict[str, Any] = {}
    switch = next((name for name in _THINKING_VARIABLES if name in declared), None)
    if switch is not None:
        found[switch] = value not in (False, "none")
    if "reasoning_effort" in declared and isinstance(value, str):
        found["reasoning_effort"] = value
    return found
