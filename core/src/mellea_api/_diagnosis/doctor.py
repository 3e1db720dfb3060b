"""`diagnose`: what is installed and set, and what is wrong with it, whatever is broken."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from attrs import evolve

from mellea_api import __version__
from mellea_api._api.environment import DEFAULT_BACKEND
from mellea_api._diagnosis.findings import (
    Diagnosis,
    PluginFinding,
    SoftwareFinding,
    VariableFinding,
)
from mellea_api._diagnosis.software import OURS, normal, software
from mellea_api._diagnosis.trial import Trial, try_plugin
from mellea_api._diagnosis.variables import Variables, secrets_of, usable_settings
from mellea_api._registry import PluginRecord, Registry
from mellea_api._registry.discovery import (
    BACKENDS,
    EXTENSIONS,
    EntryPoint,
    installed_entry_points,
)
from mellea_api._secrecy.secrets import redact
from mellea_api._secrecy.veil import environment

Row = TypeVar("Row", SoftwareFinding, PluginFinding, VariableFinding)

_AT_ONCE: Final = 2
"""Plugins loaded at a time: more would take from one another what is measured."""


def diagnose(*, timeout: float = 10.0) -> Diagnosis:
    """Say what is installed and set, and what is wrong with it.

    Nobody is asked, nothing of a plugin is imported into this process, and nothing that a plugin
    does is raised. Each is loaded in a process of its own.

    Args:
        timeout: Seconds that each plugin may take to load.
    """
    environ = environment(dict(os.environ))
    secrets = secrets_of(environ)
    entry_points = installed_entry_points()
    registry = Registry(entry_points, usable_settings(environ))
    selected = environ.get("MELLEA_BACKEND", "").strip() or DEFAULT_BACKEND
    records = [*_merged(registry.backends()), *_merged(registry.extensions())]

    def attempt(found: tuple[PluginRecord, tuple[str, ...]]) -> Trial:
        record, aliases = found
        if record.state != "found":
            return Trial()
        mine = selected in (record.name, *aliases)
        return try_plugin(record.entry_point, selected=mine, timeout=timeout)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        trials = list(pool.map(attempt, records))
    tried = [
        (record, aliases, trial) for (record, aliases), trial in zip(records, trials, strict=True)
    ]
    secrets += secrets_of(
        environ, (read.name for trial in trials for read in trial.reads if read.secret)
    )
    variables = Variables(
        environ,
        registry,
        entry_points,
        {record.name: trial.reads for record, _, trial in tried},
        (trouble for trial in trials for trouble in trial.settings),
    )
    plugins = [
        (record.entry_point.group, _plugin(record, aliases, trial))
        for record, aliases, trial in tried
    ]
    return Diagnosis(
        software=_masked([*software(_distributions(entry_points)), *_none_installed(registry)]),
        backends=_masked(found for group, found in plugins if group == BACKENDS),
        extensions=_masked(found for group, found in plugins if group == EXTENSIONS),
        variables=_masked(variables.findings()),
    )


def _merged(
    records: Iterable[PluginRecord],
) -> Iterator[tuple[PluginRecord, tuple[str, ...]]]:
    """Yield each plugin once, with its further names."""
    names: dict[tuple[object, ...], tuple[PluginRecord, list[str]]] = {}
    for record in records:
        plugin = (record.state, record.entry_point.value, record.distributions)
        names.setdefault(plugin, (record, []))[1].append(record.name)
    for record, known in names.values():
        yield record, tuple(known[1:])


def _distributions(entry_points: Iterable[EntryPoint]) -> list[str]:
    return sorted({found.distribution for found in entry_points})


def _none_installed(registry: Registry) -> Iterator[SoftwareFinding]:
    if not registry.backends():
        yield SoftwareFinding(
            name="backends",
            version="",
            state="error",
            message="None is installed.",
            next_step="Install one: pip install mellea-api-ollama",
        )


def _plugin(record: PluginRecord, aliases: tuple[str, ...], trial: Trial) -> PluginFinding:
    entry = record.entry_point
    found = PluginFinding(
        name=record.name,
        aliases=aliases,
        distribution=" and ".join(record.distributions),
        version=entry.version if len(record.candidates) == 1 else "",
        contract_version=trial.contract_version,
        load_ms=trial.load_ms,
    )
    if record.state == "disabled":
        return evolve(found, state="off", message=record.reason)
    if record.state == "conflict":
        return evolve(found, state="error", message=record.reason)
    if trial.trouble is not None:
        closed = entry.group == EXTENSIONS
        return evolve(
            found,
            state="error",
            message=trial.trouble.message + (" No session starts until then." if closed else ""),
            next_step=trial.trouble.next_step,
        )
    if trial.untried:
        return evolve(found, state="warning", message=trial.untried)
    if trial.heavy:
        return evolve(
            found,
            state="warning",
            message=f"It imports {', '.join(trial.heavy)} as it is loaded, which every program "
            "that asks for it waits for.",
            next_step=f"Tell those who make {entry.distribution}: an SDK is imported by the "
            "functions that need it.",
        )
    if normal(entry.distribution) in OURS and entry.version != __version__:
        return evolve(
            found,
            state="warning",
            message=f"Its version is {entry.version}, and that of mellea-api is {__version__}.",
            next_step=f"Install the same of both: pip install {entry.distribution}=={__version__}",
        )
    return found


def _masked(rows: Iterable[Row]) -> list[Row]:
    """Mask whatever may be a secret in texts that came from elsewhere."""
    return [
        evolve(row, message=redact(row.message), next_step=redact(row.next_step)) for row in rows
    ]
