"""How Ollama's answers are made, and what they look like on the wire."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from support.engine import Script, forward_stream, limit_text, split_tokens
from support.llamacpp import LlamaCppServer
from support.messages import Recorded, Reply
from support.ollama_schema import effective_options

from mellea_api.testing import Asked
from mellea_api.testing import Reply as LoopbackReply


@dataclass
class Piece:
    """A part of an answer; the last one has a reason."""

    content: str = ""
    thinking: str = ""
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    logprobs: list[dict[str, Any]] = field(default_factory=list)
    reason: str | None = None
    prompt_tokens: int = 1
    tokens: int = 0


def canned_pieces(request: Recorded, script: Script) -> Iterator[Piece]:
    """What the script says, bent to the limit and the stop sequences."""
    body = request.json
    options = effective_options(body.get("options") or {})
    schema = body.get("format") or None
    # llama.cpp writes one token even when it is asked for none.
    limit = None if options["num_predict"] < 0 else max(options["num_predict"], 1)
    tokens, reason = limit_text(script.next_text(request, schema), limit, options["stop"])
    for token in tokens:
        yield Piece(token, logprobs=_canned_logprobs(body, token))
    prompt = body.get("prompt") or " ".join(
        str(m.get("content") or "") for m in body.get("messages") or []
    )
    yield Piece(reason=reason, tokens=len(tokens), prompt_tokens=max(1, len(split_tokens(prompt))))


def engine_pieces(engine: LlamaCppServer, body: Mapping[str, Any], chat: bool) -> Iterator[Piece]:
    """What llama.cpp writes, for the request that Ollama makes of it (`llamaServerChatRequest`)."""
    options = effective_options(body.get("options") or {})
    wire: dict[str, Any] = {name: value for name, value in options.items() if name != "num_predict"}
    # Ollama bounds what is open-ended by ten contexts; the tiny model's own end comes first.
    wire |= {
        "n_predict": options["num_predict"],
        "cache_prompt": True,
        "stream_options": {"include_usage": True},
    }
    if body.get("logprobs"):
        wire |= {"logprobs": True, "top_logprobs": max(body.get("top_logprobs") or 0, 1)}
    format_ = body.get("format")
    if format_ == "json":
        wire["response_format"] = {"type": "json_object"}
    elif format_:
        wire["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "response", "schema": format_},
        }
    if body.get("raw"):
        path, wire["prompt"] = "/completions", body["prompt"]
        wire["logprobs"] = wire.pop("top_logprobs", None)
    else:
        path = "/chat/completions"
        wire["messages"] = (
            [_openai_message(m) for m in body["messages"]] if chat else _as_messages(body)
        )
    return _relay(forward_stream(engine, path, wire))


def _relay(stream: Iterator[dict[str, Any]]) -> Iterator[Piece]:
    reason, usage = "stop", {"prompt_tokens": 1, "completion_tokens": 0}
    for chunk in stream:
        usage = chunk.get("usage") or usage
        for choice in chunk["choices"]:
            delta = choice.get("delta") or {"content": choice.get("text")}
            reason = choice.get("finish_reason") or reason
            entries = (choice.get("logprobs") or {}).get("content") or []
            content, thinking = delta.get("content") or "", delta.get("reasoning_content") or ""
            if content or thinking or entries:
                yield Piece(content, thinking, logprobs=entries)
    yield Piece(
        reason=reason, tokens=usage["completion_tokens"], prompt_tokens=usage["prompt_tokens"]
    )


def _openai_message(message: Mapping[str, Any]) -> dict[str, Any]:
    # The tiny model's template knows role and content alone; tool calls become text so that the turn is not empty.
    content = message.get("content") or json.dumps(message.get("tool_calls") or "")
    return {"role": str(message.get("role", "")).lower(), "content": content}


def _as_messages(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    system = [{"role": "system", "content": body["system"]}] if body.get("system") else []
    return [*system, {"role": "user", "content": body["prompt"]}]


def _canned_logprobs(body: Mapping[str, Any], token: str) -> list[dict[str, Any]]:
    if not body.get("logprobs"):
        return []
    entry: dict[str, Any] = {"token": token, "logprob": -0.1, "bytes": list(token.encode())}
    others = [
        {"token": f"{token}{n or ''}", "logprob": -0.1 - n}
        for n in range(body.get("top_logprobs") or 0)
    ]
    return [entry | ({"top_logprobs": others} if others else {})]


def answer_of(
    body: Mapping[str, Any], chat: bool, piece: Piece, metrics: dict[str, int]
) -> dict[str, Any]:
    answer: dict[str, Any] = {"model": body["model"], "created_at": timestamp()}
    if chat:
        message: dict[str, Any] = {"role": "assistant", "content": piece.content}
        message |= {"thinking": piece.thinking} if piece.thinking else {}
        answer["message"] = message | ({"tool_calls": piece.tool_calls} if piece.tool_calls else {})
    else:
        answer["response"] = piece.content
        answer |= {"thinking": piece.thinking} if piece.thinking else {}
    answer["done"] = piece.reason is not None
    if piece.reason is not None:
        answer["done_reason"] = piece.reason
    return answer | ({"logprobs": piece.logprobs} if piece.logprobs else {}) | metrics


def whole_answer(body: Mapping[str, Any], chat: bool, pieces: Iterable[Piece]) -> dict[str, Any]:
    parts = list(pieces)
    last = parts[-1]
    joined = Piece(
        "".join(part.content for part in parts),
        "".join(part.thinking for part in parts),
        [call for part in parts for call in part.tool_calls],
        [entry for part in parts for entry in part.logprobs],
        last.reason,
        last.prompt_tokens,
        last.tokens,
    )
    return answer_of(body, chat, joined, metrics_of(last))


def metrics_of(piece: Piece) -> dict[str, int]:
    """Durations are in nanoseconds; constant, since no test should depend on them."""
    if piece.reason is None:
        return {}
    return {
        "total_duration": 5_000_000,
        "load_duration": 1_000_000,
        "prompt_eval_count": piece.prompt_tokens,
        "prompt_eval_duration": 1_000_000,
        "eval_count": piece.tokens,
        "eval_duration": 3_000_000,
    }


def ndjson(values: Iterator[Mapping[str, Any]]) -> Reply:
    return Reply(
        chunks=(json.dumps(v) + "\n" for v in values),
        headers={"content-type": "application/x-ndjson"},
    )


def timestamp(ahead: timedelta = timedelta()) -> str:
    return (datetime.now(UTC) + ahead).isoformat().replace("+00:00", "Z")


def loopback_answer(asked: Asked) -> Any:
    """Return what Ollama would answer: for `mellea_api.testing.LoopbackServer`."""
    if asked.path == "/api/tags":
        return {"models": [{"name": "tiny", "model": "tiny", "details": {"family": "tiny"}}]}
    if asked.path == "/api/show":
        return {"details": {"family": "tiny"}, "model_info": {}, "capabilities": ["completion"]}
    if asked.path != "/api/chat":
        return LoopbackReply(status=404, body={"error": "There is no such page."})
    about = {"model": "tiny", "created_at": "2026-01-01T00:00:00Z"}
    message = {"role": "assistant", "content": "4"}
    end = {"done": True, "done_reason": "stop", "eval_count": 1, "prompt_eval_count": 1}
    if not asked.body.get("stream"):
        return {**about, "message": message, **end}
    first = {**about, "message": message, "done": False}
    last = {**about, "message": {"role": "assistant", "content": ""}, **end}
    body = b"".join(json.dumps(piece).encode() + b"\n" for piece in (first, last))
    return LoopbackReply(body=body, headers={"Content-Type": "application/x-ndjson"})
