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
Judgement = tuple[State, str, str]
"""A state, a message and a next step."""

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
    python: Judgement = ("ok", "", "")
    if sys.version_info[:2] > TESTED_PYTHON[1]:
        last = ".".join(map(str, TESTED_PYTHON[1]))
        newer = f"It is newer than {last}, the last tested."
        python = ("warning", newer, f"If something fails, try Python {last}.")
    yield _finding("python", ".".join(map(str, sys.version_info[:3])), python)
    yield _finding("mellea-api", _version("mellea-api"))
    mellea = _version("mellea")
    yield _finding("mellea", mellea, _judge_mellea(mellea))
    for name in sdks:
        if version := _version(name):
            yield _finding(name, version)
    if not registry.backends():
        install = "Install one: pip install mellea-api-ollama"
        yield _finding("backends", "", ("failed", "None is installed.", install))


def _finding(name: str, version: str, judgement: Judgement = ("ok", "", "")) -> Finding:
    state, message, next_step = judgement
    return Finding(name=name, version=version, state=state, message=message, next_step=next_step)


def _judge_mellea(installed: str) -> Judgement:
    from packaging.version import InvalidVersion, Version

    if not installed:
        why = "It is not installed, and no session starts without it."
        return "failed", why, "Install it: pip install mellea"
    oldest, newest = map(Version, TESTED_MELLEA)
    tested = f"Tested are {oldest} to {newest}."
    upgrade = f"Upgrade it: pip install --upgrade mellea. {_CONFLICTS}"
    try:
        version = Version(installed)
    except InvalidVersion:
        return "warning", f"Its version cannot be read. {tested}", upgrade
    if version < oldest:
        return "failed", f"It is older than what this library supports. {tested}", upgrade
    if version > newest:
        upgrade = f"Upgrade mellea-api: pip install --upgrade mellea-api. {_CONFLICTS}"
        return "warning", f"It is newer than what was tested. {tested}", upgrade
    return "ok", "", ""


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
    from mellea_api._registry import backend  # noqa: F401 - the core's, so before the clock starts

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
        trial = evolve(
            trial,
            contract_version=described.contract_version,
            sdk=described.sdk,
            heavy=sorted({"mellea", *described.sdk} & imported),
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
    state, message, next_step = _judge_plugin(record, trial)
    return PluginFinding(
        name=record.name,
        aliases=[other.name for other in records[1:]],
        distribution=" and ".join(record.distributions),
        version=record.entry_point.version if len(record.candidates) == 1 else "",
        contract_version=trial.contract_version,
        load_ms=trial.load_ms,
        state=state,
        message=message,
        next_step=next_step,
    )


def _judge_plugin(record: PluginRecord, trial: _Trial) -> Judgement:
    entry, core = record.entry_point, _version("mellea-api")
    if record.state != "found":
        return "skipped" if record.state == "disabled" else "failed", record.reason, ""
    if trial.problem:
        message, next_step = trial.problem
        closed = " No session starts until then." if entry.group == EXTENSIONS else ""
        return "failed", message + closed, next_step
    if trial.not_tried:
        return "warning", trial.not_tried, ""
    if trial.heavy:
        return (
            "warning",
            f"Loading it imports {', '.join(trial.heavy)}: every program that uses it waits.",
            f"Tell the authors of {entry.distribution}: import SDKs inside functions.",
        )
    if entry.distribution in KNOWN_DISTRIBUTIONS.values() and entry.version != core:
        return (
            "warning",
            f"Its version is {entry.version}, and that of mellea-api is {core}.",
            f"Install the same version: pip install {entry.distribution}=={core}",
        )
    return "ok", "", ""
