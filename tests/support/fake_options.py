"""A backend that exists only as a description, with a rule of every kind."""

from __future__ import annotations

from typing import Any

import pytest

from mellea_api._contract.errors import OptionError
from mellea_api._options.pipeline import OptionPipeline, Rendered
from mellea_api.plugin import BackendDescriptor, Converted, OptionRule, Target, system_message


class FakeTool:
    """A tool as Mellea has them, without Mellea."""

    name = "look_up"
    as_json_tool = {"type": "function", "function": {"name": "look_up", "parameters": {}}}

    def run(self) -> str:
        return "found"


def as_percent(value: float) -> Converted:
    """Keep the meaning in another unit."""
    return Converted(round(value * 100, 6))


def nothing_for_false(value: bool) -> Converted:
    return Converted(value) if value else Converted.nothing("false is what happens anyway")


def even_only(value: Any) -> Converted:
    if isinstance(value, int) and value % 2 == 0:
        return Converted(value)
    raise ValueError("must be even")


def fails(value: Any) -> Converted:
    raise KeyError("a bug in a plugin")


def no_converted(value: Any) -> Any:
    return value


def body(name: str, place: str, **facts: Any) -> OptionRule:
    """Return the rule of an option that lies below `body` on the wire."""
    (rule,) = OptionRule.sent(f"{name}={place}", wire="body.{}", **facts)
    return rule


RULES = (
    OptionRule(name="model", reserved=True, reason="the session has one"),
    body("temperature", "temperature", maximum=1.5),
    body("max_tokens", "token_limit", special=(-1,)),
    body("top_p", "nucleus"),
    body("stop", "stop", max_items=4),
    OptionRule(name="top_k", chat=("extra_body.top_k", "top_k"), source="the fake's page"),
    OptionRule(name="min_p", chat=("extra_body.min_p", "min_p"), models=("big-*",)),
    OptionRule(name="min_p", reason="only big models have it"),
    body("seed", "seed", maximum=2**32 - 1),
    body("repetition_penalty", "percent", convert=as_percent, maximum=1e6),
    OptionRule(
        name="system_prompt",
        chat=("@@@system_prompt@@@", "messages"),
        convert=system_message,
    ),
    OptionRule(name="thinking", chat="think", choices=(True, False, "low")),
    OptionRule(
        name="stream",
        chat=("@@@stream@@@", "stream"),
        convert=nothing_for_false,
    ),
    OptionRule(name="logprobs", chat="logprobs", completion="logprobs"),
    OptionRule(
        name="top_logprobs",
        chat="top_logprobs",
        completion="top_logprobs",
        requires={"logprobs": (True,)},
    ),
    OptionRule(name="top_logprobs", reason="it needs logprobs=True"),
    OptionRule(name="tool_choice", chat="tool_choice"),
    body("mirostat", "mirostat", type="integer", minimum=0, maximum=2),
    body("anything", "anything"),
    body("even", "even", type="integer", convert=even_only),
    OptionRule(name="future", chat="future", mellea="99.0"),
    OptionRule(name="@@@logits@@@", reason="there are no logits here"),
    OptionRule(name="*", chat=("", "body"), completion=("", "body")),
)

DESCRIPTOR = BackendDescriptor(
    name="fake",
    summary="exists only as a description",
    default_model="small-1",
    options=RULES,
)


def target(model_id: str = "small-1", descriptor: BackendDescriptor = DESCRIPTOR) -> Target:
    return Target(descriptor=descriptor, model_id=model_id, mellea_version="0.8.0")


def described(*rules: OptionRule, **facts: Any) -> Target:
    """Return the target of a backend with just these rules."""
    return target(
        descriptor=BackendDescriptor(
            name="fake", summary="", default_model="small-1", options=rules, **facts
        )
    )


def render(options: Any, policy: Any = "drop", **settings: Any) -> Rendered:
    """What becomes of options of a chat with the fake."""
    return OptionPipeline(target(), policy=policy, **settings).render(options, "chat")


def problems(options: Any, policy: Any = "drop", **settings: Any) -> dict[str, str]:
    """The problems of options that are refused: each message by its path."""
    with pytest.raises(OptionError) as caught:
        render(options, policy, **settings)
    return {problem.path: problem.message for problem in caught.value.problems or ()}
