"""Making one backend out of its plugin, the extensions, and the core's own answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from mellea_api._contract.errors import MelleaAPIError, PluginError
from mellea_api._registry import defaults
from mellea_api._registry.backend import Backend
from mellea_api._registry.discovery import EntryPoint, PluginRecord
from mellea_api._registry.loading import broken, load_plugin, new_manager


def assemble(
    record: PluginRecord,
    backends: Iterable[PluginRecord],
    extensions: Iterable[PluginRecord],
    elsewhere: Callable[[str], Sequence[str]],
) -> Backend:
    """Import a backend's plugin and all extensions, and put them together.

    Args:
        record: The backend's.
        backends: All backends' records, its own among them.
        extensions: All extensions' records.
        elsewhere: Returns the names of the other backends whose catalogues have a model.

    Raises:
        PluginError: If the plugin, or any extension, cannot be used.
    """
    entry = record.entry_point
    plugin = load_plugin(entry)
    loaded = _load_extensions(extensions)
    sources = {name: source for name, _, source in loaded}
    aliases = frozenset(
        other.name
        for other in backends
        if other.entry_point.value == entry.value
        and other.entry_point.distribution == entry.distribution
    )
    try:
        manager = new_manager(
            ("mellea-api", defaults),
            (entry.name, plugin),
            # Pluggy asks what was registered last first; extensions are asked in name order.
            *((name, extension) for name, extension, _ in reversed(loaded)),
        )
    except Exception as error:
        said = str(error).partition("\n")[0]  # below, pluggy lists all plugins
        raise broken(entry, f"pluggy refuses it: {said}") from error
    try:
        return Backend(record.name, entry, manager, aliases, sources, elsewhere)
    except MelleaAPIError:
        raise
    except Exception as error:  # a description whose values are not what they should be
        problem = f"its description cannot be read: {type(error).__name__}: {error}"
        raise broken(entry, problem) from error


def _load_extensions(records: Iterable[PluginRecord]) -> list[tuple[str, object, EntryPoint]]:
    """Load all extensions; one that fails fails every session: policy fails closed."""
    loaded: list[tuple[str, object, EntryPoint]] = []
    for record in records:
        if record.state == "disabled":
            continue
        if record.state == "conflict":
            raise PluginError(
                f"Cannot use any backend: the extension {record.name!r} is in conflict: "
                f"{record.reason}",
                next_step="Sessions start again once it is settled.",
                plugin=record.name,
                distributions=record.distributions,
            )
        plugin = load_plugin(record.entry_point, extension=True)
        if any(plugin is other for _, other, _ in loaded):
            continue  # a second name of the same, which would act twice
        loaded.append((f"extension {record.name}", plugin, record.entry_point))
    return loaded
