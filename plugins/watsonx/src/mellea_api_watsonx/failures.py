"""What watsonx.ai's refusals mean: read from the JSON of its three services.

The token service, the projects service and watsonx.ai itself each have a shape of their own,
and the SDK often hands over nothing but the text. It is imported when it has raised something.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

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
from mellea_api._provider import refusals as translation
from mellea_api._secrecy.veil import chain
from mellea_api.plugin import ErrorRequest, Target
from mellea_api_watsonx.http import PROJECTS

__all__ = ["translate_error"]

# What the codes mean where the status alone would be understood as something else.
_BY_CODE: Final[Mapping[str, type[ProviderError]]] = {
    "BXNIM0415E": CredentialError,  # the key is not there; answered with 400
    "authentication_token_expired": CredentialError,
    "authentication_token_not_valid": CredentialError,
    "model_no_support_for_function": RequestRefusedError,  # the model is there; answered with 404
    "model_not_supported": ModelNotFoundError,
    "token_quota_reached": RateLimitError,  # the plan's tokens are used up; answered with 403
}
_STREAMED: Final = re.compile(
    r"Request failed with: \(?(?P<text>.*?)\)? \(?(?P<status>\d{3})\)$", re.DOTALL
)


@frozen
class _Said:
    """What an answer says of a failure."""

    words: str
    code: str = ""
    status: int | None = None


def _read(text: str) -> _Said | None:
    """Return what a service's JSON says; None if it is none of theirs."""
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
        return _Said(words, str(errors[0].get("code", "")), status)
    words = next(
        (
            str(found[name])
            for name in ("errorMessage", "message", "reason", "error")
            if found.get(name)
        ),
        "",
    )
    code = str(found.get("errorCode", ""))
    return _Said(f"{words} ({code})" if code else words, code, status) if words else None


def translate_error(request: ErrorRequest) -> MelleaAPIError | None:
    """Say what the SDK raises in the library's terms, by status and code first."""
    import httpx
    from ibm_watsonx_ai import wml_client_error

    strange: wml_client_error.WMLClientError | None = None
    for error in chain(request.error):
        if isinstance(error, httpx.HTTPStatusError | wml_client_error.ApiRequestFailure):
            answer: Any = error.response
            if PROJECTS in str(answer.request.url):
                return by_project(request, answer.text, answer.status_code, answer.headers)
            return by_answer(request, answer.status_code, answer.text, answer.headers)
        if isinstance(error, wml_client_error.InvalidCredentialsError):  # Cloud Pak for Data's
            return by_answer(request, 401, error.error_msg.partition("Error: ")[2])
        if isinstance(error, wml_client_error.CannotSetProjectOrSpace) and str(error.reason):
            return by_project(request, str(error.reason))
        if isinstance(error, wml_client_error.ExceededLimitOfAPICalls):
            return by_answer(request, 429, str(error.reason))
        if isinstance(error, wml_client_error.GovCloudEnvironmentConsentError):
            return ConfigurationError(
                translation.said(error.error_msg),
                next_step="Set WATSONX_ACCEPT_GOV_ENV to True.",
                backend=request.target.backend,
                variable="WATSONX_ACCEPT_GOV_ENV",
            )
        if isinstance(error, wml_client_error.WMLClientError):
            found = by_text(request, str(error.reason or error.error_msg))
            if found is not None:
                return found
            strange = strange or error
        if type(error) is Exception and str(error).startswith("Could not parse"):
            return translation.unreadable(request, error)
    if strange is not None:
        # What it came from may be known to everybody: a connection that was refused, say.
        return translation.by_kind(request) or translation.unreadable(request, strange)
    return None


def by_answer(
    request: ErrorRequest, status: int, text: str, headers: Mapping[str, str] | None = None
) -> MelleaAPIError:
    """Return the error for an answer with an HTTP status of 400 to 599.

    Args:
        request: What was being done.
        status: The status.
        text: The answer's body.
        headers: The answer's headers.
    """
    said = _read(text)
    if said is None:
        if status < 500 and status not in (401, 403, 407, 429):
            return translation.unreadable(request, f"HTTP {status} with {text[:60]!r}")
        return translation.by_status(request, status, text, headers)
    words = said.words.rstrip(".")
    if said.code == "no_associated_service_instance_error":
        return _project_error(
            PermissionDeniedError,
            request,
            status,
            f"The project cannot call models: {translation.said(words).rstrip('.')}.",
            "Associate a watsonx.ai Runtime service with the project (Manage, Services and "
            "integrations), in the region of WATSONX_URL; or check WATSONX_PROJECT_ID.",
        )
    meaning = _BY_CODE.get(said.code)
    return translation.by_status(request, status, words, headers, meaning=meaning)


def by_text(request: ErrorRequest, text: str) -> MelleaAPIError | None:
    """Return the error for what the SDK says of a streamed answer, or None if it says nothing.

    Args:
        request: What was being done.
        text: The SDK's message, with the status in it; or the JSON of an event.
    """
    failed = _STREAMED.search(text)
    if failed is not None:
        return by_answer(request, int(failed["status"]), failed["text"])
    said = _read(text)
    if said is None:
        return None
    status = said.status if said.status is not None and 400 <= said.status <= 599 else 500
    return by_answer(request, status, text)


def by_project(
    request: ErrorRequest, text: str, status: int = 404, headers: Mapping[str, str] | None = None
) -> MelleaAPIError:
    """Return the error for a project that the projects service does not give out.

    Args:
        request: What was being done.
        text: The answer's body.
        status: The answer's status, if the body does not say another.
        headers: The answer's headers.
    """
    said = _read(text)
    if said is None:
        if status < 400 or status >= 500:
            return translation.by_status(request, status, text, headers)
        return translation.unreadable(request, f"instead of the project, {text[:60]!r}")
    status = said.status or status
    if status not in (400, 403, 404, 422):
        return translation.by_status(request, status, said.words, headers)
    words = translation.said(said.words).rstrip(".")
    if status == 403:
        return _project_error(
            PermissionDeniedError,
            request,
            status,
            f"The key may not use the project of WATSONX_PROJECT_ID: {words}.",
            "Make its owner a member of the project (Manage, Access control), or give another "
            "WATSONX_PROJECT_ID.",
        )
    return _project_error(
        CredentialError,
        request,
        status,
        f"There is no project with the id of WATSONX_PROJECT_ID: {words}.",
        "Check WATSONX_PROJECT_ID, or project_id=, and that WATSONX_URL is the project's region. "
        + _help(request.target),
    )


def _help(target: Target) -> str:
    fields = target.descriptor.credentials
    return next((field.help for field in fields if field.name == "project_id"), "")


def _project_error(
    kind: type[CredentialError | PermissionDeniedError],
    request: ErrorRequest,
    status: int,
    reason: str,
    next_step: str,
) -> MelleaAPIError:
    target = request.target
    facts: dict[str, Any] = {
        "backend": target.backend,
        "model_id": target.model_id,
        "base_url": target.base_url or target.descriptor.default_base_url,
        "status": status,
    }
    if issubclass(kind, CredentialError):
        facts |= {"field": "project_id", "variables": ("WATSONX_PROJECT_ID",)}
    return kind(reason, next_step=next_step.strip(), **facts)
