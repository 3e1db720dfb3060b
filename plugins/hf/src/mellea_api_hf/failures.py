"""What huggingface_hub, transformers and torch raise, as errors of this library.

An HTTP status without a meaning of the Hub's own is left to the core.
"""

from __future__ import annotations

import re
import textwrap
from typing import Any, Final

from mellea_api import (
    BackendUnavailableError,
    MelleaAPIError,
    ModelNotFoundError,
    RequestRefusedError,
)
from mellea_api.plugin import ErrorRequest


def translate_error(request: ErrorRequest) -> MelleaAPIError | None:
    """Return the error for an exception of huggingface_hub, transformers or torch, or None."""
    if any(isinstance(error, MelleaAPIError) for error in request.chain):
        return None  # the core finds it
    for translate in (_of_the_hub, _of_the_model):
        for error in request.chain:
            if (typed := translate(request, error)) is not None:
                return typed
    return None


def _of_the_hub(request: ErrorRequest, error: BaseException) -> MelleaAPIError | None:
    from huggingface_hub import errors

    page = f"https://huggingface.co/{request.target.model_id}"
    answer: Any = getattr(error, "response", None)
    status = getattr(answer, "status_code", None)
    code = answer.headers.get("x-error-code") if isinstance(status, int) else None
    if code == "GatedRepo":
        gated = f"the model is gated: ask for access at {page}"
        return request.answered(status, gated, answer.headers)
    if code == "RevisionNotFound":
        revision = request.target.setting("revision")
        reason = f"it has no revision {revision!r}; {page}/tree/main shows those it has"
        return ModelNotFoundError(reason, status=404)
    unknown = code == "RepoNotFound" or (status == 404 and not code)
    if unknown or isinstance(error, errors.RepositoryNotFoundError):
        reason = "there is none, or it is private and the token does not open it"
        return ModelNotFoundError(reason, status=status)
    if isinstance(error, errors.HFValidationError):
        return ModelNotFoundError("that is neither a folder here nor a possible id on the Hub")
    if isinstance(error, errors.OfflineModeIsEnabled):
        return request.unreachable("HF_HUB_OFFLINE is set")
    return None


_NO_MEMORY: Final = re.compile(r"(can't allocate|not enough) memory: you tried to allocate")
_NO_MODEL: Final = re.compile(
    "does not appear to have|nrecognized model|not a valid|backend tokenizer"
)
"""What transformers says of a folder, or a repository, without a model."""


def _of_the_model(request: ErrorRequest, error: BaseException) -> MelleaAPIError | None:
    model, kind, text = request.target.model_id, type(error).__name__, str(error)
    said = textwrap.shorten(text, 300, placeholder="…").rstrip(".")
    # Of the processor's memory, torch says it in a RuntimeError.
    if kind in ("OutOfMemoryError", "MemoryError") or _NO_MEMORY.search(text):
        return BackendUnavailableError(
            f"There is not enough memory for the model {model!r}: {said}.",
            next_step="Use a smaller model, or clean up the sessions that hold others.",
        )
    if type(error).__module__.startswith("jinja2"):
        return RequestRefusedError(
            f"The chat template of the model {model!r} refuses the conversation: {said}.",
            next_step="Write a system prompt into the prompt, let user and assistant take turns, "
            "or use a model whose template takes this.",
        )
    if request.operation == "call" and isinstance(error, ValueError):
        if "model_kwargs" in text:
            return RequestRefusedError(said)
        if "chat_template" in text or "chat template" in text:
            return RequestRefusedError(
                f"The model {model!r} cannot chat: {said}.",
                next_step="Use a model that was made for conversations (often -Instruct).",
            )
    if request.operation == "session" and isinstance(error, OSError | ValueError):
        if "connect to" in text:
            return request.unreachable(text)
        if _NO_MODEL.search(text):
            return ModelNotFoundError(f"transformers cannot load it: {said}")
        if "does not recognize this architecture" in text or "trust_remote_code" in text:
            return RequestRefusedError(
                f"transformers cannot load the model {model!r}: {said}.",
                next_step="Upgrade transformers; where the model brings its own code and you "
                "trust it, pass trust_remote_code=True.",
            )
    return None
