"""What the OpenAI SDK raises, in the library's terms: by status and code first, text last."""

from __future__ import annotations

import openai

from mellea_api import ErrorRequest, MelleaAPIError, translation

__all__ = ["translate_error"]


def translate_error(request: ErrorRequest) -> MelleaAPIError | None:
    """Say what the SDK raises in the library's terms, by status and code first."""
    for error in translation.chain(request.error):
        if isinstance(error, openai.APIStatusError):
            status, text = error.status_code, error.message
            if error.code == "model_not_found":
                status, text = 404, text if "model" in text else f"model not found: {text}"
            elif status == 404 and "not supported in the" in text:
                status = 400  # the model is there, and not at the raw endpoint
            elif error.code in ("context_length_exceeded", "string_above_max_length"):
                text = f"context length exceeded: {text}"
            elif error.code in ("content_filter", "content_policy_violation"):
                text = f"content filter: {text}"
            return translation.by_status(request, status, text, error.response.headers)
        if isinstance(error, openai.ContentFilterFinishReasonError):
            return translation.by_status(request, 400, "content filter")
        if isinstance(error, openai.APIResponseValidationError):
            return translation.unreadable(request, error.message)
        if type(error) is openai.APIError:  # an error inside a stream has no status
            return translation.by_status(request, 500, error.message)
    return None
