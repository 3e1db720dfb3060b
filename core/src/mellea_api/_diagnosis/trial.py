"""Loading one plugin in a process of its own, and what became of it.

An import cannot be given up: it may hold the lock that every other import waits for, may exit,
may crash the interpreter, and what it leaves behind stays. So it is tried where none of that
matters, and a clock that starts with nothing of the plugin's loaded says how long it took.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import asdict, evolve, frozen

from mellea_api._contract.errors import MelleaAPIError
from mellea_api._registry.discovery import EXTENSIONS, EntryPoint

if TYPE_CHECKING:
    from mellea_api._contract.descriptor import CredentialField
    from mellea_api._registry import Registry


_HEAVY: Final = (
    *("mellea", "ibm_watsonx_ai", "litellm", "ollama", "openai", "torch", "transformers"),
)
"""Modules that a plugin must not import before a session is asked for."""

# The path is the parent's, so that both see the same plugin; -P, since Python would add to it.
_CODE: Final = (
    "import json, sys; job = json.loads(sys.argv[1]); sys.path[:] = job['path']; "
    "from mellea_api._diagnosis.trial import run; run(job)"
)


@frozen(kw_only=True)
class Trouble:
    """Something that is wrong.

    Args:
        message: What.
        next_step: What to do about it.
        variable: The environment variable that is to blame, if one is.
    """

    message: str
    next_step: str
    variable: str | None = None


@frozen(kw_only=True)
class Reads:
    """An environment variable that a backend reads.

    Args:
        name: The variable.
        what: What for: a credential field's name, or `base_url`.
        secret: Whether its value must not be shown.
        before: The variables that count before it where they are set.
    """

    name: str
    what: str
    secret: bool
    before: tuple[str, ...] = ()


@frozen(kw_only=True)
class Trial:
    """What became of one plugin that was loaded.

    Args:
        load_ms: How long it took in milliseconds; None if it did not come to an end.
        contract_version: The contract that it says it was written for.
        trouble: Why it cannot be used, if it cannot.
        untried: Why it could not be tried, for a reason that is not the plugin's.
        heavy: Modules of weight that it imported.
        reads: The variables that it reads.
        settings: What is wrong with variables as this backend takes them.
    """

    load_ms: float | None = None
    contract_version: int | None = None
    trouble: Trouble | None = None
    untried: str = ""
    heavy: tuple[str, ...] = ()
    reads: tuple[Reads, ...] = ()
    settings: tuple[Trouble, ...] = ()


def try_plugin(entry: EntryPoint, *, selected: bool, timeout: float) -> Trial:
    """Load a plugin in a process of its own.

    Args:
        entry: Where it is.
        selected: Whether it is the backend that the environment's model and options belong to.
        timeout: Seconds that it may take, with the start of the process.
    """
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="mellea-api-"))
        except OSError as error:  # as in a container whose file system is read-only
            return Trial(untried=f"No process could be started to load it: {error}.")
        answer = Path(folder) / "answer.json"
        job = {
            "path": sys.path,
            "entry": asdict(entry),
            "selected": selected,
            "answer": str(answer),
        }
        try:
            done = subprocess.run(
                [sys.executable, "-P", "-c", _CODE, json.dumps(job)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return _failed(entry, f"loading {entry.value} took more than {timeout:g} s")
        except (OSError, TypeError) as error:  # an embedded Python does not know its own file
            return Trial(untried=f"No process could be started to load it: {error}.")
        try:
            found = json.loads(answer.read_text("utf-8"))
        except (OSError, ValueError):
            how = _ended(done.returncode)
            return _failed(entry, f"loading {entry.value} ended the process: {how}")
    trouble = found["trouble"]
    return Trial(
        load_ms=found["load_ms"],
        contract_version=found["contract_version"],
        trouble=None if trouble is None else Trouble(**trouble),
        heavy=tuple(found["heavy"]),
        reads=tuple(Reads(**{**one, "before": tuple(one["before"])}) for one in found["reads"]),
        settings=tuple(Trouble(**one) for one in found["settings"]),
    )


def _failed(entry: EntryPoint, why: str) -> Trial:
    from mellea_api._registry.loading import broken

    error = broken(entry, why)
    return Trial(trouble=Trouble(message=error.reason, next_step=error.next_step))


def _ended(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


# ----------------------------------------------------------------------- in the process of its own


def run(job: dict[str, Any]) -> None:
    """Do what `try_plugin` asks for, write the answer, and end the process."""
    entry = EntryPoint(**job["entry"])
    trial = _extension(entry) if entry.group == EXTENSIONS else _backend(entry, job["selected"])
    Path(job["answer"]).write_text(json.dumps(asdict(trial)), "utf-8")
    os._exit(0)  # whatever threads and exit handlers the plugin has


def _extension(entry: EntryPoint) -> Trial:
    from mellea_api._registry.loading import load_plugin

    return _timed(entry, lambda: load_plugin(entry, extension=True))[0]


def _backend(entry: EntryPoint, selected: bool) -> Trial:
    # What follows is the core's: it is imported before the clock starts.
    from mellea_api._api import selection  # noqa: F401
    from mellea_api._registry import Registry, Settings, assembly  # noqa: F401

    registry = Registry([entry], Settings())
    trial, backend = _timed(entry, lambda: registry.backend(entry.name))
    if backend is None:
        return evolve(trial, contract_version=_claimed_version(entry))
    described = backend.descriptor
    reads = list(_in_order(described.base_url_variables, "base_url", secret=False))
    for found in described.credentials:
        reads += _credential(found)
    return evolve(
        trial,
        contract_version=described.contract_version,
        reads=tuple(reads),
        settings=tuple(_settings(registry, entry.name, selected)),
    )


def _timed(entry: EntryPoint, work: Callable[[], Any]) -> tuple[Trial, Any]:
    """Load; return what became of it, and what was loaded, None if it failed."""
    before = set(sys.modules)
    loaded = trouble = None
    began = time.perf_counter()
    try:
        loaded = work()
    except MelleaAPIError as error:
        trouble = Trouble(message=error.reason, next_step=_mended(entry, error) or error.next_step)
    took = (time.perf_counter() - began) * 1000
    heavy = sorted(set(_HEAVY) & (set(sys.modules) - before))
    return Trial(load_ms=round(took, 1), trouble=trouble, heavy=tuple(heavy)), loaded


def _mended(entry: EntryPoint, error: BaseException) -> str:
    """Say what helps where a module is missing; empty where none is."""
    cause = error.__cause__
    if not isinstance(cause, ModuleNotFoundError):
        return ""
    own = entry.value.partition(":")[0].partition(".")[0].strip()
    if (cause.name or own).partition(".")[0] == own:
        return f"Install it anew: pip install --force-reinstall {entry.distribution}"
    return f"Install it with what it needs: pip install --upgrade {entry.distribution}"


def _claimed_version(entry: EntryPoint) -> int | None:
    """Return the contract that a plugin says it was written for, if it gets as far as that."""
    from mellea_api._registry.loading import load_plugin, new_manager

    try:
        manager = new_manager((entry.name, load_plugin(entry)))
        claimed = manager.hook.describe_backend(name=entry.name).contract_version
    except Exception:
        return None
    return claimed if isinstance(claimed, int) else None


def _in_order(variables: Sequence[str], what: str, *, secret: bool) -> Iterator[Reads]:
    for position, name in enumerate(variables):
        yield Reads(name=name, what=what, secret=secret, before=tuple(variables[:position]))


def _credential(found: CredentialField) -> Iterator[Reads]:
    """Yield what is read for a credential: its variables, and what says in which file it is."""
    files = tuple(f"{name}_FILE" for name in found.variables)
    for read in _in_order((*found.variables, *files), found.name, secret=found.secret):
        yield evolve(read, secret=found.secret and read.name not in files)
    for name in dict.fromkeys(re.findall(r"\$(\w+)", " ".join(found.token_file))):
        yield Reads(name=name, what=f"the file of {found.name}", secret=False)


def _settings(registry: Registry, name: str, selected: bool) -> Iterator[Trouble]:
    """Yield what is wrong with the variables that this backend takes."""
    from mellea_api._api.environment import RuntimeEnvironment
    from mellea_api._api.selection import select

    backend = registry.backend(name)
    try:
        target = backend.target()
        # Nobody named this backend: its keyring is not opened, which may ask somebody to do it.
        report = backend.validate_credentials(target, keyring=False)
    except MelleaAPIError as error:
        yield _blamed(error, "")
        return
    for found in report.fields:
        named = re.search(r"(\w+)\)?$", found.source)
        if found.status == "malformed" and named:
            yield Trouble(
                message=f"The {found.name} of {name} cannot be used: {found.reason}.",
                next_step="Correct it.",
                variable=named[1],
            )
    if selected:
        try:
            # MELLEA_RUN_ID is no backend's, and must not hide what is wrong here.
            environment = RuntimeEnvironment.read({**os.environ, "MELLEA_RUN_ID": ""})
            environment = evolve(environment, backend=name)  # which may be set by an alias
            select(registry, environment, name, None, {})
        except MelleaAPIError as error:
            yield _blamed(error, "MELLEA_MODEL_OPTIONS")


def _blamed(error: MelleaAPIError, otherwise: str) -> Trouble:
    variable = getattr(error, "variable", None) or otherwise or None
    return Trouble(message=error.reason, next_step=error.next_step, variable=variable)
