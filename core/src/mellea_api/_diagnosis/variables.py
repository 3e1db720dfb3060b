"""Environment variables: which are read, which nobody reads, and whose values cannot be used.

Values stay where they are: what is said of a variable never shows one that may be a secret.
"""

from __future__ import annotations

import difflib
import functools
import importlib.util
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mellea_api._api.environment import DEFAULT_BACKEND, VARIABLES, RuntimeEnvironment
from mellea_api._contract.errors import ConfigurationError, MelleaAPIError
from mellea_api._diagnosis.findings import VariableFinding
from mellea_api._registry.discovery import BACKENDS, EntryPoint, Settings
from mellea_api._secrecy.secrets import Secret

if TYPE_CHECKING:
    from mellea_api._diagnosis.trial import Reads, Trouble
    from mellea_api._registry import Registry


_SECRETIVE: Final = re.compile(
    r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|(^|_)(AUTH|PAT)(_|$)|_PWD(_|$)"
)
# PWD is the current folder: masked, no path below it could be read any more.
_NAMES_A_PLACE: Final = re.compile(r"(^|_)(FILE|PATH|DIR|DIRECTORY|SOCK)$")
_NEAR: Final = 0.85
"""How near a name must be to a variable that is read to be taken for it misspelt."""


def secrets_of(environ: Mapping[str, str], known: Iterable[str] = ()) -> list[Secret]:
    """Return what may be secret in the environment; while these live, messages mask it.

    Args:
        environ: The environment.
        known: Variables that are known to hold secrets, whatever their names.

    What names a file or a folder is no secret: it is to be named where it is not there.
    """
    known = set(known)
    return [
        Secret(value, source=f"environment variable {name}")
        for name, value in environ.items()
        if name in known
        or (_SECRETIVE.search(name.upper()) and not _NAMES_A_PLACE.search(name.upper()))
    ]


def usable_settings(environ: Mapping[str, str]) -> Settings:
    """Return what the environment says about plugins, without what cannot be read."""
    try:
        return Settings.from_environment(environ)
    except ConfigurationError as error:
        kept = {name: value for name, value in environ.items() if name != error.variable}
        return Settings.from_environment(kept)


