"""Asking a backend in a process of its own what may be asked without an SDK and a network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from attrs import asdict, frozen

from mellea_api._registry import Registry, Settings
from mellea_api._registry.discovery import BACKENDS, EntryPoint

__all__ = ["Apart", "ask_apart", "run"]

_CODE: Final = (
    "import json, sys; job = json.loads(sys.argv[1]); sys.path[:] = job['path']; "
    "from mellea_api.testing.apart import run; run(job)"
)
_CORES: Final = frozenset(
    {
        *("attr", "attrs", "cattrs", "click", "filelock", "importlib_metadata", "packaging"),
        *("platformdirs", "pluggy", "rich", "typing_extensions", "zipp"),
    }
)
"""What the core itself may import."""
_REACHES: Final = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname")


@frozen(kw_only=True)
class Apart:
    """What was seen.

    Args:
        imported: Packages of others that were imported.
        reached: What of the network was reached for.
        trouble: What went wrong; empty if nothing did.
    """

    imported: tuple[str, ...] = ()
    reached: tuple[str, ...] = ()
    trouble: str = ""


def ask_apart(entry: EntryPoint, timeout: float) -> Apart:
    """Import a plugin in a process of its own, and ask it what needs no SDK.

    Args:
        entry: Where it is.
        timeout: Seconds that it may take.
    """
    with tempfile.TemporaryDirectory(prefix="mellea-api-") as folder:
        answer = Path(folder) / "answer.json"
        job = {"path": sys.path, "entry": asdict(entry), "answer": str(answer)}
        try:
            done = subprocess.run(
                [sys.executable, "-P", "-c", _CODE, json.dumps(job)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Apart(trouble=f"it took more than {timeout:g} s")
        if done.returncode or not answer.exists():
            return Apart(trouble=done.stderr.strip() or f"it ended with {done.returncode}")
        found = json.loads(answer.read_text("utf-8"))
    return Apart(imported=tuple(found["imported"]), reached=tuple(found["reached"]))


def run(job: dict[str, Any]) -> None:
    """Do what `ask_apart` asks for, in the process of its own, and end that."""
    entry = EntryPoint(**job["entry"])
    reached: list[str] = []

    def watch(event: str, arguments: Sequence[Any]) -> None:
        if event in _REACHES:
            reached.append(f"{event} {arguments[-1]!r}")

    _questions(_plain())  # what the core imports for them
    before = {name.partition(".")[0] for name in sys.modules}
    sys.addaudithook(watch)
    _questions(entry)
    after = {name.partition(".")[0] for name in sys.modules}
    own = entry.value.partition(":")[0].partition(".")[0].strip()
    imported = sorted(after - before - _CORES - {own} - sys.stdlib_module_names)
    found = {"imported": imported, "reached": reached}
    Path(job["answer"]).write_text(json.dumps(found), "utf-8")
    sys.stdout.flush()
    os._exit(0)  # whatever threads and exit handlers the plugin has


def _questions(entry: EntryPoint) -> None:
    from mellea_api._options.listing import list_options

    backend = Registry([entry], Settings()).backend(entry.name)
    target = backend.target()
    list_options(target)
    backend.explain({}, target)
    backend.list_models(target, live=False, keyring=False)
    backend.validate_credentials(target, keyring=False)


def _plain() -> EntryPoint:
    """Return a plugin that imports nothing."""
    from mellea_api._contract.descriptor import BackendDescriptor
    from mellea_api.hookspecs import hookimpl

    plugin: Any = ModuleType("mellea_api_plain")

    @hookimpl
    def describe_backend(name: str) -> BackendDescriptor:
        return BackendDescriptor(name=name, summary="plain", default_model="plain")

    @hookimpl
    def create_session(request: Any) -> Any:
        raise NotImplementedError

    plugin.describe_backend, plugin.create_session = describe_backend, create_session
    sys.modules[plugin.__name__] = plugin
    return EntryPoint(BACKENDS, "plain", plugin.__name__, "mellea-api")
