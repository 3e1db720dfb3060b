"""What huggingface_hub, transformers and torch raise, in the library's terms."""

from __future__ import annotations

import re
from typing import Any, Final

from mellea_api import (
    BackendUnavailableError,
    CredentialError,
    MelleaAPIError,
    ModelNotFoundError,
    PermissionDeniedError,
    RequestRefusedError,
)
from mellea_api._provider import refusals as translation
from mellea_api._secrecy.veil import chain
from mellea_api.plugin import ErrorRequest, Target
from mellea_api_hf.token import VARIABLES

__all__ = ["translate_error"]


def translate_error(request: ErrorRequest) -> MelleaAPIError | None:
    """Say what huggingface_hub, transformers and torch raise in the library's terms."""
    found = list(chain(request.error))
    for error in found:
        if isinstance(error, MelleaAPIError):
            return error
    for error in found:
        typed = _of_the_hub(request, error)
        if typed is not None:
            return typed
    for error in found:
        typed = _of_the_model(request, error)
        if typed is not None:
            return typed
    return None


def _facts(target: Target, status: int | None = None) -> dict[str, Any]:
    return {"backend": target.backend, "model_id": target.model_id, "status": status}


def _of_the_hub(request: ErrorRequest, error: BaseException) -> MelleaAPIError | None:
    from huggingface_hub import errors

    target = request.target
    model = target.model_id
    if isinstance(error, errors.GatedRepoError):
        return _gated(target, _status(error))
    if isinstance(error, errors.RevisionNotFoundError):
        return ModelNotFoundError(
            f"The model {model!r} has no revision {target.settings.get('revision')!r} on the Hub.",
            next_step=f"See https://huggingface.co/{model}/tree/main for those it has.",
            **_facts(target, 404),
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return ModelNotFoundError(
            f"The Hub has no model {model!r}, or it is private and the token does not open it.",
            next_step=f"{target.descriptor.model_hint.format(model=model)} For a private one, set "
            "HF_TOKEN.",
            **_facts(target, _status(error)),
        )
    if isinstance(error, errors.HFValidationError):
        return ModelNotFoundError(
            f"{model!r} is neither a folder here nor an id that the Hub can have.",
            next_step="Give an id such as meta-llama/Llama-3.2-3B-Instruct, or a folder.",
            **_facts(target),
        )
    if isinstance(error, errors.OfflineModeIsEnabled):
        return _offline(target)
    if isinstance(error, errors.HfHubHTTPError):
        status = _status(error)
        if status == 401:
            return CredentialError(
                f"The Hub rejected the token: {translation.said(error)}.",
                next_step=f"Check {VARIABLES[0]}. {target.descriptor.credentials[0].help}",
                field="token",
                variables=VARIABLES,
                **_facts(target, 401),
            )
        if status is not None:
            headers = error.response.headers
            return translation.by_status(request, status, str(error), headers)
    if type(error).__name__ == "HTTPStatusError":  # httpx's, of a redirect
        return translation.by_status(request, _status(error) or 500, "", error.response.headers)  # type: ignore[attr-defined]
    return None


def _status(error: Any) -> int | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _gated(target: Target, status: int | None) -> MelleaAPIError:
    page = f"https://huggingface.co/{target.model_id}"
    # 401: nobody knows who asks; 403: it is known, and not let in.
    if status == 401:
        return CredentialError(
            f"The model {target.model_id!r} is gated: the Hub gives it only to those who were "
            "let in, and was given no token, or none that it knows.",
            next_step=f"Ask for access at {page}, then set {VARIABLES[0]}, or pass token=. "
            f"{target.descriptor.credentials[0].help}",
            field="token",
            variables=VARIABLES,
            **_facts(target, status),
        )
    return PermissionDeniedError(
        f"The model {target.model_id!r} is gated, and the token's owner was not let in.",
        next_step=f"Ask for access at {page}, or use another model.",
        **_facts(target, status),
    )


def _offline(target: Target) -> MelleaAPIError:
    return BackendUnavailableError(
        f"Cannot ask the Hub about {target.model_id!r}: HF_HUB_OFFLINE is set.",
        next_step="Unset it, or use a model of the local cache (`mellea-api models hf`).",
        **_facts(target),
    )


_NO_MEMORY: Final = re.compile(r"(can't allocate|not enough) memory: you tried to allocate")
_NO_MODEL: Final = (
    "does not appear to have",
    "nrecognized model",
    "not a valid",
    "backend tokenizer",
)
"""Parts of what transformers says of a folder, or a repository, without a model."""


def _of_the_model(request: ErrorRequest, error: BaseException) -> MelleaAPIError | None:
    from huggingface_hub import constants

    target = request.target
    kind, text = type(error).__name__, str(error)
    # Of the processor's memory, torch says it in a RuntimeError.
    if kind in ("OutOfMemoryError", "MemoryError") or _NO_MEMORY.search(text):
        return BackendUnavailableError(
            f"The memory does not hold the model {target.model_id!r}: {translation.said(text)}.",
            next_step="Use a smaller model, or clean up the sessions that hold others.",
            **_facts(target),
        )
    if request.operation == "call" and isinstance(error, ValueError):
        if "model_kwargs" in text:
            return RequestRefusedError(
                f"generate() refused the options: {translation.said(text)}.",
                next_step=f"`mellea-api options {target.backend}` shows what it takes.",
                **_facts(target),
            )
        if "chat_template" in text or "chat template" in text:
            return RequestRefusedError(
                f"The model {target.model_id!r} cannot chat: {translation.said(text)}.",
                next_step="Use a model that was made for conversations (often -Instruct).",
                **_facts(target),
            )
    if request.operation != "session":
        return None
    if isinstance(error, OSError | ValueError):
        if constants.HF_HUB_OFFLINE and "cache" in text:
            return _offline(target)
        if "connect to" in text or "couldn't connect" in text:
            return translation.unreachable(request, text)
        if any(sign in text for sign in _NO_MODEL):
            return ModelNotFoundError(
                f"{target.model_id!r} holds no model that transformers can load: "
                f"{translation.said(text)}.",
                next_step="It needs a config.json, a tokenizer and weights, as save_pretrained() "
                "writes them.",
                **_facts(target),
            )
        if "does not recognize this architecture" in text or "trust_remote_code" in text:
            return RequestRefusedError(
                f"transformers cannot load the model {target.model_id!r}: "
                f"{translation.said(text)}.",
                next_step="Upgrade transformers; where the model brings its own code and you "
                "trust it, pass trust_remote_code=True.",
                **_facts(target),
            )
    return None
