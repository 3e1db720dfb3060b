"""The run id on telemetry spans; without OpenTelemetry nothing here does anything.

Mellea opens its spans before and around the calls of a backend, so each span gets the id as it
starts, from the context that it starts in.
"""

from __future__ import annotations

import sys
import threading
import weakref
from typing import Any, Final

from mellea_api._secrecy.logs import run_id_var

RUN_ID: Final = "mellea_api.run_id"
"""The attribute of a span that holds the run id."""

_marked: weakref.WeakSet[Any] = weakref.WeakSet()
_lock = threading.Lock()


def mark_spans() -> None:
    """Have every span of the tracer provider in use carry the run id it starts under.

    Doing it again changes nothing. A provider that is set up later is marked by the next
    session.
    """
    if "opentelemetry.sdk.trace" not in sys.modules:
        return
    from opentelemetry import trace
    from opentelemetry.sdk.trace import SpanProcessor

    class RunIdProcessor(SpanProcessor):  # type: ignore[misc]
        """Puts the run id on each span as it starts."""

        def on_start(self, span: Any, parent_context: Any = None) -> None:
            _mark(span)

    provider = trace.get_tracer_provider()
    with _lock:
        if provider not in _marked and hasattr(provider, "add_span_processor"):
            _marked.add(provider)
            provider.add_span_processor(RunIdProcessor())


def mark_span() -> None:
    """Put the run id on the span that is open: the program's own, where it has one."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is not None:
        _mark(trace.get_current_span())


def _mark(span: Any) -> None:
    run_id = run_id_var.get()
    if run_id is not None:
        span.set_attribute(RUN_ID, run_id)
