"""`mellea-api backends`: what is installed, read from metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mellea_api._cli.output import Output, command

if TYPE_CHECKING:
    from mellea_api._registry.discovery import PluginRecord


@click.command()
@command
def backends(output: Output) -> None:
    """List the installed backends, and the extensions that act on them.

    Nothing is imported. The state is found, disabled or conflict; a plugin that cannot be used is
    in the list with its reason. `mellea-api doctor` shows which plugins load.
    """
    from mellea_api._registry.shared import shared_registry

    registry = shared_registry()
    found = [_row(record) for record in registry.backends()]
    extensions = [_row(record) for record in registry.extensions()]
    columns = {name: name for name in ("state", "distribution", "version", "summary", "reason")}
    output.show(
        {"backends": found, "extensions": extensions},
        (found, {"backend": "name", **columns}),
        (extensions, {"extension": "name", **columns}),
    )
    if not found:
        output.note("No backend is installed. Install one: pip install mellea-api-ollama")


def _row(record: PluginRecord) -> dict[str, str]:
    return {
        "name": record.name,
        "state": record.state,
        "distribution": " and ".join(record.distributions),
        "version": record.entry_point.version if len(record.candidates) == 1 else "",
        "summary": record.entry_point.summary,
        "reason": record.reason,
    }
