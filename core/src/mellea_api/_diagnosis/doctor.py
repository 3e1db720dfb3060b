"""`diagnose`: what is installed and set, and what is wrong with it, whatever is broken."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from attrs import asdict, evolve, frozen

from mellea_api._contract.errors import ConfigurationError, MelleaAPIError, PluginError
from mellea_api._diagnosis.apart import FailedApartError, NotStartedError, call_apart
from mellea_api._diagnosis.findings import INSTALL, Diagnosis, Finding, PluginFinding, State
from mellea_api._diagnosis.readiness import check_readiness
from mellea_api._diagnosis.variables import Reads, read_by, secrets_of, variable_findings
from mellea_api._registry.discovery import (
    EXTENSIONS,
    EntryPoint,
    PluginRecord,
    Settings,
    installed_entry_points,
)
from mellea_api._registry.loading import broken, load_plugin
from mellea_api._registry.registry import KNOWN_DISTRIBUTIONS, Registry
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
    secrets = secrets_of()  # while these live, messages mask them
    try:
        settings = Settings.from_environment()
    except ConfigurationError:  # reported with the variables
        settings = Settings()
    registry = Registry(installed_entry_points(), settings)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        backends, extensions = (
            list(pool.map(lambda names: _try(names, timeout), _by_plugin(records)))
            for records in (registry.backends(), registry.extensions())
        )
    reads = {trial.plugin.name: trial.reads for trial in backends}
    secrets += secrets_of(one.name for several in reads.values() for one in several if one.secret)
    failed = [finding for trial in backends for finding in trial.failed]
    return Diagnosis(
        software=_masked(_software(registry, [name for trial in backends for name in trial.sdk])),
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


def _software(registry: Registry, sdks: Iterable[str]) -> Iterator[Finding]:
    from packaging.utils import canonicalize_name

    python = Finding(name="python", version=platform.python_version())
    if sys.version_info[:2] > TESTED_PYTHON[1]:
        last = ".".join(map(str, TESTED_PYTHON[1]))
        newer = f"It is newer than {last}, the last tested."
        step = f"If something fails, try Python {last}."
        python = evolve(python, state="warning", message=newer, next_step=step)
    yield python
    yield Finding(name="mellea-api", version=_version("mellea-api"))
    yield _mellea(_version("mellea"))
    for name in sorted(set(map(canonicalize_name, sdks))):
        if version := _version(name):
            yield Finding(name=name, version=version)
    if not registry.backends():
        message = "None is installed."
        yield Finding(name="backends", state="failed", message=message, next_step=INSTALL)


def _mellea(installed: str) -> Finding:
    from packaging.version import InvalidVersion, Version

    found = Finding(name="mellea", version=installed)
    if not installed:
        why = "It is not installed, and no session starts without it."
        return evolve(
            found, state="failed", message=why, next_step="Install it: pip install mellea"
        )
    oldest, newest = map(Version, TESTED_MELLEA)
    state: State = "warning"
    why, other = "Its version cannot be read.", "mellea"
    try:
        version = Version(installed)
        if oldest <= version <= newest:
            return found
        if version < oldest:
            state, why = "failed", "It is older than what this library supports."
        else:
            why, other = "It is newer than what was tested.", "mellea-api"
    except InvalidVersion:
        pass
    return evolve(
        found,
        state=state,
        message=f"{why} Tested are {oldest} to {newest}.",
        next_step=f"Upgrade {other}: pip install --upgrade {other}. {_CONFLICTS}",
    )


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
        plugin: The result.
        sdk: The packages of its SDK.
        reads: The variables that it reads.
        failed: Findings about variables whose values this backend cannot use.
    """

    plugin: PluginFinding
    sdk: Sequence[str] = ()
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
    record = records[0]
    plugin = PluginFinding(
        name=record.name,
        aliases=tuple(other.name for other in records[1:]),
        distribution=record.distribution,
        version=record.version,
        state="skipped" if record.state == "disabled" else "failed",
        message=record.reason,
    )
    if record.state != "found":
        return _Trial(plugin=plugin)
    entries = [asdict(one.entry_point) for one in records]
    try:
        answer = call_apart(load, timeout, asdict(evolve(plugin, state="ok")), entries, timeout)
    except NotStartedError as error:
        message = f"It was not loaded: {error}."
        return _Trial(plugin=evolve(plugin, state="warning", message=message))
    except FailedApartError as error:
        failure = broken(record.entry_point, f"loading {record.entry_point.value} {error}")
        return _Trial(plugin=_failed(plugin, record.entry_point, failure))
    return _Trial(
        plugin=PluginFinding(**answer["plugin"]),
        sdk=answer["sdk"],
        reads=[Reads(**one) for one in answer["reads"]],
        failed=[Finding(**one) for one in answer["failed"]],
    )


