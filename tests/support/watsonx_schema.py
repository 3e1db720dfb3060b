"""What watsonx.ai takes: every field of its bodies, with type and range, and its words for what it refuses.

Read from IBM's API reference (cloud.ibm.com/apidocs/watsonx-ai) and its SDKs for Java and Node, not from our rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Field:
    """The type of a field, and its range.

    Attributes:
        kinds: The Python types of its JSON; a bool is no int.
        low: The least number, or None.
        high: The greatest number, or None.
        choices: The only values, if not empty.
        items: The most items of a list, or None.
    """

    kinds: tuple[type, ...]
    low: float | None = None
    high: float | None = None
    choices: tuple[Any, ...] = ()
    items: int | None = None

    def objection(self, value: Any) -> str | None:
        """What is wrong with a value, or None."""
        if type(value) not in self.kinds:
            return f"json type error: {type(value).__name__}"
        if self.low is not None and value < self.low:
            return f"must be greater than or equal to {self.low}"
        if self.high is not None and value > self.high:
            return f"must be less than or equal to {self.high}"
        if self.choices and value not in self.choices:
            return f"must be one of {self.choices}"
        if self.items is not None and len(value) > self.items:
            return f"must have at most {self.items} items"
        return None


def _number(low: float | None = None, high: float | None = None) -> Field:
    return Field((int, float), low, high)


def _integer(low: float | None = None, high: float | None = None) -> Field:
    return Field((int,), low, high)


TEXT, BOOLEAN, OBJECT, LIST = Field((str,)), Field((bool,)), Field((dict,)), Field((list,))

CHAT: Mapping[str, Field] = {
    "model_id": TEXT,
    "project_id": TEXT,
    "messages": LIST,
    "tools": LIST,
    "tool_choice": OBJECT,
    "tool_choice_option": Field((str,), choices=("none", "auto", "required")),
    "response_format": OBJECT,
    "temperature": _number(0, 2),
    "top_p": _number(0, 1),
    "n": _integer(1),
    "max_tokens": _integer(0),
    "max_completion_tokens": _integer(0),
    "seed": _integer(),
    "stop": Field((list,), items=4),
    "presence_penalty": _number(-2, 2),
    "frequency_penalty": _number(-2, 2),
    "repetition_penalty": _number(1, 2),
    "length_penalty": _number(),
    "logprobs": BOOLEAN,
    "top_logprobs": _integer(0, 20),
    "logit_bias": OBJECT,
    "time_limit": _integer(1),
    "guided_choice": LIST,
    "guided_regex": TEXT,
    "guided_grammar": TEXT,
    "guided_json": OBJECT,
    "chat_template_kwargs": OBJECT,
    "reasoning_effort": Field((str,), choices=("low", "medium", "high")),
    "include_reasoning": BOOLEAN,
    "crypto": OBJECT,
}

GENERATION: Mapping[str, Field] = {
    "model_id": TEXT,
    "project_id": TEXT,
    "input": TEXT,
    "parameters": OBJECT,
    "crypto": OBJECT,
}

PARAMETERS: Mapping[str, Field] = {
    "decoding_method": Field((str,), choices=("greedy", "sample")),
    "length_penalty": OBJECT,
    "temperature": _number(0, 2),
    "top_p": _number(0, 1),
    "top_k": _integer(1, 100),
    "random_seed": _integer(1),
    "repetition_penalty": _number(1, 2),
    "min_new_tokens": _integer(0),
    "max_new_tokens": _integer(0),
    "stop_sequences": Field((list,), items=6),
    "time_limit": _integer(1),
    "truncate_input_tokens": _integer(0),
    "return_options": OBJECT,
    "include_stop_sequence": BOOLEAN,
    "prompt_variables": OBJECT,
}


def objections(body: Any, fields: Mapping[str, Field], more: frozenset[str]) -> list[str]:
    """What watsonx.ai has against a body.

    Args:
        body: The JSON.
        fields: The fields that there are.
        more: Names that a test lets pass besides.
    """
    if not isinstance(body, dict):
        return ["the body is no object"]
    found = []
    for name, value in body.items():
        if name in more:
            continue
        objection = fields[name].objection(value) if name in fields else "is not known"
        if objection:
            found.append(f"{name}: {objection}")
    if "top_logprobs" in body and not body.get("logprobs"):
        found.append("top_logprobs: requires logprobs to be true")
    if "tool_choice" in body and "tool_choice_option" in body:
        found.append("tool_choice: only one of it and tool_choice_option must be set")
    return found
