"""The registry behind Mellea's own functions, for the program that `mellea-api run` runs.

Mellea is patched when the program imports it, and not before: a program may have something to
say first, such as environment variables that Mellea reads while it is imported.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any, Final


def start_session(
    backend_name: str = "ollama", model_id: Any = None, *args: Any, **kwargs: Any
) -> Any:
    """Start a session on any installed backend, in place of Mellea's own function."""
    from mellea_api._api import functions as api

    _say_default(backend_name, model_id)
    return api.start_session(backend_name, model_id, *args, **{"unknown": "pass", **kwargs})


def start_backend(
    backend_name: str = "ollama", model_id: Any = None, *args: Any, **kwargs: Any
) -> Any:
    """Return a context and a backend, in place of Mellea's own function."""
    session = start_session(backend_name, model_id, *args, **kwargs)
    return session.ctx, session.backend


def _say_default(backend_name: str, model_id: Any) -> None:
    from mellea_api._registry.shared import shared_registry
    from mellea_api._secrecy.logs import logger

    if model_id is None:
        logger.debug(
            "the program names no model: the %s backend's default is %s",
            backend_name,
            shared_registry().backend(backend_name).descriptor.default_model,
        )


def install() -> None:
    """Put the registry behind Mellea's functions, also in processes that this one spawns."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, _Finder())
    for name, patch in _PATCHES.items():
        if name in sys.modules:
            patch(sys.modules[name])


def _replace(function: Callable[..., Any], module: types.ModuleType) -> None:
    """Put one of our functions in the place of the one that has its name."""
    original = getattr(module, function.__name__)
    ours = functools.wraps(original)(function)
    # Who has imported the function already has it under some name of a module.
    for other in list(sys.modules.values()):
        for key, value in list(getattr(other, "__dict__", {}).items()):
            if value is original:
                setattr(other, key, ours)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds Mellea's modules as always, and has them patched once they have run."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in _PATCHES:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        specs = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next(filter(None, specs), None)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: types.ModuleType) -> None:
                execute(module)
                _PATCHES[fullname](module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


class _Installed:
    """Unpickles as a call of `install`."""

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return install, ()


def _reach_spawned_processes(spawn: types.ModuleType) -> None:
    """Have what multiprocessing tells a new interpreter of this program bring `install` along."""
    original = spawn.get_preparation_data

    @functools.wraps(original)
    def get_preparation_data(name: str) -> dict[str, Any]:
        return {**original(name), "mellea_api": _Installed()}

    spawn.get_preparation_data = get_preparation_data  # type: ignore[attr-defined]


_PATCHES: Final[dict[str, Callable[[types.ModuleType], None]]] = {
    "mellea.stdlib.session": functools.partial(_replace, start_session),
    "mellea.stdlib.start_backend": functools.partial(_replace, start_backend),
    "multiprocessing.spawn": _reach_spawned_processes,
}
"""What is done to which module, once it has run."""
