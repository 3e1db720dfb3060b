"""A backend that is closed, or a process that forks, while a call is on; a prompt that is no text."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

pytest.importorskip("mellea_api_ollama")
pytest.importorskip("mellea_api_openai")

from support.stage import Stage, stage
from support.waiting import until

import mellea_api


@pytest.fixture(params=["ollama", "openai"])
def on(request: pytest.FixtureRequest) -> Iterator[Stage]:
    with stage(request.param, context_type="chat") as opened:
        yield opened


@pytest.mark.parametrize("way", ["close", "aclose"])
def test_a_backend_that_is_closed_under_a_call_says_so(on: Stage, way: str) -> None:
    backend: Any = on.session.backend
    if not hasattr(backend, way):
        pytest.skip("this Mellea closes no backend")
    on.session.chat("x")
    on.server.latency = 1.0
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(on.session.chat, "x")
        until(lambda: len(on.requests) == 2)
        done = getattr(backend, way)()
        if way == "aclose":
            asyncio.run(done)
        with pytest.raises(mellea_api.SessionClosedError, match="it was closed"):
            running.result(20)
    on.server.latency = 0
    with pytest.raises(mellea_api.SessionClosedError, match="it was closed"):
        on.session.chat("x")
    assert len(on.requests) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_that_is_forked_during_a_call_makes_its_own(on: Stage) -> None:
    from mellea.helpers import event_loop_helper

    if not hasattr(event_loop_helper._EventLoopHandler, "_reinit_if_forked"):
        pytest.skip("this Mellea's event loop does not come along into a child")
    on.session.chat("x")
    on.server.latency = 1.0
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(on.session.chat, "x")
        until(lambda: len(on.requests) == 2)
        pid = os.fork()
        if pid == 0:
            code = 1
            signal.alarm(30)
            try:
                code = 0 if on.session.chat("y").content else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert running.result(20).content


@pytest.mark.parametrize("prompt", ["a\ud800b", "\udfff"])
def test_half_a_character_is_refused_in_plain_words(on: Stage, prompt: str) -> None:
    for call in (
        lambda: on.session.chat(prompt),
        lambda: list(mellea_api.stream_chat(on.session, prompt)),
        lambda: on.session.instruct(prompt),
    ):
        with pytest.raises(mellea_api.RequestRefusedError, match="half of a surrogate pair"):
            call()
    assert on.session.chat("x").content
