"""Ollama's request format: what it takes, in Go's types, and what it says of anything else.

Read from `api/types.go` and `server/routes.go` of ollama/ollama. Its decoder is lenient where it hurts: an unknown
field is dropped without a word, and an unknown option leaves a warning in the server's log and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

# `Options` and `Runner`. bool pointers and int pointers differ from the plain types in their defaults alone.
OPTION_TYPES: dict[str, str] = {
    "num_keep": "integer",
    "seed": "integer",
    "num_predict": "integer",
    "top_k": "integer",
    "top_p": "float32",
    "min_p": "float32",
    "typical_p": "float32",
    "repeat_last_n": "integer",
    "temperature": "float32",
    "repeat_penalty": "float32",
    "presence_penalty": "float32",
    "frequency_penalty": "float32",
    "stop": "array",
    "num_ctx": "integer",
    "num_batch": "integer",
    "num_gpu": "integer",
    "main_gpu": "integer",
    "use_mmap": "boolean",
    "num_thread": "integer",
    "draft_num_predict": "integer",
}

# `DefaultOptions`, as far as they reach the engine.
DEFAULT_OPTIONS: dict[str, Any] = {
    "num_predict": -1,
    "num_keep": 4,
    "temperature": 0.8,
    "top_k": 40,
    "top_p": 0.9,
    "min_p": 0.0,
    "typical_p": 1.0,
    "repeat_last_n": 64,
    "repeat_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "seed": -1,
    "stop": [],
}

_COMMON = {
    "model": "string",
    "stream": "bool",
    "format": "any",
    "keep_alive": "duration",
    "options": "map[string]interface {}",
    "think": "think",
    "truncate": "bool",
    "shift": "bool",
    "_debug_render_only": "bool",
    "logprobs": "bool",
    "top_logprobs": "int",
}
# By the name of Go's struct, since that is in the error.
REQUEST_FIELDS: dict[str, dict[str, str]] = {
    "ChatRequest": {**_COMMON, "messages": "[]api.Message", "tools": "api.Tools"},
    "GenerateRequest": {
        **_COMMON,
        "prompt": "string",
        "suffix": "string",
        "system": "string",
        "template": "string",
        "context": "[]int",
        "raw": "bool",
        "images": "[]api.ImageData",
    },
    "PullRequest": {
        "model": "string",
        "insecure": "bool",
        "username": "string",
        "password": "string",
        "stream": "bool",
        "name": "string",
    },
    "ShowRequest": {
        "model": "string",
        "system": "string",
        "template": "string",
        "verbose": "bool",
        "options": "map[string]interface {}",
        "name": "string",
    },
}
MESSAGE_FIELDS: dict[str, str] = {
    "role": "string",
    "content": "string",
    "thinking": "string",
    "images": "[]api.ImageData",
    "tool_calls": "[]api.ToolCall",
    "tool_name": "string",
    "tool_call_id": "string",
}
_THINK_LEVELS = ("high", "medium", "low", "max")


class BadRequestError(Exception):
    """What Ollama refuses.

    Attributes:
        status: The HTTP status code.
        message: The value of "error" in the answer.
    """

    def __init__(self, status: int, message: str) -> None:
        """See the class."""
        super().__init__(message)
        self.status = status
        self.message = message


def check_fields(struct: str, body: Mapping[str, Any]) -> list[str]:
    """Decodes a body as Go would.

    Args:
        struct: A key of `REQUEST_FIELDS`.
        body: The request.

    Returns:
        Fields that Ollama drops without a word, each as a sentence.

    Raises:
        BadRequestError: A field has a type that Go cannot decode.
    """
    fields = REQUEST_FIELDS[struct]
    dropped = [f"unknown field {name!r} in {struct}" for name in body if name not in fields]
    for name, value in body.items():
        if name in fields:
            _decode(f"{struct}.{name}", fields[name], value)
    for message in body.get("messages") or []:
        if not isinstance(message, dict):
            raise BadRequestError(400, _mismatch(f"{struct}.messages", "api.Message", message))
        dropped += [
            f"unknown field {name!r} in Message" for name in message if name not in MESSAGE_FIELDS
        ]
        for name, value in message.items():
            if name in MESSAGE_FIELDS:
                _decode(f"{struct}.messages.{name}", MESSAGE_FIELDS[name], value)
        for call in message.get("tool_calls") or []:
            arguments = (call.get("function") or {}).get("arguments")
            _decode(
                f"{struct}.messages.tool_calls.function.arguments",
                "map[string]interface {}",
                arguments,
            )
    return dropped


def check_options(options: Mapping[str, Any]) -> list[str]:
    """Reads `options` as `Options.FromMap` does.

    Returns:
        The warnings that Ollama would log.

    Raises:
        BadRequestError: With status 500, which is what Ollama answers: it takes this for a failure to load the model.
    """
    warnings = []
    for name, value in options.items():
        kind = OPTION_TYPES.get(name)
        if kind is None:
            warnings.append(f"invalid option provided: {name!r}")
        elif value is None:
            continue
        elif kind == "array":
            if not isinstance(value, list):
                raise BadRequestError(500, f'option "{name}" must be of type array')
            if not all(isinstance(item, str) for item in value):
                raise BadRequestError(500, f'option "{name}" must be of an array of strings')
        elif kind == "boolean":
            if not isinstance(value, bool):
                raise BadRequestError(500, f'option "{name}" must be of type boolean')
        elif isinstance(value, bool) or not isinstance(value, int | float):
            raise BadRequestError(500, f'option "{name}" must be of type {kind}')
    return warnings


def find_violations(body: Mapping[str, Any]) -> list[str]:
    """Keys that begin with "@@@" and null values, at the top and in `options`, each with its path."""
    found = []
    for path, values in (("", body), ("options.", body.get("options") or {})):
        for name, value in values.items():
            if name.startswith("@@@"):
                found.append(f"key {path}{name}")
            elif value is None:
                found.append(f"null {path}{name}")
    return found


def effective_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with Ollama's defaults, integers cut off as Go does."""
    given = {
        name: value for name, value in options.items() if name in OPTION_TYPES and value is not None
    }
    return DEFAULT_OPTIONS | {
        name: int(value) if OPTION_TYPES[name] == "integer" else value
        for name, value in given.items()
    }


