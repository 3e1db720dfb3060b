"""`diagnose`: what is installed and set, and what is wrong with it, whatever is broken."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from attrs import asdict, evolve, frozen

from mellea_api._contract.errors import ConfigurationError, MelleaAPIError, PluginError
from mellea_api._diagnosis.findings import (
    INSTALL,
    Diagnosis,
    Finding,
    PluginFinding,
    Software,
    State,
)
from mellea_api._diagnosis.readiness import check_readiness
from mellea_api._diagnosis.variables import Reads, read_by, secrets_of, variable_findings
from mellea_api._provider.apart import FailedApartError, NotStartedError, call_apart
from mellea_api._registry.discovery import (
    EXTENSIONS,
    EntryPoint,
    PluginRecord,
    Settings,
    installed_entry_points,
    installed_version,
)
from mellea_api._registry.loading import broken, load_plugin
from mellea_api._registry.registry import Registry
from mellea_api._secrecy.secrets import redact

Row = TypeVar("Row", bound=Finding)

TESTED_MELLEA: Final = ("0.3.0", "0.8.0")
"""The oldest and the newest version of Mellea that this version is tested with."""

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
    secrets = secrets_of()  # while these live, messages mask them
    try:
        settings = Settings.from_environment()
    except ConfigurationError:  # reported with the variables
        settings = Settings()
    registry = Registry(installed_entry_points(), settings)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        backends, extensions = (
            list(pool.map(lambda record: _try(record, timeout), records))
            for records in (registry.backends(), registry.extensions())
        )
    reads = {trial.plugin.name: trial.reads for trial in backends}
    secrets += secrets_of(
        name for several in reads.values() for one in several for name in one.secret
    )
    failed = [finding for trial in backends for finding in trial.failed]
    return Diagnosis(
        software=_masked(_software(registry, backends)),
        backends=_masked(trial.plugin for trial in backends),
        extensions=_masked(trial.plugin for trial in extensions),
        variables=_masked(variable_findings(registry, reads, failed)),
    )


def _masked(rows: Iterable[Row]) -> tuple[Row, ...]:
    """Mask whatever may be a secret in texts that came from elsewhere."""
    return tuple(
        evolve(row, message=redact(row.message), next_step=redact(row.next_step)) for row in rows
    )


# --------------------------------------------------------------------------------------- software


def _software(registry: Registry, trials: Iterable[_Trial]) -> Iterator[Software]:
    yield Software(name="python", version=platform.python_version())
    yield Software(name="mellea-api", version=installed_version("mellea-api"))
    yield _judged("mellea", *TESTED_MELLEA)
    sdks = {
        name: (_lower_bound(name, trial.plugin.distribution), newest)
        for trial in trials
        for name, newest in trial.tested.items()
    }
    for name in sorted(sdks):
        yield _judged(name, *sdks[name])
    if not registry.backends():
        message = "None is installed."
        yield Software(name="backends", state="failed", message=message, next_step=INSTALL)


def _judged(name: str, oldest: str, newest: str) -> Software:
    """Say whether a distribution is one of the versions that were tested."""
    from packaging.version import InvalidVersion, Version

    found = Software(name=name, version=installed_version(name), message="Tested.")
    if not found.version:
        step = f"Install it: pip install {name}"
        return evolve(found, state="failed", message="It is not installed.", next_step=step)
    upgrade = f"Upgrade it: pip install --upgrade {name}."
    try:
        if Version(oldest) <= Version(found.version) <= Version(newest):
            return found
        state: State = "failed" if Version(found.version) < Version(oldest) else "warning"
        message = "It is too old." if state == "failed" else "It is newer than what was tested."
        newer = "If something fails, upgrade mellea-api and its plugins."
        step = upgrade if state == "failed" else newer
    except InvalidVersion:
        state, message, step = "warning", "Its version cannot be read.", upgrade
    message = f"{message} Tested are {oldest} to {newest}."
    return evolve(found, state=state, message=message, next_step=f"{step} {_CONFLICTS}")


def _lower_bound(name: str, distribution: str) -> str:
    """Return the lowest version that a distribution accepts of another one; 0 for any."""
    import importlib_metadata
    from packaging.requirements import Requirement

    try:
        needed = map(Requirement, importlib_metadata.requires(distribution) or ())
        bounds = [one.specifier for one in needed if one.name == name]
    except Exception:  # its metadata are damaged
        bounds = []
    return next((one.version for bound in bounds for one in bound if ">=" in one.operator), "0")


# ---------------------------------------------------------------------------------------- plugins


@frozen(kw_only=True)
class _Trial:
    """What became of a plugin that was loaded in a fresh interpreter.

    Args:
        plugin: The result.
        tested: The newest versions of its SDK that were tested.
        reads: The variables that it reads.
        failed: Findings about variables whose values this backend cannot use.
    """

    plugin: PluginFinding
    tested: Mapping[str, str] = {}
    reads: Sequence[Reads] = ()
    failed: Sequence[Finding] = ()


def _try(record: PluginRecord, timeout: float) -> _Trial:
    """Load a plugin in a fresh interpreter."""
    entry = record.entry_point
    plugin = PluginFinding(
        name=record.name,
        distribution=record.distribution,
        version=record.version,
        state="skipped" if record.state == "disabled" else "failed",
        message=record.reason,
    )
    if record.state != "found":
        return _Trial(plugin=plugin)
    try:
        told = call_apart(load, timeout, asdict(entry), timeout)
    except NotStartedError as error:
        message = f"It was not loaded: {error}."
        return _Trial(plugin=evolve(plugin, state="warning", message=message))
    except FailedApartError as error:
        told = {"plugin": _failure(entry, broken(entry, f"loading {entry.value} {error}"))}
    return _Trial(
        plugin=evolve(plugin, **{"state": "ok", **told["plugin"]}),
        tested=told.get("tested", {}),
        reads=[Reads(**one) for one in told.get("reads", ())],
        failed=[Finding(**one) for one in told.get("failed", ())],
    )


def load(names: dict[str, str], timeout: float) -> dict[str, Any]:
    """Load a plugin in this process, which is a fresh one; return the facts of a `_Trial` as JSON.

    Args:
        names: Its entry point.
        timeout: Seconds that the check of its settings may take.
    """
    from mellea_api._registry import backend  # noqa: F401 - the core's, so before the clock starts

    entry = EntryPoint(**names)
    registry = Registry([entry], Settings())
    plugin: dict[str, Any] = {}
    began = time.perf_counter()
    try:
        if entry.group == EXTENSIONS:
            load_plugin(entry, "extension")
        else:
            descriptor = registry.backend(entry.name).descriptor
    except MelleaAPIError as error:
        plugin |= _failure(entry, error)
    plugin["load_ms"] = round((time.perf_counter() - began) * 1000, 1)
    if entry.group == EXTENSIONS or "state" in plugin:
        return {"plugin": plugin}
    plugin["contract_version"] = descriptor.contract_version
    # Nobody named this backend: its keyring is not opened, which may ask a person to do it.
    (check,) = check_readiness(
        entry.name, registry=registry, keyring=False, timeout=timeout
    ).backends
    for step in check.steps:
        if isinstance(step.error, PluginError):
            plugin |= _failure(entry, step.error)
    failed = [
        Finding(name=step.variable, state="failed", message=step.message, next_step=step.next_step)
        for step in check.steps
        if step.variable and not isinstance(step.error, PluginError)
    ]
    return {
        "plugin": plugin,
        "tested": dict(descriptor.tested),
        "reads": [asdict(one) for one in read_by(descriptor)],
        "failed": [asdict(one) for one in failed],
    }


def _failure(entry: EntryPoint, error: MelleaAPIError) -> dict[str, str]:
    """Return what is wrong with a plugin that does not load, and what to do about it."""
    message, next_step = " ".join(error.reason.split()), error.next_step
    if entry.group == EXTENSIONS:
        message += " No session starts until then."
    if isinstance(error.__cause__, ModuleNotFoundError):
        next_step = (
            "Install it again, with what it needs: "
            f"pip install --force-reinstall {entry.distribution}"
        )
    return {"state": "failed", "message": message, "next_step": next_step}
