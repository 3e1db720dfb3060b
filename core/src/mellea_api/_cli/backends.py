"""`mellea-api backends`: what is installed, read from metadata."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

import click

from mellea_api._cli.output import Output, command
from mellea_api._contract.errors import MelleaAPIError

if TYPE_CHECKING:
    from mellea_api._registry import Registry
    from mellea_api._registry.discovery import PluginRecord


@click.command()
@click.option("--load", is_flag=True, help="Import each plugin too, to see which are broken.")
@command
def backends(output: Output, load: bool) -> None:
    """List the installed backends, and the extensions that act on them.

    Nothing is imported unless --load is given, and no SDK even then; state is found, disabled
    or conflict, and with --load also loaded or broken. A plugin that cannot be used is in the
    list with its reason.
    """
    from mellea_api._registry.shared import shared_registry

    registry = shared_registry()
    found = [_row(registry, record, load) for record in registry.backends()]
    extensions = [_row(registry, record, load) for record in registry.extensions()]
    if output.as_json:
        output.data({"backends": found, "extensions": extensions})
        return
    columns = ("name", "state", "distribution", "version", "summary", "reason")
    for title, rows in (("backend", found), ("extension", extensions)):
        if rows and title == "extension":
            output.line()
        if rows:
            output.table((title, *columns[1:]), [[row[name] for name in columns] for row in rows])
    if not found:
        output.note("No backend is installed. Install one: pip install mellea-api-ollama")


def _row(registry: Registry, record: PluginRecord, load: bool) -> dict[str, str]:
    state: str = record.state
    reason = record.reason
    if load and state == "found":
        state, reason = _load(registry, record)
    entry = record.entry_point
    return {
        "name": record.name,
        "state": state,
        "distribution": " and ".join(record.distributions),
        "version": entry.version if len(record.candidates) == 1 else "",
        "summary": entry.summary,
        "reason": reason,
    }


def _load(registry: Registry, record: PluginRecord) -> tuple[str, str]:
    from mellea_api._registry.discovery import EXTENSIONS
    from mellea_api._registry.loading import load_plugin

    try:
        # What a plugin prints while it is imported is no part of the list.
        with contextlib.redirect_stdout(sys.stderr):
            if record.entry_point.group == EXTENSIONS:
                load_plugin(record.entry_point, extension=True)
            else:
                registry.backend(record.name)
    except MelleaAPIError as error:
        return "broken", str(error)
    return "loaded", ""
