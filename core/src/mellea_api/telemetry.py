"""The run id on telemetry spans, where OpenTelemetry is in use; else none of this does anything.

Mellea opens its spans before and around the calls of a backend, so that the id is put on each
span as it starts, from the context that it starts in.
"""

from __future__ import annotations

import functools
import inspect
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any, Final

from mellea_api.logs import run_id_var

__all__ = ["RUN_ID", "mark_span", "mark_spans", "tell_run_id"]

RUN_ID: Final = "mellea_api.run_id"
"""The attribute of a span that holds the run id."""

_marked: weakref.WeakSet[Any] = weakref.WeakSet()
_session_classes: dict[type, type] = {}
_lock = threading.Lock()
# Nothing is traced in these, and they may outlive the call that they are made in.
_NO_CALLS: Final = frozenset({"cleanup", "clone", "reset"})


def mark_spans() -> None:
    """Have every span of the tracer provider in use carry the run id it starts under.

    Doing it again changes nothing. A provider that is set up later is marked by the next
    session.
    """
    if "opentelemetry.sdk.trace" not in sys.modules:
        return
    from opentelemetry import trace
    from opentelemetry.sdk.trace import SpanProcessor

    provider = trace.get_tracer_provider()
    add = getattr(provider, "add_span_processor", None)
    with _lock:
        if add is None or provider in _marked:
            return
        _marked.add(provider)

    class RunIdProcessor(SpanProcessor):  # type: ignore[misc]
        """Puts the run id on each span as it starts."""

        def on_start(self, span: Any, parent_context: Any = None) -> None:
            _mark(span)

    add(RunIdProcessor())


def mark_span() -> None:
    """Put the run id on the span that is open: the program's own, where it has one."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is not None and run_id_var.get() is not None:
        _mark(trace.get_current_span())


def _mark(span: Any) -> None:
    run_id = run_id_var.get()
    if run_id is not None:
        span.set_attribute(RUN_ID, run_id)


def tell_run_id(session: Any, run_id: str) -> None:
    """Have all that a session's methods do happen under a run id, from their first moment.

    Args:
        session: A session of Mellea; its class becomes a subclass that sets the id.
        run_id: The id.
    """
    cls = type(session)
    with _lock:
        told = _session_classes.get(cls)
        if told is None:
            body: dict[str, Any] = {
                name: _under_run_id(function)
                for name, function in inspect.getmembers(cls, inspect.isfunction)
                if not name.startswith("_") and name not in _NO_CALLS
            }
            body |= {"__doc__": cls.__doc__, "__module__": cls.__module__}
            body["__qualname__"] = cls.__qualname__
            metaclass: Any = type(cls)
            told = _session_classes[cls] = metaclass(cls.__name__, (cls,), body)
    session.__class__ = told
    session.__dict__["_mellea_api_run_id"] = run_id


def _under_run_id(function: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def told_async(self: Any, *args: Any, **kwargs: Any) -> Any:
            token = run_id_var.set(self.__dict__.get("_mellea_api_run_id"))
            try:
                return await function(self, *args, **kwargs)
            finally:
                run_id_var.reset(token)

        return told_async

    @functools.wraps(function)
    def told(self: Any, *args: Any, **kwargs: Any) -> Any:
        token = run_id_var.set(self.__dict__.get("_mellea_api_run_id"))
        try:
            return function(self, *args, **kwargs)
        finally:
            run_id_var.reset(token)

    return told
