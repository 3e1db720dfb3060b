"""From canonical values to those of OpenAI's protocol, where these differ.

Each keeps the meaning; a rule in `dialects` says for which servers.
"""

from __future__ import annotations

from typing import Any

from mellea_api._contract.option_rule import Converted


def effort_and_template(value: bool | str) -> Converted:
    """Switch reasoning in both ways that servers know, as Mellea 0.8 does.

    A bool goes to the chat template (vLLM, SGLang, llama.cpp) and into `reasoning_effort`
    (Ollama, hosted services); a level in words goes only into the latter.
    """
    if isinstance(value, str):
        return Converted(value)
    return Converted(
        "medium" if value else "none",
        options={"extra_body.chat_template_kwargs.enable_thinking": value},
        wires={"chat_template_kwargs.enable_thinking": value},
        reason="also as chat_template_kwargs.enable_thinking, which some servers read instead",
    )


def counted_logprobs(value: bool) -> Converted:
    """Ask the raw endpoint, whose `logprobs` is a number, for the likeliest token."""
    return Converted(1) if value else Converted.nothing("off anyway; nothing is sent")


def counted_top_logprobs(value: int) -> Converted:
    """Give the raw endpoint's `logprobs` the number; 0 means none at all to some servers."""
    return Converted(max(value, 1))


def both_repetition_penalties(value: float) -> Converted:
    """Send the names of vLLM and SGLang, and of llama.cpp and LM Studio."""
    other = {"repeat_penalty": value}
    return Converted(value, options={"extra_body": other}, wires=other)


def tool_by_name(value: Any) -> Converted:
    """Replace a tool's bare name, which Mellea allows, by the object that the API requires."""
    if isinstance(value, str) and value not in ("auto", "none", "required"):
        return Converted({"type": "function", "function": {"name": value}})
    return Converted(value)


def free_body(value: dict[str, Any]) -> Converted:
    """Merge an `extra_body` into the JSON, unless it would replace Mellea's own part of it.

    Raises:
        ValueError: If it would.
    """
    for name in ("model", "messages", "prompt", "stream", "stream_options", "n"):
        if name in value:
            raise ValueError(f"must not hold {name!r}, which Mellea sets itself")
    # By steps: a name may have dots of its own.
    return Converted(value, wires={(name,): item for name, item in value.items()})


def without_credentials(value: dict[str, Any]) -> Converted:
    """Pass HTTP headers or a query on, except credentials, since reports show options.

    Raises:
        ValueError: If a name is that of a credential.
    """
    for name in value:
        words = set(name.lower().replace("_", "-").split("-"))
        if words & {"authorization", "cookie", "token", "secret", "apikey"} or (
            words >= {"api", "key"} or words == {"key"}
        ):
            raise ValueError(f"must not hold {name!r}: give credentials as api_key=")
    return Converted(value)
