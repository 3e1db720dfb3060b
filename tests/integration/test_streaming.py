"""`mellea_api._sessions.streaming` through real Mellea and the real SDKs, on loopback providers."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.messages import Reply
from support.ollama_server import OllamaServer
from support.openai_server import OpenAIServer
from support.provider_errors import answering

pytest.importorskip("mellea_api_ollama")
pytest.importorskip("mellea_api_openai")

import mellea_api
from mellea_api import astream_chat, stream_chat
from mellea_api._sessions._mellea.sessions import event_loop
from mellea_api._sessions.adoption import adoption_of

Server = OllamaServer | OpenAIServer
TEXT = "one two three four five six"


@pytest.fixture(params=["ollama", "openai"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    kind: Any = OllamaServer if request.param == "ollama" else OpenAIServer
    with kind(text=TEXT) as running:
        yield running


def start(server: Server, **arguments: Any) -> Any:
    arguments.setdefault("context_type", "chat")
    if isinstance(server, OllamaServer):
        return mellea_api.start_session("ollama", "tiny", base_url=server.base_url, **arguments)
    return mellea_api.start_session(
        "openai", "gpt-4o", base_url=server.base_url, api_key="sk-good", **arguments
    )


def told(session: Any) -> list[str]:
    """The texts of the conversation so far, as Mellea's context has them."""
    return [
        part.content if hasattr(part, "content") else part.value for part in session.ctx.as_list()
    ]


def chats(server: Server) -> list[Any]:
    return [
        found.json for found in server.requests if found.path.endswith(("/chat", "/completions"))
    ]


@pytest.fixture(params=["async", "sync"])
def stream(request: pytest.FixtureRequest) -> Any:
    """Streams a prompt to its end, one way or the other, and returns the pieces."""

    def collect(session: Any, prompt: str, **arguments: Any) -> list[str]:
        if request.param == "sync":
            return list(stream_chat(session, prompt, **arguments))

        async def run() -> list[str]:
            return [piece async for piece in astream_chat(session, prompt, **arguments)]

        return asyncio.run(run())

    return collect


def test_pieces_are_new_text_and_make_the_answer(server: Server, stream: Any) -> None:
    server.chunk_delay = 0.03
    pieces = stream(start(server), "Count.")
    assert "".join(pieces) == TEXT
    assert len(pieces) >= 5  # a piece as it comes, not four at once
    assert all(pieces)
    assert chats(server)[-1]["stream"] is True
    assert server.violations == server.warnings == []


def test_the_turn_joins_the_conversation_as_with_chat(server: Server) -> None:
    streamed, plain = start(server), start(server)
    "".join(stream_chat(streamed, "Count."))
    plain.chat("Count.")
    assert told(streamed) == told(plain) == ["Count.", TEXT]
    "".join(stream_chat(streamed, "Again."))
    assert [message["content"] for message in chats(server)[-1]["messages"]] == [
        "Count.",
        TEXT,
        "Again.",
    ]
    assert streamed.ctx.last_output().parsed_repr.role == "assistant"


def test_chat_and_stream_mix_on_one_session(server: Server) -> None:
    session = start(server)
    session.chat("One.")
    "".join(stream_chat(session, "Two."))
    session.chat("Three.")
    assert told(session)[::2] == ["One.", "Two.", "Three."]


def test_options_of_the_call_count(server: Server, stream: Any) -> None:
    session = start(server, model_options={"max_tokens": 1})
    assert "".join(stream(session, "Count.", model_options={"num_predict": 3})) == "one two three"
    report = mellea_api.options_report(session)
    assert report is not None
    assert {found.name for found in report.decisions} == {"max_tokens", "stream"}


@pytest.mark.parametrize("spelling", ["stream", "@@@stream@@@"])
def test_who_says_no_to_streaming_gets_the_answer_whole(
    server: Server, stream: Any, spelling: str
) -> None:
    assert stream(start(server), "Count.", model_options={spelling: False}) == [TEXT]
    assert not chats(server)[-1].get("stream")


def test_an_answer_that_is_stopped_early_is_no_part_of_the_conversation(server: Server) -> None:
    server.chunk_delay = 0.1
    session = start(server)
    pieces = stream_chat(session, "Count.")
    assert next(pieces) == "one"
    began = time.monotonic()
    pieces.close()
    assert time.monotonic() - began < 5
    assert told(session) == []
    server.chunk_delay = 0
    assert "".join(stream_chat(session, "Count.")) == TEXT


def test_closing_ends_the_generation(server: Server) -> None:
    server.chunk_delay = 0.1
    session = start(server)

    async def run() -> Any:
        async with contextlib.aclosing(astream_chat(session, "Count.")) as pieces:
            async for _ in pieces:
                break
        return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]

    assert [task for task in asyncio.run(run()) if "queue" in repr(task.get_coro())] == []


