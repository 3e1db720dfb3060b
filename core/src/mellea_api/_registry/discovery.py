"""What is installed, read from the metadata of distributions; nothing is imported.

Two distributions that claim one name are a conflict, and neither wins until
`MELLEA_API_PREFER` chooses; what is switched off by the environment stays visible as such.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from attrs import field, frozen

from mellea_api._contract.errors import ConfigurationError
from mellea_api._secrecy.logs import logger

BACKENDS: Final = "mellea_api.backends"
"""Entry-point group of backends: name = the backend's name, value = its plugin module."""

EXTENSIONS: Final = "mellea_api.extensions"
"""Entry-point group of plugins that are no backend and act on all of them."""

_GROUPS: Final = (BACKENDS, EXTENSIONS)

State = Literal["found", "disabled", "conflict"]


@frozen(order=True)
class EntryPoint:
    """One entry point as the metadata have it.

    Args:
        group: `BACKENDS` or `EXTENSIONS`.
        name: The name it claims.
        value: `module` or `module:attribute`.
        distribution: The distribution that brings it.
        version: That distribution's version.
        summary: That distribution's one-line summary.
    """

    group: str
    name: str
    value: str
    distribution: str
    version: str = ""
    summary: str = ""


@frozen(kw_only=True)
class PluginRecord:
    """What is known of one plugin without importing it.

    Args:
        name: The name it is asked for by.
        state: `found` (it can be asked for), `disabled` or `conflict`.
        candidates: The entry points that claim the name; one of them unless in conflict.
        reason: Why it cannot be used, and what to do; empty where it can.
    """

    name: str
    state: State
    candidates: tuple[EntryPoint, ...]
    reason: str = ""

    @property
    def entry_point(self) -> EntryPoint:
        """The entry point that counts; of several in conflict, the first by distribution."""
        return self.candidates[0]

    @property
    def distributions(self) -> tuple[str, ...]:
        """Names of the distributions that claim the name."""
        return tuple(found.distribution for found in self.candidates)

    @property
    def summary(self) -> str:
        """The distribution's one-line summary."""
        return self.entry_point.summary

    @property
    def distribution(self) -> str:
        """The distribution that brings it; several in conflict with "and" between them."""
        return " and ".join(self.distributions)

    @property
    def version(self) -> str:
        """The distribution's version; empty for several."""
        return self.entry_point.version if len(self.candidates) == 1 else ""


@frozen
class Settings:
    """What the environment says about plugins.

    Args:
        disable: Names that are switched off (`MELLEA_API_DISABLE=a,b`).
        only: The only names that are allowed, or None for all (`MELLEA_API_PLUGINS=a,b`).
        prefer: Which distribution brings a name (`MELLEA_API_PREFER=name=distribution`).
    """

    disable: tuple[str, ...] = ()
    only: tuple[str, ...] | None = None
    prefer: Mapping[str, str] = field(factory=dict)

    @classmethod
    def from_environment(cls) -> Settings:
        """Read the settings.

        Raises:
            ConfigurationError: If `MELLEA_API_PREFER` is not of the form `name=distribution`, or
                names two distributions for one name.
        """
        prefer: dict[str, str] = {}
        for pair in _names("MELLEA_API_PREFER") or ():
            name, _, distribution = (part.strip() for part in pair.partition("="))
            if not (name and distribution):
                problem = f"{pair!r} is not name=distribution"
            elif _normal(prefer.setdefault(name, distribution)) != _normal(distribution):
                problem = f"it asks for {name} from both {prefer[name]} and {distribution}"
            else:
                continue
            raise ConfigurationError(
                f"Cannot read MELLEA_API_PREFER: {problem}.",
                next_step="Write name=distribution once for each name, with commas between them.",
                variable="MELLEA_API_PREFER",
            )
        disable, only = _names("MELLEA_API_DISABLE"), _names("MELLEA_API_PLUGINS")
        return cls(disable or (), only, prefer)


def _names(variable: str) -> tuple[str, ...] | None:
    text = os.environ.get(variable, "").strip()
    return tuple(part.strip() for part in text.split(",") if part.strip()) if text else None


def installed_entry_points() -> list[EntryPoint]:
    """Return the plugins' entry points of all installed distributions.

    A distribution whose metadata cannot be read hides no other: the log names it.
    """
    import importlib_metadata

    found: list[EntryPoint] = []
    for distribution in importlib_metadata.distributions():
        try:
            entries = [one for one in distribution.entry_points if one.group in _GROUPS]
        except Exception as error:
            logger.warning(
                "Cannot read the entry points of %s: %s: %s. Install it again, or remove it.",
                _metadata(distribution).get("Name") or "an unnamed distribution",
                type(error).__name__,
                error,
            )
            continue
        about = _metadata(distribution) if entries else {}
        name = about.get("Name") or "an unnamed distribution"
        if any(_normal(name) == _normal(other.distribution) for other in found):
            continue  # the first on the path hides the others, as in importing
        facts = (name, about.get("Version") or "", about.get("Summary") or "")
        found += [EntryPoint(one.group, one.name, one.value, *facts) for one in entries]
    return found


def installed_version(distribution: str) -> str:
    """Return the version of a distribution; empty if it is not installed, or damaged."""
    import importlib_metadata

    try:
        return importlib_metadata.version(distribution)
    except Exception:
        return ""


@functools.cache
def mellea_version() -> str:
    """Return the installed version of Mellea, without importing it; empty if there is none.

    It is read once: what is imported later in this process is what is installed now.
    """
    return installed_version("mellea")


def _metadata(distribution: Any) -> Mapping[str, str]:
    """Return a distribution's metadata; nothing where it has none, as after a broken install."""
    try:
        return distribution.metadata or {}
    except Exception:
        return {}


def records(
    entry_points: Iterable[EntryPoint], group: str, settings: Settings
) -> dict[str, PluginRecord]:
    """Sort the entry points of one group into one record per name.

    Args:
        entry_points: All that were found, in any order.
        group: `BACKENDS` or `EXTENSIONS`.
        settings: What the environment says.

    Returns:
        The records by name, sorted.
    """
    claims: dict[str, dict[str, EntryPoint]] = {}
    for found in sorted(entry_points):
        if found.group == group:
            # The same distribution may be seen twice, as when it is installed and on the path.
            claims.setdefault(found.name, {}).setdefault(_normal(found.distribution), found)
    return {name: _record(name, claims[name], settings) for name in sorted(claims)}


def _record(name: str, claims: Mapping[str, EntryPoint], settings: Settings) -> PluginRecord:
    def record(state: State, reason: str = "") -> PluginRecord:
        return PluginRecord(name=name, state=state, candidates=candidates, reason=reason)

    candidates = tuple(claims.values())
    if name in settings.disable:
        return record("disabled", "MELLEA_API_DISABLE names it.")
    if settings.only is not None and name not in settings.only:
        return record("disabled", "MELLEA_API_PLUGINS does not name it.")
    offered = " and ".join(found.distribution for found in candidates)
    wanted = settings.prefer.get(name)
    if wanted is not None:
        if _normal(wanted) not in claims:
            reason = f"MELLEA_API_PREFER asks for it from {wanted}, and it is in {offered}."
            return record("conflict", reason)
        candidates = (claims[_normal(wanted)],)
    if len(candidates) > 1:
        return record(
            "conflict",
            f"{offered} both bring it. Uninstall one, or choose with "
            f"MELLEA_API_PREFER={name}={candidates[0].distribution}.",
        )
    return record("found")


def _normal(distribution: str) -> str:
    """Compare names of distributions as packaging does."""
    return re.sub(r"[-_.]+", "-", distribution).lower()
