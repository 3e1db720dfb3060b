"""A loopback Ollama, as strict as the real one: same routes, same shapes, same words for what it refuses.

It checks a request as Ollama's handlers do (see `ollama_schema`), and lets llama.cpp generate, as Ollama itself does;
without an engine it says "4".
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from itertools import chain
from typing import Any

from support.engine import EngineError, Script, script, split_tokens
from support.http import LoopbackServer, Recorded, Reply
from support.llamacpp import LlamaCppServer
from support.ollama_answers import (
    Piece,
    answer_of,
    canned_pieces,
    engine_pieces,
    metrics_of,
    ndjson,
    timestamp,
    whole_answer,
)
from support.ollama_schema import BadRequestError, check_fields, check_options, find_violations

VERSION = "0.13.5"
DEFAULT_CAPABILITIES = ("completion", "tools")
_SIZE = 836_256


def full_name(name: str) -> str:
    """A model's name as `ollama list` shows it.

    >>> full_name("registry.ollama.ai/library/granite4"), full_name("granite4:350m")
    ('granite4:latest', 'granite4:350m')
    """
    short = name.removeprefix("registry.ollama.ai/").removeprefix("library/")
    return short if ":" in short.rsplit("/", 1)[-1] else f"{short}:latest"


class OllamaServer(LoopbackServer):
    """See the module.

    Attributes:
        models: Capabilities ("completion", "tools", "thinking", "vision", "insert") by full name; add to it at will.
        pull_fails: Whether a pull ends with the registry's "file does not exist".
        script: What is said without an engine: set `.text`, `.thinking`, or queue `.answers` and `.tool_calls`, which
            come before the engine.
        warnings: What the real Ollama would log ("invalid option provided"), or drop without a word (unknown fields).
        violations: What no client of ours may send: null values, and keys that begin with "@@@".
    """

    fault_paths = frozenset({"/api/chat", "/api/generate"})

    def __init__(
        self,
        models: Iterable[str] | Mapping[str, Iterable[str]] = ("tiny",),
        engine: LlamaCppServer | None = None,
        text: str | Callable[[Recorded], str] = "4",
        pull_fails: bool = False,
    ) -> None:
        """Starts nothing yet.

        Args:
            models: The models that are there; a mapping gives each its capabilities, else completion and tools.
            engine: A running llama.cpp server; None for canned answers.
            text: The canned answer, or a function of the request.
            pull_fails: See the class.
        """
        super().__init__()
        self.models: dict[str, tuple[str, ...]] = {}
        for name in models:
            self.add_model(
                name, models[name] if isinstance(models, Mapping) else DEFAULT_CAPABILITIES
            )
        self.pull_fails = pull_fails
        self.script: Script = script(text)
        self.warnings: list[str] = []
        self.violations: list[str] = []
        self._engine = engine
        self._loaded: set[str] = set()

    def add_model(self, name: str, capabilities: Iterable[str] = DEFAULT_CAPABILITIES) -> None:
        """Adds a model, as `ollama pull` does."""
        self.models[full_name(name)] = tuple(capabilities)

    def error_json(self, status: int) -> Any:
        """Ollama's errors have one field."""
        return {"error": f"status {status}"}

    def handle(self, request: Recorded) -> Reply:
        """Routes one request."""
        routes: dict[str, tuple[str, Callable[[Recorded], Reply]]] = {
            "/": ("GET", lambda request: Reply(text="Ollama is running")),
            "/api/version": ("GET", lambda request: Reply(json={"version": VERSION})),
            "/api/tags": (
                "GET",
                lambda request: Reply(
                    json={"models": [self._listed(name) for name in self.models]}
                ),
            ),
            "/api/ps": ("GET", lambda request: Reply(json={"models": self._running_models()})),
            "/api/show": ("POST", self._show),
            "/api/pull": ("POST", self._pull),
            "/api/chat": ("POST", self._generate),
            "/api/generate": ("POST", self._generate),
        }
        if request.path not in routes:
            return Reply(404, text="404 page not found")
        method, route = routes[request.path]
        if request.method != method and (request.method, method) != ("HEAD", "GET"):
            return Reply(405, text="405 method not allowed")
        if method == "POST" and not isinstance(request.json, dict):
            if not request.body:
                return Reply(400, json={"error": "missing request body"})
            return Reply(
                400, json={"error": "invalid character in literal or wrong type of the whole body"}
            )
        try:
            return route(request)
        except BadRequestError as error:
            return Reply(error.status, json={"error": error.message})
        except EngineError as error:
            return Reply(500, json={"error": str(error)})

    # The models.

    def _listed(self, name: str) -> dict[str, Any]:
        details = {
            "parent_model": "",
            "format": "gguf",
            "family": "llama",
            "families": ["llama"],
            "parameter_size": "202.43K",
            "quantization_level": "F32",
        }
        return {
            "name": name,
            "model": name,
            "modified_at": "2025-11-03T09:41:27.123456789Z",
            "size": _SIZE,
            "digest": hashlib.sha256(name.encode()).hexdigest(),
            "details": details,
            "capabilities": list(self.models[name]),
        }

    def _running_models(self) -> list[dict[str, Any]]:
        expires = {
            "expires_at": timestamp(timedelta(minutes=5)),
            "size_vram": 0,
            "context_length": 4096,
        }
        models = [self._listed(name) | expires for name in sorted(self._loaded)]
        return [
            {k: v for k, v in model.items() if k not in ("modified_at", "capabilities")}
            for model in models
        ]

    def _find(self, name: Any) -> str:
        """The model's full name; names are matched whatever their case."""
        wanted = full_name(str(name)).lower()
        for known in self.models:
            if known.lower() == wanted:
                return known
        raise BadRequestError(404, f"model '{name}' not found")

    def _show(self, request: Recorded) -> Reply:
        self._note(check_fields("ShowRequest", request.json))
        name = request.json.get("model") or request.json.get("name")
        if not name:
            raise BadRequestError(400, "model is required")
        listed = self._listed(self._find(name))
        return Reply(
            json={
                "modelfile": f"FROM {listed['name']}\n",
                "parameters": 'stop                           "<|im_end|>"',
                "template": "{{ .Prompt }}",
                "details": listed["details"],
                "model_info": {
                    "general.architecture": "llama",
                    "general.parameter_count": 202_432,
                    "llama.context_length": 2048,
                    "llama.embedding_length": 64,
                },
                "capabilities": listed["capabilities"],
                "modified_at": listed["modified_at"],
            }
        )

    def _pull(self, request: Recorded) -> Reply:
        self._note(check_fields("PullRequest", request.json))
        name = request.json.get("model") or request.json.get("name")
        if not name:
            raise BadRequestError(400, "invalid model name")
        digest = hashlib.sha256(full_name(name).encode()).hexdigest()
        layer = {"status": f"pulling {digest[:12]}", "digest": f"sha256:{digest}", "total": _SIZE}
        steps: list[dict[str, Any]] = [{"status": "pulling manifest"}]
        if self.pull_fails:
            steps.append({"error": "pull model manifest: file does not exist"})
        else:
            self.add_model(name)
            steps += [layer, layer | {"completed": _SIZE // 2}, layer | {"completed": _SIZE}]
            steps += [
                {"status": s} for s in ("verifying sha256 digest", "writing manifest", "success")
            ]
        if request.json.get("stream") is False:
            return Reply(500 if self.pull_fails else 200, json=steps[-1])
        return ndjson(iter(steps))

    # Generation, in the order of the real handlers: decode, look the model up, its capabilities, the options.

    def _generate(self, request: Recorded) -> Reply:
        body, chat = request.json, request.path == "/api/chat"
        dropped = check_fields("ChatRequest" if chat else "GenerateRequest", body)
        self._note(dropped)
        self.violations += find_violations(body)
        if not 0 <= (body.get("top_logprobs") or 0) <= 20:
            raise BadRequestError(400, "top_logprobs must be between 0 and 20")
        if not body.get("model"):
            raise BadRequestError(
                400 if chat else 404, "model is required" if chat else "model '' not found"
            )
        name = self._find(body["model"])
        if body.get("raw") and (body.get("template") or body.get("system") or body.get("context")):
            raise BadRequestError(400, "raw mode does not support template, system, or context")
        self._check_capabilities(body, name)
        self._note(check_options(body.get("options") or {}))
        format_ = body.get("format")
        if format_ not in (None, "", "json") and not isinstance(format_, dict):
            # Ollama learns this from its runner, hence not a 400.
            message = f'invalid format: {json.dumps(format_)}; expected "json" or a valid JSON Schema object'
            raise BadRequestError(500, message)
        self._loaded.add(name)
        if not body.get("messages" if chat else "prompt"):
            return Reply(json=answer_of(body, chat, Piece(reason="load"), {}))
        pieces = self._pieces(
            request, chat, thinks="thinking" in self.models[name] and body.get("think") is not False
        )
        if body.get("stream") is False:
            return Reply(json=whole_answer(body, chat, pieces))
        return ndjson(answer_of(body, chat, piece, metrics_of(piece)) for piece in pieces)

    def _check_capabilities(self, body: Mapping[str, Any], name: str) -> None:
        capabilities = self.models[name]
        if body.get("think") and "thinking" not in capabilities:
            raise BadRequestError(400, f'"{body["model"]}" does not support thinking')
        if "completion" not in capabilities:
            raise BadRequestError(
                400,
                f'"{body["model"]}" does not support {"chat" if "messages" in body else "generate"}',
            )
        if body.get("tools") and "tools" not in capabilities:
            raise BadRequestError(400, f"registry.ollama.ai/library/{name} does not support tools")

    def _pieces(self, request: Recorded, chat: bool, thinks: bool) -> Iterator[Piece]:
        body = request.json
        call = self.script.next_tool_call(body.get("tools"))
        if call is not None:
            function = {"index": 0, "name": call[0], "arguments": call[1]}
            calls = [{"id": "call_00000001", "function": function}]
            return iter([Piece(tool_calls=calls), Piece(reason="stop", tokens=1)])
        # The tiny model does not reason; what it would have thought is scripted.
        thoughts = (
            [Piece(thinking=token) for token in split_tokens(self.script.thinking)]
            if thinks
            else []
        )
        if self._engine is not None and not self.script.answers:
            # Asked before the answer begins, so that a refusal can still have a status code.
            return chain(thoughts, engine_pieces(self._engine, body, chat))
        return chain(thoughts, canned_pieces(request, self.script))

    def _note(self, warnings: list[str]) -> None:
        self.warnings += warnings
