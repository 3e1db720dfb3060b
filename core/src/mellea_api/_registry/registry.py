"""The registry: which backends there are, as an immutable value."""

from __future__ import annotations

import copy
import difflib
import importlib
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from mellea_api._contract.errors import BackendNotFoundError, MelleaAPIError, PluginError
from mellea_api._registry.discovery import (
    BACKENDS,
    EXTENSIONS,
    EntryPoint,
    PluginRecord,
    Settings,
    installed_entry_points,
    records,
)

if TYPE_CHECKING:
    from mellea_api._registry.backend import Backend


KNOWN_DISTRIBUTIONS: Final[Mapping[str, str]] = {
    "hf": "mellea-api-hf",
    "huggingface": "mellea-api-hf",
    "litellm": "mellea-api-litellm",
    "llamacpp": "mellea-api-llamacpp",
    "llama-server": "mellea-api-llama-server",
    "ngram": "mellea-api-ngram",
    "ollama": "mellea-api-ollama",
    "openai": "mellea-api-openai",
    "watsonx": "mellea-api-watsonx",
}


class Registry:
    """Which backends there are. Immutable, and safe to share between threads.

    Making one imports no plugin; a plugin is imported when its backend is first asked for, once.
    To see what was installed since, make another one.

    Args:
        entry_points: The plugins' entry points.
        settings: What the environment says about plugins.

    >>> registry = Registry([], Settings())
    >>> registry.names()
    []
    """

    def __init__(self, entry_points: Iterable[EntryPoint], settings: Settings) -> None:
        found = list(entry_points)
        self._backends = records(found, BACKENDS, settings)
        # MELLEA_API_PLUGINS speaks of backends: a list of those must not switch off a policy.
        self._extensions = records(found, EXTENSIONS, evolve(settings, only=None))
        self._loaded: dict[str, Backend | MelleaAPIError] = {}
        self._lock = threading.Lock()

    @classmethod
    def discover(cls, *, entry_points: Iterable[EntryPoint] | None = None) -> Registry:
        """Find the installed plugins; reads metadata and imports none of them.

        Args:
            entry_points: Instead of those installed.

        Raises:
            ConfigurationError: If an environment variable about plugins is malformed.
        """
        settings = Settings.from_environment()
        return cls(installed_entry_points() if entry_points is None else entry_points, settings)

    def names(self) -> list[str]:
        """Return the names of the backends that can be asked for, sorted."""
        return [name for name, record in self._backends.items() if record.state == "found"]

    def backends(self) -> list[PluginRecord]:
        """Return what is known of each backend's plugin, whether it can be used or not."""
        return list(self._backends.values())

    def extensions(self) -> list[PluginRecord]:
        """Return what is known of each extension, whether it can be used or not."""
        return list(self._extensions.values())

    def __contains__(self, name: object) -> bool:
        return name in self._backends and self._backends[str(name)].state == "found"

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __repr__(self) -> str:
        return f"Registry({', '.join(self.names()) or 'no backends'})"

    def backend(self, name: str) -> Backend:
        """Return a backend, loading its plugin and the extensions if that was not done yet.

        Args:
            name: The backend's name or an alias.

        Raises:
            BackendNotFoundError: If there is none of that name, or it is switched off.
            PluginError: If its plugin, or any extension, cannot be used.
        """
        record = self._record(name)
        found = self._loaded.get(name)
        if found is None:
            # Under no lock of ours: Python has one for each module, and a thread that holds the
            # plugin's (it imports the package that the plugin is in) may ask for a backend.
            try:
                found = self._load(record)
            except MelleaAPIError as error:
                found = error
            found = self._remember(name, found)
        if isinstance(found, MelleaAPIError):
            # A copy, since one object raised by several threads would share its traceback.
            raise copy.copy(found) from found.__cause__
        return found

    def distinct(self) -> list[str]:
        """Return each plugin's first name, and the names in conflict, sorted."""
        plugins = {
            record.name
            if record.state == "conflict"
            else (record.entry_point.value, record.entry_point.distribution): record.name
            for record in reversed(self.backends())
            if record.state != "disabled"
        }
        return sorted(plugins.values())

    def _remember(self, name: str, found: Backend | MelleaAPIError) -> Backend | MelleaAPIError:
        """Return what all threads are given: what the first of them found."""
        with self._lock:
            first = self._loaded.get(name)
            # A plugin that asks for itself while it is imported is given half of itself.
            if first is None or isinstance(first, MelleaAPIError):
                first = self._loaded[name] = found
            return first

    def _record(self, name: Any) -> PluginRecord:
        record = self._backends.get(name) if isinstance(name, str) else None
        if record is None:
            raise self._not_found(name)
        if record.state == "disabled":
            raise BackendNotFoundError(
                f"The backend {name!r} is switched off: {record.reason}",
                next_step="Change that variable, or choose another backend: "
                f"{', '.join(self.names()) or 'none is left'}.",
                backend=name,
                installed=tuple(self.names()),
                distribution=record.entry_point.distribution,
            )
        if record.state == "conflict":
            raise PluginError(
                f"Cannot use the backend {name!r}: {record.reason}",
                next_step="`mellea-api backends` shows where each backend comes from.",
                backend=name,
                plugin=name,
                distributions=record.distributions,
            )
        return record

    def _not_found(self, name: Any) -> BackendNotFoundError:
        names = self.names()
        installed = f"Installed: {', '.join(names)}." if names else "No backend is installed."
        distribution = KNOWN_DISTRIBUTIONS.get(name) if isinstance(name, str) else None
        if distribution is not None:
            reason = f"The backend {name!r} is not installed."
            next_step = f"Install it: pip install {distribution}"
        else:
            known = {found.lower(): found for found in (*KNOWN_DISTRIBUTIONS, *names)}
            near = difflib.get_close_matches(str(name).lower(), known, n=1, cutoff=0.7)
            reason = f"There is no backend {name!r}."
            next_step = "Install the distribution that brings it, or choose an installed one."
            if near:
                next_step = f"Did you mean {known[near[0]]!r}?"
        return BackendNotFoundError(
            f"{reason} {installed}",
            next_step=next_step,
            backend=name if isinstance(name, str) else None,
            installed=tuple(names),
            distribution=distribution,
        )

    def _load(self, record: PluginRecord) -> Backend:
        # Here, so that finding plugins costs nothing of what using one needs.
        from mellea_api._registry.backend import Backend
        from mellea_api._registry.loading import load_extensions, load_plugin

        entry = record.entry_point
        names = {
            other.name
            for other in self.backends()
            if other.entry_point.value == entry.value
            and other.entry_point.distribution == entry.distribution
        }
        plugin = load_plugin(entry)
        return Backend(record.name, entry, plugin, names, load_extensions(self.extensions()))


_shared: list[Registry] = []
"""The registry that the functions of `mellea_api` share, once somebody asked for it."""
_sharing = threading.Lock()


def shared_registry() -> Registry:
    """Return the registry that the functions of `mellea_api` use, discovered on first use.

    Raises:
        ConfigurationError: If an environment variable about plugins is malformed.
    """
    with _sharing:
        if not _shared:
            _shared.append(Registry.discover())
        return _shared[0]


def refresh() -> Registry:
    """Discover anew what is installed, for this and all later calls; return the new registry.

    Sessions that are running keep what they have, and a plugin that was imported stays what it
    was: a plugin that was upgraded meanwhile needs a new process.
    """
    importlib.invalidate_caches()  # what was installed within the clock tick of the last look
    with _sharing:  # one after the other: an older view must not replace a newer one
        _shared[:] = [Registry.discover()]
        return _shared[0]
