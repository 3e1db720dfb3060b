"""`mellea-api doctor`: what is installed and set, and what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mellea_api._cli.output import Output, command
from mellea_api._cli.values import timeout_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mellea_api._diagnosis.findings import Diagnosis, PluginFinding


@click.command()
@timeout_option("Time for loading each plugin.")
@command
def doctor(output: Output, timeout: float) -> None:
    """Say what is installed and set, and what is wrong with it.

    Python, Mellea and the SDKs by their versions; each plugin, loaded in a process of its own,
    with the time that takes; the environment variables that are read, and those that look as if
    they should be. Nobody is asked, and no value is shown that may be a secret.

    The exit code is 1 if something is wrong; warnings do not count. Whether a server is there,
    and takes the credentials, is what `mellea-api check --probe` says.
    """
    from mellea_api._diagnosis.doctor import diagnose

    found = diagnose(timeout=timeout)
    if output.as_json:
        output.data(
            {
                "healthy": found.healthy,
                "exit_code": 0 if found.healthy else 1,
                **{name: list(map(_plain, getattr(found, name))) for name in _PARTS},
            }
        )
    else:
        _show(output, found)
    click.get_current_context().exit(0 if found.healthy else 1)


_PARTS = ("software", "backends", "extensions", "variables")


def _plain(row: Any) -> dict[str, Any]:
    from attrs import asdict

    return asdict(row)


def _show(output: Output, found: Diagnosis) -> None:
    output.table(
        ("software", "version", "state", "", "what to do"),
        [(row.name, row.version, row.state, row.message, row.next_step) for row in found.software],
    )
    _plugins(output, "backend", found.backends)
    _plugins(output, "extension", found.extensions)
    if found.variables:
        output.line()
        output.table(
            ("variable", "state", "", "what to do"),
            [(row.name, row.state, row.message, row.next_step) for row in found.variables],
        )
    states = [row.state for row in found]
    output.line()
    output.line(
        f"{_counted(states.count('error'), 'error')}, "
        f"{_counted(states.count('warning'), 'warning')}."
    )


def _plugins(output: Output, title: str, rows: Sequence[PluginFinding]) -> None:
    if not rows:
        return
    output.line()
    output.table(
        (title, "state", "distribution", "version", "contract", "load", "", "what to do"),
        [
            (
                ", ".join((row.name, *row.aliases)),
                row.state,
                row.distribution,
                row.version,
                "" if row.contract_version is None else str(row.contract_version),
                "" if row.load_ms is None else f"{row.load_ms:.0f} ms",
                row.message,
                row.next_step,
            )
            for row in rows
        ],
    )


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