def load(plugin: dict[str, Any], names: Sequence[dict[str, str]], timeout: float) -> dict[str, Any]:
    """Load a plugin in this process, which is a fresh one; return a `_Trial` as JSON.

    Args:
        plugin: The finding as it is before that, as JSON.
        names: Its entry points, one for each of its names.
        timeout: Seconds that the check of its settings may take.
    """
    from mellea_api._registry import backend  # noqa: F401 - the core's, so before the clock starts

    entries = [EntryPoint(**name) for name in names]
    entry, found, loaded = entries[0], PluginFinding(**plugin), None
    registry = Registry(entries, Settings())
    before = set(sys.modules)
    began = time.perf_counter()
    try:
        if entry.group == EXTENSIONS:
            load_plugin(entry, extension=True)
        else:
            loaded = registry.backend(entry.name).descriptor
    except MelleaAPIError as error:
        found = _failed(found, entry, error)
    found = evolve(found, load_ms=round((time.perf_counter() - began) * 1000, 1))
    if loaded is None:
        return asdict(_Trial(plugin=found))
    heavy = sorted({"mellea", *loaded.sdk} & (set(sys.modules) - before))
    core = _version("mellea-api")
    found = evolve(found, contract_version=loaded.contract_version)
    # Nobody named this backend: its keyring is not opened, which may ask a person to do it.
    (check,) = check_readiness(
        entry.name, registry=registry, keyring=False, timeout=timeout
    ).backends
    wrong = [step.error for step in check.steps if isinstance(step.error, PluginError)]
    if wrong:
        found = _failed(found, entry, wrong[-1])
    elif heavy:
        found = evolve(
            found,
            state="warning",
            message=f"Loading it imports {', '.join(heavy)}: every program that uses it waits.",
            next_step=f"Tell the authors of {entry.distribution}: import SDKs inside functions.",
        )
    elif entry.distribution in KNOWN_DISTRIBUTIONS.values() and entry.version != core:
        found = evolve(
            found,
            state="warning",
            message=f"Its version is {entry.version}, and that of mellea-api is {core}.",
            next_step=f"Install the same version: pip install {entry.distribution}=={core}",
        )
    variables = [
        evolve(step, error=None)
        for step in check.steps
        if step.variable and not isinstance(step.error, PluginError)
    ]
    return asdict(
        _Trial(plugin=found, sdk=loaded.sdk, reads=list(read_by(loaded)), failed=variables)
    )


def _failed(plugin: PluginFinding, entry: EntryPoint, error: MelleaAPIError) -> PluginFinding:
    """Return the finding for a plugin that does not load, with what to do about it."""
    message, next_step, cause = " ".join(error.reason.split()), error.next_step, error.__cause__
    if entry.group == EXTENSIONS:
        message += " No session starts until then."
    if isinstance(cause, ModuleNotFoundError):
        own = entry.value.partition(":")[0].partition(".")[0].strip()
        if (cause.name or own).partition(".")[0] == own:
            next_step = f"Install it again: pip install --force-reinstall {entry.distribution}"
        else:
            upgrade = f"pip install --upgrade {entry.distribution}"
            next_step = f"Install what it needs: {upgrade}. {_CONFLICTS}"
    return evolve(plugin, state="failed", message=message, next_step=next_step)
