"""The rules that every `TextBackend` shares, to be put among a plugin's own."""

from __future__ import annotations

from typing import Final

from mellea_api._contract.descriptor import Native, OptionRule

_BASE: Final = "mellea_api._sessions.text_backend.TextBackend"

TEXT_RULES: Final[tuple[OptionRule, ...]] = (
    # Mellea's own names look like @@@this@@@. The base class acts on these two.
    OptionRule(
        name="system_prompt",
        chat=Native(key="@@@system_prompt@@@", wire="messages"),
        convert="system_message",
        reason="stands before the conversation, as its first message",
        source=_BASE,
    ),
    OptionRule(name="stream", chat=Native(key="@@@stream@@@", wire="stream"), source=_BASE),
    # A rule that names no place says why there is none.
    OptionRule(
        name="system_prompt",
        reason="a raw prompt stands for itself; write the instruction into it",
        source=_BASE,
    ),
    OptionRule(
        name="stream", reason="Mellea waits for the whole of a raw completion", source=_BASE
    ),
)
"""What the base class does with the system prompt and with streaming."""
