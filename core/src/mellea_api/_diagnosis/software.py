"""What is installed beside the plugins, read from metadata: versions, and who asks for others."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from mellea_api import __version__
from mellea_api._diagnosis.findings import SoftwareFinding, State

if TYPE_CHECKING:
    from packaging.requirements import Requirement


TESTED_MELLEA: Final = ("0.3.0", "0.8.0")
"""The oldest and the newest version of Mellea that this version is tested with."""

TESTED_PYTHON: Final = ((3, 11), (3, 13))
"""The oldest and the newest version of Python."""

OURS: Final = frozenset(
    f"mellea-api-{name}" for name in ("hf", "litellm", "ngram", "ollama", "openai", "watsonx")
)
"""The distributions of this project beside the core; all share its version."""

_SDKS: Final = (
    *("huggingface-hub", "ibm-watsonx-ai", "litellm", "ollama", "openai", "torch"),
    "transformers",
)


def software(distributions: Iterable[str]) -> Iterator[SoftwareFinding]:
    """Yield what was found of everything but the plugins.

    Args:
        distributions: Names of those that bring plugins.
    """
    yield _python()
    yield _core()
    yield _mellea_itself()
    wanted = ["mellea-api", *dict.fromkeys(distributions)]
    problems: dict[str, list[str]] = {}
    direct = set()
    for name in wanted:
        for requirement in _requirements(name, (), set()):
            direct.add(normal(requirement.name))
            problem = _problem(requirement)
            if problem:
                told = problems.setdefault(normal(requirement.name), [])
                told.append(f"{name} asks for {_shown(requirement)}, and {problem}")
    shown = (direct | set(_SDKS)) - {"mellea-api", "mellea", *map(normal, wanted)}
    base = {normal(found.name) for found in _requirements("mellea-api", (), set())}
    for name in sorted(shown | set(problems)):
        version = _version(name)
        if name in problems:
            yield SoftwareFinding(
                name=name,
                version=version or "",
                state="error",
                message="; ".join(dict.fromkeys(problems[name])) + ".",
                next_step=f"Install what is asked for: pip install --upgrade {' '.join(wanted)}",
            )
        elif version is not None and name not in base:
            yield SoftwareFinding(name=name, version=version)
    yield from _damaged(wanted)


def normal(distribution: str) -> str:
    """Return a distribution's name as packaging compares it."""
    from packaging.utils import canonicalize_name

    return canonicalize_name(distribution)


def _python() -> SoftwareFinding:
    version = sys.version_info[:2]
    state: State = "ok"
    message = next_step = ""
    if version > TESTED_PYTHON[1]:
        state, message = (
            "warning",
            f"It is newer than {_dotted(TESTED_PYTHON[1])}, the last tested.",
        )
        next_step = f"Where something fails, try Python {_dotted(TESTED_PYTHON[1])}."
    return SoftwareFinding(
        name="python",
        version=".".join(map(str, sys.version_info[:3])),
        state=state,
        message=message,
        next_step=next_step,
    )


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _core() -> SoftwareFinding:
    installed = _version("mellea-api")
    if installed == __version__:
        return SoftwareFinding(name="mellea-api", version=__version__)
    found = "no version of it" if installed is None else f"version {installed}"
    return SoftwareFinding(
        name="mellea-api",
        version=__version__,
        state="warning",
        message=f"What is imported is {__version__}, and the metadata have {found}.",
        next_step="Install it anew: pip install --force-reinstall mellea-api",
    )


