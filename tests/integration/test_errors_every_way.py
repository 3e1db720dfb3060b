"""Whatever way a program takes into generation, an answer that is a refusal ends it in its error."""

from __future__ import annotations

import pytest

pytest.importorskip("mellea")

import support.ways_functional
import support.ways_session
import support.ways_strategies  # noqa: F401 (each registers its ways)
from support.stage import BackendName, stage
from support.way import WAYS, Way

import mellea_api

pytest.importorskip("mellea_api_ollama")
pytest.importorskip("mellea_api_openai")

BACKENDS: tuple[BackendName, ...] = ("ollama", "openai")


ELSEWHERE = ("many_threads",)
"""What raises where the test does not see it: in threads of its own."""
GOES_ON = ("context_that_summarizes", "tool_that_asks_the_session")
"""Where Mellea goes on after the last call: without a summary, or with the error for a tool's answer."""
PLACES = [
    pytest.param(backend, way, number, id=f"{backend}-{way.name}-{number}")
    for way in WAYS
    # The first call of each way on one backend, the last one on the other.
    for backend, number in zip(BACKENDS, (1, sum(way.limits.values())), strict=True)
    if way.name not in ELSEWHERE and (way.only is None or way.only[0] == backend)
]


@pytest.mark.parametrize(("backend", "way", "number"), PLACES)
def test_a_refusal_reaches_the_program(
    backend: BackendName, way: Way, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    context = "chat" if way.chat else "simple"
    with stage(backend, raw=way.raw, text=way.text, context_type=context) as here:
        here.refuse_from(number)
        if way.name in GOES_ON and number > 1:
            # The way itself is not content, and the log says why.
            with pytest.raises(AssertionError):
                way.go(here)
            assert "RateLimitError" in caplog.text
            return
        with pytest.raises(mellea_api.RateLimitError) as caught:
            way.go(here)
    assert caught.value.retry_after == 7
    assert caught.value.backend == backend
