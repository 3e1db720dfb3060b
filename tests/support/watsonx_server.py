"""A loopback watsonx.ai behind a tunnel: the token service, the projects, the models, and what they write.

It is as strict as the real one with names, types and ranges (see `watsonx_schema`). Hosts are told apart by the `host`
header: IBM Cloud's token service, its projects service and its regions; any other host is Cloud Pak for Data.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any
from urllib.parse import parse_qs

from support.engine import limit_text, sample_json
from support.http import Recorded, Reply
from support.tunnel import Authority, TunnelServer
from support.watsonx_schema import CHAT, GENERATION, PARAMETERS, objections

API_KEY = "good-key-4f1d2c3b5a69788796a5b4c3d2e1f0"
PROJECT = "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d"
CHAT_PATH, STREAM_PATH = "/ml/v1/text/chat", "/ml/v1/text/chat_stream"
GENERATION_PATH = "/ml/v1/text/generation"
TOKEN_PATH, SPECS_PATH = "/identity/token", "/ml/v1/foundation_model_specs"
MODELS = (
    "ibm/granite-3-3-8b-instruct",
    "ibm/granite-4-micro-3b-instruct",
    "meta-llama/llama-3-2-3b-instruct",
    "openai/gpt-oss-120b",
)


class RefusedError(Exception):
    """What watsonx.ai answers instead."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.reply = Reply(status, json=error_body(status, code, message))


def error_body(status: int, code: str, message: str) -> dict[str, Any]:
    """An error of the regions' services."""
    more = "https://cloud.ibm.com/apidocs/watsonx-ai"
    errors = [{"code": code, "message": message, "more_info": more}]
    return {"errors": errors, "trace": "ebeec5ab40585bab417b08fd0b3282f0", "status_code": status}


def spec(model_id: str, **more: Any) -> dict[str, Any]:
    """What the list of models says of one."""
    return {
        "model_id": model_id,
        "label": model_id.rpartition("/")[2],
        "provider": model_id.partition("/")[0],
        "short_description": f"The model\n {model_id}.",
        "functions": [{"id": "text_chat"}, {"id": "text_generation"}],
        "number_params": "8b",
        "model_limits": {"max_sequence_length": 131072, "max_output_tokens": 16384},
        "lifecycle": [{"id": "available", "start_date": "2025-01-01"}],
        **more,
    }


