"""Our functions in place of Mellea's, for a program of `mellea-api run` and all that it starts.

What is patched in Mellea: `start_session` of `mellea.stdlib.session` and, where Mellea has it,
`start_backend` of `mellea.stdlib.start_backend`, under every name by which a module has them; and
the constructors of the backend classes in `mellea.backends`. Nothing else. It stays so until the
process ends; other processes never see it.

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
    for name, module in list(sys.modules.items()):
        if _is_replaced(name):
            _replace(module)


def start_session(
    backend_name: str | None = None, model_id: Any = None, *args: Any, **kwargs: Any
) -> Any:
    """Start a session on any installed backend, in place of Mellea's own function."""
    from mellea_api._api import functions as api
    from mellea_api._api.environment import DEFAULT_BACKEND
    from mellea_api._contract.requests import for_program

    name = DEFAULT_BACKEND if backend_name is None else backend_name
    if model_id is None:
        model_id = _default_model(start_session, name, kwargs)
    options = kwargs.get("model_options") or {}
    if "timeout" in options:  # an argument of the SDK's call, which `m decompose` gives
        kwargs["model_options"] = {key: options[key] for key in options if key != "timeout"}
        kwargs.setdefault("timeout", options["timeout"])
    token = for_program.set(True)
    try:
        return api.start_session(name, model_id, *args, **{"unknown": "pass", **kwargs})
    finally:
        for_program.reset(token)


def start_backend(
    backend_name: str | None = None,
    model_id: Any = None,
    ctx: Any = None,
    *,
    context_type: Any = None,
    **kwargs: Any,
) -> Any:
    """Return a context and a backend, in place of Mellea's own function."""
    from mellea_api._api.environment import DEFAULT_BACKEND
    from mellea_api._sessions._mellea.sessions import new_context

    name = DEFAULT_BACKEND if backend_name is None else backend_name
    if model_id is None:
        model_id = _default_model(start_backend, name, kwargs)
    if ctx is None:  # made here, since the session's is bound to the model
        ctx, context_type = new_context(context_type or "simple"), None
    session = start_session(name, model_id, ctx, context_type=context_type, **kwargs)
    return ctx, session.backend


def _default_model(function: Callable[..., Any], name: str, arguments: dict[str, Any]) -> Any:
    """Return the model that the installed Mellea's own function takes if none is named.

    It is None, for the backend's own default, where Mellea has no name for that model.
    """
    import inspect

    from mellea_api._contract.errors import ModelNotFoundError
    from mellea_api._registry.registry import shared_registry

    default = inspect.signature(function).parameters["model_id"].default
    server = {key: arguments[key] for key in ("base_url", "server") if key in arguments}
    try:
        shared_registry().backend(name).target(default, **server)
    except ModelNotFoundError:
        return None
    return default


def _adopted(cls: type, name: str) -> Callable[..., None]:
    """Return the constructor for a class of Mellea's that a program builds by hand.

    The object becomes the backend of a session of this library. A subclass stays as it is: it is
    the program's own, or that of a plugin.

    Args:
        cls: The class.
        name: The backend of that name as the class's module.
    """
    import functools
    import inspect

    original: Callable[..., None] = cls.__init__  # type: ignore[misc]

    @functools.wraps(original)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        from mellea_api._contract.requests import asking
        from mellea_api._registry.registry import shared_registry

        in_plugin = asking.get() is not None  # which builds it for a session
        if type(self) is not cls or in_plugin or name not in shared_registry():
            original(self, *args, **kwargs)
            return
        signature = inspect.signature(original)
        arguments = signature.bind(self, *args, **kwargs).arguments
        for parameter in signature.parameters.values():
            if parameter.kind is parameter.VAR_KEYWORD:
                arguments |= arguments.pop(parameter.name, {})
        del arguments["self"]
        arguments.setdefault("model_id", signature.parameters["model_id"].default)
        session = start_session(name, **arguments)
        self.__class__, self.__dict__ = type(session.backend), session.backend.__dict__
        self.__dict__["_mellea_api_session"] = session  # as long as this object lives
        if name not in _SAID:
            _SAID.add(name)
            sys.stderr.write(f"mellea-api run: {cls.__name__} is built on the {name} backend.\n")

    return init


_SAID: set[str] = set()
"""The backends of which it was said that one was built by hand."""
_BACKENDS = "mellea.backends."
_REPLACED = {
    "mellea.stdlib.session": start_session,
    "mellea.stdlib.start_backend": start_backend,
}
"""Which function of ours replaces the one of its name in which module of Mellea."""


def _is_replaced(name: str) -> bool:
    return name in _REPLACED or name.startswith(_BACKENDS)


def _replace(module: types.ModuleType) -> None:
    """Replace Mellea's function in its module, and wherever it has been imported to."""
    import functools

    if module.__name__ not in _REPLACED:
        name = module.__name__.removeprefix(_BACKENDS)
        for cls in list(vars(module).values()):
            if isinstance(cls, type) and cls.__module__ == module.__name__ and _is_backend(cls):
                cls.__init__ = _adopted(cls, name)  # type: ignore[misc]
        return
    function: Callable[..., Any] = _REPLACED[module.__name__]
    original = getattr(module, function.__name__)
    ours = functools.wraps(original)(function)
    for other in list(sys.modules.values()):
        for key, value in list(getattr(other, "__dict__", {}).items()):
            if value is original:
                setattr(other, key, ours)


def _is_backend(cls: type) -> bool:
    return any(base.__module__ == "mellea.core.backend" for base in cls.__mro__)


class _Finder:
    """Finds Mellea's modules as always, and has them patched once they have run."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        if not _is_replaced(fullname):
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
