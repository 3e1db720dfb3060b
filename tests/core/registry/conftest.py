"""Plugins that a test writes for itself."""

from __future__ import annotations

import importlib
import itertools
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.fake_plugins import GOOD, backend, extension, registry

from mellea_api import Registry

_numbers = itertools.count()

WritePlugin = Callable[..., str]
IMPORT = "from mellea_api import *\nfrom mellea_api.plugin import (BackendDescriptor, CredentialField, CredentialQuery, ErrorRequest, OptionPatch, OptionRule, hookimpl)\n"


@pytest.fixture
def write_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WritePlugin]:
    """Return a function that writes a module and returns its name, which is not used elsewhere."""
    monkeypatch.syspath_prepend(tmp_path)
    written: list[str] = []

    def write(source: str) -> str:
        name = f"written_plugin_{next(_numbers)}"
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
        importlib.invalidate_caches()
        written.append(name)
        return name

    yield write
    for name in written:
        sys.modules.pop(name, None)


@pytest.fixture
def found(write_plugin: WritePlugin) -> Callable[..., Registry]:
    """Return a function that makes a registry of a good backend with more hooks, and extensions."""

    def make(more: str = "", *extensions: str) -> Registry:
        entries = [
            extension(f"extension-{place}", write_plugin(IMPORT + source))
            for place, source in enumerate(extensions)
        ]
        return registry(backend("fake", write_plugin(GOOD + IMPORT + more)), *entries)

    return make
