"""A loopback OpenAI, as strict as the real one, or a server that is merely compatible with it, such as vLLM.

Strict, it refuses what OpenAI refuses, in OpenAI's words (see `openai_schema`). Compatible (`strict=False`), it takes
the usual extensions and ignores the rest. Either way llama.cpp generates when there is one; else the answer is canned.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, ClassVar

from support.engine import EngineError, Script, forward, forward_stream, limit_text, script, split_tokens
from support.http import LoopbackServer, Recorded, Reply
from support.llamacpp import LlamaCppServer
from support.openai_schema import (
    CHAT_PARAMETERS,
    COMPLETION_PARAMETERS,
    EXTENSIONS,
    APIError,
    check_combinations,
    check_known,
    check_model_limits,
    check_values,
    efforts_of,
    error_body,
    find_violations,
    unknown_parameters,
)

OPENAI_MODELS = (
    "gpt-3.5-turbo",
    "gpt-3.5-turbo-instruct",
    "gpt-4.1",
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-5",
    "gpt-5-mini",
    "gpt-5.1",
    "gpt-5.2",
    "o1",
    "o3",
    "o3-mini",
    "o4-mini",
)
# The endpoint is a legacy of OpenAI's: its chat models refuse it.
COMPLETION_MODELS = ("gpt-3.5-turbo-instruct", "davinci-002", "babbage-002")
_NO_KEY = (
    "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth "
    "(i.e. Authorization: Bearer YOUR_KEY). You can obtain an API key from "
    "https://platform.openai.com/account/api-keys."
)


@dataclass
class _Choice:
    """One answer, in the pieces in which it is streamed."""

    tokens: list[str] = field(default_factory=list)
    reason: str = "stop"
    thinking: str = ""
    tool_call: tuple[str, dict[str, Any]] | None = None


def mask(key: str) -> str:
    """A key as OpenAI's refusal shows it: the first eight and the last four characters; a short one whole.

    >>> mask("sk-proj-0123456789")
    'sk-proj-******6789'
    """
    return key if len(key) <= 12 else key[:8] + "*" * (len(key) - 12) + key[-4:]


class OpenAIServer(LoopbackServer):
    """See the module.

    Attributes:
        api_key: The only key that it takes; None takes any, or none.
        models: What `/v1/models` lists; add to it at will.
        strict: OpenAI itself, or a compatible server.
        echo_key: Whether the refusal of a key shows all of it, to test that we do not.
        vllm_version: Of a compatible server that answers `GET /version`, as vLLM does.
        script: What is said without an engine: set `.text`, `.thinking`, or queue `.answers` and `.tool_calls`, which
            come before the engine.
        warnings: Parameters that a compatible server does not know, and ignores.
        violations: What no client of ours may send: null where the specification has none, and keys that begin
            with "@@@".
    """

    base_path: ClassVar[str] = "/v1"
    fault_paths = frozenset({"/v1/chat/completions", "/v1/completions"})

    def __init__(
        self,
        api_key: str | None = "sk-good",
        strict: bool = True,
        models: Iterable[str] | None = None,
        engine: LlamaCppServer | None = None,
        text: str | Callable[[Recorded], str] = "4",
        echo_key: bool = False,
        vllm_version: str | None = None,
    ) -> None:
        """Starts nothing yet.

        Args:
            api_key: See the class.
            strict: See the class.
            models: The models; None is OpenAI's for a strict server, else "tiny".
            engine: A running llama.cpp server; None for canned answers.
            text: The canned answer, or a function of the request.
            echo_key: See the class.
            vllm_version: See the class.
        """
        super().__init__()
        self.api_key = api_key
        self.strict = strict
        self.models = list(models) if models is not None else list(OPENAI_MODELS if strict else ("tiny",))
        self.echo_key = echo_key
        self.vllm_version = vllm_version
        self.script: Script = script(text)
        self.warnings: list[str] = []
        self.violations: list[str] = []
        self._engine = engine
        self._ids = count(1)

    def error_json(self, status: int) -> Any:
        """An error of the kind that OpenAI gives with this status."""
        message, type_, code = {
            401: ("Incorrect API key provided.", "invalid_request_error", "invalid_api_key"),
            403: ("You are not allowed to sample from this model.", "invalid_request_error", None),
            404: ("The model does not exist or you do not have access to it.", "invalid_request_error", "model_not_found"),
            429: ("Rate limit reached for requests. Please try again in 7s.", "requests", "rate_limit_exceeded"),
        }.get(status, ("The server had an error while processing your request. Sorry about that!", "server_error", None))
        return error_body(message, None, code, type_)

    def handle(self, request: Recorded) -> Reply:
        """Routes one request, once the key is right."""
        headers = {"x-request-id": f"req_{next(self._ids):032x}"}
        try:
            if request.path == "/version" and self.vllm_version is not None:
                return Reply(json={"version": self.vllm_version})
            self._authenticate(request)
            reply = self._route(request)
        except APIError as error:
            reply = Reply(error.status, json=error.body)
        except EngineError as error:
            reply = Reply(error.status, json=error.body)
        reply.headers |= headers
        return reply

    def _authenticate(self, request: Recorded) -> None:
        if self.api_key is None:
            return
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise APIError(_NO_KEY, status=401)
        if key != self.api_key:
            shown = key if self.echo_key else mask(key)
            raise APIError(
                f"Incorrect API key provided: {shown}. "
                "You can find your API key at https://platform.openai.com/account/api-keys.",
                code="invalid_api_key",
                status=401,
            )

    def _route(self, request: Recorded) -> Reply:
        place = (request.method, request.path)
        if place == ("GET", "/v1/models"):
            return Reply(json={"object": "list", "data": [self._listed(name) for name in self.models]})
        if request.method == "GET" and request.path.startswith("/v1/models/"):
            name = request.path.removeprefix("/v1/models/")
            if name in self.models:
                return Reply(json=self._listed(name))
            # The only route whose error names the parameter.
            message = f"The model '{name}' does not exist"
            raise APIError(message, "model", "model_not_found", 404)
        if place in (("POST", "/v1/chat/completions"), ("POST", "/v1/completions")):
            if not isinstance(request.json, dict):
                raise APIError("We could not parse the JSON body of your request.")
            return self._generate(request, chat=request.path == "/v1/chat/completions")
        raise APIError(f"Invalid URL ({request.method} {request.path})", status=404)

    def _listed(self, name: str) -> dict[str, Any]:
        owner = "openai" if self.strict else "vllm"
        return {"id": name, "object": "model", "created": 1_735_689_600, "owned_by": owner}

    def _generate(self, request: Recorded, chat: bool) -> Reply:
        body = request.json
        rules = CHAT_PARAMETERS if chat else COMPLETION_PARAMETERS
        self.violations += find_violations(body, rules)
        if self.strict:
            check_known(body, rules)
        else:
            ignored = set(unknown_parameters(body, rules)) - EXTENSIONS
            self.warnings += [f"ignored parameter: {name!r}" for name in sorted(ignored)]
        check_values(body, rules, max_stop=4 if self.strict else None)
        if body["model"] not in self.models:
            message = f"The model `{body['model']}` does not exist or you do not have access to it."
            raise APIError(message, None, "model_not_found", 404)
        if self.strict:
            check_combinations(body)
            check_model_limits(body)
            if not chat and body["model"] not in COMPLETION_MODELS:
                message = (
                    "This is a chat model and not supported in the v1/completions endpoint. "
                    "Did you mean to use v1/chat/completions?"
                )
                raise APIError(message, "model", None, 404)
        call = self.script.next_tool_call(body.get("tools"))
        if self._engine is not None and call is None and not self.script.answers:
            return self._forwarded(self._engine, body, chat)
        choices = self._chat_choices(request, call) if chat else self._completion_choices(request)
        return self._streamed(body, chat, choices) if body.get("stream") else self._whole(body, chat, choices)

    # Canned answers.

    def _limits(self, body: Mapping[str, Any]) -> tuple[int | None, list[str]]:
        stop = body.get("stop") or []
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
        return limit, [stop] if isinstance(stop, str) else stop

    def _chat_choices(self, request: Recorded, call: tuple[str, dict[str, Any]] | None) -> list[_Choice]:
        if call is not None:
            return [_Choice(reason="tool_calls", tool_call=call)]
        body = request.json
        thinking = self.script.thinking if (body.get("chat_template_kwargs") or {}).get("enable_thinking") else ""
        choices = []
        for _ in range(body.get("n") or 1):
            tokens, reason = limit_text(self.script.next_text(request, _schema(body)), *self._limits(body))
            choices.append(_Choice(tokens, reason, thinking))
        return choices

    def _completion_choices(self, request: Recorded) -> list[_Choice]:
        body = request.json
        choices = []
        for prompt in _prompts(body["prompt"]):
            for _ in range(body.get("n") or 1):
                tokens, reason = limit_text(self.script.next_text(request, _schema(body)), *self._limits(body))
                echoed = [prompt] if body.get("echo") and isinstance(prompt, str) else []
                choices.append(_Choice(echoed + tokens, reason))
        return choices

    def _whole(self, body: Mapping[str, Any], chat: bool, choices: list[_Choice]) -> Reply:
        answers = []
        for index, choice in enumerate(choices):
            answer: dict[str, Any] = {"index": index, "logprobs": _logprobs(body, chat, choice.tokens)}
            if chat:
                content = None if choice.tool_call else "".join(choice.tokens)
                message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None, "annotations": []}
                message |= {"reasoning_content": choice.thinking} if choice.thinking else {}
                message |= {"tool_calls": [_tool_call(choice.tool_call)]} if choice.tool_call else {}
                answer["message"] = message
            else:
                answer["text"] = "".join(choice.tokens)
            answers.append(answer | {"finish_reason": choice.reason})
        kind = "chat.completion" if chat else "text_completion"
        return Reply(json=self._envelope(body, kind) | {"choices": answers, "usage": _usage(body, choices)})

    def _streamed(self, body: Mapping[str, Any], chat: bool, choices: list[_Choice]) -> Reply:
        envelope = self._envelope(body, "chat.completion.chunk" if chat else "text_completion")
        counted = (body.get("stream_options") or {}).get("include_usage")
        usage = {"usage": None} if counted else {}

        def chunk(index: int, content: dict[str, Any], tokens: list[str], reason: str | None) -> dict[str, Any]:
            part = {"index": index, **content, "logprobs": _logprobs(body, chat, tokens), "finish_reason": reason}
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
                    yield chunk(index, {"delta": {"content": token}} if chat else {"text": token}, [token], None)
                yield chunk(index, {"delta": {}} if chat else {"text": ""}, [], choice.reason)
            if counted:
                yield envelope | {"choices": [], "usage": _usage(body, choices)}

        return _sse(chunks())

    def _envelope(self, body: Mapping[str, Any], kind: str) -> dict[str, Any]:
        prefix = "chatcmpl" if kind.startswith("chat") else "cmpl"
        return {
            "id": f"{prefix}-{next(self._ids):024x}",
            "object": kind,
            "created": int(time.time()),
            "model": body["model"],
            "service_tier": "default",
            "system_fingerprint": "fp_0123456789",
        }

    # Answers of llama.cpp.

    def _forwarded(self, engine: LlamaCppServer, body: Mapping[str, Any], chat: bool) -> Reply:
        wire = {name: value for name, value in body.items() if value is not None}
        # The tiny model cannot call a tool, and its template has no place for one.
        for name in ("tools", "tool_choice", "parallel_tool_calls"):
            wire.pop(name, None)
        if "repetition_penalty" in wire:
            wire["repeat_penalty"] = wire.pop("repetition_penalty")
        schema = wire.pop("guided_json", None) or (wire.pop("structured_outputs", None) or {}).get("json")
        if schema:
            wire["json_schema"] = schema
        path = "/chat/completions" if chat else "/completions"
        # llama.cpp gives one choice to a request; OpenAI, `n` for each prompt.
        each, requests = wire.pop("n", 1), []
        for prompt in [{}] if chat else [{"prompt": prompt} for prompt in _prompts(body["prompt"])]:
            for number in range(each):
                seed = {"seed": wire["seed"] + number} if "seed" in wire else {}
                requests.append(wire | prompt | seed)
        if body.get("stream"):
            streams = [forward_stream(engine, path, one) for one in requests]
            return _sse(_named(chunk, body, index) for index, stream in enumerate(streams) for chunk in stream)
        answers = [_named(forward(engine, path, one), body, index) for index, one in enumerate(requests)]
        merged = answers[0] | {"choices": [choice for answer in answers for choice in answer["choices"]]}
        merged["usage"] = {
            name: sum(answer["usage"][name] for answer in answers)
            for name in ("prompt_tokens", "completion_tokens", "total_tokens")
        }
        return Reply(json=merged)


def _named(chunk: dict[str, Any], body: Mapping[str, Any], index: int) -> dict[str, Any]:
    """Names the model that was asked for, and numbers the choice."""
    choices = [choice | {"index": index} for choice in chunk.get("choices", [])]
    return chunk | {"model": body["model"], "choices": choices}


def _prompts(prompt: Any) -> list[Any]:
    """The prompts of a completion: a text, texts, the tokens of one, or the tokens of several."""
    several = isinstance(prompt, list) and not all(isinstance(token, int) for token in prompt)
    return prompt if several else [prompt]


def _schema(body: Mapping[str, Any]) -> Any:
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


def _usage(body: Mapping[str, Any], choices: list[_Choice]) -> dict[str, Any]:
    text = body.get("prompt") or " ".join(str(message.get("content") or "") for message in body.get("messages") or [])
    prompt = max(1, len(split_tokens(text if isinstance(text, str) else " ".join(map(str, text)))))
    completion = sum(len(choice.tokens) for choice in choices)
    effort = body.get("reasoning_effort")
    thinks = efforts_of(body["model"]) and effort != "none" and not (effort is None and "none" in efforts_of(body["model"]))
    reasoning = 64 if thinks else 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion + reasoning,
        "total_tokens": prompt + completion + reasoning,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


def _sse(chunks: Iterator[Mapping[str, Any]]) -> Reply:
    def lines() -> Iterator[str]:
        for chunk in chunks:
            yield f"data: {json.dumps(chunk)}\n\n"
        yield "data: [DONE]\n\n"

    return Reply(chunks=lines(), headers={"content-type": "text/event-stream; charset=utf-8"})
