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


@pytest.fixture(params=WAYS, ids=[way.name for way in WAYS])
def way(request: pytest.FixtureRequest, backend: BackendName) -> Way:
    found: Way = request.param
    if found.only is not None and found.only[0] != backend:
        pytest.skip(f"{found.name}: {found.only[1]}")
    return found


def opened(way: Way, backend: BackendName, limit: str, **arguments: object) -> Iterator[Stage]:
    options = {limit: DEFAULT, "temperature": 0.5}
    context = "chat" if way.chat else "simple"
    with stage(
        backend,
        raw=way.raw,
        text=way.text,
        model_options=options,
        context_type=context,
        **arguments,
    ) as opened:
        yield opened


def test_each_call_is_normalized_once(way: Way, backend: BackendName, stamping: Registry) -> None:
    for on in opened(way, backend, "@@@max_new_tokens@@@", registry=stamping):
        on.call = {"max_tokens": CALL}
        restart()
        way.go(on)
        assert on.limits() == way.limits
        # A call that went around has no number, one that went through twice leaves a gap.
        assert sorted(on.values("seed")) == list(range(1, len(on.sent) + 1))


def test_what_reaches_the_provider(way: Way, backend: BackendName) -> None:
    defaults, call = {"max_tokens": DEFAULT, "temperature": 0.5}, {"max_completion_tokens": CALL}
    for on in opened(way, backend, "max_tokens"):
        on.call = copy.copy(call)
        way.go(on)
        assert on.limits() == way.limits  # the call beats the default, under any name
        assert set(on.values("temperature")) == way.temperatures
        assert on.problems() == []
        if way.name != "budget_forcing":  # Mellea's own code writes into the dict
            assert on.call == call
        assert on.session.backend.model_options == defaults
        report = options_report(on.session)
        assert report is not None
        assert report.decision("max_tokens") is not None
