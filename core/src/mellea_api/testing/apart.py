"""What a backend imports and reaches for where it must work without an SDK and a network."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any, Final

from mellea_api._registry.discovery import EntryPoint, Settings, installed_entry_points
from mellea_api._registry.registry import Registry

_CORES: Final = ("attrs", "packaging", "platformdirs", "pluggy")
"""What the core itself imports."""
_NETWORK: Final = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname")
"""Audit events of Python that mean that the network is used."""


def watch(plugin: dict[str, str]) -> dict[str, list[str]]:
    """Ask a plugin in this process, which is a fresh one, what needs no SDK.

    Args:
        plugin: Its entry point.

    Returns:
        `imported`: the packages of others that it imported. `reached`: its uses of the network.
    """
    entry = EntryPoint(**plugin)
    reached: list[str] = []

    def note(event: str, arguments: Sequence[Any]) -> None:
        if event in _NETWORK:
            reached.append(f"{event} {arguments[-1]!r}")

    installed_entry_points()  # imports what reads metadata
    for core in _CORES:
        importlib.import_module(core)
    before = {name.partition(".")[0] for name in sys.modules}
    sys.addaudithook(note)
    _questions(entry)
    after = {name.partition(".")[0] for name in sys.modules}
    own = entry.value.partition(":")[0].partition(".")[0].strip()
    imported = sorted(after - before - {own} - sys.stdlib_module_names)
    return {"imported": imported, "reached": reached}


def _questions(entry: EntryPoint) -> None:
    from mellea_api._options.listing import list_options

    backend = Registry([entry], Settings()).backend(entry.name)
    target = backend.target()
    list_options(target)
    backend.explain({}, target)
    backend.list_models(target, live=False, keyring=False)
    backend.validate_credentials(target, keyring=False)
