"""LiteLLM's exceptions as the library's errors: by class and status first, by text last."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from mellea_api import (
    ContentRefusedError,
    ContextLengthError,
    ModelNotFoundError,
    ProviderError,
)
from mellea_api.plugin import ErrorRequest, hookimpl

_PREFIX: Final = re.compile(r"^(litellm\.)?(\w+Error: (litellm\.)?)*")
_TRACEBACK: Final = re.compile(r"\s+Traceback \(most.*", re.DOTALL)
_MEANINGS: Final[Mapping[str, type[ProviderError]]] = {
    "ContentPolicyViolationError": ContentRefusedError,
    "ContextWindowExceededError": ContextLengthError,
    "LiteLLMUnknownProvider": ModelNotFoundError,
}
# Causes of an error that LiteLLM calls a failure of the server: it cannot read the answer.
_UNREADABLE: Final = frozenset(
    {"DecodingError", "JSONDecodeError", "UnicodeDecodeError", "AnswerError"}
    | {"AttributeError", "IndexError", "KeyError", "TypeError", "ValidationError"}
)
_STUMBLED: Final = re.compile(
    r"Empty or invalid response from LLM endpoint|LiteLLM: provider returned 'choices'"
    r"|Unexpected string response from Azure"
    # Python's words for JSON that is nested too deeply, or has a number that is too long.
    r"|while decoding a JSON|for integer string conversion"
)
# Servers' words for a path that they do not have, which say nothing about the model.
_NO_SUCH_PATH: Final = re.compile(
    r"<html|invalid url|page not found|file not found|\bdetail\W+not found", re.IGNORECASE
)
_UNREACHED: Final = frozenset(
    {"ConnectError", "ConnectionRefusedError", "ClientConnectorError", "ConnectionResetError"}
    | {"ServerDisconnectedError", "RemoteProtocolError", "ReadError", "gaierror"}
    | {"ConnectionError"}
)


@hookimpl
def translate_error(request: ErrorRequest) -> ProviderError | None:
    """Translate LiteLLM's exceptions; None for any other."""
    for error in request.chain:
        kinds = [kind for kind in type(error).__mro__ if kind.__module__ == "litellm.exceptions"]
        if kinds:
            return _of_litellm(request, error, kinds[0].__name__)
    return None


def _of_litellm(request: ErrorRequest, error: Any, kind: str) -> ProviderError:
    text = _PREFIX.sub("", str(getattr(error, "message", error)).strip())
    text = _TRACEBACK.sub("", text)
    lowered = text.lower()
    answer, headers = _answer(request)
    causes = {type(found).__name__: found for found in request.chain}
    if answer is not None and (answer.status_code < 400 or kind == "Timeout"):
        # It makes an error of its own of a redirect, and calls a gateway's timeout its own.
        return request.answered(answer.status_code, text, answer.headers)
    if "unexpected response from Ollama: {'error'" in text:
        # An error in the middle of the answer, whose status was good, is a bad request to LiteLLM.
        return request.answered(None, text, headers)
    if answer is None and (
        unread := next((causes[name] for name in causes if name in _UNREADABLE), None)
    ):
        return request.unreadable(unread)
    if answer is None and _STUMBLED.search(text):
        return request.unreadable(text)
    if kind == "Timeout":
        return request.timed_out()
    if kind in ("APIResponseValidationError", "JSONSchemaValidationError"):
        return request.unreadable(text)
    refused = "cannot connect" in lowered or "connection error" in lowered
    if answer is None and (refused or causes.keys() & _UNREACHED):
        return request.unreachable(text)
    status = getattr(error, "status_code", None)
    status = status if isinstance(status, int) and 400 <= status <= 599 else 500
    meaning = _MEANINGS.get(kind)
    failed = kind in ("APIConnectionError", "InternalServerError", "ServiceUnavailableError")
    if (
        (failed and "not found" in lowered and "model" in lowered)  # so of Ollama's refusal
        or (status == 404 and not _NO_SUCH_PATH.search(text))
        or "Invalid model name" in text
    ):
        meaning = ModelNotFoundError
    return request.answered(status, text, headers, meaning)


def _answer(request: ErrorRequest) -> tuple[Any, Mapping[str, str] | None]:
    """Return the server's refusal, as LiteLLM makes up answers too, and its headers."""
    answer = headers = None
    for error in request.chain:
        held = getattr(error, "response", None)
        client = type(error).__module__.partition(".")[0]
        if client in ("httpx", "httpx2", "openai") and getattr(held, "status_code", 0) >= 300:
            answer = answer or held
        own = getattr(error, "litellm_response_headers", None)
        headers = headers or own or getattr(held, "headers", None)
    return answer, headers
