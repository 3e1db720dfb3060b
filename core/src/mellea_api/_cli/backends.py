"""`mellea-api backends`: what is installed, read from metadata."""

from __future__ import annotations

import click

from mellea_api._cli.output import Output, command


@click.command()
@command
def backends(output: Output) -> None:
    """List the installed backends, and the extensions that act on them.

    Nothing is imported. The state is found, disabled or conflict; a plugin that cannot be used is
    in the list with its reason. `mellea-api doctor` shows which plugins load.
    """
    from mellea_api._registry.registry import shared_registry

    registry = shared_registry()
    names = ("name", "state", "distribution", "version", "summary", "reason")
    backends, extensions = (
        [{name: getattr(record, name) for name in names} for record in records]
        for records in (registry.backends(), registry.extensions())
    )
    columns = {name: name for name in names[1:]}
    output.show(
        {"backends": backends, "extensions": extensions},
        (backends, {"backend": "name", **columns}),
        (extensions, {"extension": "name", **columns}),
    )
    if not backends:
        output.nothing_installed()
