"""From canonical values to those of watsonx.ai, where these differ.

Each keeps the meaning; a rule in `options` says for which models and endpoint.
"""

from __future__ import annotations

from typing import Any

from mellea_api.plugin import Converted

__all__ = [
    "greedy",
    "sampled",
    "stop_left_out",
    "template",
    "tool_by_name",
]


def template(value: bool | str) -> Converted:
    """Switch reasoning in the chat template, as Granite 3 has it."""
    on = value is not False and value != "none"
    return Converted(on, reason="the chat template switches it")


def greedy(value: float) -> Converted:
    """Take the likeliest token, which the text generation endpoint has another name for."""
    return Converted("greedy", reason="a temperature of 0 is greedy decoding")


def sampled(value: float) -> Converted:
    """Switch sampling on, without which the text generation endpoint ignores the value."""
    return Converted(
        value,
        options={"decoding_method": "sample"},
        wires={"parameters.decoding_method": "sample"},
        reason="with decoding_method='sample', without which it has no effect",
    )


def stop_left_out(value: list[str]) -> Converted:
    """Leave the stop sequence out of the answer, as every other backend does."""
    if not value:
        return Converted.nothing("an empty list: nothing is sent")
    return Converted(
        value,
        options={"include_stop_sequence": False},
        wires={"parameters.include_stop_sequence": False},
        reason="with include_stop_sequence=False, since it would be part of the answer",
    )


def tool_by_name(value: Any) -> Converted:
    """Put a word into `tool_choice_option`, and a tool into `tool_choice`."""
    if isinstance(value, str):
        if value in ("auto", "none", "required"):
            return Converted(value)
        value = {"type": "function", "function": {"name": value}}
    chosen = {"tool_choice": value}
    return Converted.nothing(options=chosen, wires=chosen)
