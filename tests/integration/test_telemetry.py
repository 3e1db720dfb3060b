"""The run id is on the telemetry spans of its run, wherever they are opened."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from support.canary import span_exporter
from support.ollama_server import OllamaServer

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
