"""The one registry that the functions of `mellea_api` share."""

from __future__ import annotations

import importlib
import threading

from mellea_api._registry.registry import Registry


class _Shared:
    """The one registry that is shared, and the lock under which it is replaced."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.registry: Registry | None = None


_shared = _Shared()


def shared_registry() -> Registry:
    """Return the registry that the functions of `mellea_api` use, discovered on first use.

    Raises:
        ConfigurationError: If an environment variable about plugins is malformed.
    """
    found = _shared.registry
    if found is None:
        with _shared.lock:
            found = _shared.registry
            if found is None:
                found = _shared.registry = Registry.discover()
    return found


def given_or_shared(registry: Registry | None) -> Registry:
    """Return the registry that a caller gave, else the shared one.

    Raises:
        ConfigurationError: As `shared_registry` raises.
    """
    return shared_registry() if registry is None else registry


def refresh() -> Registry:
    """Discover anew what is installed, for this and all later calls; return the new registry.

    Sessions that are running keep what they have, and a plugin that was imported stays what it
    was: one that was upgraded meanwhile takes a new process, which a warning in the log says.
    """
    importlib.invalidate_caches()  # what was installed within the clock tick of the last look
    with _shared.lock:  # one after the other: an older view must not replace a newer one
        found = _shared.registry = Registry.discover()
    return found
