"""OpenAI's rules for a completion request: which parameters, of which type and range, on which model.

Parameters are those of the Python SDK's `create` methods, which are made from OpenAI's specification. The words of the
refusals are those that users of the API have reported.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class _Rule:
    """What a parameter takes.

    Attributes:
        kinds: Names of JSON types, as OpenAI spells them.
        low: The least value, or None.
        high: The greatest value, or None.
        nullable: Whether null means "not given".
        choices: The allowed strings, or empty.
    """

    kinds: tuple[str, ...]
    low: float | None = None
    high: float | None = None
    nullable: bool = True
    choices: tuple[str, ...] = ()


def _rule(
    *kinds: str, low: float | None = None, high: float | None = None, nullable: bool = True
) -> _Rule:
    return _Rule(kinds, low, high, nullable)


EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_SHARED = {
    "model": _rule("string", nullable=False),
    "frequency_penalty": _rule("decimal", low=-2, high=2),
    "logit_bias": _rule("object"),
    "max_tokens": _rule("integer", low=1),
    "n": _rule("integer", low=1, high=128),
    "presence_penalty": _rule("decimal", low=-2, high=2),
    # 64 bits, signed.
    "seed": _rule("integer", low=-(2**63), high=2**63 - 1),
    "stop": _rule("string", "array"),
    "stream": _rule("boolean"),
    "stream_options": _rule("object"),
    "temperature": _rule("decimal", low=0, high=2),
    "top_p": _rule("decimal", low=0, high=1),
    "user": _rule("string", nullable=False),
}
CHAT_PARAMETERS: dict[str, _Rule] = {
    **_SHARED,
    "messages": _rule("array", nullable=False),
    "audio": _rule("object"),
    "function_call": _rule("string", "object", nullable=False),
    "functions": _rule("array", nullable=False),
    "logprobs": _rule("boolean"),
    "max_completion_tokens": _rule("integer", low=1),
    "metadata": _rule("object"),
    "modalities": _rule("array"),
    "moderation": _rule("object"),
    "parallel_tool_calls": _rule("boolean", nullable=False),
    "prediction": _rule("object"),
    "prompt_cache_key": _rule("string"),
    "prompt_cache_options": _rule("object", nullable=False),
    "prompt_cache_retention": _rule("string"),
    "reasoning_effort": _Rule(("string",), choices=EFFORTS),
    "response_format": _rule("object", nullable=False),
    "safety_identifier": _rule("string"),
    "service_tier": _rule("string"),
    "store": _rule("boolean"),
    "tool_choice": _rule("string", "object", nullable=False),
    # Not nullable in the specification, but null is what Mellea itself sends for "no tools", and OpenAI takes it.
    "tools": _rule("array"),
    "top_logprobs": _rule("integer", low=0, high=20),
    "verbosity": _Rule(("string",), choices=("low", "medium", "high")),
    "web_search_options": _rule("object", nullable=False),
}
COMPLETION_PARAMETERS: dict[str, _Rule] = {
    **_SHARED,
    "prompt": _rule("string", "array", nullable=False),
    "best_of": _rule("integer", low=0, high=20),
    "echo": _rule("boolean"),
    "logprobs": _rule("integer", low=0, high=5),
    "suffix": _rule("string"),
}
# What vLLM, llama.cpp and their like take beyond OpenAI's own.
EXTENSIONS = frozenset(
    [
        "add_generation_prompt",
        "bad_words",
        "chat_template",
        "chat_template_kwargs",
        "documents",
        "dry_multiplier",
        "guided_choice",
        "guided_grammar",
        "guided_json",
        "guided_regex",
        "ignore_eos",
        "include_reasoning",
        "length_penalty",
        "min_p",
        "min_tokens",
        "mirostat",
        "priority",
        "repeat_penalty",
        "repetition_penalty",
        "skip_special_tokens",
        "stop_token_ids",
        "structured_outputs",
        "top_k",
        "truncate_prompt_tokens",
        "typical_p",
    ]
)

# How each kind reads in a sentence; a decimal takes integers as well.
_ARTICLES = {
    "array": "an array",
    "integer": "an integer",
    "object": "an object",
    "decimal": "a decimal",
}
_UNSUPPORTED_WHEN_REASONING = (
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "logprobs",
    "top_logprobs",
)


class APIError(Exception):
    """What OpenAI refuses.

    Attributes:
        status: The HTTP status code.
        body: The JSON of the answer.
    """

    def __init__(
        self,
        message: str,
        param: str | None = None,
        code: str | None = None,
        status: int = 400,
        type_: str = "",
    ) -> None:
        """See the class."""
        super().__init__(message)
        self.status = status
        self.body = error_body(message, param, code, type_ or "invalid_request_error")


def error_body(message: str, param: str | None, code: str | None, type_: str) -> dict[str, Any]:
    """The shape of every error of OpenAI."""
    return {"error": {"message": message, "type": type_, "param": param, "code": code}}


def unknown_parameters(body: Mapping[str, Any], rules: Mapping[str, _Rule]) -> list[str]:
    """The parameters that OpenAI does not know, in the order of the request."""
    return [name for name in body if name not in rules]


def check_known(body: Mapping[str, Any], rules: Mapping[str, _Rule]) -> None:
    """Refuses what OpenAI does not know."""
    unknown = unknown_parameters(body, rules)
    if unknown:
        raise APIError(
            f"Unrecognized request argument{'s' * (len(unknown) > 1)} supplied: {', '.join(unknown)}"
        )


def check_values(
    body: Mapping[str, Any], rules: Mapping[str, _Rule], max_stop: int | None = 4
) -> None:
    """Refuses a wrong type, and a value out of range."""
    for name in ("model", "messages", "prompt"):
        if name in rules and body.get(name) is None:
            raise APIError(
                f"Missing required parameter: '{name}'.", name, "missing_required_parameter"
            )
    for name, value in body.items():
        if name in rules and value is not None:
            _check_value(name, rules[name], value)
    if body.get("messages") == []:
        raise APIError(_empty_array("messages"), "messages", "empty_array")
    if body.get("tools") == []:
        raise APIError(_empty_array("tools"), "tools", "empty_array")
    stop = body.get("stop")
    if isinstance(stop, list):
        for index, sequence in enumerate(stop):
            _check_value(f"stop[{index}]", _rule("string"), sequence)
        if max_stop is not None and len(stop) > max_stop:
            raise APIError(
                f"Invalid 'stop': array too long. Expected an array with maximum length {max_stop}, but got an array "
                f"with length {len(stop)} instead.",
                "stop",
                "array_above_max_length",
            )


def check_combinations(body: Mapping[str, Any]) -> None:
    """Refuses parameters that need another one, or exclude it."""
    if body.get("stream_options") and not body.get("stream"):
        raise APIError(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            "stream_options",
        )
    if body.get("tool_choice") is not None and not body.get("tools"):
        message = "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified."
        raise APIError(message, "tool_choice")
    if body.get("parallel_tool_calls") is not None and not body.get("tools"):
        message = "Invalid value for 'parallel_tool_calls': 'parallel_tool_calls' is only allowed when 'tools' are specified."
        raise APIError(message, "parallel_tool_calls")
    if body.get("top_logprobs") and not body.get("logprobs"):
        message = "Invalid value for 'top_logprobs': 'top_logprobs' is only allowed when 'logprobs' is enabled."
        raise APIError(message, "top_logprobs")
    if body.get("max_tokens") is not None and body.get("max_completion_tokens") is not None:
        message = (
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
        )
        raise APIError(message, None, "invalid_parameter_combination")


def efforts_of(model: str) -> tuple[str, ...]:
    """The `reasoning_effort` values of a model; empty for one that does not reason.

    >>> efforts_of("gpt-4o"), efforts_of("gpt-5.1")
    ((), ('none', 'low', 'medium', 'high'))
    """
    if re.match(r"o[134](-|$)", model):
        return ("low", "medium", "high")
    version = re.match(r"gpt-5(?:\.(\d+))?(?:-|$)", model)
    if version is None or "-chat" in model:
        return ()
    if version[1] is None:
        return ("minimal", "low", "medium", "high")
    return ("none", "low", "medium", "high") + (("xhigh",) if int(version[1]) > 1 else ())


def check_model_limits(body: Mapping[str, Any]) -> None:
    """Refuses what the model does not take: those that reason take less, and only they take an effort."""
    efforts = efforts_of(body["model"])
    effort = body.get("reasoning_effort")
    if not efforts:
        if effort is not None:
            raise APIError("Unrecognized request argument supplied: reasoning_effort")
        return
    if effort is not None and effort not in efforts:
        raise APIError(
            f"Unsupported value: 'reasoning_effort' does not support '{effort}' with this model. "
            f"Supported values are: {_enumerate(efforts)}.",
            "reasoning_effort",
            "unsupported_value",
        )
    if body.get("max_tokens") is not None:
        raise APIError(
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead.",
            "max_tokens",
            "unsupported_parameter",
        )
    if "none" in efforts and effort in (None, "none"):
        return
    temperature = body.get("temperature")
    if temperature is not None and temperature != 1:
        raise APIError(
            f"Unsupported value: 'temperature' does not support {temperature} with this model. "
            "Only the default (1) value is supported.",
            "temperature",
            "unsupported_value",
        )
    refused = [
        *_UNSUPPORTED_WHEN_REASONING,
        # The specification excepts o3 and o4-mini, and what came after; these two take it.
        *(("stop",) if not body["model"].startswith(("o1", "o3-mini")) else ()),
    ]
    for name in refused:
        if body.get(name) not in (None, False):
            message = f"Unsupported parameter: '{name}' is not supported with this model."
            raise APIError(message, name, "unsupported_parameter")


def find_violations(body: Mapping[str, Any], rules: Mapping[str, _Rule]) -> list[str]:
    """Null where the specification has none, and keys that begin with "@@@", each with its name."""
    marks = [f"key {name}" for name in body if name.startswith("@@@")]
    nulls = [
        f"null {name}"
        for name, value in body.items()
        if value is None and not _nullable(rules.get(name))
    ]
    return marks + nulls


def _nullable(rule: _Rule | None) -> bool:
    return rule is not None and rule.nullable


def _check_value(name: str, rule: _Rule, value: Any) -> None:
    kind = _kind(value)
    if kind not in rule.kinds and not (kind == "integer" and "decimal" in rule.kinds):
        expected = " or ".join(_article(kind) for kind in rule.kinds)
        got = "a decimal number" if kind == "decimal" else _article(kind)
        raise APIError(
            f"Invalid type for '{name}': expected {expected}, but got {got} instead.",
            name,
            "invalid_type",
        )
    if rule.choices and value not in rule.choices:
        message = f"Invalid value: '{value}'. Supported values are: {_enumerate(rule.choices)}."
        raise APIError(message, name, "invalid_value")
    if kind in ("integer", "decimal"):
        word = rule.kinds[0]
        if rule.low is not None and value < rule.low:
            message = f"Invalid '{name}': {word} below minimum value. Expected a value >= {rule.low}, but got {value} instead."
            raise APIError(message, name, f"{word}_below_min_value")
        if rule.high is not None and value > rule.high:
            message = f"Invalid '{name}': {word} above maximum value. Expected a value <= {rule.high}, but got {value} instead."
            raise APIError(message, name, f"{word}_above_max_value")


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    kinds = {int: "integer", float: "decimal", str: "string", list: "array", dict: "object"}
    return kinds.get(type(value), "null value")


def _article(kind: str) -> str:
    return _ARTICLES.get(kind, f"a {kind}")


def _enumerate(values: Sequence[str]) -> str:
    quoted = [f"'{value}'" for value in values]
    return f"{', '.join(quoted[:-1])}, and {quoted[-1]}"


def _empty_array(name: str) -> str:
    return f"Invalid '{name}': empty array. Expected an array with minimum length 1, but got an empty array instead."
