"""What the core adds to a session's own methods: the run id, and turns in a conversation.

A session's class becomes a subclass of its own class, as its backend's does in `adoption`; that
of a session that needs neither stays as it is.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

from mellea_api._secrecy.logs import current_run_id, under_run
from mellea_api._sessions import _mellea
from mellea_api._sessions.adoption import adoption_of
from mellea_api._sessions.turns import turn, whole_turn

_RUN_ID: Final = "_mellea_api_run_id"
_classes: dict[type, type] = {}
_lock = threading.Lock()
# Nothing is traced in these, and they may outlive the call that they are made in.
_NO_CALLS: Final = frozenset({"cleanup", "clone", "reset"})
_LEAVE_A_CONTEXT: Final = frozenset(
    name
    for verb in ("act", "chat", "instruct", "query", "transform")
    for name in (verb, f"a{verb}")
)
_ALTERNATIVE: Final = "or give each thread or task a session.clone() of its own"


def adopt_session(session: Any, run_id: str | None) -> None:
    """Have a session's calls happen under a run id, and one at a time in a conversation.

    Args:
        session: A session of Mellea, whose backend is adopted.
        run_id: The id, or None.
    """
    if run_id is None and _mellea.is_simple(session.ctx):
        return
    cls = type(session)
    with _lock:
        adopted = _classes.get(cls)
        if adopted is None:
            body: dict[str, Any] = {
                name: _within_call(function, name in _LEAVE_A_CONTEXT)
                for name, function in inspect.getmembers(cls, inspect.isfunction)
                if not name.startswith("_") and name not in _NO_CALLS
            }
            body |= {"__doc__": cls.__doc__, "__module__": cls.__module__}
            body["__qualname__"] = cls.__qualname__
            metaclass: Any = type(cls)
            adopted = _classes[cls] = metaclass(cls.__name__, (cls,), body)
    session.__class__ = adopted
    session.__dict__[_RUN_ID] = run_id


@contextlib.contextmanager
def session_turn(session: Any) -> Iterator[None]:
    """Keep other calls out of a session's conversation, if it is one.

    Raises:
        ConcurrentUseError: If another call is in it.
    """
    if _mellea.is_simple(session.ctx):
        yield
        return
    with turn(session, backend=_backend_of(session), alternative=_ALTERNATIVE):
        yield


def _backend_of(session: Any) -> str | None:
    adoption = adoption_of(session.backend)
    return None if adoption is None else adoption.pipeline.target.backend


@contextlib.contextmanager
def _call(session: Any, leaves_a_context: bool) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        if leaves_a_context and not _mellea.is_simple(session.ctx):
            backend = _backend_of(session)
            stack.enter_context(whole_turn(session, backend=backend, alternative=_ALTERNATIVE))
        stack.enter_context(under_run(session.__dict__.get(_RUN_ID) or current_run_id()))
        yield


def _within_call(function: Callable[..., Any], leaves_a_context: bool) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def call_async(self: Any, *args: Any, **kwargs: Any) -> Any:
            with _call(self, leaves_a_context):
                return await function(self, *args, **kwargs)

        return call_async

    @functools.wraps(function)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        with _call(self, leaves_a_context):
            return function(self, *args, **kwargs)

    return call
