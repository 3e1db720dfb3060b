"""Our functions in place of Mellea's, for a program of `mellea-api run` and all that it starts.

What is patched in Mellea: `start_session` of `mellea.stdlib.session` and, where Mellea has it,
`start_backend` of `mellea.stdlib.start_backend`, under every name by which a module has them.
Nothing else. It stays so until the process ends; other processes never see it.

Each Python that the program starts imports this module before anything else, so it imports next
to nothing. Mellea is patched when the program imports it, and not before: the program may first
set environment variables that Mellea reads while it is imported. An import hook does that.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # as of typing, which takes milliseconds to import

if TYPE_CHECKING:
    import types
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from typing import Any


def install() -> None:
    """Put our functions in place of Mellea's as soon as Mellea is imported."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, _Finder())
    for name in _REPLACED:
        if name in sys.modules:
            _replace(sys.modules[name])


def start_session(
    backend_name: str | None = None, model_id: Any = None, *args: Any, **kwargs: Any
) -> Any:
    """Start a session on any installed backend, in place of Mellea's own function."""
    from mellea_api._api import functions as api
    from mellea_api._api.environment import DEFAULT_BACKEND
    from mellea_api._contract.requests import for_program
    from mellea_api._registry.registry import shared_registry
    from mellea_api._secrecy.logs import logger

    name = DEFAULT_BACKEND if backend_name is None else backend_name
    if model_id is None:
        logger.debug(
            "the program names no model: the %s backend's default is %s",
            name,
            shared_registry().backend(name).descriptor.default_model,
        )
    token = for_program.set(True)
    try:
        return api.start_session(name, model_id, *args, **{"unknown": "pass", **kwargs})
    finally:
        for_program.reset(token)


def start_backend(*args: Any, **kwargs: Any) -> Any:
    """Return a context and a backend, in place of Mellea's own function."""
    session = start_session(*args, **kwargs)
    return session.ctx, session.backend


_REPLACED = {
    "mellea.stdlib.session": start_session,
    "mellea.stdlib.start_backend": start_backend,
}
"""Which function of ours replaces the one of its name in which module of Mellea."""


def _replace(module: types.ModuleType) -> None:
    """Replace Mellea's function in its module, and wherever it has been imported to."""
    import functools

    function: Callable[..., Any] = _REPLACED[module.__name__]
    original = getattr(module, function.__name__)
    ours = functools.wraps(original)(function)
    for other in list(sys.modules.values()):
        for key, value in list(getattr(other, "__dict__", {}).items()):
            if value is original:
                setattr(other, key, ours)


class _Finder:
    """Finds Mellea's modules as always, and has them patched once they have run."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in _REPLACED:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        specs = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next(filter(None, specs), None)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: types.ModuleType) -> None:
                execute(module)
                _replace(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
