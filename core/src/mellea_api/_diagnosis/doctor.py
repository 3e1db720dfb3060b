"""`diagnose`: what is installed and set, and what is wrong with it, whatever is broken."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from attrs import asdict, evolve, frozen

from mellea_api._contract.errors import ConfigurationError, MelleaAPIError, PluginError
from mellea_api._diagnosis.apart import FailedApartError, NotStartedError, call_apart
from mellea_api._diagnosis.findings import Diagnosis, Finding, PluginFinding, State
from mellea_api._diagnosis.readiness import check_readiness
from mellea_api._diagnosis.variables import Reads, read_by, secrets_of, variable_findings
from mellea_api._registry import PluginRecord, Registry, Settings
from mellea_api._registry.discovery import (
    BACKENDS,
    EXTENSIONS,
    EntryPoint,
    installed_entry_points,
)
from mellea_api._registry.loading import broken, load_plugin
from mellea_api._registry.registry import KNOWN_DISTRIBUTIONS
from mellea_api._secrecy.secrets import redact

Row = TypeVar("Row", bound=Finding)

TESTED_MELLEA: Final = ("0.3.0", "0.8.0")
"""The oldest and the newest version of Mellea that this version is tested with."""
TESTED_PYTHON: Final = ((3, 11), (3, 13))
"""The oldest and the newest version of Python."""

_AT_ONCE: Final = 2
"""Plugins loaded at a time: more would slow one another down, and load times are measured."""
_CONFLICTS: Final = "`pip check` or `uv pip check` shows what else does not fit together."


def diagnose(*, timeout: float = 10.0) -> Diagnosis:
    """Say what is installed and set, and what is wrong with it.

    No server is asked, no plugin is imported into this process, and nothing that a plugin does is
    raised: each is loaded in a fresh interpreter.

    Args:
        timeout: Seconds that each plugin may take to load.
    """
    from packaging.utils import canonicalize_name

    secrets = secrets_of()
    try:
        settings = Settings.from_environment()
    except ConfigurationError:  # reported with the variables
        settings = Settings()
    registry = Registry(installed_entry_points(), settings)
    plugins = [*_by_plugin(registry.backends()), *_by_plugin(registry.extensions())]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        trials = list(pool.map(lambda records: _try(records, timeout), plugins))
    secrets += secrets_of(read.name for trial in trials for read in trial.reads if read.secret)
    rows = [
        (records[0].entry_point.group, _plugin(records, trial))
        for records, trial in zip(plugins, trials, strict=True)
    ]
    variables = variable_findings(
        registry,
        {records[0].name: trial.reads for records, trial in zip(plugins, trials, strict=True)},
        [finding for trial in trials for finding in trial.failed],
    )
    sdks = sorted({canonicalize_name(name) for trial in trials for name in trial.sdk})
    return Diagnosis(
        software=_masked(_software(registry, sdks)),
        backends=_masked(row for group, row in rows if group == BACKENDS),
        extensions=_masked(row for group, row in rows if group == EXTENSIONS),
        variables=_masked(variables),
    )


def _masked(rows: Iterable[Row]) -> list[Row]:
    """Mask whatever may be a secret in texts that came from elsewhere."""
    return [
        evolve(row, message=redact(row.message), next_step=redact(row.next_step)) for row in rows
    ]


# --------------------------------------------------------------------------------------- software


def _software(registry: Registry, sdks: Iterable[str]) -> Iterator[Finding]:
    python = Finding(name="python", version=".".join(map(str, sys.version_info[:3])))
    if sys.version_info[:2] > TESTED_PYTHON[1]:
        last = ".".join(map(str, TESTED_PYTHON[1]))
        python = evolve(
            python,
            state="warning",
            message=f"It is newer than {last}, the last tested.",
            next_step=f"If something fails, try Python {last}.",
        )
    yield python
    yield Finding(name="mellea-api", version=_version("mellea-api"))
    yield _mellea()
    for name in sdks:
        if version := _version(name):
            yield Finding(name=name, version=version)
    if not registry.backends():
        yield Finding(
            name="backends",
            state="failed",
            message="None is installed.",
            next_step="Install one: pip install mellea-api-ollama",
        )


def _mellea() -> Finding:
    from packaging.version import InvalidVersion, Version

    mellea = Finding(name="mellea", version=_version("mellea"))
    oldest, newest = map(Version, TESTED_MELLEA)
    tested = f"Tested are {oldest} to {newest}."
    upgrade = f"Upgrade it: pip install --upgrade mellea. {_CONFLICTS}"
    if not mellea.version:
        message = "It is not installed, and no session starts without it."
        return evolve(
            mellea, state="failed", message=message, next_step="Install it: pip install mellea"
        )
    try:
        version = Version(mellea.version)
    except InvalidVersion:
        message = f"Its version cannot be read. {tested}"
        return evolve(mellea, state="warning", message=message, next_step=upgrade)
    if version < oldest:
        message = f"It is older than what this library supports. {tested}"
        return evolve(mellea, state="failed", message=message, next_step=upgrade)
    if version > newest:
        message = f"It is newer than what this version was tested with. {tested}"
        upgrade = f"Upgrade mellea-api: pip install --upgrade mellea-api. {_CONFLICTS}"
        return evolve(mellea, state="warning", message=message, next_step=upgrade)
    return mellea


def _version(distribution: str) -> str:
    """Return the version of a distribution; empty if it is not installed, or damaged."""
    import importlib_metadata

    try:
        return importlib_metadata.version(distribution)
    except Exception:
        return ""


# ---------------------------------------------------------------------------------------- plugins


@frozen(kw_only=True)
class _Trial:
    """What became of a plugin that was loaded in a fresh interpreter. It is JSON there and back.

    Args:
        load_ms: How long it took in milliseconds; None if it did not end.
        contract_version: The version of the contract that it was written for.
        problem: Why it cannot be used: a reason and a next step.
        not_tried: Why it could not be tried, for a reason that is not the plugin's.
        sdk: The packages of its SDK.
        heavy: Those of them, and Mellea, that it imports as it is loaded.
        reads: The variables that it reads.
        failed: Findings about variables whose values this backend cannot use.
    """

    load_ms: float | None = None
    contract_version: int | None = None
    problem: Sequence[str] = ()
    not_tried: str = ""
    sdk: Sequence[str] = ()
    heavy: Sequence[str] = ()
    reads: Sequence[Reads] = ()
    failed: Sequence[Finding] = ()


def _by_plugin(records: Iterable[PluginRecord]) -> list[list[PluginRecord]]:
    """Group records that are names of one plugin."""
    plugins: dict[tuple[object, ...], list[PluginRecord]] = {}
    for record in records:
        plugin = (record.state, record.entry_point.value, record.distributions)
        plugins.setdefault(plugin, []).append(record)
    return list(plugins.values())


def _try(records: Sequence[PluginRecord], timeout: float) -> _Trial:
    """Load a plugin in a fresh interpreter."""
    entry = records[0].entry_point
    if records[0].state != "found":
        return _Trial()
    try:
        answer = call_apart(
            load, timeout, [asdict(record.entry_point) for record in records], timeout
        )
    except NotStartedError as error:
        return _Trial(not_tried=f"It was not loaded: {error}.")
    except FailedApartError as error:
        failure = broken(entry, f"loading {entry.value} {error}")
        return _Trial(problem=(failure.reason, failure.next_step))
    return _Trial(
        **{
            **answer,
            "reads": [Reads(**one) for one in answer["reads"]],
            "failed": [Finding(**one) for one in answer["failed"]],
        }
    )


def load(plugin: Sequence[dict[str, str]], timeout: float) -> dict[str, Any]:
    """Load a plugin in this process, which is a fresh one; return a `_Trial` as JSON.

    Args:
        plugin: Its entry points, one for each of its names.
        timeout: Seconds that the check of its settings may take.
    """
    from mellea_api._registry import assembly  # noqa: F401 - the core's, so before the clock starts

    entries = [EntryPoint(**entry) for entry in plugin]
    entry = entries[0]
    registry = Registry(entries, Settings())
    extension = entry.group == EXTENSIONS
    work: Callable[[], Any] = (
        (lambda: load_plugin(entry, extension=True))
        if extension
        else (lambda: registry.backend(entry.name))
    )
    before = set(sys.modules)
    began = time.perf_counter()
    try:
        loaded = work()
        trial = _Trial()
    except MelleaAPIError as error:
        loaded = None
        trial = _Trial(problem=(error.reason, _remedy(entry, error)))
    trial = evolve(trial, load_ms=round((time.perf_counter() - began) * 1000, 1))
    if loaded is not None and not extension:
        described = loaded.descriptor
        imported = set(sys.modules) - before
        sdk = tuple(getattr(described, "sdk", ()))
        trial = evolve(
            trial,
            contract_version=described.contract_version,
            sdk=sdk,
            heavy=sorted({"mellea", *sdk} & imported),
            reads=list(read_by(described)),
        )
        # Nobody named this backend: its keyring is not opened, which may ask a person to do it.
        (check,) = check_readiness(
            entry.name, registry=registry, keyring=False, timeout=timeout
        ).backends
        for step in check.steps:
            if isinstance(step.error, PluginError):
                trial = evolve(trial, problem=(step.message, step.next_step))
            elif step.variable:
                trial = evolve(trial, failed=[*trial.failed, evolve(step, error=None)])
    return asdict(trial)


def _remedy(entry: EntryPoint, error: MelleaAPIError) -> str:
    """Return what to do about a plugin that does not load."""
    cause = error.__cause__
    if not isinstance(cause, ModuleNotFoundError):
        return error.next_step
    own = entry.value.partition(":")[0].partition(".")[0].strip()
    if (cause.name or own).partition(".")[0] == own:
        return f"Install it again: pip install --force-reinstall {entry.distribution}"
    return f"Install what it needs: pip install --upgrade {entry.distribution}. {_CONFLICTS}"


def _plugin(records: Sequence[PluginRecord], trial: _Trial) -> PluginFinding:
    record = records[0]
    entry = record.entry_point
    row = PluginFinding(
        name=record.name,
        aliases=[other.name for other in records[1:]],
        distribution=" and ".join(record.distributions),
        version=entry.version if len(record.candidates) == 1 else "",
        contract_version=trial.contract_version,
        load_ms=trial.load_ms,
    )
    if record.state != "found":
        state: State = "skipped" if record.state == "disabled" else "failed"
        return evolve(row, state=state, message=record.reason)
    if trial.problem:
        message, next_step = trial.problem
        if entry.group == EXTENSIONS:
            message += " No session starts until then."
        return evolve(row, state="failed", message=message, next_step=next_step)
    if trial.not_tried:
        return evolve(row, state="warning", message=trial.not_tried)
    if trial.heavy:
        return evolve(
            row,
            state="warning",
            message=f"Loading it imports {', '.join(trial.heavy)}, and every program that uses it "
            "waits for that.",
            next_step=f"Tell the authors of {entry.distribution}: an SDK is imported by the "
            "functions that need it.",
        )
    core = _version("mellea-api")
    if entry.distribution in KNOWN_DISTRIBUTIONS.values() and entry.version != core:
        return evolve(
            row,
            state="warning",
            message=f"Its version is {entry.version}, and that of mellea-api is {core}.",
            next_step=f"Install the same version: pip install {entry.distribution}=={core}",
        )
    return row
