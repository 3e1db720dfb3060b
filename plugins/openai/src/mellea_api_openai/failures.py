"""What the OpenAI SDK raises, in the library's terms: by code and status first, text last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import openai

from mellea_api import (
    ContentRefusedError,
    ContextLengthError,
    CredentialError,
    MelleaAPIError,
    ModelNotFoundError,
    ProviderError,
    RateLimitError,
    RequestRefusedError,
)
from mellea_api._contract.address import shown_address
from mellea_api._provider import refusals as translation
from mellea_api._secrecy.veil import chain
from mellea_api.plugin import ErrorRequest
from mellea_api_openai.sdk import NO_KEY

__all__ = ["translate_error"]

_BY_CODE: Final[Mapping[str, type[ProviderError]]] = {
    "content_filter": ContentRefusedError,
    "content_policy_violation": ContentRefusedError,
    "context_length_exceeded": ContextLengthError,
    "exceed_context_size_error": ContextLengthError,  # llama.cpp's, which it calls a type
    "invalid_prompt": ContentRefusedError,
    "string_above_max_length": ContextLengthError,
}
"""What OpenAI's codes, and those of servers that are compatible with it, say by themselves."""
_IN_A_STREAM: Final[Mapping[str, type[ProviderError]]] = {
    "insufficient_quota": RateLimitError,
    "invalid_api_key": CredentialError,
    "rate_limit_exceeded": RateLimitError,
}
"""What else the status would say."""


def translate_error(request: ErrorRequest) -> MelleaAPIError | None:
    """Say what the SDK raises in the library's terms."""
    for error in chain(request.error):
        if isinstance(error, openai.APIStatusError):
            words, meaning = _read(error)
            status, answer = error.status_code, error.response
            if status == 401 and error.request.headers.get("authorization", "").endswith(NO_KEY):
                return _keyless(request)
            if (status == 404 and error.code == "model_not_found") or (
                status == 400 and "Invalid model name" in words
            ):
                meaning = ModelNotFoundError
            elif status == 404 and "not supported in the" in words:
                meaning = RequestRefusedError  # the model is there, and not at the raw endpoint
            return translation.by_status(request, status, words, answer.headers, meaning=meaning)
        if isinstance(error, openai.ContentFilterFinishReasonError):
            return translation.by_status(request, None, error, meaning=ContentRefusedError)
        if isinstance(error, openai.APIResponseValidationError):
            return translation.unreadable(request, error.message)
        if type(error) is openai.APIError:  # inside a stream, whose status was good
            words, meaning = _read(error)
            meaning = meaning or _IN_A_STREAM.get(error.code or "")
            return translation.by_status(request, _number(error.code), words, meaning=meaning)
    return None


def _keyless(request: ErrorRequest) -> CredentialError:
    """Return the error for a server that refused what it was sent in the place of a key."""
    target = request.target
    field = target.descriptor.credentials[0]
    address = shown_address(target.base_url or "")
    return CredentialError(
        f"The {target.backend} server at {address} asks for a key (HTTP 401), and there is no "
        f"{field.name} (looked at {', '.join(field.variables)}).",
        next_step=f"Set {field.variables[0]}, or pass {field.name}=.",
        backend=target.backend,
        model_id=target.model_id,
        base_url=address,
        status=401,
        field=field.name,
        variables=field.variables,
    )


def _read(error: openai.APIError) -> tuple[str, type[ProviderError] | None]:
    """Return what the provider said, and what its code or type means if anything."""
    body: Any = error.body
    if isinstance(body, list) and body and isinstance(body[0], Mapping):  # Google's
        body = body[0].get("error", body[0])
    said = body if isinstance(body, Mapping) else {}
    words = next((said[name] for name in ("message", "detail") if said.get(name)), error.message)
    if isinstance(error, openai.APIStatusError) and isinstance(body, str | None):
        words = body or error.response.text or words  # no object: a web page, say
    meanings = (_BY_CODE.get(code or "") for code in (error.code, error.type))
    return str(words), next(filter(None, meanings), None)


def _number(code: object) -> int | None:
    """Return the status that vLLM and others put into the error of a stream, or None."""
    number = int(code) if isinstance(code, int | str) and str(code).isdigit() else 0
    return number if 400 <= number <= 599 else None
