"""Rules and conversions that several plugins share.

A plugin puts its own rule before a shared one that differs: the first counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mellea_api._contract.option_rule import Converted, OptionRule


def system_message(value: str) -> Converted:
    """Make the system prompt the first message, as every chat endpoint of Mellea does."""
    if not value:
        return Converted.nothing("an empty system prompt: no message is sent")
    return Converted(value, [{"role": "system", "content": value}])


def mellea_tools(value: Any) -> Converted:
    """Accept Mellea's tools; from Mellea 0.4 on it takes no plain functions.

    Raises:
        ValueError: If one is a plain function.
    """
    named = value if isinstance(value, Mapping) else dict(enumerate(value))
    for key, tool in named.items():
        if not hasattr(tool, "as_json_tool"):
            raise ValueError(
                f"[{key!r}] must be a tool of Mellea's: MelleaTool.from_callable(f), or @tool "
                "above the function"
            )
    return tools_as_json(value)


def tools_as_json(value: Any) -> Converted:
    """Show tools as the provider sees them; plain functions (Mellea 0.3) by name alone."""
    if not value:
        return Converted.nothing("no tools: nothing is sent")
    named = value.items() if isinstance(value, Mapping) else ((None, tool) for tool in value)
    shown = []
    for key, tool in named:
        name = key or getattr(tool, "name", None) or getattr(tool, "__name__", type(tool).__name__)
        described = getattr(tool, "as_json_tool", None)
        shown.append(described or {"type": "function", "function": {"name": str(name)}})
    return Converted(value, shown)


_TEXT: Final = "mellea_api._sessions.text_backend.TextBackend"
_BACKENDS: Final = "mellea 0.3.0 to 0.8.0, the classes in mellea/backends"
_STREAM_TIMEOUT: Final = "mellea 0.7.0, backends/model_options.py"

TEXT_RULES: Final[tuple[OptionRule, ...]] = (
    # Mellea's own names look like @@@this@@@. The base class acts on these two.
    OptionRule(
        name="system_prompt",
        chat=("@@@system_prompt@@@", "messages"),
        convert=system_message,
        reason="stands before the conversation, as its first message",
        source=_TEXT,
    ),
    OptionRule(name="stream", chat=("@@@stream@@@", "stream"), source=_TEXT),
    *OptionRule.refused(
        "system_prompt",
        "a raw prompt stands for itself; write the instruction into it",
        source=_TEXT,
    ),
    *OptionRule.refused("stream", "Mellea waits for the whole of a raw completion", source=_TEXT),
)
"""What `TextBackend` does with the system prompt and with streaming."""

ONE_ANSWER: Final = OptionRule(
    name="n",
    chat=("n", ""),
    completion=("n", ""),
    type="integer",
    choices=(1,),
    convert=Converted.unsaid,
    reason="one answer is what is given anyway; nothing is sent",
    source=_BACKENDS,
)
"""How many answers: Mellea reads one, and its own strategies say `n=1`."""

MELLEA_RULES: Final[tuple[OptionRule, ...]] = (
    OptionRule(
        name="system_prompt",
        chat=("@@@system_prompt@@@", "messages"),
        convert=system_message,
        reason="sent as the first message",
        source=_BACKENDS,
    ),
    *OptionRule.refused(
        "system_prompt",
        "the raw endpoint has no messages; write it into the prompt",
        source=_BACKENDS,
    ),
    OptionRule(name="stream", chat=("@@@stream@@@", "stream"), source=_BACKENDS),
    OptionRule(
        name="stream",
        completion=("@@@stream@@@", "stream"),
        convert=Converted.unsaid,
        requires={"stream": (False,)},
        reason="Mellea never streams from the raw endpoint; nothing is sent",
        source=_BACKENDS,
    ),
    *OptionRule.refused("stream", "Mellea cannot stream from the raw endpoint", source=_BACKENDS),
    OptionRule(
        name="stream_timeout",
        chat=("@@@stream_timeout@@@", ""),
        mellea="0.7",
        reason="a limit that Mellea itself keeps; nothing is sent",
        source=_STREAM_TIMEOUT,
    ),
    *OptionRule.refused(
        "stream_timeout",
        "a streamed chat with Mellea 0.7 or newer has it",
        source=_STREAM_TIMEOUT,
    ),
    *(
        OptionRule(
            name="tools",
            chat=("@@@tools@@@", "tools"),
            convert=convert,
            mellea=mellea,
            reason="sent where the call says tool_calls=True; Mellea describes each tool in JSON",
            source=_BACKENDS,
        )
        for convert, mellea in ((mellea_tools, "0.4"), (tools_as_json, None))
    ),
    *OptionRule.refused("tools", "the raw endpoint calls no tools", source=_BACKENDS),
    ONE_ANSWER,
)
"""What Mellea's own backend classes do, whichever provider is behind them."""
