"""The suite for backends with a server, which plugin authors subclass, on the real Ollama SDK."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("mellea_api_ollama")

from mellea_api.testing import Asked, Reply, ServerContract


class TestOllama(ServerContract):
    backend = "ollama"
    model = "tiny"
    patience = 2.0

    def answer(self, asked: Asked) -> Any:
        if asked.path == "/api/tags":
            return {"models": [{"name": "tiny", "model": "tiny", "details": {"family": "tiny"}}]}
        if asked.path == "/api/show":
            return {"details": {"family": "tiny"}, "model_info": {}, "capabilities": ["completion"]}
        if asked.path != "/api/chat":
            return Reply(status=404, body={"error": "There is no such page."})
        about = {"model": "tiny", "created_at": "2026-01-01T00:00:00Z"}
        message = {"role": "assistant", "content": "4"}
        end = {"done": True, "done_reason": "stop", "eval_count": 1, "prompt_eval_count": 1}
        if not asked.body.get("stream"):
            return {**about, "message": message, **end}
        first = {**about, "message": message, "done": False}
        last = {**about, "message": {"role": "assistant", "content": ""}, **end}
        body = b"".join(json.dumps(piece).encode() + b"\n" for piece in (first, last))
        return Reply(body=body, headers={"Content-Type": "application/x-ndjson"})
