"""What huggingface_hub, transformers and torch raise, as errors of this library.

An HTTP status without a meaning of the Hub's own is left to the core.
"""

from __future__ import annotations

import re
import textwrap
from typing import Any, Final

from mellea_api import (
    BackendUnavailableError,
    CredentialError,
    MelleaAPIError,
    ModelNotFoundError,
    PermissionDeniedError,
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

    about, model = request.target.descriptor, request.target.model_id
    token, page = about.credentials[0], f"https://huggingface.co/{model}"
    answer: Any = getattr(error, "response", None)
    status = getattr(answer, "status_code", None)
    code = answer.headers.get("x-error-code") if isinstance(status, int) else None
    if code == "GatedRepo" and status == 401:  # nobody knows who asks
        return CredentialError(
            f"The model {model!r} is gated: the Hub gives it only to those who asked for access, "
            "and it got no token, or none that it knows.",
            next_step=f"Ask for access at {page}, then set {token.variables[0]}, or pass token=. "
            f"{token.help}",
            status=status,
        )
    if code == "GatedRepo":
        return PermissionDeniedError(
            f"The model {model!r} is gated, and the token's owner has no access.",
            next_step=f"Ask for access at {page}, or use another model.",
            status=status,
        )
    if code == "RevisionNotFound":
        revision = request.target.setting("revision")
        return ModelNotFoundError(
            f"The model {model!r} has no revision {revision!r} on the Hub.",
            next_step=f"{page}/tree/main shows its revisions.",
            status=404,
        )
    unknown = code == "RepoNotFound" or (status == 404 and not code)
    if unknown or isinstance(error, errors.RepositoryNotFoundError):
        return ModelNotFoundError(
            f"The Hub has no model {model!r}, or it is private and the token does not open it.",
            next_step=f"{about.model_hint.format(model=model)} For a private one, set "
            f"{token.variables[0]}.",
            status=status,
        )
    if isinstance(error, errors.HFValidationError):
        return ModelNotFoundError(
            f"{model!r} is neither a folder on this machine nor a possible id on the Hub.",
            next_step="Give an id such as meta-llama/Llama-3.2-3B-Instruct, or a folder.",
        )
    if isinstance(error, errors.OfflineModeIsEnabled):
        return BackendUnavailableError(
            f"Cannot ask the Hub about {model!r}: HF_HUB_OFFLINE is set.",
            next_step="Unset it, or use a model of the local cache (`mellea-api models hf`).",
        )
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
            return ModelNotFoundError(
                f"{model!r} has no model that transformers can load: {said}.",
                next_step="It needs a config.json, a tokenizer and weights, as save_pretrained() "
                "writes them.",
            )
        if "does not recognize this architecture" in text or "trust_remote_code" in text:
            return RequestRefusedError(
                f"transformers cannot load the model {model!r}: {said}.",
                next_step="Upgrade transformers; where the model brings its own code and you "
                "trust it, pass trust_remote_code=True.",
            )
    return None