def _mellea_itself() -> SoftwareFinding:
    from packaging.version import InvalidVersion, Version

    found = _version("mellea")
    if not found:
        return SoftwareFinding(
            name="mellea",
            version="",
            state="error",
            message="It is not installed, and no session starts without it.",
            next_step="Install it: pip install mellea",
        )
    oldest, newest = map(Version, TESTED_MELLEA)
    tested = f"Tested are {oldest} to {newest}."
    try:
        version = Version(found)
    except InvalidVersion:
        return SoftwareFinding(
            name="mellea",
            version=found,
            state="warning",
            message=f"Its version says nothing. {tested}",
            next_step="Install a released one: pip install --upgrade mellea",
        )
    if version < oldest:
        return SoftwareFinding(
            name="mellea",
            version=found,
            state="error",
            message=f"It is older than what this library supports. {tested}",
            next_step="Upgrade it: pip install --upgrade mellea",
        )
    if version > newest:
        return SoftwareFinding(
            name="mellea",
            version=found,
            state="warning",
            message=f"It is newer than what this version was tested with. {tested}",
            next_step="Upgrade mellea-api if you can: pip install --upgrade mellea-api",
        )
    return SoftwareFinding(name="mellea", version=found)


def _version(name: str) -> str | None:
    import importlib_metadata

    try:
        return importlib_metadata.version(name)
    except Exception:  # not installed, or damaged, which is told apart below
        return None


def _requirements(
    name: str, extras: tuple[str, ...], seen: set[tuple[str, tuple[str, ...]]]
) -> Iterator[Requirement]:
    """Yield what a distribution asks for here, and what the extras that it asks for do."""
    import importlib_metadata
    from packaging.requirements import InvalidRequirement, Requirement

    if (name, extras) in seen:
        return
    seen.add((name, extras))
    try:
        wanted = importlib_metadata.requires(name) or []
    except Exception:
        return
    for text in wanted:
        try:
            requirement = Requirement(text)
            marker = requirement.marker
            # A distribution with an extra is asked for without it by its own requirement.
            needed = extras or ("",)
            if extras and (marker is None or "extra" not in str(marker)):
                continue
            if marker and not any(marker.evaluate({"extra": extra}) for extra in needed):
                continue
        except (InvalidRequirement, ValueError):
            continue
        yield requirement
        if requirement.extras:
            yield from _requirements(requirement.name, tuple(sorted(requirement.extras)), seen)


def _problem(requirement: Requirement) -> str:
    installed = _version(requirement.name)
    if installed is None:
        return "it is not installed"
    from packaging.version import InvalidVersion

    with contextlib.suppress(InvalidVersion):
        if requirement.specifier.contains(installed, prereleases=True):
            return ""
    return f"{installed} is installed"


def _shown(requirement: Requirement) -> str:
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}{requirement.specifier}"


def _damaged(wanted: Iterable[str]) -> Iterator[SoftwareFinding]:
    """Yield the distributions whose metadata cannot be read, or are there twice."""
    import importlib_metadata

    concerned = {normal(name) for name in wanted} | {"mellea"}
    versions: dict[str, set[str]] = {}
    for distribution in importlib_metadata.distributions():
        name, version, where, problem = _identity(distribution)
        if problem:
            ours = "mellea" in name or "mellea" in where
            yield SoftwareFinding(
                name=name or where,
                version=version,
                state="error" if ours else "warning",
                message=f"Its metadata cannot be read ({problem}): {where}.",
                next_step="Install it again, or remove that folder; a plugin in it is not found.",
            )
        elif normal(name) in concerned:
            versions.setdefault(normal(name), set()).add(version)
    for name, several in sorted(versions.items()):
        if len(several) > 1:
            yield SoftwareFinding(
                name=name,
                version=" and ".join(sorted(several)),
                state="warning",
                message="It is installed more than once; the first on the path counts.",
                next_step=f"Uninstall it until it is gone, then install it: pip uninstall {name}",
            )


def _identity(distribution: Any) -> tuple[str, str, str, str]:
    """Return name, version, folder and what cannot be read of a distribution."""
    where = str(getattr(distribution, "_path", "") or "an unknown place")
    name = version = ""
    try:
        metadata = distribution.metadata
        name, version = str(metadata["Name"] or ""), str(metadata["Version"] or "")
        list(distribution.entry_points)
    except Exception as error:
        return name, version, where, f"{type(error).__name__}: {error}"
    return name, version, where, "" if name else "it has no name"
