"""What the Ollama SDK raises, in the library's terms: by status first, text last."""

from __future__ import annotations

import re

import httpx

from mellea_api import MelleaAPIError, ModelNotFoundError
from mellea_api._provider import refusals as translation
from mellea_api._secrecy.veil import chain
from mellea_api.plugin import ErrorRequest
from mellea_api_ollama.loading import ollama

__all__ = ["translate_error"]


def translate_error(request: ErrorRequest) -> MelleaAPIError | None:
    """Say what the SDK raises in the library's terms.

    `ollama.ResponseError` has the HTTP status, or -1 where the error came inside a stream.
    """
    found = list(chain(request.error))
    # The SDK keeps the text and the status; what it came from has the headers.
    headers = next((error.response.headers for error in found if hasattr(error, "response")), None)
    for error in found:
        if isinstance(error, ollama.ResponseError):
            status = error.status_code if error.status_code >= 300 else None
            gone = status in (None, 404) and re.search(r"model.* not found", error.error)
            meaning = ModelNotFoundError if gone else None
            return translation.by_status(request, status, error.error, headers, meaning=meaning)
        if isinstance(error, ollama.RequestError):
            return translation.by_status(request, 400, error.error)
        if isinstance(error, httpx.ConnectError):
            # The SDK says in its place that Ollama should be started, whatever the matter is.
            return translation.unreachable(request, error)
    return None
