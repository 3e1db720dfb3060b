"""The environment variables that are set: who reads them, and which `MELLEA_*` is misspelt.

Values stay where they are: a finding about a variable never shows one that may be a secret.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from mellea_api._api.environment import VARIABLES, RuntimeEnvironment
from mellea_api._contract.errors import MelleaAPIError
from mellea_api._diagnosis.findings import Finding
from mellea_api._registry.discovery import Settings
from mellea_api._secrecy.secrets import Secret

if TYPE_CHECKING:
    from mellea_api._contract.descriptor import BackendDescriptor, CredentialField
    from mellea_api._registry.registry import Registry


_SECRETIVE: Final = re.compile(
    r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|(^|_)(AUTH|PAT)(_|$)|_PWD(_|$)"
)
# PWD is the current folder: if it were masked, no path below it could be read.
_NAMES_A_PLACE: Final = re.compile(r"(^|_)(FILE|PATH|DIR|DIRECTORY|SOCK)$")
_NEAR: Final = 0.85
"""How similar a misspelt name must be to a variable."""


@frozen
class Reads:
    """Environment variables that a backend reads for one thing.

    Args:
        what: What for: a credential field's name, or `base_url`.
        names: The variables; the first that is set counts.
        secret: Those whose values must not be shown.
    """

    what: str
    names: Sequence[str]
    secret: Sequence[str] = ()


def secrets_of(known: Iterable[str] = ()) -> list[Secret]:
    """Return what may be secret in the environment; while these live, messages mask it.

    Args:
        known: Variables that are known to hold secrets, whatever their names.

    A variable that names a file or a folder holds no secret: messages must show where it points.
    """
    known = set(known)
    return [
        Secret(value, source=f"environment variable {name}")
        for name, value in os.environ.items()
        if name in known
        or (_SECRETIVE.search(name.upper()) and not _NAMES_A_PLACE.search(name.upper()))
    ]


def first_set(names: Iterable[str]) -> str:
    """Return the first of these variables that is set and not empty; an empty text for none."""
    return next((name for name in names if os.environ.get(name, "").strip()), "")


def variables_of(field: CredentialField) -> list[str]:
    """Return the variables that hold a credential or name its file, in the order they count."""
    return [*field.variables, *(f"{name}_FILE" for name in field.variables)]


def read_by(descriptor: BackendDescriptor) -> Iterator[Reads]:
    """Yield the variables that a backend reads."""
    yield Reads("base_url", descriptor.base_url_variables)
    for field in descriptor.credentials:
        yield Reads(field.name, variables_of(field), field.variables if field.secret else ())
        for name in dict.fromkeys(re.findall(r"\$(\w+)", " ".join(field.token_file))):
            yield Reads(f"the file of {field.name}", [name])


def variable_findings(
    registry: Registry, reads: Mapping[str, Sequence[Reads]], failed: Iterable[Finding]
) -> Iterator[Finding]:
    """Yield a finding for each variable that is set and concerns this library or a backend.

    Args:
        registry: The installed backends.
        reads: What each backend reads, by its name.
        failed: Findings about variables whose values a backend cannot use.
    """
    uses: dict[str, list[str]] = {name: [] for name in VARIABLES}
    for backend, several in reads.items():
        for one in several:
            first = first_set(one.names)
            for name in one.names:
                instead = f", where {first} counts instead" if first not in ("", name) else ""
                uses.setdefault(name, []).append(f"{one.what} of {backend}{instead}")
    problems = {found.name: found for found in (*failed, *_own_problems(registry))}
    for name in sorted(os.environ):
        if name in uses and not first_set([name]):
            yield Finding(name=name, message="It is empty, which counts as not set.")
        elif name in uses:
            message = f"{'; '.join(uses[name]) or 'It is used'}."
            yield problems.get(name) or Finding(name=name, message=message)
        elif name.upper().startswith("MELLEA") and (near := _nearest(name, uses)):
            message = "Neither this library nor a backend reads it."
            next_step = f"Did you mean {near}?"
            yield Finding(name=name, state="warning", message=message, next_step=next_step)


def _own_problems(registry: Registry) -> Iterator[Finding]:
    """Yield what is wrong with this library's own variables."""
    from mellea_api._api.arguments import policy_of
    from mellea_api._models.cache import default_cache

    backend = os.environ.get("MELLEA_BACKEND", "").strip()
    reads: list[Callable[[], Any]] = [
        RuntimeEnvironment.read,
        Settings.from_environment,
        lambda: policy_of(None),
        default_cache,
    ]
    if backend and backend not in registry:
        reads.append(lambda: registry.backend(backend))  # raises, and imports nothing
    for read in reads:
        try:
            read()
        except MelleaAPIError as error:
            name = getattr(error, "variable", None) or "MELLEA_BACKEND"
            message, next_step = error.reason, error.next_step
            yield Finding(name=name, state="failed", message=message, next_step=next_step)


def _nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the variable that was probably meant, or None.

    >>> _nearest("OPENAI_APIKEY", ["OPENAI_API_KEY", "OPENAI_BASE_URL"])
    'OPENAI_API_KEY'
    >>> _nearest("ANTHROPIC_API_KEY", ["OPENAI_API_KEY"])
    """
    bare = {one.replace("_", ""): one for one in known}
    near = difflib.get_close_matches(name.upper().replace("_", ""), bare, n=1, cutoff=_NEAR)
    return bare[near[0]] if near else None
