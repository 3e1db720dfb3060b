"""What the refusals of watsonx.ai's three services mean: tokens, projects, and the models.

Their codes stand in the descriptor. The SDK often passes on nothing but the text.
"""

from __future__ import annotations

import re
from typing import Any, Final

import httpx
from ibm_watsonx_ai import wml_client_error

from mellea_api import ConfigurationError, MelleaAPIError
from mellea_api.plugin import ErrorRequest
from mellea_api_watsonx.connection import PROJECTS

_STREAMED: Final = re.compile(
    r"Request failed with: \(?(?P<text>.*?)\)? \(?(?P<status>\d{3})\)$", re.DOTALL
)


def translate_error(request: ErrorRequest) -> MelleaAPIError | None:
    """Return the error for an exception of the SDK: by status and code first, then by its text."""
    strange: BaseException | None = None
    for error in request.chain:
        if isinstance(error, httpx.HTTPStatusError | wml_client_error.ApiRequestFailure):
            answer: Any = error.response
            if PROJECTS in str(answer.request.url):
                return _of_project(request, answer)
            return request.answered(answer.status_code, answer.text, answer.headers)
        if isinstance(error, wml_client_error.InvalidCredentialsError):  # Cloud Pak for Data's
            return request.answered(401, error.error_msg.partition("Error: ")[2])
        if isinstance(error, wml_client_error.GovCloudEnvironmentConsentError):
            return ConfigurationError(
                error.error_msg,
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


def _of_project(request: ErrorRequest, answer: Any) -> MelleaAPIError:
    """Return the error for a project that the projects service does not give out."""
    step = (
        "Make the key's owner a member of the project of WATSONX_PROJECT_ID (Manage, Access "
        "control), or give another project."
    )
    return request.answered(
        answer.status_code,
        answer.text,
        answer.headers,
        field="project_id" if answer.status_code in (400, 404, 422) else None,
        next_step=step if answer.status_code == 403 else None,
    )


def _by_text(request: ErrorRequest, text: str) -> MelleaAPIError | None:
    """Return the error for what the SDK says of a streamed answer, or None if it says nothing.

    Args:
        request: What was being done.
        text: The SDK's message, with the status in it; or the JSON of an event.
    """
    failed = _STREAMED.search(text)
    if failed is not None:
        return request.answered(int(failed["status"]), failed["text"])
    return request.answered(None, text) if text.lstrip().startswith("{") else None
