"""`mellea-api models`: the models of all backends, which are asked at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import click

from mellea_api._cli.output import Columns, Output, command, exit_code
from mellea_api._cli.values import parse_assignments, timeout_option


@click.command()
@click.argument("backend", required=False)
@click.option("--refresh", is_flag=True, help="Ask, even if there is a recent answer.")
@click.option(
    "--offline",
    is_flag=True,
    help="Ask no server: list the last answer, else the catalogue that came with the plugin.",
)
@click.option("--base-url", metavar="URL", help="The server; needs BACKEND.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="An argument of the backend, such as provider=anthropic; needs BACKEND. May be repeated.",
)
@timeout_option("Time for each backend's answer.")
@command
def models(
    output: Output,
    backend: str | None,
    refresh: bool,
    offline: bool,
    base_url: str | None,
    assignments: Sequence[str],
    timeout: float,
) -> None:
    """List the models of BACKEND, or of all installed backends at once.

    An answer counts for an hour, for this command and for programs. Each model is labelled live,
    cached with its age, or catalogue. A backend that fails is in the list with its reason and its
    last answer. The exit code is 0 if at least one answered.
    """
    from mellea_api._api.functions import list_all_models
    from mellea_api._registry.registry import shared_registry

    if refresh and offline:
        raise click.UsageError("Give --refresh or --offline, not both.")
    arguments = parse_assignments(assignments)
    if backend is None and (base_url is not None or arguments):
        raise click.UsageError("--base-url and --set need BACKEND.")
    if "base_url" in arguments:
        raise click.UsageError("--set base_url= is not for this: use --base-url.")
    if backend is not None:
        for field in shared_registry().backend(backend).descriptor.credentials:
            if field.secret and field.name in arguments:
                raise click.UsageError(
                    f"--set {field.name}= would show it to everybody on this machine. "
                    f"Set {' or '.join(field.variables) or 'its environment variable'} instead."
                )
    listings = list_all_models(
        backend,
        freshness="live" if refresh else "offline" if offline else "cached",
        timeout=timeout,
        arguments={backend: {"base_url": base_url, **arguments}} if backend is not None else None,
    )
    rows = [(listing, model) for listing in listings for model in listing.models or ()]
    output.show({"backends": listings}, (rows, _COLUMNS))
    failures = []
    for listing in listings:
        if listing.error is not None:
            failures.append(listing.error)
            output.trace(listing.error)
            last = " The list is its last answer." if listing.models else ""
            output.remark(f"{listing.backend}: {listing.error}{last}")
        elif not listing.models:
            output.remark(f"{listing.backend}: it has no models.")
    if not listings:
        output.nothing_installed()
    if failures and len(failures) == len(listings):
        codes = {exit_code(failure) for failure in failures}
        click.get_current_context().exit(codes.pop() if len(codes) == 1 else 1)


def _ago(seconds: float) -> str:
    """Say how long ago something was, to two digits or so.

    >>> _ago(59.4), _ago(60), _ago(7200), _ago(200000)
    ('59 s ago', '1 min ago', '2 h ago', '2 days ago')
    """
    for unit, size, limit in (("s", 1, 60), ("min", 60, 90), ("h", 3600, 48)):
        if seconds / size < limit:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds / 86400:.0f} days ago"


_COLUMNS: Final[Columns] = {
    "backend": lambda row: row[0].backend,
    "model": lambda row: row[1].id,
    "": lambda row: "default" if row[1].default else "",
    "size": lambda row: row[1].size,
    "context": lambda row: row[1].context_length,
    "source": lambda row: row[1].source + ("" if row[1].age is None else f" {_ago(row[1].age)}"),
    "shut down on": lambda row: row[1].shutdown,
    "description": lambda row: row[1].description,
}
