"""Model lists: what asks huggingface_hub, about the local cache and the Hub."""

from __future__ import annotations

import time
from typing import Any, Final

from mellea_api import ModelInfo
from mellea_api._provider.authoring import UnreadableAnswerError, check_listing
from mellea_api.plugin import ModelsRequest, Target
from mellea_api_hf.http import ask, read
from mellea_api_hf.settings import LISTING, LOADING, setting
from mellea_api_hf.token import to_send

__all__ = ["list_models"]

_MOST: Final = 50


def list_models(request: ModelsRequest) -> list[ModelInfo]:
    """List what is in the local cache, then the catalogue; or, with `hub`, what the Hub has.

    `hub=True` gives the models that are downloaded most, `hub="granite"` those whose names match,
    `limit` how many.

    Raises:
        ConfigurationError: If a setting is wrong.
    """
    target = request.target
    check_listing(target, *LISTING, also=LOADING)
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
    token = to_send(request.credentials.get("token"))
    wanted = {"filter": "text-generation", "sort": "downloads", "limit": limit}
    if isinstance(hub, str):
        wanted["search"] = hub
    models: list[dict[str, Any]] = []
    answer = ask("models", token, request.timeout, wanted)
    while True:
        found = read(answer)
        if not isinstance(found, list) or not all(_is_model(model) for model in found):
            raise UnreadableAnswerError(f"{answer.text[:60]!r} is no list of models")
        models += found
        following = answer.links.get("next", {}).get("url", "")
        if len(models) >= limit or not following.startswith(str(answer.url.join("/"))):
            break
        answer = ask(following, token, request.timeout)
    return [
        ModelInfo(
            id=model["id"],
            description=f"{model.get('downloads') or 0:,} downloads"
            + (", gated" if model.get("gated") else ""),
            default=model["id"] == request.target.descriptor.default_model,
            source="live",
        )
        for model in models[:limit]
    ]


def _is_model(found: Any) -> bool:
    return isinstance(found, dict) and isinstance(found.get("id"), str)