class WatsonxServer(TunnelServer):
    """See the module.

    Attributes:
        models: What the list of models says, by id.
        page: The most models of one page of that list.
        project_status: The status of a look at the project: 200, 403, 429, 500.
        lifetime: Seconds that a token is good for.
        answers: What to answer at a path, whatever is asked.
        text: The answer of every model.
        tool_calls: Names of tools that the next chat calls, with their arguments.
        more: Names of fields to let pass.
        echo_key: Whether a refusal of the key repeats it, to test that we do not.
    """

    fault_paths = frozenset({CHAT_PATH, STREAM_PATH, GENERATION_PATH})

    def __init__(self, authority: Authority, text: str = "The answer is 4.") -> None:
        super().__init__(authority)
        self.models = {name: spec(name) for name in MODELS}
        self.page = 200
        self.project_status = 200
        self.lifetime = 3600.0
        self.answers: dict[str, Reply] = {}
        self.text = text
        self.tool_calls: list[tuple[str, dict[str, Any]]] = []
        self.more: frozenset[str] = frozenset()
        self.echo_key = False
        self._tokens: dict[str, float] = {}
        self._numbers = count(1)

    def error_json(self, status: int) -> Any:
        """An error of a region with this status."""
        code, message = {
            401: ("authentication_token_not_valid", "Failed to authenticate the request"),
            403: ("token_quota_reached", "Request of 1 token(s) from quota was rejected"),
            429: ("rate_limit_reached_requests", "Too many requests, please slow down"),
        }.get(status, ("downstream_request_failed", "Downstream request failed"))
        return error_body(status, code, message)

    @property
    def tokens(self) -> list[str]:
        """What it gave in exchange for a key."""
        return list(self._tokens)

    def paths(self) -> list[str]:
        """The paths of all requests, oldest first."""
        return [request.path for request in self.requests]

    def written(self) -> list[Recorded]:
        """The requests that asked a model to write."""
        return [request for request in self.requests if request.path in self.fault_paths]

    def handle(self, request: Recorded) -> Reply:
        """Routes one request."""
        if request.path in self.answers:
            return self.answers[request.path]
        try:
            return self._route(request, request.headers.get("host", "").partition(":")[0])
        except RefusedError as refusal:
            return refusal.reply

    def _route(self, request: Recorded, host: str) -> Reply:
        cloud = host.endswith((".ibm.com", ".ibmforusgov.com"))
        asked = (request.method, request.path)
        if asked == ("POST", TOKEN_PATH) and host == "iam.cloud.ibm.com":
            return self._token(parse_qs(request.body.decode()), "access_token")
        if asked == ("POST", "/icp4d-api/v1/authorize") and not cloud:
            body = request.json or {}
            return self._token({"apikey": [body.get("api_key", "")]}, "token")
        if asked == ("GET", "/ml/wml_services/v2/version") and not cloud:
            return Reply(json={"version": "5.2.0"})
        if not (cloud and asked == ("GET", SPECS_PATH)):
            self._authenticate(request)
        if request.method == "GET" and request.path.startswith("/v2/projects/"):
            return self._project(request.path.rpartition("/")[2])
        if asked == ("GET", SPECS_PATH):
            return self._specs(request.query)
        if request.method == "POST" and request.path in self.fault_paths:
            if "version" not in request.query:
                raise RefusedError(
                    400, "missing_parameter", "Query parameter 'version' is required"
                )
            if request.path == GENERATION_PATH:
                return self._generation(request.json)
            return self._chat(request.json, streamed=request.path == STREAM_PATH)
        raise RefusedError(404, "not_found", f"no route {asked} on {host}")

    # ------------------------------------------------------------------ who is there

    def _token(self, form: Mapping[str, list[str]], field: str) -> Reply:
        key = (form.get("apikey") or [""])[0]
        if key != API_KEY:
            repeated = f" {key}" if self.echo_key else ""
            body = {
                "errorCode": "BXNIM0415E",
                "errorMessage": f"Provided API key{repeated} could not be found.",
                "context": {"requestId": "c1", "url": "https://iam.cloud.ibm.com"},
            }
            return Reply(400, json=body)
        expires = time.time() + self.lifetime
        part = base64.urlsafe_b64encode(
            json.dumps({"exp": int(expires), "jti": next(self._numbers)}).encode()
        )
        token = f"h.{part.decode().rstrip('=')}.s"
        self._tokens[token] = expires
        return Reply(json={field: token, "expires_in": int(self.lifetime), "token_type": "Bearer"})

    def _authenticate(self, request: Recorded) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or self._tokens.get(token, 0) < time.time():
            raise RefusedError(401, "authentication_token_not_valid", "Failed to authenticate")

    def _project(self, name: str) -> Reply:
        words = {200: "", 403: "Forbidden", 429: "Too Many Requests", 500: "Internal Server Error"}
        status = self.project_status if name == PROJECT else 404
        if status != 200:
            error = words.get(status, "Not Found")
            text = f"Project {name}: {error.lower()}."
            return Reply(status, json={"code": status, "error": error, "message": text})
        compute = [{"type": "machine_learning", "guid": "11111111-2222-4333-8444-555555555555"}]
        storage = {"type": "bmcos_object_storage"}
        return Reply(json={"entity": {"name": "tests", "storage": storage, "compute": compute}})

    def _specs(self, query: Mapping[str, str]) -> Reply:
        start, limit = int(query.get("start", 0)), min(int(query.get("limit", 100)), self.page)
        known = list(self.models.values())
        body: dict[str, Any] = {"limit": limit, "resources": known[start : start + limit]}
        if start + limit < len(known):
            following = f"https://us-south.ml.cloud.ibm.com{SPECS_PATH}?start={start + limit}"
            body["next"] = {"href": following}
        return Reply(json=body)

    # ---------------------------------------------------------------- what is written

    def _check(self, body: Any, fields: Mapping[str, Any]) -> None:
        found = objections(body, fields, self.more)
        if found:
            raise RefusedError(400, "invalid_request_entity", "; ".join(found))

    def _known(self, body: Mapping[str, Any]) -> None:
        if body.get("project_id") != PROJECT:
            raise RefusedError(404, "project_not_found", "The project is not there")
        if body.get("model_id") not in self.models:
            name = body.get("model_id")
            raise RefusedError(404, "model_not_supported", f"Model '{name}' is not supported")

    def _chat(self, body: Any, *, streamed: bool) -> Reply:
        self._check(body, CHAT)
        self._known(body)
        text, thoughts = self.text, None
        format_ = body.get("response_format") or {}
        if format_.get("type") == "json_schema":
            text = json.dumps(sample_json(format_["json_schema"]["schema"], text))
        if body.get("chat_template_kwargs", {}).get("thinking") or "reasoning_effort" in body:
            thoughts = "Two and two."
        limit = body.get("max_completion_tokens") or body.get("max_tokens") or None
        tokens, reason = limit_text(text, limit, body.get("stop") or [])
        calls = [
            {
                "index": index,
                "id": f"call-{index}",
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(arguments)},
            }
            for index, (name, arguments) in enumerate(self.tool_calls)
        ]
        self.tool_calls = []
        head = {"id": "chatcmpl-1", "model_id": body["model_id"], "created": 1_735_689_600}
        usage = {"prompt_tokens": 9, "completion_tokens": len(tokens)}
        usage["total_tokens"] = sum(usage.values())
        if streamed:
            return Reply(
                chunks=_events(head, tokens, thoughts, reason, usage),
                headers={"content-type": "text/event-stream"},
            )
        message: dict[str, Any] = {"role": "assistant", "content": "".join(tokens)}
        if thoughts:
            message["reasoning_content"] = thoughts
        if calls:
            message |= {"content": "", "tool_calls": calls}
            reason = "tool_calls"
        choice = {"index": 0, "message": message, "finish_reason": reason}
        return Reply(json={**head, "choices": [choice], "usage": usage})

    def _generation(self, body: Any) -> Reply:
        self._check(body, GENERATION)
        parameters = body.get("parameters", {})
        self._check(parameters, PARAMETERS)
        self._known(body)
        stop = parameters.get("stop_sequences") or []
        tokens, reason = limit_text(self.text, parameters.get("max_new_tokens", 20), stop)
        text = "".join(tokens)
        if reason == "stop" and parameters.get("include_stop_sequence", True):
            rest = self.text[len(text) :]
            text += next((one for one in stop if one in rest), "")
        result = {
            "generated_text": text,
            "generated_token_count": len(tokens),
            "input_token_count": 5,
            "stop_reason": "max_tokens" if reason == "length" else "eos_token",
        }
        return Reply(json={"model_id": body["model_id"], "results": [result]})


def _events(
    head: dict[str, Any],
    tokens: list[str],
    thoughts: str | None,
    reason: str,
    usage: dict[str, int],
) -> Iterator[str]:
    deltas: list[dict[str, Any]] = [{"reasoning_content": thoughts}] if thoughts else []
    deltas += [{"content": token} for token in tokens]
    deltas[0]["role"] = "assistant"
    for number, delta in enumerate(deltas, 1):
        finish = reason if number == len(deltas) else ""
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        yield f"id: {number}\nevent: message\ndata: {json.dumps({**head, 'choices': [choice]})}\n\n"
    last = {**head, "choices": [], "usage": usage}
    yield f"id: {len(deltas) + 1}\nevent: message\ndata: {json.dumps(last)}\n\n"
