"""`mellea-api models`: what the backends have, asked of all of them at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from mellea_api.cli.output import Output, command, exit_code
from mellea_api.cli.values import parse_assignments
from mellea_api.errors import MelleaAPIError, PluginError, RequestTimeoutError

if TYPE_CHECKING:
    from mellea_api.descriptor import ModelInfo
    from mellea_api.registry import Registry

__all__ = ["models"]

_GRACE: Final = 2.0
"""Seconds beyond the timeout before a plugin that does not keep to it is given up."""


@click.command()
@click.argument("backend", required=False)
@click.option("--offline", is_flag=True, help="Ask nobody: the catalogue that came with a plugin.")
@click.option("--base-url", metavar="URL", help="The server; needs BACKEND.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="An argument of the backend, such as provider=anthropic for litellm; needs BACKEND. "
    "May be repeated.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="Time for each backend's answer.",
)
@command
def models(
    output: Output,
    backend: str | None,
    offline: bool,
    base_url: str | None,
    assignments: Sequence[str],
    timeout: float,
) -> None:
    """List the models of BACKEND, or of all installed backends at once.

    A backend that fails stands in the list with its reason. The exit code is then 0 as long as
    another one answered.
    """
    from mellea_api.api import shared_registry

    registry = shared_registry()
    settings = parse_assignments(assignments)
    if backend is not None:
        _refuse(registry, backend, settings)
        arguments = {"live": not offline, "timeout": timeout, "base_url": base_url}
        _show(output, [(backend, _list(registry, backend, settings | arguments))])
        return
    if base_url is not None:
        raise click.UsageError("--base-url needs BACKEND: it is one backend's server.")
    if settings:
        raise click.UsageError("--set needs BACKEND: it is one backend's argument.")
    answers = _ask_all(registry, live=not offline, timeout=timeout)
    _show(output, answers)
    failures = [answer for _, answer in answers if isinstance(answer, MelleaAPIError)]
    if failures and len(failures) == len(answers):
        codes = {exit_code(failure) for failure in failures}
        click.get_current_context().exit(codes.pop() if len(codes) == 1 else 1)


def _refuse(registry: Registry, backend: str, settings: dict[str, Any]) -> None:
    """Refuse what --set is not for: options of this command, and secrets."""
    for name in settings:
        if name in ("base_url", "live", "timeout", "registry"):
            raise click.UsageError(f"--set {name}= is not for this; see --help.")
    for field in registry.backend(backend).descriptor.credentials:
        if field.secret and field.name in settings:
            raise click.UsageError(
                f"--set {field.name}= would show it to everybody on this machine. "
                f"Set {' or '.join(field.variables) or 'its environment variable'} instead."
            )


def _list(registry: Registry, backend: str, arguments: dict[str, Any]) -> list[ModelInfo]:
    from mellea_api.api import list_models

    return list_models(backend, registry=registry, **arguments)


def _ask_all(
    registry: Registry, *, live: bool, timeout: float
) -> list[tuple[str, list[ModelInfo] | MelleaAPIError]]:
    """Ask every backend in a thread of its own; none can hold up, or bring down, the others."""
    answers: dict[str, list[ModelInfo] | MelleaAPIError] = {}

    def ask(name: str) -> None:
        try:
            found: list[ModelInfo] | MelleaAPIError = _list(
                registry, name, {"live": live, "timeout": timeout}
            )
        except MelleaAPIError as error:
            found = error
        except BaseException as error:
            found = PluginError(
                f"Listing the models of {name} failed with {type(error).__name__}: {error}.",
                next_step=f"`mellea-api models {name} --debug` shows where.",
                backend=name,
            )
        answers.setdefault(name, found)

    for record in registry.backends():
        if record.state == "conflict":
            try:
                registry.backend(record.name)
            except MelleaAPIError as error:
                answers[record.name] = error
    # Daemons: one that hangs for ever must not keep the command from ending.
    threads = [
        threading.Thread(target=ask, args=(name,), daemon=True, name=f"mellea-api-models-{name}")
        for name in _without_aliases(registry)
    ]
    deadline = time.monotonic() + timeout + _GRACE
    for thread in threads:
        thread.start()
    for name, thread in zip(_without_aliases(registry), threads, strict=True):
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            late = RequestTimeoutError(
                f"The {name} backend did not answer within {timeout:g} s.",
                next_step="Give it more time with --timeout, or see whether its server is well.",
                backend=name,
                timeout=timeout,
            )
            answers.setdefault(name, late)
    return sorted(answers.items())


def _without_aliases(registry: Registry) -> Iterable[str]:
    """Yield each backend under the first of its names."""
    seen = set()
    for record in registry.backends():
        plugin = (record.entry_point.value, record.entry_point.distribution)
        if record.state == "found" and plugin not in seen:
            seen.add(plugin)
            yield record.name


def _show(output: Output, answers: list[tuple[str, list[ModelInfo] | MelleaAPIError]]) -> None:
    if output.as_json:
        found = [
            {"backend": name, "models": None, "error": answer}
            if isinstance(answer, MelleaAPIError)
            else {"backend": name, "models": answer, "error": None}
            for name, answer in answers
        ]
        output.data({"backends": found})
        return
    rows = [
        (
            name,
            model.id,
            "default" if model.default else "",
            model.size or "",
            "" if model.context_length is None else str(model.context_length),
            model.source if model.age is None else f"{model.source} {model.age:.0f} s ago",
            model.description,
        )
        for name, answer in answers
        if not isinstance(answer, MelleaAPIError)
        for model in answer
    ]
    if rows:
        columns = ("backend", "model", "", "size", "context", "source", "description")
        output.table(columns, rows)
    for name, answer in answers:
        if isinstance(answer, MelleaAPIError):
            output.note(f"{name}: {answer}")
        elif not answer:
            output.note(f"{name}: it has no models.")
    if not answers:
        output.note("No backend is installed. Install one: pip install mellea-api-ollama")
