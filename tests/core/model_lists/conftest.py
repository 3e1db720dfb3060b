"""A registry of plugins that are written on the spot, and count how often they are asked."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from support.fake_plugins import GOOD, backend, registry

from mellea_api import Registry
from mellea_api._models import cache as cached
from mellea_api._models.cache import ModelCache

_numbers = itertools.count()

Found = Callable[..., Registry]
Asked = Callable[[], int]


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Found:
    """Makes a registry: the source of each backend's `list_models`, by name."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(**sources: str) -> Registry:
        entries = []
        for name, source in sources.items():
            module = f"listing_plugin_{next(_numbers)}"
            (tmp_path / f"{module}.py").write_text(GOOD + source)
            entries.append(backend(name, module))
        return registry(*entries)

    return make


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Says how often COUNTING was asked since it was last said; it has the models a and b."""
    file = tmp_path / "asked"
    monkeypatch.setenv("ASKED", str(file))
    monkeypatch.setenv("HAS", "a b")

    def count() -> int:
        lines = file.read_text().splitlines() if file.exists() else []
        file.write_text("")
        return len(lines)

    return count


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def cache(folder: Path) -> ModelCache:
    return ModelCache(folder)


@pytest.fixture(autouse=True)
def nothing_reported() -> None:
    """What another test was told of a damaged entry, which is said once, is not known here."""
    cached._reported.clear()
