"""The run id is on the telemetry spans of its run, wherever they are opened."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from support.canary import span_exporter
from support.ollama_server import OllamaServer

from mellea_api import ModelNotFoundError, start_session
from mellea_api._sessions.telemetry import RUN_ID
from mellea_api.runtime import MelleaRuntime


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = span_exporter()
    exporter.clear()
    yield exporter
    exporter.clear()


@pytest.fixture
def ollama() -> Iterator[OllamaServer]:
    with OllamaServer(models=["granite4:micro"]) as server:
        yield server


def ids(spans: InMemorySpanExporter) -> dict[str, object]:
    return {span.name: (span.attributes or {}).get(RUN_ID) for span in spans.get_finished_spans()}


def traced_check(name: str):
    """A requirement's check that opens a span, as a program's own code does."""
    from mellea.core import Requirement
    from mellea.stdlib.requirements import simple_validate

    def check(text: str) -> bool:
        with trace.get_tracer("program").start_as_current_span(name):
            return True

    return Requirement("is fine", validation_fn=simple_validate(check))


def test_a_span_that_is_open_around_a_call_carries_the_run_id(ollama, spans) -> None:
    with (
        MelleaRuntime(base_url=ollama.base_url, run_id="r-open") as runtime,
        trace.get_tracer("program").start_as_current_span("around"),
    ):
        asyncio.run(runtime.achat("Hello!"))
    assert ids(spans)["around"] == "r-open"


def test_a_span_opened_inside_a_call_of_the_session_carries_the_run_id(ollama, spans) -> None:
    with MelleaRuntime(base_url=ollama.base_url, run_id="r-inside") as runtime:
        runtime.session.instruct("Say 4.", requirements=[traced_check("sync")])
        asyncio.run(runtime.session.ainstruct("Say 4.", requirements=[traced_check("async")]))
    assert ids(spans)["sync"] == "r-inside"
    assert ids(spans)["async"] == "r-inside"


def test_spans_of_another_run_carry_its_own_id_and_spans_of_none_carry_none(ollama, spans) -> None:
    with (
        MelleaRuntime(base_url=ollama.base_url, run_id="one") as one,
        MelleaRuntime(base_url=ollama.base_url, run_id="two") as two,
        MelleaRuntime(base_url=ollama.base_url) as none,
    ):
        one.instruct("Say 4.", requirements=[traced_check("first")])
        two.instruct("Say 4.", requirements=[traced_check("second")])
        none.instruct("Say 4.", requirements=[traced_check("third")])
    assert ids(spans) == {"first": "one", "second": "two", "third": None}


def test_the_start_of_a_session_is_traced_and_told_as_melleas_own(
    ollama: OllamaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One span a session, and the hook before it is told the id that the session has."""
    from mellea_api._sessions._mellea import sessions

    tracing = pytest.importorskip("mellea.telemetry.tracing")
    if not hasattr(tracing, "start_session_startup_span"):
        pytest.skip("this Mellea has no such span")
    seen: list[Any] = []

    def begin(session_id: str, **facts: Any) -> None:
        seen.append(("begin", session_id, facts))

    def finish(session_id: str, exception: BaseException | None = None) -> None:
        seen.append(("finish", session_id, type(exception)))

    def told(hook: str, payload: Any, **arguments: Any) -> Any:
        seen.append((hook, payload.session_id))
        return payload

    monkeypatch.setattr(tracing, "start_session_startup_span", begin)
    monkeypatch.setattr(tracing, "finish_session_startup_span", finish)
    # Mellea's own payloads need its plugin framework.
    payloads = SimpleNamespace(
        SessionPreInitPayload=SimpleNamespace, SessionPostInitPayload=SimpleNamespace
    )
    monkeypatch.setitem(sys.modules, "mellea.plugins.hooks.session", payloads)
    monkeypatch.setattr(sessions, "_has_plugins", lambda hook: True)
    monkeypatch.setattr(sessions, "_ask_plugins", told)
    where = {"base_url": ollama.base_url}
    session = start_session("ollama", "granite4:micro", context_type="chat", **where)
    facts = {"backend": "ollama", "model_id": "granite4:micro", "context_type": "ChatContext"}
    assert seen == [
        ("begin", session.id, facts),
        ("SESSION_PRE_INIT", session.id),
        ("SESSION_POST_INIT", session.id),
        ("finish", session.id, type(None)),
    ]
    with pytest.raises(ModelNotFoundError):
        start_session("ollama", "nope", **where)
    assert seen[-1] == ("finish", seen[4][1], ModelNotFoundError)
