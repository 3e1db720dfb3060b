"""Model lists and credentials: what asks huggingface_hub, about the local cache and the Hub."""

from __future__ import annotations

import time
from typing import Any, Final

from mellea_api import (
    ConfigurationError,
    CredentialError,
    CredentialFinding,
    CredentialReport,
    CredentialRequest,
    ErrorRequest,
    ModelInfo,
    ModelNotFoundError,
    ModelsRequest,
    PermissionDeniedError,
    Secret,
    Target,
    translation,
)
from mellea_api.authoring import call_with_deadline
from mellea_api_hf.failures import translate_error
from mellea_api_hf.settings import LISTING, LOADING, setting
from mellea_api_hf.token import from_file

__all__ = ["list_models", "validate_credentials"]

_MOST: Final = 50


def _token(secret: Secret | None) -> str | None:
    """Return the token to send; None lets huggingface_hub read its file, and renew what it says."""
    return None if secret is None or from_file(secret) else secret.reveal()


# ---------------------------------------------------------------------------------- model lists


def list_models(request: ModelsRequest) -> list[ModelInfo]:
    """List what is in the local cache, then the catalogue; or, with `hub`, what the Hub has.

    `hub=True` gives the models that are downloaded most, `hub="granite"` those whose names match,
    `limit` how many.

    Raises:
        ConfigurationError: If a setting is wrong.
    """
    target = request.target
    for name in target.settings:
        if name not in (*LISTING, *LOADING):
            raise ConfigurationError(
                f"Cannot list the models of the {target.backend} backend with {name}=.",
                next_step=f"It takes {', '.join(LISTING)}.",
                backend=target.backend,
            )
    hub, limit = setting(target, "hub", False), setting(target, "limit", _MOST)
    if hub:
        return _on_the_hub(request, hub, limit)
    cached = _in_the_cache(target)
    names = {model.id for model in cached}
    return [*cached, *(model for model in target.descriptor.models if model.id not in names)]


def _in_the_cache(target: Target) -> list[ModelInfo]:
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        found = scan_cache_dir()
    except CacheNotFound:  # nothing was ever downloaded
        return []
    about = {model.id: model for model in target.descriptor.models}
    models = []
    for repo in sorted(found.repos, key=lambda repo: repo.repo_id):
        files = {file.file_name for revision in repo.revisions for file in revision.files}
        if repo.repo_type != "model" or not any(
            name.endswith((".safetensors", ".bin")) for name in files
        ):
            continue
        known = about.get(repo.repo_id)
        models.append(
            ModelInfo(
                id=repo.repo_id,
                description=f"{repo.size_on_disk_str} on disk",
                size=known.size if known else None,
                context_length=known.context_length if known else None,
                default=repo.repo_id == target.descriptor.default_model,
                source="cached",
                age=max(0.0, time.time() - repo.last_modified),
            )
        )
    return models


def _on_the_hub(request: ModelsRequest, hub: bool | str, limit: int) -> list[ModelInfo]:
    from huggingface_hub import HfApi

    token = request.credentials.get("token")

    def ask() -> list[Any]:
        return list(
            HfApi(token=_token(token)).list_models(
                filter="text-generation",
                search=hub if isinstance(hub, str) else None,
                sort="downloads",
                limit=limit,
            )
        )

    return [
        ModelInfo(
            id=model.id,
            description=f"{model.downloads or 0:,} downloads"
            + (", gated" if getattr(model, "gated", None) else ""),
            default=model.id == request.target.descriptor.default_model,
            source="live",
        )
        for model in call_with_deadline(ask, request.timeout)
    ]


# ---------------------------------------------------------------------------------- credentials


def validate_credentials(request: CredentialRequest) -> CredentialReport:
    """Ask the Hub who the token belongs to, and whether the model may be downloaded."""
    from huggingface_hub import HfApi

    target = request.target
    token = request.credentials.get("token")
    api = HfApi(token=_token(token) if token else False)

    def report(status: Any, message: str) -> CredentialReport:
        finding = CredentialFinding(
            name="token",
            status=("present" if status == "not-needed" else status) if token else "not-needed",
            source=token.source if token else "",
            hint=token.hint if token else "",
        )
        return CredentialReport(
            backend=target.backend, status=status, fields=[finding], message=message
        )

    def ask() -> str:
        name = str(api.whoami()["name"]) if token else ""
        api.auth_check(target.model_id)
        return name

    try:
        name = call_with_deadline(ask, request.timeout)
    except Exception as error:
        typed = translate_error(
            ErrorRequest(
                target=target, operation="credentials", error=error, timeout=request.timeout
            )
        ) or translation.by_kind(
            ErrorRequest(
                target=target, operation="credentials", error=error, timeout=request.timeout
            )
        )
        if typed is None:
            raise
        if isinstance(typed, CredentialError):
            return report("rejected" if token else "missing", str(typed))
        if isinstance(typed, PermissionDeniedError):
            return report("forbidden", str(typed))
        if isinstance(typed, ModelNotFoundError):
            return report("unchecked", str(typed))
        return report("unreachable", str(typed))
    if token:
        return report("present", f"The token of {name} is good, and opens {target.model_id}.")
    return report("not-needed", f"{target.model_id} needs no token.")
