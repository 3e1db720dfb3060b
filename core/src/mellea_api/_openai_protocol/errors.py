"""The OpenAI SDK's exceptions as our errors: code and status decide first, the text last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import openai

from mellea_api._contract.errors import (
    ContentRefusedError,
    ContextLengthError,
    CredentialError,
    MelleaAPIError,
    ModelNotFoundError,
    ProviderError,
    RateLimitError,
    RequestRefusedError,
)
from mellea_api._contract.refusals import ErrorRequest
from mellea_api._contract.requests import Target
from mellea_api._openai_protocol.clients import NO_KEY
from mellea_api._provider.answers import RefusedWithSuccessError

_BY_CODE: Final[Mapping[str, type[ProviderError]]] = {
    "content_filter": ContentRefusedError,
    "content_policy_violation": ContentRefusedError,
    "context_length_exceeded": ContextLengthError,
    "exceed_context_size_error": ContextLengthError,  # llama.cpp's, which it calls a type
    "invalid_prompt": ContentRefusedError,
    "string_above_max_length": ContextLengthError,
}
"""What the codes of OpenAI and of compatible servers mean on their own."""
_IN_A_STREAM: Final[Mapping[str, type[ProviderError]]] = {
    "insufficient_quota": RateLimitError,
    "invalid_api_key": CredentialError,
    "rate_limit_exceeded": RateLimitError,
}
"""Codes that mean what the status means elsewhere."""


def translate(request: ErrorRequest) -> MelleaAPIError | None:
    """Return the error for an exception of the SDK; None if it is not the SDK's."""
    codes = {**_BY_CODE, **getattr(request.target.descriptor, "codes", {})}
    nothing: Any = None
    for found in request.chain:
        error = found
        if isinstance(found, RefusedWithSuccessError):  # the SDK raises this in a stream
            error = openai.APIError(str(found), nothing, body=found.body)
        if isinstance(error, openai.APIStatusError):
            words, kind = _read(error, codes)
            status, answer = error.status_code, error.response
            if status == 401 and error.request.headers.get("authorization", "").endswith(NO_KEY):
                return _keyless(request.target)
            for field in ("organization", "project"):
                if (error.code or "").endswith(f"_{field}") or f"openai-{field}" in words.lower():
                    return CredentialError(words, status=status, field=field)
            if (status == 404 and error.code == "model_not_found") or (
                status == 400 and "Invalid model name" in words
            ):
                kind = ModelNotFoundError
            elif status == 404 and "not supported in the" in words:
                kind = RequestRefusedError  # the model is there, and not at the raw endpoint
            return request.answered(status, words, answer.headers, kind)
        if isinstance(error, openai.ContentFilterFinishReasonError):
            return request.answered(None, error, kind=ContentRefusedError)
        if isinstance(error, openai.APIResponseValidationError):
            return request.unreadable(error.message)
        if type(error) is openai.APIError:  # inside a stream, whose status was good
            words, kind = _read(error, codes)
            kind = kind or _IN_A_STREAM.get(error.code or "")
            return request.answered(_number(error.code), words, kind=kind)
    return None


def _keyless(target: Target) -> CredentialError:
    """Return the error for a server that asks for a key if there is none."""
    reason = "it asks for a key, and there is none"
    if not target.descriptor.credentials:
        return CredentialError(reason, status=401, next_step="Declare key= for this backend.")
    field = target.descriptor.credentials[0]
    return CredentialError(
        f"The {target.backend} server at {target.address} asks for a key (HTTP 401), and there is "
        f"no {field.name} (looked at {', '.join(field.variables)}).",
        next_step=f"Set {field.variables[0]}, or pass {field.name}=.",
        status=401,
    )


def _read(
    error: openai.APIError, codes: Mapping[str, type[ProviderError]]
) -> tuple[str, type[ProviderError] | None]:
    """Return what the provider said, and what its code or type means."""
    body: Any = error.body
    if isinstance(body, list) and body and isinstance(body[0], Mapping):  # Google's
        body = body[0].get("error", body[0])
    said = body if isinstance(body, Mapping) else {}
    words = next((said[name] for name in ("message", "detail") if said.get(name)), error.message)
    if isinstance(error, openai.APIStatusError) and not body:
        body = error.response.text  # no object, but a web page, for example
    if isinstance(body, str):
        words = body or words
    kinds = (codes.get(code or "") for code in (error.code, error.type))
    return str(words), next(filter(None, kinds), None)


def _number(code: object) -> int | None:
    """Return the status that vLLM and others put into the error of a stream, or None."""
    number = int(code) if isinstance(code, int | str) and str(code).isdigit() else 0
    return number if 400 <= number <= 599 else None
