"""Check the arguments of `start_session` and `list_models` that belong to one backend."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

from mellea_api._contract.descriptor import OUR_ARGUMENTS, SETTING_TYPES, BackendDescriptor, Setting
from mellea_api._contract.errors import ConfigurationError

_MEANT: Final = {
    "model": "model_id",
    "model_name": "model_id",
    "backend": "backend_name",
    "context": "ctx",
    "options": "model_options",
}
"""Names that people give an argument of ours, in other libraries or by habit."""


def check_settings(descriptor: BackendDescriptor, settings: Mapping[str, Any]) -> None:
    """Check the settings that a descriptor declares, and find misspelt names of arguments.

    Args:
        descriptor: The backend.
        settings: What was given by name, without credentials.

    Raises:
        ConfigurationError: If a value has the wrong type, or a name is nearly another one.
    """
    if not settings:
        return
    declared = {setting.name: setting for setting in descriptor.settings}
    for name, value in settings.items():
        if name in declared:
            _check(descriptor, declared[name], value)
        elif name not in OUR_ARGUMENTS and _nearest(descriptor, name, (), cutoff=0.8):
            refuse_unknown(descriptor, [name])


def check_listing(descriptor: BackendDescriptor, names: Iterable[str]) -> None:
    """Refuse arguments of `list_models` that a backend with declared settings does not have.

    A misspelt filter would list everything.

    Raises:
        ConfigurationError: If there is one.
    """
    if descriptor.settings:
        refuse_unknown(descriptor, names, {setting.name for setting in descriptor.settings})


def check_arguments(descriptor: BackendDescriptor, names: Collection[str]) -> None:
    """Refuse arguments of a session that neither the descriptor nor `arguments_of` knows.

    It imports Mellea's backend class, so it is called only when a session is created. It gets no
    values: a traceback could show them.

    Raises:
        ConfigurationError: If there is one.
    """
    scopes = {setting.name: setting.scope for setting in descriptor.settings}
    refuse_unknown(descriptor, [name for name in names if scopes.get(name) == "models"])
    others = [name for name in names if name not in scopes]
    if others and descriptor.arguments_of:
        import pkgutil

        functions = map(pkgutil.resolve_name, descriptor.arguments_of)
        known = frozenset().union(*(keyword_arguments(function)[0] for function in functions))
        refuse_unknown(descriptor, others, known)


def refuse_unknown(
    descriptor: BackendDescriptor, names: Iterable[str], known: Collection[str] = ()
) -> None:
    """Refuse arguments that are not known.

    Args:
        descriptor: The backend.
        names: What was given.
        known: The names that are known beside those that the descriptor declares.

    Raises:
        ConfigurationError: If one is not known. It names the nearest that is.
    """
    for name in names:
        if name not in known:
            raise ConfigurationError(
                f"The {descriptor.name} backend has no argument {name!r} here.",
                next_step=_step(descriptor, name, known),
                backend=descriptor.name,
            )


@functools.lru_cache(maxsize=64)
def keyword_arguments(function: Callable[..., Any]) -> tuple[frozenset[str], bool]:
    """Return the names of a class's or function's arguments, and whether it takes any other."""
    import inspect

    parameters = inspect.signature(function).parameters.values()
    names = {found.name for found in parameters if found.kind is not found.VAR_KEYWORD}
    known = frozenset(names - {"self", "model_id", "model_options"})
    return known, any(found.kind is found.VAR_KEYWORD for found in parameters)


def _nearest(
    descriptor: BackendDescriptor, name: str, known: Collection[str], cutoff: float = 0.6
) -> str | None:
    own = [
        *(setting.name for setting in descriptor.settings),
        *(credential.name for credential in descriptor.credentials),
    ]
    if name in _MEANT and name not in known:
        return _MEANT[name]
    near = difflib.get_close_matches(
        name, [*own, *known, *OUR_ARGUMENTS, "base_url"], n=1, cutoff=cutoff
    )
    return near[0] if near else None


def _step(descriptor: BackendDescriptor, name: str, known: Collection[str]) -> str:
    near = _nearest(descriptor, name, known)
    if near:
        return f"Did you mean {near!r}?"
    own = {*(setting.name for setting in descriptor.settings), *known}
    takes = ", ".join(sorted(own)) or "none of its own"
    return f"It takes {takes}; model options go into model_options."


def _check(descriptor: BackendDescriptor, setting: Setting, value: Any) -> None:
    if value is None and setting.default is None:
        return
    kinds = setting.type.split()
    right = any(
        isinstance(value, SETTING_TYPES[kind][0])
        and (kind in ("boolean", "any") or not isinstance(value, bool))
        for kind in kinds
    )
    if right and (not setting.choices or value in setting.choices):
        return
    wanted = " or ".join(SETTING_TYPES[kind][1] for kind in kinds)
    if setting.choices:
        wanted = f"one of {', '.join(map(str, setting.choices))}"
    raise ConfigurationError(
        f"Cannot use {setting.name}={value!r} for the {descriptor.name} backend.",
        next_step=f"Give {wanted}, or leave it out. {setting.help}".strip(),
        backend=descriptor.name,
    )
