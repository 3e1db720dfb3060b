"""What the Ollama SDK raises, in the library's terms: by status first, text last."""

from __future__ import annotations

import httpx
import ollama

from mellea_api import ErrorRequest, MelleaAPIError, translation

__all__ = ["translate_error"]


def translate_error(request: ErrorRequest) -> MelleaAPIError | None:
    """Say what the SDK raises in the library's terms.

    `ollama.ResponseError` has the HTTP status, or -1 where the error came inside a stream.
    """
    for error in translation.chain(request.error):
        if isinstance(error, ollama.ResponseError):
            # The SDK keeps the text and the status; what it came from has the headers.
            answer = getattr(error.__context__, "response", None)
            headers = getattr(answer, "headers", None)
            status = error.status_code if error.status_code >= 300 else 500
            if "not found" in error.error and "model" in error.error:
                status = 404
            return translation.by_status(request, status, error.error, headers)
        if isinstance(error, ollama.RequestError):
            return translation.by_status(request, 400, error.error)
        if isinstance(error, httpx.ConnectError):
            # The SDK says in its place that Ollama should be started, whatever the matter is.
            return translation.unreachable(request, error)
    return None
