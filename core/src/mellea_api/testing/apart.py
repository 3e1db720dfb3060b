"""Ask a backend in a fresh interpreter what must work without an SDK and without a network."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Final

from attrs import asdict, frozen

from mellea_api._diagnosis.apart import FailedApartError, NotStartedError, call_apart
from mellea_api._registry.discovery import BACKENDS, EntryPoint, Settings
from mellea_api._registry.registry import Registry

_CORES: Final = frozenset(
    {
        *("attr", "attrs", "cattrs", "click", "filelock", "importlib_metadata", "packaging"),
        *("platformdirs", "pluggy", "rich", "typing_extensions", "zipp"),
    }
)
"""What the core itself may import."""
_NETWORK: Final = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname")
"""Audit events of Python that mean that the network is used."""


@frozen(kw_only=True)
class Apart:
    """What the plugin did.

    Args:
        imported: Packages of others that it imported.
        reached: The uses of the network.
        trouble: What went wrong; empty if nothing did.
    """

    imported: Sequence[str] = ()
    reached: Sequence[str] = ()
    trouble: str = ""


def ask_apart(entry: EntryPoint, timeout: float) -> Apart:
    """Import a plugin in a fresh interpreter, and ask it what needs no SDK.

    Args:
        entry: Where it is.
        timeout: Seconds that it may take.
    """
    try:
        return Apart(**call_apart(watch, timeout, asdict(entry)))
    except FailedApartError as error:
        return Apart(trouble=error.stderr or f"it {error}")
    except NotStartedError as error:
        return Apart(trouble=str(error))


def watch(plugin: dict[str, str]) -> dict[str, list[str]]:
    """Ask a plugin in this process, which is a fresh one; return what it imports and reaches for.

    Args:
        plugin: Its entry point.
    """
    entry = EntryPoint(**plugin)
    reached: list[str] = []

    def note(event: str, arguments: Sequence[Any]) -> None:
        if event in _NETWORK:
            reached.append(f"{event} {arguments[-1]!r}")

    _questions(_plain())  # what the core imports for them
    before = {name.partition(".")[0] for name in sys.modules}
    sys.addaudithook(note)
    _questions(entry)
    after = {name.partition(".")[0] for name in sys.modules}
    own = entry.value.partition(":")[0].partition(".")[0].strip()
    imported = sorted(after - before - _CORES - {own} - sys.stdlib_module_names)
    return {"imported": imported, "reached": reached}


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
