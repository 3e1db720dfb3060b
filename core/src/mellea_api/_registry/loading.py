"""Import plugins, and check them against the contract.

Pluggy itself overlooks some mistakes: a misspelt parameter with a default silently stays None, and
it never notices a function without a mark. Here all of them are errors when the plugin is loaded.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Literal

from attrs import frozen

from mellea_api import hookspecs
from mellea_api._contract.descriptor import (
    CONTRACT_VERSION,
    OLDEST_CONTRACT,
    BackendDescriptor,
)
from mellea_api._contract.errors import PluginError
from mellea_api._options.canonical import CANONICAL, SPELLINGS
from mellea_api._registry.discovery import EXTENSIONS, EntryPoint, PluginRecord

Kind = Literal["backend", "implementation", "extension"]
"""What a module of a plugin is; an implementation has the hooks that need an SDK."""

ADDITIVE: Final = ("find_credential", "review_options", "translate_error")
"""The hooks that an extension may implement beside a backend; it may only wrap the others."""

ASYNC: Final = ("create_session", "list_models", "validate_credentials")
"""The hooks that may be `async def`."""

_MARK: Final = "mellea_api_impl"
_SPECS: Final = {
    name: function
    for name, function in vars(hookspecs).items()
    if callable(function) and hasattr(function, "mellea_api_spec")
}


@frozen
class DescribedBackend:
    """The plugin that stands for a constant `BackendDescriptor`.

    Args:
        descriptor: The constant.
    """

    descriptor: BackendDescriptor

    @hookspecs.hookimpl
    def describe_backend(self) -> BackendDescriptor:
        """Return the constant."""
        return self.descriptor


def load_plugin(entry: EntryPoint, kind: Kind = "backend", value: str = "") -> object:
    """Import a plugin, or a further module of it, and check it.

    Args:
        entry: Where the plugin is.
        kind: What is imported.
        value: The module, if it is not the one that the entry point names.

    Returns:
        The module, the object that is named, or a `DescribedBackend`.

    Raises:
        PluginError: If it cannot be imported, for whatever reason, or breaks the contract.
    """
    import importlib_metadata

    value = value or entry.value
    try:
        plugin: object = importlib_metadata.EntryPoint(entry.name, value, entry.group).load()
        if kind == "backend" and isinstance(plugin, BackendDescriptor):
            return DescribedBackend(plugin)
        problems = "; ".join(find_problems(plugin, kind))
    # SystemExit too: a plugin that exits while it is imported must not end the program.
    except (Exception, SystemExit) as error:
        reason = f"loading {value} failed with {type(error).__name__}: {error}"
        raise broken(entry, reason) from error
    if problems:
        raise broken(entry, problems)
    return plugin


def load_extensions(records: Iterable[PluginRecord]) -> list[tuple[str, object, EntryPoint]]:
    """Load all extensions; if one fails, every session fails: a policy must not be skipped.

    Returns:
        Name in a plugin manager, plugin and entry point of each.

    Raises:
        PluginError: If an extension cannot be used, or is in conflict.
    """
    loaded: list[tuple[str, object, EntryPoint]] = []
    for record in records:
        if record.state == "disabled":
            continue
        if record.state == "conflict":
            raise PluginError(
                f"Cannot use any backend: the extension {record.name!r} is in conflict: "
                f"{record.reason}",
                next_step="Sessions start again once it is settled.",
                plugin=record.name,
                distributions=record.distributions,
            )
        plugin = load_plugin(record.entry_point, "extension")
        # Under a second name it would act twice.
        if not any(plugin is other for _, other, _ in loaded):
            loaded.append((f"extension {record.name}", plugin, record.entry_point))
    return loaded


def broken(entry: EntryPoint, reason: str, *others: EntryPoint) -> PluginError:
    """Return the error for a plugin that cannot be used.

    Args:
        entry: The plugin.
        reason: The reason: the end of a sentence.
        others: Extensions that may be to blame instead.
    """
    extension = entry.group == EXTENSIONS
    what = "extension" if extension else "backend plugin"
    named = ", ".join(f"{other.name} of {other.distribution}" for other in others)
    part = f" (extensions have a part in it: {named})" if others else ""
    distributions = tuple(one.distribution for one in (entry, *others))
    return PluginError(
        f"Cannot use the {what} {entry.name!r} of {entry.distribution} {entry.version}".rstrip()
        + f": {reason}{part}.",
        next_step=f"Upgrade or fix {' or '.join(distributions)}, or switch it off with "
        f"MELLEA_API_DISABLE={' or '.join(one.name for one in (entry, *others))}.",
        backend=None if extension else entry.name,
        plugin=entry.name,
        distributions=distributions,
    )


def find_problems(plugin: object, kind: Kind) -> Iterator[str]:
    """Yield every mistake in a plugin's hooks, as ends of sentences.

    Args:
        plugin: The module or object.
        kind: What it is.
    """
    if isinstance(plugin, type):
        yield f"{plugin.__name__} is a class; name a module or an object"
        return
    hooks = set()
    for name, function in inspect.getmembers(plugin, inspect.isroutine):
        marks = getattr(function, _MARK, None)
        hook = name if marks is None else marks.get("specname") or name
        if marks is None:
            # A plugin may import functions of ours that are named as hooks are (`list_models`).
            if name in _SPECS and not str(function.__module__).startswith("mellea_api."):
                yield f"{name} has no mark; mark it with @hookimpl from mellea_api.plugin"
        elif hook not in _SPECS:
            near = difflib.get_close_matches(hook, _SPECS, n=1)
            yield f"there is no hook {hook!r}" + (f"; did you mean {near[0]}?" if near else "")
        else:
            hooks.add(hook)
            yield from _problems_of_hook(hook, function, marks, kind)
    if kind == "extension" and not hooks:
        yield "it implements no hook"
    if kind == "implementation" and "describe_backend" in hooks:
        yield "it has describe_backend; write it in the module that the entry point names"
    if kind == "backend" and "describe_backend" not in hooks:
        yield "it lacks the required hook describe_backend"
        if "create_session" not in hooks:
            yield "it lacks the required hook create_session"


def problems_of_backend(
    descriptor: BackendDescriptor, names: frozenset[str], entry: EntryPoint
) -> Iterator[str]:
    """Yield what is wrong with what a backend says about itself, as ends of sentences."""
    yield from _unread_rules(descriptor)
    if descriptor.name not in names:
        yield f"it is found as {entry.name!r} and calls itself {descriptor.name!r}"
    wanted = descriptor.contract_version
    if not OLDEST_CONTRACT <= wanted <= CONTRACT_VERSION:
        old = "mellea-api" if wanted > CONTRACT_VERSION else entry.distribution
        yield f"it has contract version {wanted}, the core {CONTRACT_VERSION}: upgrade {old}"


def problems_of_target(descriptor: BackendDescriptor, backend: BackendDescriptor) -> Iterator[str]:
    """Yield what is wrong with what a backend says about one model and server."""
    if descriptor is backend:
        return
    yield from _unread_rules(descriptor)
    known = {field.name for field in backend.credentials}
    for field in descriptor.credentials:
        if field.secret and field.name not in known:
            yield f"the secret {field.name!r} of a target is no credential of the backend"


def _unread_rules(descriptor: BackendDescriptor) -> Iterator[str]:
    for rule in descriptor.options:
        if rule.name in SPELLINGS and rule.name not in CANONICAL:
            meant = SPELLINGS[rule.name]
            yield f"the rule for {rule.name!r} is never read: that is a spelling of {meant!r}"


def _problems_of_hook(
    hook: str, function: Callable[..., Any], marks: dict[str, Any], kind: Kind
) -> Iterator[str]:
    wraps = marks.get("wrapper") or marks.get("hookwrapper")
    is_async = inspect.iscoroutinefunction(function)
    if inspect.isasyncgenfunction(function) or (is_async and (wraps or hook not in ASYNC)):
        yield f"{hook} is async; {', '.join(ASYNC)} may be, without yield"
        return
    allowed = inspect.signature(_SPECS[hook]).parameters
    for name, parameter in inspect.signature(function).parameters.items():
        # Pluggy gives nothing to a parameter with a default, nor to `*args` and `**kw`.
        if name not in allowed or "=" in str(parameter) or str(parameter)[0] == "*":
            takes = ", ".join(allowed)
            yield f"{hook} takes {str(parameter)!r}; its parameters are ({takes}), without defaults"
    if wraps and not inspect.isgeneratorfunction(function):
        yield f"{hook} is a wrapper that never yields"
    elif kind == "extension" and not wraps and hook not in ADDITIVE:
        yield f"{hook} would replace the backend's own answer; an extension wraps it (wrapper=True)"