def _decode(path: str, kind: str, value: Any) -> None:
    """Raises where Go's decoder would; null decodes into everything."""
    if value is None or kind == "any":
        return
    if kind == "think":
        if isinstance(value, str) and value not in _THINK_LEVELS:
            raise BadRequestError(
                400,
                f'invalid think value: "{value}" (must be "high", "medium", "low", "max", true, or false)',
            )
        if not isinstance(value, bool | str):
            raise BadRequestError(
                400,
                'think must be a boolean or string ("high", "medium", "low", "max", true, or false)',
            )
        return
    if kind == "duration":
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise BadRequestError(400, f"Unsupported type: '{_json_type(value)}'")
        return
    fits = {
        "string": isinstance(value, str),
        "bool": isinstance(value, bool),
        "int": isinstance(value, int) and not isinstance(value, bool),
        "map[string]interface {}": isinstance(value, dict),
    }.get(kind, isinstance(value, list))
    if not fits:
        raise BadRequestError(400, _mismatch(path, kind, value))


def _mismatch(path: str, kind: str, value: Any) -> str:
    seen = (
        f"number {json.dumps(value)}"
        if isinstance(value, float) and kind == "int"
        else _json_type(value)
    )
    return f"json: cannot unmarshal {seen} into Go struct field {path} of type {kind}"


def _json_type(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    if isinstance(value, dict | list):
        return "object" if isinstance(value, dict) else "array"
    return "number"
