"""Questions to the Hub: about a model, a token, and which models there are.

huggingface_hub's own client cannot ask them within a time: it waits, and reads an answer, without
a limit, and follows redirects to any host. So they are asked here, with its headers and its
address. Weights are downloaded by huggingface_hub.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

import httpx
from huggingface_hub import constants, scan_cache_dir
from huggingface_hub.errors import CacheNotFound, OfflineModeIsEnabled
from huggingface_hub.utils import build_hf_headers

from mellea_api import AnswerError, ModelInfo
from mellea_api.plugin import careful

_RENAMES = 5
"""Redirects that are followed: the Hub sends callers on from a model's old name to its new one."""


async def get(
    question: str, token: Any, parameters: Mapping[str, Any] | None = None
) -> httpx.Response:
    """Ask the Hub, and return its answer.

    Args:
        question: The path below `/api/`, or the address of a further page.
        token: As huggingface_hub takes it: a token, None for its own, False for none.
        parameters: What stands in the query.

    Raises:
        OfflineModeIsEnabled: If the Hub must not be asked.
        httpx.HTTPStatusError: If it refuses, or sends the caller on to another host.
        httpx.TransportError: If it cannot be reached.
    """
    if constants.HF_HUB_OFFLINE:
        raise OfflineModeIsEnabled("HF_HUB_OFFLINE is set")
    client = careful(
        httpx.AsyncClient(
            base_url=f"{constants.ENDPOINT}/api/",
            headers=build_hf_headers(token=token),
            verify=_authorities(),
            timeout=None,
        )
    )
    async with client:
        answer = await client.get(question, params=parameters)
        for _ in range(_RENAMES):
            following = answer.next_request
            if following is None or following.url.join("/") != answer.url.join("/"):
                break
            answer = await client.send(following)
    answer.raise_for_status()
    return answer


def _authorities() -> ssl.SSLContext | bool:
    # Below 1.0 huggingface_hub downloads with requests, whose variables the user may have set.
    names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    file = next(filter(None, map(os.environ.get, names)), None)
    return ssl.create_default_context(cafile=file) if file and os.path.isfile(file) else True


async def confirm(question: str, token: Any) -> None:
    """Ask the Hub something that it answers for free, whatever the answer holds."""
    answer = await get(question, token)
    if "html" in answer.headers.get("content-type", ""):  # a proxy's page
        raise AnswerError(f"it is a web page: {answer.text}")


async def check_model(model_id: str, revision: str | None, token: str | None) -> None:
    """Ask whether the Hub has the model, and whether it is open to the token."""
    name = quote(revision or "main", safe="")
    place = model_id if name == "main" else f"{model_id}/revision/{name}"
    answer = await get(f"models/{place}", token)
    about: Any = answer.json()
    if not _is_model(about):
        raise AnswerError(f"it does not describe the model: {answer.text}")
    if about.get("gated"):
        # transformers 5 would ask again without the token, and report the answer to that.
        await confirm(f"models/{about['id']}/auth-check", token)


async def search(words: str, limit: int, token: str | None) -> list[ModelInfo]:
    """Return the models of the Hub that write text, the most downloaded first.

    Args:
        words: What the names contain; an empty text for all.
        limit: How many models.
        token: Lets the Hub show private models.
    """
    wanted = {"filter": "text-generation", "sort": "downloads", "limit": limit}
    answer = await get("models", token, {**wanted, "search": words} if words else wanted)
    found: list[Any] = []
    while True:
        page = answer.json()
        if not isinstance(page, list) or not all(map(_is_model, page)):
            raise AnswerError(f"it is no list of models: {answer.text}")
        found += page
        following = answer.links.get("next", {}).get("url", "")
        if len(found) >= limit or not following.startswith(str(answer.url.join("/"))):
            break
        answer = await get(following, token)
    return [
        ModelInfo(
            id=model["id"],
            description=f"{model.get('downloads') or 0:,} downloads"
            + (", gated" if model.get("gated") else ""),
        )
        for model in found[:limit]
    ]


def _is_model(found: Any) -> bool:
    return isinstance(found, dict) and isinstance(found.get("id"), str)


def cached_models(catalogue: Iterable[ModelInfo]) -> list[ModelInfo]:
    """Return the models in the local cache, then the others of the catalogue."""
    try:
        repos = scan_cache_dir().repos
    except CacheNotFound:  # nothing was ever downloaded
        repos = frozenset()
    cached = {}
    for repo in sorted(repos, key=lambda repo: repo.repo_id):
        files = {file.file_name for revision in repo.revisions for file in revision.files}
        weights = any(name.endswith((".safetensors", ".bin")) for name in files)
        if repo.repo_type == "model" and weights:
            cached[repo.repo_id] = ModelInfo(
                id=repo.repo_id,
                description=f"{repo.size_on_disk_str} on disk",
                source="cached",
                age=max(0.0, time.time() - repo.last_modified),
            )
    return [*cached.values(), *(model for model in catalogue if model.id not in cached)]
