"""LiteLLM's exceptions as the library's errors: the server's answer first, LiteLLM's text last."""

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

# What LiteLLM puts around a text.
_AROUND: Final = re.compile(
    r"^\s*(litellm\.)?(\w+Error: (litellm\.)?)*|\sTraceback \(most.*", re.DOTALL
)
_MEANINGS: Final[Mapping[str, type[ProviderError]]] = {
    "ContentPolicyViolationError": ContentRefusedError,
    "ContextWindowExceededError": ContextLengthError,
    "LiteLLMUnknownProvider": ModelNotFoundError,
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
_UNREACHED: Final = frozenset({"TransportError", "ConnectionError", "gaierror"})


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
        if type(found).__name__ == "RefusedWithSuccessError":  # the same, in the server's words
            return request.answered(None, getattr(found, "body", found))
    text = _AROUND.sub("", str(getattr(error, "message", error)))
    if (answer := _answer(request)) is not None:
        # LiteLLM shortens what the server said, or goes by words in it instead of the status.
        try:
            said = answer.text or text
        except Exception:  # httpx and httpx2 have an error of their own for an unread body
            said = text
        return request.answered(answer.status_code, said, answer.headers)
    causes = {cls.__name__: found for found in request.chain for cls in type(found).__mro__}
    unread = next((causes[name] for name in causes if name in _UNREADABLE), None)
    if unread or kind.endswith("ValidationError") or _STUMBLED.search(text):
        return request.unreadable(unread or text)
    if kind == "Timeout":
        return request.timed_out()
    refused = re.search("cannot connect|connection error", text, re.IGNORECASE)
    if refused or causes.keys() & _UNREACHED:
        return request.unreachable(text)
    status = getattr(error, "status_code", None)
    status = status if isinstance(status, int) and 400 <= status <= 599 else 500
    return request.answered(status, text, kind=_MEANINGS.get(kind))


def _answer(request: ErrorRequest) -> Any:
    """Return the server's refusal, as LiteLLM makes up answers too; None if there is none."""
    for error in request.chain:
        answer = getattr(error, "response", None)
        client = type(error).__module__.partition(".")[0]
        if client in ("httpx", "httpx2", "openai") and getattr(answer, "status_code", 0) >= 300:
            return answer
    return None
