"""Hostile answers through LiteLLM, of the suite that plugin authors subclass, and fuzzed ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("mellea_api_litellm")

from hypothesis import given
from hypothesis import strategies as st
from support.fuzz import KEY, TIMEOUT, fuzzed, strange_answers, try_it

import mellea_api
from mellea_api.testing import Asked, LoopbackServer, ServerContract, openai_answer

pytestmark = pytest.mark.usefixtures("sdk")


class TestLiteLLM(ServerContract):
    backend = "litellm"
    path = "/v1"
    model = "openai/tiny"
    patience = 2.0
    credentials = {"api_key": KEY}

    def answer(self, asked: Asked) -> Any:
        return openai_answer(asked)


@pytest.fixture(scope="module")
def on() -> Iterator[tuple[LoopbackServer, Any]]:
    with LoopbackServer(openai_answer) as server:
        address = f"{server.address}/v1"
        session = mellea_api.start_session(
            "litellm", "openai/tiny", base_url=address, api_key=KEY, timeout=TIMEOUT
        )
        yield server, session
        session.cleanup()


@fuzzed
@given(strange=strange_answers, streamed=st.booleans())
def test_a_call_ends_in_an_answer_or_in_one_of_our_errors(
    on: tuple[LoopbackServer, Any], strange: Any, streamed: bool
) -> None:
    try_it(*on, strange, streamed=streamed)