def in_part(session: Any) -> Any:
    """The first of what a session streams, and all that follows."""

    async def run() -> None:
        async for _ in astream_chat(session, "Count."):
            pass

    return run()


@pytest.mark.parametrize(
    "way",
    [
        in_part,
        lambda session: session.achat("Count."),
        lambda session: session.ainstruct("Count."),
        lambda session: asyncio.wait_for(session.achat("Count."), 0.3),
    ],
    ids=["stream", "achat", "ainstruct", "wait_for"],
)
def test_a_task_that_is_cancelled_ends_its_generation(server: Server, way: Any) -> None:
    """It would hold its connection, and be paid for, without anybody who waits for it."""
    session = start(server)

    async def run() -> list[Any]:
        with answering(server, lambda: Reply(chunks=[3600.0])) as asked:
            task = asyncio.create_task(way(session))
            while not asked and not task.done():  # noqa: ASYNC110 - the server has a thread
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.wait({task})
            assert task.cancelled() or isinstance(task.exception(), TimeoutError)
            left: set[Any] = asyncio.all_tasks() - {asyncio.current_task()}
            if left:
                await asyncio.wait(left, timeout=5)
        assert [task for task in left if not task.done()] == []
        assert (await session.achat("Count.")).content == TEXT
        return told(session)

    assert asyncio.run(run()) == ["Count.", TEXT]


def test_an_interrupted_wait_ends_the_generation(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A KeyboardInterrupt comes while the next piece is waited for."""
    import _thread

    server.chunk_delay = 1.0
    session = start(server)
    pieces = stream_chat(session, "Count.")
    timer = threading.Timer(0.4, _thread.interrupt_main)
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            list(pieces)
    finally:
        timer.cancel()
        timer.join()
    loop = event_loop()
    assert not [task for task in asyncio.all_tasks(loop) if "astream_chat" in repr(task.get_coro())]
    server.chunk_delay = 0
    assert "".join(stream_chat(session, "Count.")) == TEXT


def test_an_interrupt_that_meets_the_wait_as_it_ends_is_an_interrupt(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where `Condition.wait` is interrupted while it takes its lock again, which is rare."""
    import concurrent.futures

    session = start(server)
    pieces = stream_chat(session, "Count.")
    assert next(pieces)

    def interrupted(future: Any, timeout: float | None = None) -> Any:
        monkeypatch.undo()
        condition = threading.Condition()
        with condition:
            condition.release()
            raise KeyboardInterrupt

    monkeypatch.setattr(concurrent.futures.Future, "result", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(pieces)
    assert "".join(stream_chat(session, "Count.")) == TEXT


def test_errors_are_ours(server: Server, stream: Any) -> None:
    session = start(server)
    server.fail_next(500, times=3)
    with pytest.raises(mellea_api.BackendUnavailableError):
        stream(session, "Count.")
    assert told(session) == []
    for wrong in ({"temperature": 9}, "temperature", [("temperature", 0)]):
        with pytest.raises(mellea_api.OptionError):
            stream(session, "Count.", model_options=wrong)


def test_the_deadline_holds(server: Server, stream: Any) -> None:
    server.chunk_delay = 0.3
    session = start(server, timeout=60)
    adoption = adoption_of(session.backend)
    assert adoption is not None
    adoption.timeout = 0.7  # the opening has the same limit, and a busy machine takes its time
    with pytest.raises(mellea_api.RequestTimeoutError):
        stream(session, "Count.")


def test_a_session_that_is_not_ours_streams_too(ollama_server: OllamaServer) -> None:
    from mellea import MelleaSession
    from mellea.backends.ollama import OllamaModelBackend

    ollama_server.script.text = TEXT
    session = MelleaSession(OllamaModelBackend("tiny", base_url=ollama_server.base_url))
    assert "".join(stream_chat(session, "Count.")) == TEXT
    assert ollama_server.last.json["stream"] is True


def test_streaming_works_inside_a_running_loop(server: Server) -> None:
    """As in a notebook."""
    session = start(server)

    async def cell() -> str:
        return "".join(stream_chat(session, "Count."))

    assert asyncio.run(cell()) == TEXT


def test_blocking_melleas_own_loop_is_refused(server: Server) -> None:
    session = start(server)

    async def inside() -> str:
        return "".join(stream_chat(session, "Count."))

    future = asyncio.run_coroutine_threadsafe(inside(), event_loop())
    with pytest.raises(mellea_api.ConfigurationError, match="asynchronous"):
        future.result(10)
    assert "".join(stream_chat(session, "Count.")) == TEXT
