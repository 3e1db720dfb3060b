"""What the refusals of watsonx.ai mean, read from the JSON of its three services.

The token service, the projects service and watsonx.ai itself each have a shape of their own,
and the SDK often passes on nothing but the text.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping
from typing import Any, Final

import httpx
from attrs import frozen
from ibm_watsonx_ai import wml_client_error

from mellea_api import (
    ConfigurationError,
    CredentialError,
    MelleaAPIError,
    ModelNotFoundError,
    PermissionDeniedError,
    ProviderError,
    RateLimitError,
    RequestRefusedError,
)
from mellea_api.plugin import ErrorRequest
from mellea_api_watsonx.connection import PROJECTS

# What the codes mean where the status alone would be understood as something else.
_BY_CODE: Final[Mapping[str, type[ProviderError]]] = {
    "BXNIM0415E": CredentialError,  # the key is not there; answered with 400
    "authentication_token_expired": CredentialError,
    "authentication_token_not_valid": CredentialError,
    "model_no_support_for_function": RequestRefusedError,  # the model is there; answered with 404
    "model_not_supported": ModelNotFoundError,
    "no_associated_service_instance_error": PermissionDeniedError,  # of the project
    "token_quota_reached": RateLimitError,  # the plan's tokens are used up; answered with 403
}
_STREAMED: Final = re.compile(
    r"Request failed with: \(?(?P<text>.*?)\)? \(?(?P<status>\d{3})\)$", re.DOTALL
)


@frozen
class _Refusal:
    """What an answer says about a failure."""

    words: str
    code: str = ""
    status: int | None = None


def _read(text: str) -> _Refusal | None:
    """Return what a service's JSON says; None if it is not the JSON of one of them."""
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    status = next(
        (
            found[name]
            for name in ("status_code", "statusCode", "_statusCode_", "code")
            if isinstance(found.get(name), int)
        ),
        None,
    )
    errors = found.get("errors")
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        words = "; ".join(str(one.get("message", "")) for one in errors if isinstance(one, dict))
        return _Refusal(words, str(errors[0].get("code", "")), status)
    words = next(
        (
            str(found[name])
            for name in ("errorMessage", "message", "reason", "error")
            if found.get(name)
        ),
        "",
    )
    code = str(found.get("errorCode", ""))
    return _Refusal(f"{words} ({code})" if code else words, code, status) if words else None


def translate_error(request: ErrorRequest) -> MelleaAPIError | None:
    """Return the error for an exception of the SDK: by status and code first, then by its text."""
    strange: BaseException | None = None
    for error in request.chain:
        if isinstance(error, httpx.HTTPStatusError | wml_client_error.ApiRequestFailure):
            answer: Any = error.response
            read = _by_project if PROJECTS in str(answer.request.url) else _by_answer
            return read(request, answer.status_code, answer.text, answer.headers)
        if isinstance(error, wml_client_error.InvalidCredentialsError):  # Cloud Pak for Data's
            return _by_answer(request, 401, error.error_msg.partition("Error: ")[2])
        if isinstance(error, wml_client_error.CannotSetProjectOrSpace) and str(error.reason):
            return _by_project(request, 404, str(error.reason))
        if isinstance(error, wml_client_error.ExceededLimitOfAPICalls):
            return _by_answer(request, 429, str(error.reason))
        if isinstance(error, wml_client_error.GovCloudEnvironmentConsentError):
            return ConfigurationError(
                _short(error.error_msg),
                next_step="Set WATSONX_ACCEPT_GOV_ENV to True.",
                variable="WATSONX_ACCEPT_GOV_ENV",
            )
        if isinstance(error, wml_client_error.WMLClientError):
            found = _by_text(request, str(error.reason or error.error_msg))
            if found is not None:
                return found
            strange = strange or error
        if type(error) is Exception and str(error).startswith("Could not parse"):
            return request.unreadable(error)
    # The core knows these causes, such as a refused connection.
    known = (OSError, ValueError, httpx.HTTPError)
    if strange is None or any(isinstance(error, known) for error in request.chain):
        return None
    return request.unreadable(strange)


def _short(text: str) -> str:
    return textwrap.shorten(text, 300, placeholder="…").rstrip(".")


def _by_answer(
    request: ErrorRequest, status: int, text: str, headers: Mapping[str, str] | None = None
) -> MelleaAPIError:
    """Return the error for an answer of 400 to 599."""
    said = _read(text)
    if said is None:
        if status < 500 and status not in (401, 403, 407, 429):
            return request.unreadable(f"HTTP {status} with {text}")
        return request.answered(status, text, headers)
    return request.answered(status, said.words, headers, kind=_BY_CODE.get(said.code))


def _by_text(request: ErrorRequest, text: str) -> MelleaAPIError | None:
    """Return the error for what the SDK says of a streamed answer, or None if it says nothing.

    Args:
        request: What was being done.
        text: The SDK's message, with the status in it; or the JSON of an event.
    """
    failed = _STREAMED.search(text)
    if failed is not None:
        return _by_answer(request, int(failed["status"]), failed["text"])
    said = _read(text)
    if said is None:
        return None
    status = said.status if said.status is not None and 400 <= said.status <= 599 else 500
    return _by_answer(request, status, text)


def _by_project(
    request: ErrorRequest, status: int, text: str, headers: Mapping[str, str] | None = None
) -> MelleaAPIError:
    """Return the error for a project that the projects service does not give out."""
    said = _read(text)
    status = (said and said.status) or status
    if said and status == 403:
        return PermissionDeniedError(
            f"The key may not use the project of WATSONX_PROJECT_ID: {_short(said.words)}.",
            next_step="Make its owner a member of the project (Manage, Access control), or give "
            "another WATSONX_PROJECT_ID.",
            status=status,
        )
    if said and status in (400, 404, 422):
        there = f"there is no such project in the region of WATSONX_URL: {_short(said.words)}"
        return CredentialError(there, status=status, field="project_id")
    return _by_answer(request, status, text, headers)