class Variables:
    """Looks at the environment.

    Args:
        environ: The environment.
        registry: What is installed.
        entry_points: All entry points that were found, in conflict or not.
        reads: What each backend reads, by its name.
        troubles: What loading the backends has found wrong with variables.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        registry: Registry,
        entry_points: Sequence[EntryPoint],
        reads: Mapping[str, Sequence[Reads]],
        troubles: Iterable[Trouble],
    ) -> None:
        self._environ = environ
        self._registry = registry
        self._entry_points = entry_points
        self._reads: dict[str, list[tuple[str, Reads]]] = {}
        for backend, found in reads.items():
            for one in found:
                self._reads.setdefault(one.name, []).append((backend, one))
        self._troubles = {found.variable: found for found in troubles if found.variable}

    def findings(self) -> Iterator[VariableFinding]:
        """Yield one finding for each variable that concerns anybody here, sorted by name."""
        if not self._environ.get("MELLEA_BACKEND", "").strip():
            yield from self._without_backend()
        for name in sorted(self._environ):
            found = self._about(name)
            if found is not None:
                yield found

    def _without_backend(self) -> Iterator[VariableFinding]:
        if DEFAULT_BACKEND not in self._registry and self._registry.names():
            yield VariableFinding(
                name="MELLEA_BACKEND",
                state="warning",
                message=f"It is not set, and its default, {DEFAULT_BACKEND}, is not there.",
                next_step=f"Set it to one of {', '.join(self._registry.names())}.",
            )

    def _about(self, name: str) -> VariableFinding | None:
        if name in VARIABLES:
            return self._ours(name)
        if name in self._reads:
            return self._read(name)
        if name.upper().startswith("MELLEA"):
            return self._in_our_name(name)
        near = _nearest(name, self._reads)
        if near is None or self._is_set(near):  # then it is no slip, but somebody's reserve
            return None
        return VariableFinding(
            name=name,
            state="warning",
            message="No backend reads it.",
            next_step=f"Did you mean {near}?",
        )

    def _is_set(self, name: str) -> bool:
        return bool(self._environ.get(name, "").strip())

    def _in_our_name(self, name: str) -> VariableFinding:
        theirs = _melleas_variables()
        if name in theirs:
            return VariableFinding(name=name, message="Mellea reads it.")
        near = _nearest(name, [*VARIABLES, *theirs, *self._reads])
        return VariableFinding(
            name=name,
            state="warning",
            message="Nobody here reads it.",
            next_step=f"Did you mean {near}?" if near else "",
        )

    def _read(self, name: str) -> VariableFinding:
        if not self._is_set(name):
            return VariableFinding(name=name, message="It is empty, which counts as not set.")
        trouble = self._troubles.get(name)
        if trouble is not None:
            return VariableFinding(
                name=name, state="error", message=trouble.message, next_step=trouble.next_step
            )
        said = []
        for backend, found in self._reads[name]:
            first = next((other for other in found.before if self._is_set(other)), None)
            said.append(
                f"{found.what} of {backend}" + (f", where {first} counts instead" if first else "")
            )
        return VariableFinding(name=name, message=f"{'; '.join(said)}.")

    # --- this library's own

    def _ours(self, name: str) -> VariableFinding:
        if not self._is_set(name):
            return VariableFinding(name=name, message="It is empty, which counts as not set.")
        try:
            self._validate(name)
        except MelleaAPIError as error:
            return VariableFinding(
                name=name, state="error", message=error.reason, next_step=error.next_step
            )
        trouble = self._troubles.get(name)
        if trouble is not None:
            return VariableFinding(
                name=name, state="error", message=trouble.message, next_step=trouble.next_step
            )
        idle = list(self._idle(name))
        if idle:
            return VariableFinding(
                name=name,
                state="warning",
                message="; ".join(idle) + ".",
                next_step="Correct the name, or take it out.",
            )
        return VariableFinding(name=name, message="It is used.")

    def _validate(self, name: str) -> None:
        alone = {name: self._environ[name]}
        RuntimeEnvironment.read(alone)
        Settings.from_environment(alone)
        value = self._environ[name].strip()
        if name == "MELLEA_API_UNSUPPORTED":
            from mellea_api._api.arguments import policy_of

            policy_of(None, alone)
        elif name == "MELLEA_API_MODELS_LIFETIME":
            from mellea_api._models.asking import default_cache

            default_cache()
        elif name == "MELLEA_BACKEND" and value not in self._registry:
            self._registry.backend(value)  # raises, and imports nothing

    def _idle(self, name: str) -> Iterator[str]:
        """Yield what has no effect in a variable about plugins."""
        backends = {found.name for found in self._entry_points if found.group == BACKENDS}
        everything = {found.name for found in self._entry_points}
        settings = usable_settings({name: self._environ[name]})
        known = backends if name == "MELLEA_API_PLUGINS" else everything
        for wanted in sorted({*settings.disable, *(settings.only or ()), *settings.prefer}):
            if wanted not in known:
                near = difflib.get_close_matches(wanted, known, n=1)
                meant = f" (did you mean {near[0]}?)" if near else ""
                yield f"nothing of the name {wanted!r} is installed{meant}"
            elif wanted in settings.prefer and self._claims(wanted) < 2:
                yield f"only one distribution brings {wanted!r}, so there is nothing to prefer"

    def _claims(self, name: str) -> int:
        claims = {
            (found.group, found.distribution) for found in self._entry_points if found.name == name
        }
        return max(sum(group == one for one, _ in claims) for group, _ in claims)


@functools.cache
def _melleas_variables() -> frozenset[str]:
    """Return the names that the installed Mellea's source has; it is read, not imported."""
    found: set[bytes] = set()
    try:
        spec = importlib.util.find_spec("mellea")
        for folder in (spec and spec.submodule_search_locations) or ():
            for path in Path(folder).rglob("*.py"):
                found |= set(re.findall(rb"\bMELLEA_[A-Z0-9_]+\b", path.read_bytes()))
    except (OSError, ValueError, ImportError):
        pass
    return frozenset(name.decode() for name in found)


def _nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the variable that was probably meant, or None.

    >>> _nearest("OPENAI_APIKEY", ["OPENAI_API_KEY", "OPENAI_BASE_URL"])
    'OPENAI_API_KEY'
    >>> _nearest("ANTHROPIC_API_KEY", ["OPENAI_API_KEY"])
    """
    bare = {one.replace("_", ""): one for one in known}
    near = difflib.get_close_matches(name.upper().replace("_", ""), bare, n=1, cutoff=_NEAR)
    return bare[near[0]] if near else None
