"""The suite for backends with a server, which plugin authors subclass, on the real Ollama SDK."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("mellea_api_ollama")

from mellea_api.testing import Asked, Reply, ServerContract

MODEL = "granite4:micro"
MADE = {"model": MODEL, "created_at": "2026-01-01T00:00:00Z"}
END = {**MADE, "done": True, "done_reason": "stop", "eval_count": 2, "prompt_eval_count": 1}


class TestOllama(ServerContract):
    backend = "ollama"
    model = MODEL
    patience = 1.0

    def answer(self, asked: Asked) -> Any:
        if asked.path == "/api/tags":
            return {"models": [{"name": MODEL, "model": MODEL}]}
        if asked.path == "/api/show":
            return {"details": {}, "capabilities": ["completion"]}
        if asked.path == "/api/generate":
            return {**END, "response": "four"}
        if not asked.body.get("stream"):
            return {**END, "message": {"role": "assistant", "content": "four"}}
        parts = [
            {**MADE, "done": False, "message": {"role": "assistant", "content": "four"}},
            {**END, "message": {"role": "assistant", "content": ""}},
        ]
        lines = b"".join(json.dumps(part).encode() + b"\n" for part in parts)
        return Reply(body=lines, headers={"Content-Type": "application/x-ndjson"})
