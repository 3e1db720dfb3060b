"""Parsing is total: whatever a server answers, a call ends in an answer or in one of our errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("mellea_api_ollama")
pytest.importorskip("mellea_api_openai")

from support.fuzz import KEY, TIMEOUT, fuzzed, strange_answers, try_it
from support.ollama_answers import loopback_answer

import mellea_api
from mellea_api.testing import LoopbackServer, openai_answer


@pytest.fixture(scope="module", params=["ollama", "openai"])
def on(request: pytest.FixtureRequest) -> Iterator[tuple[LoopbackServer, Any]]:
    name = request.param
    with LoopbackServer(openai_answer if name == "openai" else loopback_answer) as server:
        address = f"{server.address}/v1" if name == "openai" else server.address
        session = mellea_api.start_session(
            name, "tiny", base_url=address, api_key=KEY, timeout=TIMEOUT
        )
        yield server, session
        session.cleanup()


@fuzzed
@given(strange=strange_answers, streamed=st.booleans())
def test_a_call_ends_in_an_answer_or_in_one_of_our_errors(
    on: tuple[LoopbackServer, Any], strange: Any, streamed: bool
) -> None:
    try_it(*on, strange, streamed=streamed)
