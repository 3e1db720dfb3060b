"""In a conversation calls come one after the other: one that would overlap another is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.load import echo
from support.messages import Recorded
from support.ollama_server import OllamaServer
from support.waiting import until

pytest.importorskip("mellea_api_ollama")

import mellea_api
from mellea_api import astream_chat, stream_chat
from mellea_api.runtime import MelleaRuntime


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OllamaServer]:
    with OllamaServer(("granite4:micro", "two"), text=echo) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.base_url)
        yield server


@pytest.fixture
def session(server: OllamaServer) -> Any:
    return mellea_api.start_session("ollama", context_type="chat")


def generations(server: OllamaServer) -> list[Recorded]:
    return server.calls("/api/chat")


def thing() -> Any:
    """Something to be queried and transformed."""
    from mellea.stdlib.components.mobject import MObject

    return MObject()


async def read(session: Any) -> list[str]:
    return [piece async for piece in astream_chat(session, "two")]


CALLS: dict[str, Callable[[Any], Any]] = {
    "chat": lambda session: session.chat("two"),
    "achat": lambda session: asyncio.run(session.achat("two")),
    "instruct": lambda session: session.instruct("two"),
    "ainstruct": lambda session: asyncio.run(session.ainstruct("two")),
    "query": lambda session: session.query(thing(), "two"),
    "transform": lambda session: session.transform(thing(), "two"),
    "stream": lambda session: list(stream_chat(session, "two")),
    "astream": lambda session: asyncio.run(read(session)),
}


def test_a_call_that_overlaps_another_is_refused_and_no_turn_is_lost(
    server: OllamaServer, session: Any
) -> None:
    session.chat("zero")
    server.latency = 1.0
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(session.chat, "one")
        until(lambda: len(generations(server)) == 2)
        for call in CALLS.values():
            with pytest.raises(mellea_api.ConcurrentUseError, match="clone") as caught:
                call(session)
            assert caught.value.backend == "ollama"
        assert running.result(20).content == "one"
    server.latency = 0
    session.chat("three")
    said = [message["content"] for message in generations(server)[-1].json["messages"]]
    assert said == ["zero", "zero", "one", "one", "three"]


@pytest.mark.parametrize("first", CALLS)
def test_each_kind_of_call_keeps_others_out_and_lets_them_in_again(
    server: OllamaServer, session: Any, first: str
) -> None:
    server.latency = 0.3
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(CALLS[first], session)
        until(lambda: generations(server))
        with pytest.raises(mellea_api.ConcurrentUseError):
            session.chat("one")
        running.result(20)
    server.latency = 0
    assert session.chat("after").content == "after"


def test_of_tasks_that_overlap_one_is_answered(server: OllamaServer, session: Any) -> None:
    async def main() -> list[Any]:
        calls = [session.achat(str(number)) for number in range(8)]
        return await asyncio.gather(*calls, return_exceptions=True)

    first, *others = asyncio.run(main())
    assert first.content == "0"
    assert {type(other) for other in others} == {mellea_api.ConcurrentUseError}
    assert len(generations(server)) == 1


def test_a_clone_is_a_conversation_of_its_own(server: OllamaServer, session: Any) -> None:
    session.chat("zero")
    server.latency = 0.1
    with ThreadPoolExecutor(8) as threads:
        clones = [session.clone() for _ in range(8)]
        answers = list(threads.map(lambda clone: clone.chat("one").content, clones))
    assert answers == ["one"] * 8
    for request in generations(server)[1:]:
        assert [found["content"] for found in request.json["messages"]] == ["zero", "zero", "one"]


def test_a_requirement_may_ask_the_session_in_whose_call_it_is(
    server: OllamaServer, session: Any
) -> None:
    from mellea.stdlib.requirements import req, simple_validate

    asked = []

    def ask(_: str) -> bool:
        asked.append(session.chat("is it right?").content)
        return True

    session.instruct("Count.", requirements=[req("is right", validation_fn=simple_validate(ask))])
    assert asked == ["is it right?"]


@pytest.mark.parametrize("failure", ["refused", "cancelled", "wrong option", "left early"])
def test_a_call_that_comes_to_nothing_frees_the_conversation(
    server: OllamaServer, session: Any, failure: str
) -> None:
    if failure == "refused":
        server.fail_next(500)
        with pytest.raises(mellea_api.BackendUnavailableError):
            session.chat("one")
    elif failure == "wrong option":
        with pytest.raises(mellea_api.OptionError):
            session.chat("one", model_options={"temperature": 9})
    elif failure == "cancelled":
        server.latency = 0.5

        async def main() -> None:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(session.achat("one"), 0.1)

        asyncio.run(main())
        server.latency = 0
    else:
        pieces = stream_chat(session, "one two three")
        next(pieces)
        with pytest.raises(mellea_api.ConcurrentUseError):
            session.chat("too early")
        pieces.close()
    assert session.chat("after").content == "after"


def test_a_session_of_single_calls_may_be_shared(server: OllamaServer) -> None:
    session = mellea_api.start_session("ollama")
    server.latency = 0.1
    with ThreadPoolExecutor(16) as threads:
        prompts = [str(number) for number in range(32)]
        answers = list(threads.map(lambda prompt: session.chat(prompt).content, prompts))
    assert answers == prompts


def test_a_runtimes_session_and_the_runtime_keep_each_other_out(server: OllamaServer) -> None:
    with MelleaRuntime(context="chat") as runtime, ThreadPoolExecutor(1) as thread:
        server.latency = 0.5
        running: Any = thread.submit(runtime.session.chat, "one")
        until(lambda: generations(server))
        for call in (lambda: runtime.chat("two"), lambda: runtime.switch_model("two")):
            with pytest.raises(mellea_api.ConcurrentUseError):
                call()
        assert running.result(20).content == "one"
        running = thread.submit(runtime.chat, "three")
        until(lambda: len(generations(server)) == 2)
        with pytest.raises(mellea_api.ConcurrentUseError):
            runtime.session.chat("four")
        assert running.result(20) == "three"
        server.latency = 0
        runtime.switch_model("two")
        runtime.chat("five")
    said = [message["content"] for message in generations(server)[-1].json["messages"]]
    assert said == ["one", "one", "three", "three", "five"]
