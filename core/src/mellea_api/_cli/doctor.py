"""`mellea-api doctor`: what is installed and set, and what is wrong with it."""

from __future__ import annotations

from typing import Final

import click

from mellea_api._cli.output import Columns, Output, command
from mellea_api._cli.values import timeout_option

_RESULT: Final[Columns] = {"": "message", "what to do": "next_step"}
_PLUGIN: Final[Columns] = {
    "state": "state",
    "distribution": "distribution",
    "version": "version",
    "contract": "contract_version",
    "load": lambda row: row.load_ms and f"{row.load_ms:.0f} ms",
    **_RESULT,
}


@click.command()
@timeout_option("Time for loading each plugin.")
@command
def doctor(output: Output, timeout: float) -> None:
    """Say what is installed and set, and what is wrong with it.

    Python, Mellea and the SDKs with their versions; each plugin, loaded in a fresh interpreter,
    with the time that takes; the environment variables that are read, and misspelt MELLEA_ ones.
    No server is asked, and no value is shown that may be a secret. Conflicts between distributions
    are shown by `pip check` or `uv pip check`.

    The exit code is 1 if something failed. `mellea-api check --probe` says whether a server is
    there and accepts the credentials.
    """
    from attrs import asdict

    from mellea_api._diagnosis.doctor import diagnose

    found = diagnose(timeout=timeout)
    code = 0 if found.healthy else 1
    output.show(
        {"healthy": found.healthy, "exit_code": code, **asdict(found, recurse=False)},
        (found.software, {"software": "name", "version": "version", "state": "state", **_RESULT}),
        (found.backends, {"backend": "name", **_PLUGIN}),
        (found.extensions, {"extension": "name", **_PLUGIN}),
        (found.variables, {"variable": "name", "state": "state", **_RESULT}),
    )
    states = [row.state for row in found]
    failures, warnings = states.count("failed"), states.count("warning")
    output.line(f"\n{_counted(failures, 'failure')}, {_counted(warnings, 'warning')}.")
    click.get_current_context().exit(code)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
