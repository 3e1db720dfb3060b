"""What the tests of kept model lists ask for, and what there is to keep."""

from __future__ import annotations

from typing import Any

from support.fake_plugins import described

from mellea_api import ModelInfo
from mellea_api._models.cache import ModelCache
from mellea_api.plugin import Target


def target(**facts: Any) -> Target:
    variables = facts.pop("list_variables", ())
    return Target(descriptor=described("fake", list_variables=variables), model_id="small", **facts)


def lists(*names: str) -> list[ModelInfo]:
    return [ModelInfo(id=name, size="3B", source="live") for name in names]


def key_of(cache: ModelCache, **facts: Any) -> str:
    key = cache.key(target(**facts), {})
    assert key is not None
    return key
