"""Import plugins, and check them against the contract.

Pluggy itself overlooks some mistakes: a misspelt parameter with a default silently stays None, and
it never notices a function without a mark. Here all of them are errors when the plugin is loaded.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import pluggy
from attrs import frozen

from mellea_api import hookspecs
from mellea_api._contract.descriptor import BackendDescriptor
from mellea_api._contract.errors import PluginError
from mellea_api._contract.requests import Asking, asking
from mellea_api._provider.deadlines import run_with_deadline
from mellea_api._registry.discovery import EntryPoint, PluginRecord

ADDITIVE: Final = ("find_credential", "review_options", "translate_error")
"""The hooks that an extension may implement beside a backend; it may only wrap the others."""

ASYNC: Final = ("create_session", "list_models", "validate_credentials")
"""The hooks that may be `async def`."""

_PATIENCE: Final = 30.0
"""Seconds that an `async def` hook may take if the caller set no limit."""
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


def load_plugin(entry: EntryPoint, *, extension: bool = False) -> object:
    """Import a plugin and check it.

    Args:
        entry: Where it is.
        extension: Whether it is an extension rather than a backend.

    Returns:
        The module, the object that the entry point names, or a `DescribedBackend`.

    Raises:
        PluginError: If it cannot be imported, for whatever reason, or breaks the contract.
    """
    plugin = _import(entry, entry.value)
    if isinstance(plugin, BackendDescriptor) and not extension:
        return DescribedBackend(plugin)
    if isinstance(plugin, type):
        raise broken(entry, f"{entry.value} is a class; name a module or an object")
    _check(entry, entry.value, plugin, extension=extension)
    return plugin


def load_implementation(entry: EntryPoint, module: str) -> object:
    """Import the module with the hooks that need Mellea or an SDK, and check it.

    Args:
        entry: The plugin's entry point.
        module: The module's name.

    Raises:
        PluginError: If it cannot be imported, for whatever reason, or breaks the contract.
    """
    plugin = _import(entry, module)
    _check(entry, module, plugin)
    if has_hook(plugin, "describe_backend"):
        raise broken(entry, f"{module} has describe_backend; write it in {entry.value}")
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
        plugin = load_plugin(record.entry_point, extension=True)
        # Under a second name it would act twice.
        if not any(plugin is other for _, other, _ in loaded):
            loaded.append((f"extension {record.name}", plugin, record.entry_point))
    return loaded


def new_manager(*plugins: tuple[str, object]) -> pluggy.PluginManager:
    """Return a plugin manager.

    An `async def` hook is replaced by a function that runs it under the core's limit of time, so
    that wrappers of extensions see the answer and not a coroutine.

    Args:
        plugins: Name and plugin, the one that is asked first last.
    """
    manager = pluggy.PluginManager("mellea_api")
    manager.add_hookspecs(hookspecs)
    for name, plugin in plugins:
        manager.register(plugin, name)
    for hook in ASYNC:
        for implementation in getattr(manager.hook, hook).get_hookimpls():
            if inspect.iscoroutinefunction(implementation.function):
                implementation.function = _with_deadline(implementation.function)
    return manager


def _with_deadline(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def run(*arguments: Any) -> Any:
        current = asking.get() or Asking()
        seconds = current.timeout or _PATIENCE
        return run_with_deadline(functools.partial(function, *arguments), seconds, current)

    return run


def broken(entry: EntryPoint, reason: str, *others: EntryPoint) -> PluginError:
    """Return the error for a plugin that cannot be used.

    Args:
        entry: The plugin.
        reason: The reason: the end of a sentence.
        others: Extensions that may be to blame instead.
    """
    what = "extension" if entry.group.endswith("extensions") else "backend plugin"
    part = ""
    if others:
        named = ", ".join(f"{other.name} of {other.distribution}" for other in others)
        part = f" (extensions have a part in it: {named})"
    return PluginError(
        f"Cannot use the {what} {entry.name!r} of {entry.distribution} {entry.version}".rstrip()
        + f": {reason}{part}.",
        next_step=f"Upgrade or fix {' or '.join(one.distribution for one in (entry, *others))}, "
        "or switch it off with "
        f"MELLEA_API_DISABLE={' or '.join(one.name for one in (entry, *others))}.",
        backend=None if what == "extension" else entry.name,
        plugin=entry.name,
        distributions=tuple(one.distribution for one in (entry, *others)),
    )


def has_hook(plugin: object, hook: str) -> bool:
    """Return whether a plugin implements a hook."""
    return any(
        (options.get("specname") or name) == hook
        for name, function in _functions(plugin)
        if (options := getattr(function, _MARK, None)) is not None
    )


def _import(entry: EntryPoint, value: str) -> object:
    module, _, attribute = value.partition(":")
    try:
        found: object = importlib.import_module(module.strip())
        for part in filter(None, attribute.strip().split(".")):
            found = getattr(found, part)
    # SystemExit too: a plugin that exits while it is imported must not end the program.
    except (Exception, SystemExit) as error:
        kind = type(error).__name__
        raise broken(entry, f"importing {value} failed with {kind}: {error}") from error
    return found


def _check(entry: EntryPoint, value: str, plugin: object, *, extension: bool = False) -> None:
    try:
        problems = list(check_plugin(plugin, extension=extension))
        if not extension and value == entry.value and not has_hook(plugin, "describe_backend"):
            problems.append("it lacks the required hook describe_backend")
            if not has_hook(plugin, "create_session"):
                problems.append("it lacks the required hook create_session")
    except Exception as error:  # a property of the object raises
        problem = f"examining {value} failed with {type(error).__name__}: {error}"
        raise broken(entry, problem) from error
    if problems:
        raise broken(entry, "; ".join(problems))


def check_plugin(plugin: object, *, extension: bool = False) -> Iterator[str]:
    """Yield every mistake in a plugin's hooks, as ends of sentences.

    Args:
        plugin: The module or object.
        extension: Whether it is an extension rather than a backend.
    """
    implemented = False
    for name, function in _functions(plugin):
        options = getattr(function, _MARK, None)
        if options is None:
            yield from _check_unmarked(name, function)
            continue
        hook = options.get("specname") or name
        if hook not in _SPECS:
            near = difflib.get_close_matches(hook, _SPECS, n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            yield f"there is no hook {hook!r}{meant}"
            continue
        implemented = True
        yield from _check_hook(hook, function, options, extension)
    if extension and not implemented:
        yield "it implements no hook"


def _functions(plugin: object) -> Iterator[tuple[str, Callable[..., Any]]]:
    for name in dir(plugin):
        if name.startswith("__"):
            continue
        value = getattr(plugin, name, None)
        if inspect.isroutine(value):
            yield name, value


def _check_unmarked(name: str, function: Callable[..., Any]) -> Iterator[str]:
    # A plugin may import functions of this library that are named as hooks are (`list_models`).
    ours = (getattr(function, "__module__", None) or "").partition(".")[0] == "mellea_api"
    if name in _SPECS and not ours:
        yield f"{name} has no mark of mellea_api; mark it with @hookimpl from mellea_api.plugin"


def _check_hook(
    hook: str, function: Callable[..., Any], options: dict[str, Any], extension: bool
) -> Iterator[str]:
    wraps = options.get("wrapper") or options.get("hookwrapper")
    is_async = inspect.iscoroutinefunction(function)
    if inspect.isasyncgenfunction(function) or (is_async and (wraps or hook not in ASYNC)):
        yield f"{hook} is async; {', '.join(ASYNC)} may be, without yield"
        return
    allowed = inspect.signature(_SPECS[hook]).parameters
    for name, parameter in inspect.signature(function).parameters.items():
        # Pluggy gives nothing to a parameter with a default, nor to `*args` and `**kw`.
        if (
            name not in allowed
            or parameter.default is not parameter.empty
            or str(parameter)[0] == "*"
        ):
            yield (
                f"{hook} takes {str(parameter)!r}; its parameters are ({', '.join(allowed)}), "
                "without defaults"
            )
    if wraps and not inspect.isgeneratorfunction(function):
        yield f"{hook} is a wrapper that never yields"
    elif extension and not wraps and hook not in ADDITIVE:
        yield (
            f"{hook} would replace the backend's own answer; an extension wraps it "
            "(@hookimpl(wrapper=True))"
        )
