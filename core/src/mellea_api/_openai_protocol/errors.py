"""The OpenAI SDK's exceptions as our errors: code and status decide first, the text last."""

from __future__ import annotations

import openai

from mellea_api._contract.errors import (
    ContentRefusedError,
    CredentialError,
    MelleaAPIError,
    ModelNotFoundError,
    ProviderError,
    RequestRefusedError,
)
from mellea_api._contract.refusals import ErrorRequest
from mellea_api._contract.requests import Target
from mellea_api._contract.said import words_and_codes
from mellea_api._openai_protocol.clients import NO_KEY
from mellea_api._secrecy.secrets import beginning


def engine_error(request: ErrorRequest) -> MelleaAPIError | None:
    """Return our error for an exception of the OpenAI SDK; None if it is not the SDK's.

    For the `translate_error` of a plugin whose sessions `engine_session` builds.
    """
    for error in request.chain:
        if isinstance(error, openai.APIStatusError):
            return _refused(request, error)
        if isinstance(error, openai.ContentFilterFinishReasonError):
            return request.answered(None, error, kind=ContentRefusedError)
        if isinstance(error, openai.APIResponseValidationError):
            return request.unreadable(error.message)
        if type(error) is openai.APIError:  # inside a stream, whose status was good
            return request.answered(None, error.body or error.message)
    return None


def _refused(request: ErrorRequest, error: openai.APIStatusError) -> MelleaAPIError:
    status, answer = error.status_code, error.response
    if status == 401 and error.request.headers.get("authorization", "").endswith(NO_KEY):
        return _keyless(request.target)
    said = error.body or answer.text  # no JSON, but a web page, for example
    lowered, code = beginning(words_and_codes(said)[0]).lower(), error.code or ""
    for field in ("organization", "project"):
        if code.endswith(f"_{field}") or f"openai-{field}" in lowered:
            return request.answered(status, said, answer.headers, field=field)
    kind: type[ProviderError] | None = None
    if status == 404 and code == "model_not_found":
        kind = ModelNotFoundError
    elif status == 404 and "not supported in the" in lowered:
        kind = RequestRefusedError  # the model is there, and not at the raw endpoint
    return request.answered(status, said, answer.headers, kind)


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
