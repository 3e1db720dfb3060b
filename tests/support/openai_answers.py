"""How OpenAI's answers are made, and what they look like on the wire."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from support.engine import Script, forward, forward_stream, limit_text, split_tokens
from support.llamacpp import LlamaCppServer
from support.messages import Recorded, Reply
from support.openai_schema import efforts_of


@dataclass
class Choice:
    """One answer, in the pieces in which it is streamed."""

    tokens: list[str] = field(default_factory=list)
    reason: str = "stop"
    thinking: str = ""
    tool_call: tuple[str, dict[str, Any]] | None = None


def _limits(body: Mapping[str, Any]) -> tuple[int | None, list[str]]:
    stop = body.get("stop") or []
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    return limit, [stop] if isinstance(stop, str) else stop


def chat_choices(
    request: Recorded, script: Script, call: tuple[str, dict[str, Any]] | None
) -> list[Choice]:
    """What the script says in a chat, bent to the limit and the stop sequences."""
    if call is not None:
        return [Choice(reason="tool_calls", tool_call=call)]
    body = request.json
    thinking = (
        script.thinking if (body.get("chat_template_kwargs") or {}).get("enable_thinking") else ""
    )
    choices = []
    for _ in range(body.get("n") or 1):
        tokens, reason = limit_text(script.next_text(request, schema_of(body)), *_limits(body))
        choices.append(Choice(tokens, reason, thinking))
    return choices


def completion_choices(request: Recorded, script: Script) -> list[Choice]:
    """What the script says to every prompt of a completion."""
    body = request.json
    choices = []
    for prompt in prompts_of(body["prompt"]):
        for _ in range(body.get("n") or 1):
            tokens, reason = limit_text(script.next_text(request, schema_of(body)), *_limits(body))
            echoed = [prompt] if body.get("echo") and isinstance(prompt, str) else []
            choices.append(Choice(echoed + tokens, reason))
    return choices


def whole_reply(body: Mapping[str, Any], chat: bool, choices: list[Choice], number: int) -> Reply:
    """The answer in one piece. The number makes its id."""
    answers = []
    for index, choice in enumerate(choices):
        answer: dict[str, Any] = {
            "index": index,
            "logprobs": _logprobs(body, chat, choice.tokens),
        }
        if chat:
            content = None if choice.tool_call else "".join(choice.tokens)
            message: dict[str, Any] = {
                "role": "assistant",
                "content": content,
                "refusal": None,
                "annotations": [],
            }
            message |= {"reasoning_content": choice.thinking} if choice.thinking else {}
            message |= {"tool_calls": [_tool_call(choice.tool_call)]} if choice.tool_call else {}
            answer["message"] = message
        else:
            answer["text"] = "".join(choice.tokens)
        answers.append(answer | {"finish_reason": choice.reason})
    kind = "chat.completion" if chat else "text_completion"
    return Reply(
        json=_envelope(body, number, kind) | {"choices": answers, "usage": _usage(body, choices)}
    )


def streamed_reply(
    body: Mapping[str, Any], chat: bool, choices: list[Choice], number: int
) -> Reply:
    """The answer as server-sent events. The number makes its id."""
    envelope = _envelope(body, number, "chat.completion.chunk" if chat else "text_completion")
    counted = (body.get("stream_options") or {}).get("include_usage")
    usage = {"usage": None} if counted else {}

    def chunk(
        index: int, content: dict[str, Any], tokens: list[str], reason: str | None
    ) -> dict[str, Any]:
        part = {
            "index": index,
            **content,
            "logprobs": _logprobs(body, chat, tokens),
            "finish_reason": reason,
        }
        return envelope | {"choices": [part]} | usage

    def chunks() -> Iterator[dict[str, Any]]:
        for index, choice in enumerate(choices):
            if chat:
                opening = {"role": "assistant", "content": None if choice.tool_call else ""}
                yield chunk(index, {"delta": opening}, [], None)
                if choice.thinking:
                    yield chunk(index, {"delta": {"reasoning_content": choice.thinking}}, [], None)
                if choice.tool_call:
                    calls = [{"index": 0, **_tool_call(choice.tool_call)}]
                    yield chunk(index, {"delta": {"tool_calls": calls}}, [], None)
            for token in choice.tokens:
                yield chunk(
                    index,
                    {"delta": {"content": token}} if chat else {"text": token},
                    [token],
                    None,
                )
            yield chunk(index, {"delta": {}} if chat else {"text": ""}, [], choice.reason)
        if counted:
            yield envelope | {"choices": [], "usage": _usage(body, choices)}

    return sse(chunks())


def _envelope(body: Mapping[str, Any], number: int, kind: str) -> dict[str, Any]:
    prefix = "chatcmpl" if kind.startswith("chat") else "cmpl"
    return {
        "id": f"{prefix}-{number:024x}",
        "object": kind,
        "created": int(time.time()),
        "model": body["model"],
        "service_tier": "default",
        "system_fingerprint": "fp_0123456789",
    }


def forwarded_reply(engine: LlamaCppServer, body: Mapping[str, Any], chat: bool) -> Reply:
    """What llama.cpp answers, in OpenAI's shape."""
    wire = {name: value for name, value in body.items() if value is not None}
    # The tiny model cannot call a tool, and its template has no place for one.
    for name in ("tools", "tool_choice", "parallel_tool_calls"):
        wire.pop(name, None)
    if "repetition_penalty" in wire:
        wire["repeat_penalty"] = wire.pop("repetition_penalty")
    schema = wire.pop("guided_json", None) or (wire.pop("structured_outputs", None) or {}).get(
        "json"
    )
    if schema:
        wire["json_schema"] = schema
    path = "/chat/completions" if chat else "/completions"
    # llama.cpp gives one choice to a request; OpenAI, `n` for each prompt.
    each, requests = wire.pop("n", 1), []
    for prompt in [{}] if chat else [{"prompt": prompt} for prompt in prompts_of(body["prompt"])]:
        for number in range(each):
            seed = {"seed": wire["seed"] + number} if "seed" in wire else {}
            requests.append(wire | prompt | seed)
    if body.get("stream"):
        streams = [forward_stream(engine, path, one) for one in requests]
        return sse(
            _named(chunk, body, index) for index, stream in enumerate(streams) for chunk in stream
        )
    answers = [
        _named(forward(engine, path, one), body, index) for index, one in enumerate(requests)
    ]
    merged = answers[0] | {
        "choices": [choice for answer in answers for choice in answer["choices"]]
    }
    merged["usage"] = {
        name: sum(answer["usage"][name] for answer in answers)
        for name in ("prompt_tokens", "completion_tokens", "total_tokens")
    }
    return Reply(json=merged)


