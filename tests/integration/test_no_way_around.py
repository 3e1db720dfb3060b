"""Whatever way a program takes into generation, its options are normalized, and once.

Each way of `support.ways_*` is gone on a loopback provider that is as strict as the real one,
with a session whose defaults say one limit and calls that say another.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest

pytest.importorskip("mellea")

import support.ways_functional
import support.ways_session
import support.ways_strategies  # noqa: F401 (each registers its ways)
from support.stage import BackendName, Stage, stage
from support.stamp import restart, stamping_registry
from support.way import CALL, DEFAULT, WAYS, Way

from mellea_api import Registry, options_report

BACKENDS: tuple[BackendName, ...] = ("ollama", "openai")


@pytest.fixture(scope="module")
def stamping() -> Registry:
    return stamping_registry()


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> BackendName:
    name: BackendName = request.param
    return name


DEFAULTS = {"max_tokens": DEFAULT, "temperature": 0.5}
CALLS = {"max_completion_tokens": CALL}


def gone(way: Way, backend: BackendName, registry: Registry | None = None) -> Iterator[Stage]:
    """Goes a way, and yields the stage as it then is."""
    if way.only is not None and way.only[0] != backend:
        pytest.skip(f"{way.name}: {way.only[1]}")
    with stage(
        backend,
        raw=way.raw,
        text=way.text,
        model_options=DEFAULTS,
        context_type="chat" if way.chat else "simple",
        registry=registry,
    ) as on:
        on.call = copy.copy(CALLS)
        restart()
        way.go(on)
        yield on


@pytest.mark.parametrize("way", WAYS, ids=[way.name for way in WAYS])
def test_each_call_is_normalized_once(way: Way, backend: BackendName, stamping: Registry) -> None:
    for on in gone(way, backend, stamping):
        # A call that went around has no number, one that went through twice leaves a gap.
        assert sorted(on.values("seed")) == list(range(1, len(on.sent) + 1))
        check_wire(way, on)


STRAIGHT = [
    way
    for way in WAYS
    if way.name
    in (
        "chat",
        "instruct_judge_and_repair",
        "transform_by_a_tool",
        "generative_with_a_backend",
        "structured_output",
        "streamed",
        "many_threads",
        "from_chat_context",
        "raw",
        "budget_forcing",
    )
]


@pytest.mark.parametrize("way", STRAIGHT, ids=[way.name for way in STRAIGHT])
def test_without_any_extension_too(way: Way, backend: BackendName) -> None:
    """Most sessions have none, and their options then take a shorter path."""
    for on in gone(way, backend):
        check_wire(way, on)


def check_wire(way: Way, on: Stage) -> None:
    assert on.limits() == way.limits  # the call beats the default, under any name
    assert set(on.values("temperature")) == way.temperatures
    assert on.problems() == []
    if way.name != "budget_forcing":  # Mellea's own code writes into the dict
        assert on.call == CALLS
    assert on.session.backend.model_options == DEFAULTS
    report = options_report(on.session)
    assert report is not None
    assert report.decision("max_tokens") is not None
