"""Named conversions from a canonical value to a provider's.

An `OptionRule` names one in `convert`. A conversion keeps the meaning, or it does not exist.
Each takes the checked canonical value and returns a `Converted`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from mellea_api._contract.descriptor import NOTHING, Converted
from mellea_api._contract.errors import PluginError

Conversion = Callable[[Any], Converted]


def system_message(value: str) -> Converted:
    """Make the system prompt the first message, as every chat endpoint of Mellea does."""
    if not value:
        return Converted(NOTHING, reason="an empty system prompt: no message is sent")
    return Converted(value, [{"role": "system", "content": value}])


def tools_as_json(value: Any) -> Converted:
    """Show tools as the provider sees them; plain functions (Mellea 0.3) by name alone."""
    named = value.items() if isinstance(value, Mapping) else ((None, tool) for tool in value)
    shown = []
    for key, tool in named:
        name = key or getattr(tool, "name", None) or getattr(tool, "__name__", type(tool).__name__)
        described = getattr(tool, "as_json_tool", None)
        shown.append(described or {"type": "function", "function": {"name": str(name)}})
    return Converted(value, shown)


def effort(value: bool | str) -> Converted:
    """Say how hard to reason in a word, where the provider has no other way to say it.

    Mellea makes `medium` of True as well, but beside it sends a `chat_template_kwargs`, which
    OpenAI's own servers refuse. A word keeps it from doing so.

    >>> effort("low").value, effort(True).value, effort(False).value
    ('low', 'medium', 'none')
    """
    if isinstance(value, str):
        return Converted(value)
    level = "medium" if value else "none"
    return Converted(level, reason=f"{value} is the level {level!r}")


def with_logprobs(value: int) -> Converted:
    """Ask for `logprobs` as well, without which chat endpoints refuse `top_logprobs`."""
    return Converted(value, options={"logprobs": True}, wires={"logprobs": True})


def unsaid(value: object) -> Converted:
    """Send nothing: the value says what happens anyway."""
    return Converted(NOTHING)


_BUILT_IN: Final[Mapping[str, Conversion]] = {
    "effort": effort,
    "system_message": system_message,
    "tools_as_json": tools_as_json,
    "unsaid": unsaid,
    "with_logprobs": with_logprobs,
}


def find_conversion(name: Conversion | str) -> Conversion:
    """Return the conversion that a rule names.

    Args:
        name: The function, a name from this module, or `package.module:function`.

    Raises:
        PluginError: If there is no such conversion.
    """
    if not isinstance(name, str):
        return name
    if name in _BUILT_IN:
        return _BUILT_IN[name]
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except Exception as error:  # whatever importing a plugin's module raises
        raise PluginError(
            f"Cannot find the conversion {name!r} that an option rule names: {error}.",
            next_step="Name one of "
            f"{', '.join(sorted(_BUILT_IN))}, or a function as 'package.module:function'.",
        ) from error
    if not callable(found):
        raise PluginError(
            f"The conversion {name!r} that an option rule names is not a function.",
            next_step="Name a function as 'package.module:function'.",
        )
    return found  # type: ignore[no-any-return]
