"""Which models a region has: asked of it (`GET /ml/v1/foundation_model_specs`), without the SDK."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Final

import httpx

from mellea_api import ModelInfo, ModelNotFoundError
from mellea_api._provider.authoring import UnreadableAnswerError, run_with_deadline
from mellea_api._secrecy.logs import logger
from mellea_api.plugin import Target, careful
from mellea_api_watsonx.http import trusted

__all__ = ["check_model", "models"]

_API_VERSION: Final = "2025-02-11"
_MOST_PER_PAGE: Final = 200


def models(target: Target, url: str, token: str | None, seconds: float) -> list[ModelInfo]:
    """Ask which models write text.

    Args:
        target: Its default model is marked.
        url: The address, checked.
        token: What Cloud Pak for Data wants; IBM Cloud wants none.
        seconds: The time that it may take.
    """
    found = run_with_deadline(lambda: _specs(url, token), seconds)
    return [
        _info(spec, target.descriptor.default_model or "")
        for spec in sorted(found, key=lambda spec: spec["model_id"])
        if _writes(spec) and "withdrawn" not in _ids(spec.get("lifecycle"))
    ]


def check_model(target: Target, url: str, token: str | None, patience: float) -> None:
    """See that the region has the model; it costs nothing.

    Args:
        target: The model.
        url: The address, checked.
        token: What Cloud Pak for Data wants; IBM Cloud wants none.
        patience: Seconds allowed for the answer.

    Raises:
        ModelNotFoundError: If it has not.
    """
    found = run_with_deadline(lambda: _specs(url, token), patience)
    spec = next((spec for spec in found if spec["model_id"] == target.model_id), None)
    if spec is not None:
        stages = _ids(spec.get("lifecycle")) & {"deprecated", "constricted"}
        if stages:
            logger.warning(
                "watsonx.ai calls the model %s %s: choose another before it is withdrawn.",
                target.model_id,
                " and ".join(sorted(stages)),
            )
        return
    known = sorted(spec["model_id"] for spec in found if _writes(spec))
    near = difflib.get_close_matches(target.model_id, known, n=3, cutoff=0.4)
    listed = (*near, *(name for name in known if name not in near))
    there = f"It has {', '.join(listed[:8])}" if listed else "It has no models"
    raise ModelNotFoundError(
        f"watsonx.ai at {url} does not have the model {target.model_id!r}. {there}.",
        next_step="Use one of them, another region (WATSONX_URL), or validate=False if the "
        "region has models that it does not list.",
        backend=target.backend,
        model_id=target.model_id,
        base_url=url,
        status=404,
        known=listed,
    )


async def _specs(url: str, token: str | None) -> list[dict[str, Any]]:
    """Ask which models there are; IBM Cloud tells everybody, Cloud Pak for Data its users."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    page = {"version": _API_VERSION, "limit": str(_MOST_PER_PAGE)}
    found: list[dict[str, Any]] = []
    client = httpx.AsyncClient(verify=trusted(), headers=headers, timeout=None)
    async with careful(client) as http:
        while True:
            answer = await http.get(f"{url}/ml/v1/foundation_model_specs", params=page)
            answer.raise_for_status()
            said = answer.json()
            models = said.get("resources") if isinstance(said, dict) else None
            if not isinstance(models, list) or not all(_is_model(model) for model in models):
                raise UnreadableAnswerError(f"{answer.text[:60]!r} is no list of models")
            found += models
            following = said.get("next")
            href = following.get("href") if isinstance(following, dict) else None
            start = httpx.URL(href).params.get("start") if isinstance(href, str) else None
            if not models or not start or start == page.get("start"):
                return found
            page["start"] = start


def _is_model(found: Any) -> bool:
    return isinstance(found, dict) and isinstance(found.get("model_id"), str)


def _ids(found: Any) -> set[str]:
    """Return the ids of a list of things with an `id`."""
    things = found if isinstance(found, list) else []
    return {str(thing.get("id")) for thing in things if isinstance(thing, dict)}


def _writes(spec: Mapping[str, Any]) -> bool:
    functions = _ids(spec.get("functions"))
    return not functions or bool(functions & {"text_chat", "text_generation"})


def _info(spec: Mapping[str, Any], default: str) -> ModelInfo:
    limits = spec.get("model_limits")
    length = limits.get("max_sequence_length") if isinstance(limits, dict) else None
    size = spec.get("number_params")
    about = spec.get("short_description") or spec.get("label") or ""
    return ModelInfo(
        id=spec["model_id"],
        description=" ".join(str(about).split()),
        size=size.upper() if isinstance(size, str) and size else None,
        context_length=length if isinstance(length, int) else None,
        default=spec["model_id"] == default,
        source="live",
    )
