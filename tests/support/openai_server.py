"""A loopback OpenAI, as strict as the real one, or a server that is merely compatible with it, such as vLLM.

Strict, it refuses what OpenAI refuses, in OpenAI's words (see `openai_schema`). Compatible (`strict=False`), it takes
the usual extensions and ignores the rest. Either way llama.cpp generates when there is one; else the answer is canned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count
from typing import Any, ClassVar

from support.engine import (
    EngineError,
    Script,
    script,
)
from support.http import LoopbackServer, Recorded, Reply
from support.llamacpp import LlamaCppServer
from support.openai_answers import (
    chat_choices,
    completion_choices,
    forwarded_reply,
    streamed_reply,
    whole_reply,
)
from support.openai_schema import (
    CHAT_PARAMETERS,
    COMPLETION_PARAMETERS,
    EXTENSIONS,
    APIError,
    check_combinations,
    check_known,
    check_model_limits,
    check_values,
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
    "gpt-5.4-mini",
    "gpt-6-luna",
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
        self.models = (
            list(models) if models is not None else list(OPENAI_MODELS if strict else ("tiny",))
        )
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
            404: (
                "The model does not exist or you do not have access to it.",
                "invalid_request_error",
                "model_not_found",
            ),
            429: (
                "Rate limit reached for requests. Please try again in 7s.",
                "requests",
                "rate_limit_exceeded",
            ),
        }.get(
            status,
            (
                "The server had an error while processing your request. Sorry about that!",
                "server_error",
                None,
            ),
        )
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
            return Reply(
                json={"object": "list", "data": [self._listed(name) for name in self.models]}
            )
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
            return forwarded_reply(self._engine, body, chat)
        if chat:
            choices = chat_choices(request, self.script, call)
        else:
            choices = completion_choices(request, self.script)
        reply = streamed_reply if body.get("stream") else whole_reply
        return reply(body, chat, choices, next(self._ids))
