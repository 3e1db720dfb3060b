"""What LiteLLM raises, in the library's terms: by class and status first, text last."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import evolve

from mellea_api import (
    ContentRefusedError,
    ContextLengthError,
    ErrorRequest,
    MelleaAPIError,
    ModelNotFoundError,
    ProviderError,
    Target,
    translation,
)
from mellea_api_litellm.needs import key_field, needs_of
from mellea_api_litellm.routes import Route, find

__all__ = ["named", "translate_error"]

_PREFIX: Final = re.compile(r"^(litellm\.)?(\w+Error: (litellm\.)?)*")
_BY_CLASS: Final[Mapping[str, type[ProviderError]]] = {
    "ContentPolicyViolationError": ContentRefusedError,
    "ContextWindowExceededError": ContextLengthError,
    "LiteLLMUnknownProvider": ModelNotFoundError,
}
_UNREACHED: Final = frozenset(
    {"ConnectError", "ConnectionRefusedError", "ClientConnectorError", "ConnectionResetError"}
    | {"ServerDisconnectedError", "RemoteProtocolError", "ReadError", "gaierror"}
)


def named(target: Target, route: Route, address: str | None = None) -> Target:
    """Return a target whose descriptor names the variables of its route, for messages."""
    if needs_of(route) is None:
        return target
    return evolve(
        target,
        base_url=target.base_url or address,
        descriptor=evolve(target.descriptor, credentials=(key_field(route),)),
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
    headers = _headers(error)
    meaning = _BY_CLASS.get(kind)
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
            meaning = ModelNotFoundError  # LiteLLM calls Ollama's refusal a failed connection
    if "unexpected response from Ollama: {'error'" in text:
        # An error in the middle of the answer, whose status was good, is a bad request to LiteLLM.
        return translation.by_status(request, None, text, headers)
    if status == 404 or "Invalid model name" in text:
        meaning = ModelNotFoundError
    return translation.by_status(request, status, text, headers, meaning=meaning)


def _headers(error: Any) -> Mapping[str, str] | None:
    """Return the answer's headers, which LiteLLM keeps in one of two places, or in neither."""
    for found in translation.chain(error):
        for headers in (
            getattr(found, "litellm_response_headers", None),
            getattr(getattr(found, "response", None), "headers", None),
        ):
            if headers:
                kept: Mapping[str, str] = headers
                return kept
    return None
