"""Loopback servers for the providers behind LiteLLM's other routes: Anthropic's Messages and Google's Gemini.

Each refuses a field that its provider's API reference does not have, and says "4" to the rest.

- docs.anthropic.com/en/api/messages, November 2026
- ai.google.dev/api/generate-content, November 2026; as JSON of protocol buffers each name may be in either case
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from support.http import LoopbackServer, Recorded, Reply

_MESSAGES = {
    "model": (str,),
    "messages": (list,),
    "max_tokens": (int,),
    "metadata": (dict,),
    "service_tier": (str,),
    "stop_sequences": (list,),
    "stream": (bool,),
    "system": (str, list),
    "temperature": (int, float),
    "thinking": (dict,),
    "tool_choice": (dict,),
    "tools": (list,),
    "top_k": (int,),
    "top_p": (int, float),
}
_LEAST_BUDGET = 1024

_GENERATE = ("contents", "tools", "toolConfig", "safetySettings", "systemInstruction")
_GENERATE += ("generationConfig", "cachedContent", "serviceTier", "store")
_CONFIG = {
    "candidateCount": (int,),
    "frequencyPenalty": (int, float),
    "logprobs": (int,),
    "maxOutputTokens": (int,),
    "presencePenalty": (int, float),
    "responseLogprobs": (bool,),
    "responseMimeType": (str,),
    "responseSchema": (dict,),
    "seed": (int,),
    "stopSequences": (list,),
    "temperature": (int, float),
    "thinkingConfig": (dict,),
    "topK": (int, float),
    "topP": (int, float),
}


def _types(body: Mapping[str, Any], known: Mapping[str, tuple[type, ...]]) -> list[str]:
    return [
        f"{name}: {'unknown' if name not in known else type(value).__name__}"
        for name, value in body.items()
        if type(value) not in known.get(name, ())
    ]


class AnthropicServer(LoopbackServer):
    """Anthropic's Messages."""

    fault_paths = frozenset({"/v1/messages"})

    def handle(self, request: Recorded) -> Reply:
        """See the base class."""
        if (request.method, request.path) != ("POST", "/v1/messages"):
            return self._refuse(404, "not_found_error", f"no route {request.path}")
        if not request.headers.get("x-api-key"):
            return self._refuse(401, "authentication_error", "x-api-key header is required")
        body = request.json
        wrong = _types(body, _MESSAGES)
        wrong += [
            f"{name}: Field required"
            for name in ("model", "messages", "max_tokens")
            if name not in body
        ]
        thinking = body.get("thinking", {})
        budget = thinking.get("budget_tokens", _LEAST_BUDGET)
        if not _LEAST_BUDGET <= budget < max(body.get("max_tokens", 0), _LEAST_BUDGET + 1):
            wrong.append("thinking.budget_tokens: at least 1024, and below max_tokens")
        if wrong:
            return self._refuse(400, "invalid_request_error", "; ".join(wrong))
        message = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": [{"type": "text", "text": "4"}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 9, "output_tokens": 1},
        }
        if not body.get("stream"):
            return Reply(json=message)
        return Reply(chunks=_message_events(message), headers={"content-type": "text/event-stream"})

    def _refuse(self, status: int, kind: str, message: str) -> Reply:
        return Reply(status, json={"type": "error", "error": {"type": kind, "message": message}})


def _message_events(message: dict[str, Any]) -> Iterator[str]:
    text = message["content"][0]
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": text["text"]},
        },
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 1},
        },
        {"type": "message_stop"},
    ]
    for event in events:
        yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"


class GeminiServer(LoopbackServer):
    """Google's Gemini, as AI Studio has it."""

    def handle(self, request: Recorded) -> Reply:
        """See the base class."""
        asked = re.fullmatch(r"/models/[\w.-]+:(generate|streamGenerate)Content", request.path)
        if request.method != "POST" or asked is None:
            return self._refuse(404, "NOT_FOUND", f"no route {request.path}")
        if not request.headers.get("x-goog-api-key"):
            return self._refuse(
                403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers"
            )
        body = {_camel(name): value for name, value in request.json.items()}
        config = {_camel(name): value for name, value in body.get("generationConfig", {}).items()}
        wrong = [f"Unknown name {name!r}" for name in body if name not in _GENERATE]
        wrong += _types(config, _CONFIG)
        if wrong:
            return self._refuse(400, "INVALID_ARGUMENT", "; ".join(wrong))
        candidate = {"content": {"parts": [{"text": "4"}], "role": "model"}, "finishReason": "STOP"}
        usage = {"promptTokenCount": 9, "candidatesTokenCount": 1, "totalTokenCount": 10}
        answer = {"candidates": [{**candidate, "index": 0}], "usageMetadata": usage}
        if asked[1] == "generate":
            return Reply(json=answer)
        return Reply(
            chunks=[f"data: {json.dumps(answer)}\r\n\r\n"],
            headers={"content-type": "text/event-stream"},
        )

    def _refuse(self, status: int, code: str, message: str) -> Reply:
        return Reply(status, json={"error": {"code": status, "message": message, "status": code}})


def _camel(name: str) -> str:
    """The name in protocol buffers' JSON.

    >>> _camel("max_output_tokens"), _camel("topK")
    ('maxOutputTokens', 'topK')
    """
    return re.sub(r"_(\w)", lambda found: found[1].upper(), name)
