"""`mellea-api check`: whether backends can be used, before the first prompt."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from mellea_api._cli.output import Output, command, exit_code
from mellea_api._cli.values import timeout_option

if TYPE_CHECKING:
    from mellea_api._diagnosis.readiness import BackendReadiness
    from mellea_api._registry import Registry


_WORST_FIRST: Final = (1, 4, 3)
"""Exit codes: what a person has to mend before what may mend itself."""


@click.command()
@click.argument("backends", nargs=-1, metavar="[BACKEND]...")
@click.option("--all", "everything", is_flag=True, help="All installed backends.")
@click.option(
    "--probe",
    is_flag=True,
    help="Ask the servers, by calls that cost nothing: are they there, do they take the "
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

    Without BACKEND it is the one that a runtime would use: MELLEA_BACKEND, else ollama, with
    MELLEA_MODEL_ID and MELLEA_MODEL_OPTIONS. The plugin, the settings, the options and the
    credentials are looked at; nobody is asked and no SDK is imported, unless --probe is given.

    The exit code is 0 if all of them are ready. Else it is that of the worst: 1 where something
    is wrong that is not named here, 4 for credentials, 3 for a server that cannot be reached or
    is late. Then standard error has the reason, one line for each backend.
    """
    from mellea_api._diagnosis.readiness import check_readiness
    from mellea_api._registry.shared import shared_registry

    if everything and backends:
        raise click.UsageError("Either name backends, or give --all.")
    if (model or base_url) and (everything or len(backends) > 1):
        raise click.UsageError("--model and --base-url need one backend.")
    registry = shared_registry()
    # What a plugin prints while it is imported is no part of the report, nor of the reason.
    with contextlib.redirect_stdout(io.StringIO()):
        found = check_readiness(
            _all(registry) if everything else list(backends) or None,
            model,
            base_url=base_url,
            probe=probe,
            timeout=timeout,
            keyring=not everything,  # it may ask somebody to open it: only for who was named
            registry=registry,
        )
    codes = {_code(backend) for backend in found.backends}
    code = next((code for code in _WORST_FIRST if code in codes), 0)
    if not found.backends:
        code = 1
        output.note("No backend is installed. Install one: pip install mellea-api-ollama")
    if output.as_json:
        output.data(
            {
                "ready": found.ready,
                "exit_code": code,
                "probed": found.probed,
                "timeout": found.timeout,
                "backends": [_plain(backend) for backend in found.backends],
            }
        )
    else:
        _show(output, found.backends)
    click.get_current_context().exit(code)


def _all(registry: Registry) -> list[str]:
    """Name each backend once, those in conflict too."""
    conflicts = [record.name for record in registry.backends() if record.state == "conflict"]
    return sorted([*registry.distinct(), *conflicts])


def _code(backend: BackendReadiness) -> int:
    codes = {exit_code(step.error) for step in backend.steps if step.error is not None}
    return next((code for code in _WORST_FIRST if code in codes), 0)


def _plain(backend: BackendReadiness) -> dict[str, Any]:
    return {
        "backend": backend.backend,
        "ready": backend.ready,
        "exit_code": _code(backend),
        "distribution": backend.distribution,
        "version": backend.version,
        "model_id": backend.model_id,
        "base_url": backend.base_url,
        "steps": [
            {
                "step": step.name,
                "state": step.state,
                "message": step.message,
                "next_step": step.next_step,
                "error": None if step.error is None else type(step.error).__name__,
            }
            for step in backend.steps
        ],
        "credentials": backend.credentials,
    }


def _show(output: Output, backends: Sequence[BackendReadiness]) -> None:
    rows = [
        (backend.backend, step.name, step.state, step.message, step.next_step)
        for backend in backends
        for step in backend.steps
    ]
    if rows:
        output.table(("backend", "step", "state", "", "what to do"), rows)
    for backend in backends:
        failed = [step for step in backend.steps if step.error is not None]
        failed.sort(key=lambda step: exit_code(step.error) != _code(backend))  # type: ignore[arg-type]
        for step in failed[:1]:
            reason = f"{step.message} {step.next_step}".strip()
            output.note(f"not ready: {backend.backend}: {step.name}: {reason}")
