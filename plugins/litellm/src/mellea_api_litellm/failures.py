"""What LiteLLM raises, in the library's terms: by class and status first, text last."""

from __future__ import annotations

import re
from typing import Any, Final

from attrs import evolve

from mellea_api import CredentialField, ErrorRequest, MelleaAPIError, Target, translation
from mellea_api_litellm.needs import needs_of
from mellea_api_litellm.routes import Route, find

__all__ = ["named", "translate_error"]

_PREFIX: Final = re.compile(r"^(litellm\.)?(\w+Error: (litellm\.)?)*")
_UNREACHED: Final = frozenset(
    {"ConnectError", "ConnectionRefusedError", "ClientConnectorError", "ConnectionResetError"}
    | {"ServerDisconnectedError", "RemoteProtocolError", "ReadError", "gaierror"}
)


def named(target: Target, route: Route, address: str | None = None) -> Target:
    """Return a target whose descriptor names the variables of its route, for messages."""
    needs = needs_of(route)
    if needs is None:
        return target
    keys = next((need for need in needs.parts if need.kind == "api_key"), None)
    fields = (
        CredentialField(name="api_key", variables=keys.variables if keys else (), help=needs.help),
    )
    return evolve(
        target,
        base_url=target.base_url or address,
        descriptor=evolve(target.descriptor, credentials=fields),
    )


def translate_error(request: ErrorRequest) -> MelleaAPIError | None:
    """Say what LiteLLM raises in the library's terms; None if it is not LiteLLM's."""
    route = find(request.target.model_id)
    if route is not None:
        request = evolve(request, target=named(request.target, route))
    for error in translation.chain(request.error):
        if isinstance(error, MelleaAPIError):
            return error
        kinds = [kind for kind in type(error).__mro__ if kind.__module__ == "litellm.exceptions"]
        if kinds:
            return _of_litellm(request, error, kinds[0].__name__)
    return None


def _of_litellm(request: ErrorRequest, error: Any, kind: str) -> MelleaAPIError | None:
    text = _PREFIX.sub("", str(getattr(error, "message", error)).strip())
    text = text.partition("\nTraceback")[0].partition(" Traceback (most")[0]
    status = getattr(error, "status_code", None)
    status = status if isinstance(status, int) and 400 <= status <= 599 else 500
    headers = getattr(getattr(error, "response", None), "headers", None)
    if kind == "Timeout":
        return translation.timed_out(request)
    if kind in ("APIResponseValidationError", "JSONSchemaValidationError"):
        return translation.unreadable(request, text)
    if kind in ("APIConnectionError", "InternalServerError", "ServiceUnavailableError"):
        names = {type(cause).__name__ for cause in translation.chain(error)}
        lowered = text.lower()
        if names & _UNREACHED or "cannot connect" in lowered or "connection error" in lowered:
            return translation.unreachable(request, text)
        if "not found" in lowered and "model" in lowered:
            status = 404  # LiteLLM calls Ollama's refusal a failed connection
    if kind == "ContextWindowExceededError":
        text = f"context length exceeded: {text}"
    elif kind == "ContentPolicyViolationError":
        text = f"content filter: {text}"
    elif "Invalid model name" in text or kind == "LiteLLMUnknownProvider":
        status, text = 404, f"model: {text}"
    elif status == 404 and "model" not in text.lower():
        text = f"{text} (model {request.target.model_id})"
    return translation.by_status(request, status, text, headers)
