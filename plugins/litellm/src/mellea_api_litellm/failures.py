"""LiteLLM's exceptions as the library's errors: the server's answer first, LiteLLM's text last."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from mellea_api import (
    ContentRefusedError,
    ContextLengthError,
    ModelNotFoundError,
    ProviderError,
    RateLimitError,
    RequestRefusedError,
)
from mellea_api.plugin import ErrorRequest, hookimpl

_PREFIX: Final = re.compile(r"^(litellm\.)?(\w+Error: (litellm\.)?)*")
_TRACEBACK: Final = re.compile(r"\sTraceback \(most.*", re.DOTALL)
# What LiteLLM's classes mean, and codes in servers' answers that say more than the status.
_MEANINGS: Final[Mapping[object, type[ProviderError]]] = {
    "ContentPolicyViolationError": ContentRefusedError,
    "ContextWindowExceededError": ContextLengthError,
    "LiteLLMUnknownProvider": ModelNotFoundError,
    "content_filter": ContentRefusedError,
    "context_length_exceeded": ContextLengthError,
    "exceed_context_size_error": ContextLengthError,  # llama.cpp's
    "token_quota_reached": RateLimitError,  # watsonx.ai's, as is the next
    "model_no_support_for_function": RequestRefusedError,
}
# Causes of an error that LiteLLM calls a failure of the server: it cannot read the answer.
_UNREADABLE: Final = frozenset(
    {"DecodingError", "JSONDecodeError", "UnicodeDecodeError"}
    | {"AttributeError", "IndexError", "KeyError", "TypeError", "ValidationError"}
)
_STUMBLED: Final = re.compile(
    r"Empty or invalid response from LLM endpoint|LiteLLM: provider returned"
    r"|Unexpected (string )?response from Azure"
    # Python's words for JSON that is nested too deeply, or has a number that is too long.
    r"|while decoding a JSON|for integer string conversion"
)
_UNREACHED: Final = frozenset(
    {"ConnectError", "ConnectionRefusedError", "ClientConnectorError", "ConnectionResetError"}
    | {"ServerDisconnectedError", "RemoteProtocolError", "ReadError", "gaierror"}
    | {"ConnectionError"}
)


@hookimpl
def translate_error(request: ErrorRequest) -> ProviderError | None:
    """Translate LiteLLM's exceptions; None for any other."""
    if any(isinstance(error, UnicodeEncodeError) for error in request.chain):
        return None  # the prompt cannot be sent; LiteLLM calls that a failure of the server
    for error in request.chain:
        kinds = [kind for kind in type(error).__mro__ if kind.__module__ == "litellm.exceptions"]
        if kinds:
            return _of_litellm(request, error, kinds[0].__name__)
    return None


def _of_litellm(request: ErrorRequest, error: Any, kind: str) -> ProviderError:
    for found in request.chain:
        if isinstance(found, ProviderError):  # from a check of ours, inside LiteLLM
            return request.answered(None, found.reason, kind=type(found))
        body, name = getattr(found, "body", None), type(found).__name__
        if name == "RefusedWithSuccessError" or (name == "APIError" and isinstance(body, str)):
            # An error with a good status, or in text alone inside a stream.
            said = body if isinstance(body, str) else found
            return request.answered(getattr(found, "status", None), said)
    text = _PREFIX.sub("", str(getattr(error, "message", error)).strip())
    text = _TRACEBACK.sub("", text)
    answer, headers = _answer(request)
    meaning = _MEANINGS.get(kind)
    if answer is not None:
        # LiteLLM shortens what the server said, or goes by words in it instead of the status.
        said, codes = _read(answer)
        meaning = next((_MEANINGS[code] for code in codes if code in _MEANINGS), meaning)
        if "Invalid model name" in said:
            meaning = ModelNotFoundError
        return request.answered(answer.status_code, said or text, answer.headers, meaning)
    if "unexpected response from Ollama: {'error'" in text:
        # An error in the middle of the answer, whose status was good, is a bad request to LiteLLM.
        return request.answered(None, text, headers)
    causes = {type(found).__name__: found for found in request.chain}
    unread = next((causes[name] for name in causes if name in _UNREADABLE), None)
    if unread or _STUMBLED.search(text):
        return request.unreadable(unread or text)
    if kind == "Timeout":
        return request.timed_out()
    if kind in ("APIResponseValidationError", "JSONSchemaValidationError"):
        return request.unreadable(text)
    refused = re.search("cannot connect|connection error", text, re.IGNORECASE)
    if refused or causes.keys() & _UNREACHED:
        return request.unreachable(text)
    status = getattr(error, "status_code", None)
    status = status if isinstance(status, int) and 400 <= status <= 599 else 500
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


def _read(answer: Any) -> tuple[str, tuple[object, ...]]:
    """Return what a refusal says, empty if it was not read, and its code and type."""
    codes: tuple[object, ...] = ()
    try:
        said = answer.text
        with contextlib.suppress(ValueError, RecursionError):
            said = json.loads(said)
    except Exception:  # httpx and httpx2 have an error of their own for a body that was not read
        return "", codes
    while isinstance(said, list | dict) and said:
        if isinstance(said, list):  # Google's
            said = said[0]
            continue
        codes = (str(said.get("code")), str(said.get("type")), *codes)
        inside = (said.get(name) for name in ("error", "errors", "message", "detail"))
        if not (found := next(filter(None, inside), None)):
            break
        said = found
    return str(said), codes
