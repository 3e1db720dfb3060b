"""The backends of this tree and their rules, whether or not they are installed.

What describes a backend imports no SDK, and is taken from the sources.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mellea_api.plugin import BackendDescriptor, OptionRule

__all__ = ["ROOT", "descriptor", "rules_of", "use_sources"]

ROOT: Final = Path(__file__).resolve().parents[2]
_SOURCES: Final = (*sorted(ROOT.glob("plugins/*/src")), *sorted(ROOT.glob("examples/*/src")))


@functools.cache
def use_sources() -> None:
    """Let the plugins of this tree be imported; one that is installed counts as it is there."""
    sys.path += [str(path) for path in _SOURCES]


def descriptor(backend: str) -> BackendDescriptor:
    """Return what a backend says of itself."""
    use_sources()
    plugin = importlib.import_module(f"mellea_api_{backend}")
    constants = [value for value in vars(plugin).values() if isinstance(value, BackendDescriptor)]
    found: BackendDescriptor = constants[0] if constants else plugin.describe_backend(backend)
    return found


def rules_of(backend: str) -> Sequence[OptionRule]:
    """Return the rules of a backend."""
    return descriptor(backend).options
