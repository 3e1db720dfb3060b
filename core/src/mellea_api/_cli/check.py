"""`mellea-api check`: whether backends can be used, before the first prompt."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Final

import click

from mellea_api._cli.output import Columns, Output, command, exit_code
from mellea_api._cli.values import timeout_option

_COLUMNS: Final[Columns] = {
    "backend": lambda row: row[0].backend,
    "step": lambda row: row[1].name,
    "state": lambda row: row[1].state,
    "": lambda row: row[1].message,
    "what to do": lambda row: row[1].next_step,
}


@click.command()
@click.argument("backends", nargs=-1, metavar="[BACKEND]...")
@click.option("--all", "everything", is_flag=True, help="All installed backends.")
@click.option(
    "--probe",
    is_flag=True,
    help="Ask the servers, by calls that cost nothing: are they there, do they accept the "
    "credentials, do they have the model?",
)
@click.option("--model", "-m", metavar="MODEL", help="The model; needs one backend.")
@click.option("--base-url", metavar="URL", help="The server; needs one backend.")
@timeout_option("Time for all of it.")
@command
def check(
    output: Output,
    backends: Sequence[str],
    everything: bool,
    probe: bool,
    model: str | None,
    base_url: str | None,
    timeout: float,
) -> None:
    """Say whether each BACKEND can be used, as the environment has it set up.

    Without BACKEND it checks the one that a runtime would use: MELLEA_BACKEND, else the default
    one, with MELLEA_MODEL_ID and MELLEA_MODEL_OPTIONS. It checks the plugin, the settings, the
    options and the credentials. No server is asked and no SDK is imported, unless --probe is
    given.

    The exit code is 0 if all of them are ready, else that of the worst failure: 4 for credentials,
    3 for a server that cannot be reached or is late, 1 for all else. Standard error then has the
    reason, one line for each backend.
    """
    from attrs import asdict

    from mellea_api._diagnosis.readiness import check_readiness
    from mellea_api._registry.registry import shared_registry

    if everything and backends:
        raise click.UsageError("Either name backends, or give --all.")
    if (model or base_url) and (everything or len(backends) > 1):
        raise click.UsageError("--model and --base-url need one backend.")
    # A plugin may print while it is imported: that belongs to neither the report nor the reason.
    with contextlib.redirect_stdout(io.StringIO()):
        report = check_readiness(
            shared_registry().distinct() if everything else list(backends) or None,
            model,
            base_url=base_url,
            probe=probe,
            timeout=timeout,
            keyring=not everything,  # a keyring may ask a person: only for a backend that was named
        )
    failures = [[step for step in one.steps if step.error is not None] for one in report.backends]
    codes = [exit_code(*(step.error for step in steps)) for steps in failures]
    code = exit_code(*(step.error for steps in failures for step in steps))
    output.show(
        {
            "ready": report.ready,
            "exit_code": code if report.backends else 1,
            "probed": report.probed,
            "timeout": report.timeout,
            "backends": [
                {"ready": one.ready, "exit_code": code, **asdict(one, recurse=False)}
                for one, code in zip(report.backends, codes, strict=True)
            ],
        },
        ([(one, step) for one in report.backends for step in one.steps], _COLUMNS),
    )
    # The failure that the exit code comes from, for logs that keep standard error alone.
    for one, worst, steps in zip(report.backends, codes, failures, strict=True):
        for step in [step for step in steps if exit_code(step.error) == worst][:1]:
            reason = f"{step.message} {step.next_step}".strip()
            output.remark(f"not ready: {one.backend}: {step.name}: {reason}")
    if not report.backends:
        output.nothing_installed()
    click.get_current_context().exit(code if report.backends else 1)
