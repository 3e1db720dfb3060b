"""Importing one plugin, guarded, and holding it to the contract.

Pluggy itself passes over much: a misspelt parameter with a default silently stays None, an
`async def` or a function without a marker is never noticed, a wrapper that forgets to return
replaces every answer by None. All of that is an error here, when the plugin is loaded.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any, Final

import pluggy

from mellea_api import hookspecs
from mellea_api._contract.errors import PluginError
from mellea_api._registry.discovery import EntryPoint
from mellea_api._secrecy.logs import logger

REQUIRED: Final = ("describe_backend", "create_session")
"""The hooks that every backend's plugin has."""

ADDITIVE: Final = ("find_credential", "review_options", "translate_error")
"""The hooks that an extension may implement beside a backend; all others it may only wrap."""

_MARK: Final = "mellea_api_impl"
_versions: Final[dict[str, list[str]]] = {}
"""For each module: the version that was installed as it was imported, then later ones."""
_SPECS: Final = {
    name: function
    for name, function in vars(hookspecs).items()
    if callable(function) and hasattr(function, "mellea_api_spec")
}


def new_manager(*plugins: tuple[str, object]) -> pluggy.PluginManager:
    """Return a plugin manager of its own for one backend.

    Args:
        plugins: Name and plugin, the one that is asked first last.
    """
    manager = pluggy.PluginManager("mellea_api")
    manager.add_hookspecs(hookspecs)
    for name, plugin in plugins:
        manager.register(plugin, name)
    return manager


def load_plugin(entry: EntryPoint, *, extension: bool = False) -> object:
    """Import a plugin and check it.

    Args:
        entry: Where it is.
        extension: Whether it acts on all backends, and is none itself.

    Returns:
        The plugin: a module, or the object that the entry point names.

    Raises:
        PluginError: If it cannot be imported, for whatever reason, or breaks the contract.
    """
    module_name, _, attribute = entry.value.partition(":")
    there = module_name.strip() in sys.modules
    try:
        plugin: object = importlib.import_module(module_name.strip())
        for part in filter(None, attribute.strip().split(".")):
            plugin = getattr(plugin, part)
    # SystemExit too: a plugin that exits while it is imported must not take the program along.
    except (Exception, SystemExit) as error:
        kind = type(error).__name__
        raise broken(entry, f"importing {entry.value} failed with {kind}: {error}") from error
    if isinstance(plugin, type):
        raise broken(entry, f"{entry.value} is a class; name a module or an object")
    try:
        problems = list(check_plugin(plugin, extension=extension))
    except Exception as error:  # an object of which even the parts cannot be had
        problem = f"examining {entry.value} failed with {type(error).__name__}: {error}"
        raise broken(entry, problem) from error
    if problems:
        raise broken(entry, "; ".join(problems))
    _note_version(entry, module_name.strip(), there)
    return plugin


def _note_version(entry: EntryPoint, module: str, there: bool) -> None:
    """Warn, once, where a plugin was upgraded after it was imported: its old code goes on."""
    versions = _versions.setdefault(module, [])
    if not there:
        versions.clear()
    if entry.version not in versions:
        versions.append(entry.version)
        if len(versions) > 1:
            logger.warning(
                "%s %s is installed, and this process has imported %s of version %s, which it "
                "goes on with. Start the program anew to use what was installed.",
                entry.distribution,
                entry.version,
                module,
                versions[0],
            )


def broken(entry: EntryPoint, reason: str, *others: EntryPoint) -> PluginError:
    """Return the error that says why a plugin cannot be used.

    Args:
        entry: The plugin.
        reason: Why: the end of a sentence.
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
        next_step=f"Upgrade or mend {' or '.join(one.distribution for one in (entry, *others))}, "
        "or switch it off with "
        f"MELLEA_API_DISABLE={' or '.join(one.name for one in (entry, *others))}.",
        backend=None if what == "extension" else entry.name,
        plugin=entry.name,
        distributions=tuple(one.distribution for one in (entry, *others)),
    )


def check_plugin(plugin: object, *, extension: bool = False) -> Iterator[str]:
    """Yield every way in which a plugin breaks the contract, as ends of sentences.

    Args:
        plugin: The module or object.
        extension: Whether it is an extension rather than a backend.
    """
    implemented = set()
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
        implemented.add(hook)
        yield from _check_hook(hook, function, options, extension)
    if not extension:
        for hook in REQUIRED:
            if hook not in implemented:
                yield f"it lacks the required hook {hook}"
    elif not implemented:
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
        # A built-in function that a module imported has no attributes of its own.
        foreign = [mark for mark in getattr(function, "__dict__", ()) if mark.endswith("_impl")]
        whose = f"is marked for {foreign[0].removesuffix('_impl')!r}" if foreign else "has no mark"
        yield f"{name} {whose}; mark it with @hookimpl from mellea_api"


def _check_hook(
    hook: str, function: Callable[..., Any], options: dict[str, Any], extension: bool
) -> Iterator[str]:
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        yield f"{hook} is async, and hooks are not"
        return
    allowed = list(inspect.signature(_SPECS[hook]).parameters)
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name not in allowed or parameter.kind in (
            parameter.VAR_KEYWORD,
            parameter.VAR_POSITIONAL,
        ):
            yield f"{hook} takes {str(parameter)!r}; its parameters are ({', '.join(allowed)})"
        elif parameter.default is not parameter.empty:
            yield f"{hook}: {parameter.name} has a default, and would never be given a value"
    wraps = options.get("wrapper") or options.get("hookwrapper")
    if wraps and not inspect.isgeneratorfunction(function):
        yield f"{hook} is a wrapper that never yields"
    elif options.get("wrapper") and _never_returns_a_value(function):
        yield f"{hook} is a wrapper without a return, which would turn every answer into None"
    elif extension and not wraps and hook not in ADDITIVE:
        yield (
            f"{hook} would replace the backend's own answer; an extension wraps it "
            "(@hookimpl(wrapper=True))"
        )


def _never_returns_a_value(function: Callable[..., Any]) -> bool:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return False  # without the source nothing can be said; the answer's type is checked later
    outer = tree.body[0]
    pending: list[ast.AST] = list(ast.iter_child_nodes(outer))
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Return) and node.value is not None:
            return False
        if isinstance(node, ast.Raise):
            return False
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            pending.extend(ast.iter_child_nodes(node))
    return True