def _named(chunk: dict[str, Any], body: Mapping[str, Any], index: int) -> dict[str, Any]:
    """Names the model that was asked for, and numbers the choice."""
    choices = [choice | {"index": index} for choice in chunk.get("choices", [])]
    return chunk | {"model": body["model"], "choices": choices}


def prompts_of(prompt: Any) -> list[Any]:
    """The prompts of a completion: a text, texts, the tokens of one, or the tokens of several."""
    several = isinstance(prompt, list) and not all(isinstance(token, int) for token in prompt)
    return prompt if several else [prompt]


def schema_of(body: Mapping[str, Any]) -> Any:
    format_ = body.get("response_format") or {}
    if format_.get("type") == "json_schema":
        return format_["json_schema"].get("schema")
    structured = (body.get("structured_outputs") or {}).get("json") or body.get("guided_json")
    return structured or (True if format_.get("type") == "json_object" else None)


def _tool_call(call: tuple[str, dict[str, Any]] | None) -> dict[str, Any]:
    assert call is not None
    return {
        "id": "call_00000001",
        "type": "function",
        "function": {"name": call[0], "arguments": json.dumps(call[1])},
    }


def _logprobs(body: Mapping[str, Any], chat: bool, tokens: list[str]) -> dict[str, Any] | None:
    if not tokens or body.get("logprobs") in (None, False):
        return None
    if not chat:
        return {
            "tokens": tokens,
            "token_logprobs": [-0.1] * len(tokens),
            "top_logprobs": [{token: -0.1} for token in tokens],
            "text_offset": [len("".join(tokens[:index])) for index in range(len(tokens))],
        }
    content = []
    for token in tokens:
        entry = {"token": token, "logprob": -0.1, "bytes": list(token.encode())}
        content.append(entry | {"top_logprobs": [entry] * (body.get("top_logprobs") or 0)})
    return {"content": content, "refusal": None}


def _usage(body: Mapping[str, Any], choices: list[Choice]) -> dict[str, Any]:
    text = body.get("prompt") or " ".join(
        str(message.get("content") or "") for message in body.get("messages") or []
    )
    prompt = max(1, len(split_tokens(text if isinstance(text, str) else " ".join(map(str, text)))))
    completion = sum(len(choice.tokens) for choice in choices)
    effort = body.get("reasoning_effort")
    thinks = (
        efforts_of(body["model"])
        and effort != "none"
        and not (effort is None and "none" in efforts_of(body["model"]))
    )
    reasoning = 64 if thinks else 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion + reasoning,
        "total_tokens": prompt + completion + reasoning,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


def sse(chunks: Iterator[Mapping[str, Any]]) -> Reply:
    def lines() -> Iterator[str]:
        for chunk in chunks:
            yield f"data: {json.dumps(chunk)}\n\n"
        yield "data: [DONE]\n\n"

    return Reply(chunks=lines(), headers={"content-type": "text/event-stream; charset=utf-8"})
