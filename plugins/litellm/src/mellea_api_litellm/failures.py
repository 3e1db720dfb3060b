"""What LiteLLM raises, in the library's terms: by class and status first, text last."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import evolve

from mellea_api import (
    ContentRefusedError,
    ContextLengthError,
    MelleaAPIError,
    ModelNotFoundError,
    ProviderError,
)
from mellea_api._provider import refusals as translation
from mellea_api._secrecy.veil import chain
from mellea_api.plugin import ErrorRequest, Target
from mellea_api_litellm.needs import key_field, needs_of
from mellea_api_litellm.routes import Route, find

__all__ = ["named", "translate_error"]

_PREFIX: Final = re.compile(r"^(litellm\.)?(\w+Error: (litellm\.)?)*")
_BY_CLASS: Final[Mapping[str, type[ProviderError]]] = {
    "ContentPolicyViolationError": ContentRefusedError,
    "ContextWindowExceededError": ContextLengthError,
    "LiteLLMUnknownProvider": ModelNotFoundError,
}
_CLIENTS: Final = ("httpx", "httpx2", "openai")
_UNREADABLE: Final = frozenset(
    {"DecodingError", "JSONDecodeError", "UnicodeDecodeError", "AnswerError"}
    | {"AttributeError", "IndexError", "KeyError", "TypeError", "ValidationError"}
)
_STUMBLED: Final = (
    "Empty or invalid response from LLM endpoint",
    "LiteLLM: provider returned 'choices'",
    "Unexpected string response from Azure",
    "while decoding a JSON",  # Python's words of one that is too deep, or of a number too long
    "for integer string conversion",
)
_NO_SUCH_PATH: Final = re.compile(
    r"invalid url|page not found|file not found|\bdetail\W+not found", re.IGNORECASE
)
"""What servers say of a path that they do not have: nothing is known of the model then."""
_UNREACHED: Final = frozenset(
    {"ConnectError", "ConnectionRefusedError", "ClientConnectorError", "ConnectionResetError"}
    | {"ServerDisconnectedError", "RemoteProtocolError", "ReadError", "gaierror"}
    | {"ConnectionError"}
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
    for error in chain(request.error):
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
    answer = _answer(error)
    if answer is not None and (answer.status_code < 400 or kind == "Timeout"):
        # It makes an error of its own of a redirect, and calls a gateway's timeout its own.
        return translation.by_status(request, answer.status_code, text, answer.headers)
    if "unexpected response from Ollama: {'error'" in text:
        # An error in the middle of the answer, whose status was good, is a bad request to LiteLLM.
        return translation.by_status(request, None, text, headers)
    if answer is None and (why := _unreadable(error, text)):
        return translation.unreadable(request, why)
    if kind == "Timeout":
        return translation.timed_out(request)
    if kind in ("APIResponseValidationError", "JSONSchemaValidationError"):
        return translation.unreadable(request, text)
    lowered = text.lower()
    names = {type(found).__name__ for found in chain(error)}
    if answer is None and (
        names & _UNREACHED or "cannot connect" in lowered or "connection error" in lowered
    ):
        return translation.unreachable(request, text)
    if kind in ("APIConnectionError", "InternalServerError", "ServiceUnavailableError") and (
        "not found" in lowered and "model" in lowered
    ):
        meaning = ModelNotFoundError  # LiteLLM calls Ollama's refusal a failed connection
    no_model = "<html" in lowered or _NO_SUCH_PATH.search(text)
    if (status == 404 and not no_model) or "Invalid model name" in text:
        meaning = ModelNotFoundError
    return translation.by_status(request, status, text, headers, meaning=meaning)


def _answer(error: BaseException) -> Any:
    """Return the server's refusal as the HTTP client has it; LiteLLM makes up answers too."""
    for found in chain(error):
        if type(found).__module__.partition(".")[0] in _CLIENTS:
            answer = getattr(found, "response", None)
            if getattr(answer, "status_code", 200) >= 300:
                return answer
    return None


def _unreadable(error: BaseException, text: str) -> object:
    """Return what was wrong with an answer that LiteLLM calls a failure of the server."""
    for found in chain(error):
        if type(found).__name__ in _UNREADABLE:
            return found
    return text if any(words in text for words in _STUMBLED) else None


def _headers(error: Any) -> Mapping[str, str] | None:
    """Return the answer's headers, which LiteLLM keeps in one of two places, or in neither."""
    for found in chain(error):
        for headers in (
            getattr(found, "litellm_response_headers", None),
            getattr(getattr(found, "response", None), "headers", None),
        ):
            if headers:
                kept: Mapping[str, str] = headers
                return kept
    return None
