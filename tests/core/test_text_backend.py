"""`TextBackend`: whoever writes `generate` has a backend, and Mellea's own options are no concern."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("mellea")

from mellea import MelleaSession
from mellea.backends import ModelOption
from mellea.core import CBlock
from mellea.stdlib.components import Message
from mellea.stdlib.context import ChatContext
from pydantic import BaseModel
from support.fake_plugins import backend as entry
from support.fake_plugins import described, registry
from support.waiting import until

from mellea_api import SessionRequest
from mellea_api._contract.errors import RequestRefusedError
from mellea_api._sessions import text_backend
from mellea_api.plugin import BackendDescriptor, Prompt, TextBackend, hookimpl
from mellea_api.runtime import MelleaRuntime


class Words(TextBackend):
    """Says the words of a text; keeps what it was asked, and whether it was closed."""

    provider = "words"

    def __init__(self, text: str = "one two three") -> None:
        super().__init__("words-1")
        self.words = text.split(" ")
        self.asked: list[tuple[Prompt, Mapping[str, Any]]] = []
        self.closed = 0

    async def generate(self, prompt: Prompt, options: Mapping[str, Any]) -> AsyncIterator[str]:
        self.asked.append((prompt, options))
        try:
            for word in self.words:
                yield word
                await asyncio.sleep(0)
        finally:
            self.closed += 1


class Answer(BaseModel):
    value: int


async def ask(backend: Any, action: Any, endpoint: str = "context", **arguments: Any) -> Any:
    name = f"generate_from_{endpoint}"
    method = getattr(backend, f"_{name}", None) or getattr(backend, name)
    return await method(action, ctx=ChatContext(), **arguments)


def test_a_session_chats_with_it() -> None:
    backend = Words()
    answer = MelleaSession(backend, ctx=ChatContext()).chat("Hello")
    assert answer.content == "onetwothree"
    (prompt, options) = backend.asked[0]
    assert prompt.messages == ({"role": "user", "content": "Hello"},)
    assert (prompt.text, prompt.raw, prompt.format, options) == ("Hello", False, None, {})


def test_options_with_mellea_s_own_names_are_the_base_s_business() -> None:
    backend = Words()
    options = {"tokens": 5, ModelOption.STREAM: True, ModelOption.SYSTEM_PROMPT: "Be kind."}
    MelleaSession(backend).chat("Hello", model_options=options)
    (prompt, given) = backend.asked[0]
    assert given == {"tokens": 5}
    assert prompt.messages[0] == {"role": "system", "content": "Be kind."}


def test_raw_prompts_stand_each_for_themselves() -> None:
    backend = Words()

    async def go() -> Any:
        return await ask(backend, [CBlock("a"), CBlock("b")], "raw")

    found = asyncio.run(go())
    thunks = found[0] if isinstance(found, tuple) else found
    assert [thunk.value for thunk in thunks] == ["onetwothree"] * 2
    assert [(prompt.text, prompt.raw) for prompt, _ in backend.asked] == [("a", True), ("b", True)]


@pytest.mark.parametrize("stream", [True, False])
def test_pieces_reach_only_those_who_stream(stream: bool) -> None:
    backend = Words("word " * 200)

    async def steps() -> list[str]:
        options = {ModelOption.STREAM: stream}
        thunk = (await ask(backend, Message("user", "x"), model_options=options))[0]
        seen = []
        while not thunk.is_computed():
            await thunk.astream()
            seen.append(thunk.value if thunk.is_computed() else thunk._underlying_value)
        return seen

    seen = asyncio.run(steps())
    assert seen[-1] == "word" * 200
    assert (len(set(seen)) > 1) is stream


def test_an_answer_may_be_empty() -> None:
    assert MelleaSession(Words("")).chat("Hello").content == ""


def test_a_generator_is_closed_when_nobody_waits_any_longer() -> None:
    async def go() -> int:
        backend = Words("word " * 10_000)
        options = {ModelOption.STREAM: True}
        thunk = (await ask(backend, Message("user", "x"), model_options=options))[0]
        await thunk.astream()
        (task,) = asyncio.all_tasks() - {asyncio.current_task()}
        task.cancel()
        await asyncio.wait([task])
        return backend.closed

    assert asyncio.run(go()) == 1


def test_what_generate_raises_reaches_the_caller() -> None:
    class Broken(Words):
        async def generate(self, prompt: Prompt, options: Mapping[str, Any]) -> AsyncIterator[str]:
            yield "one"
            raise LookupError("no more words")

    with pytest.raises(LookupError, match="no more words"):
        MelleaSession(Broken()).chat("Hello")


def test_a_format_is_refused_unless_the_backend_keeps_to_formats() -> None:
    class Formats(Words):
        formats = True

    with pytest.raises(RequestRefusedError, match="words backend"):
        MelleaSession(Words()).chat("Hello", format=Answer)
    backend = Formats('{"value": 1}')
    MelleaSession(backend).instruct("Hello", format=Answer, strategy=None)
    assert backend.asked[0][0].format is Answer


class Holding(Words):
    """Says how often it was asked to let go."""

    released = 0

    def release(self) -> None:
        self.released += 1


def runtime_on(monkeypatch: pytest.MonkeyPatch, make: Callable[[], TextBackend]) -> MelleaRuntime:
    class Plugin:
        @hookimpl
        def describe_backend(self, name: str) -> BackendDescriptor:
            return described(name)

        @hookimpl
        def create_session(self, request: SessionRequest) -> Any:
            return MelleaSession(make())

    module: Any = ModuleType("holding_fake")
    module.plugin = Plugin()
    monkeypatch.setitem(sys.modules, "holding_fake", module)
    return MelleaRuntime("fake", registry=registry(entry("fake", "holding_fake:plugin")))


def test_a_backend_lets_go_when_its_runtime_is_cleaned_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with runtime_on(monkeypatch, Holding) as runtime:
        backend: Any = runtime.session.backend
        assert runtime.chat("Hello") == "onetwothree"
        runtime.session.cleanup()  # which is not the end: Mellea's sessions may share a backend
        assert backend.released == 0
    until(lambda: backend.released == 1)


@pytest.mark.parametrize("way", ["close", "aclose", "cleanup"])
def test_a_release_that_hangs_holds_nobody_for_long(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    over = threading.Event()

    class Stuck(Words):
        def release(self) -> None:
            over.wait(30)

    monkeypatch.setattr(text_backend, "_RELEASING", 0.1)
    runtime = runtime_on(monkeypatch, Stuck)
    closed: Any = runtime if way == "cleanup" else runtime.session.backend
    if not hasattr(closed, way):
        pytest.skip("this Mellea closes no backend")
    began = time.monotonic()
    done = getattr(closed, way)()
    if way == "aclose":
        asyncio.run(done)
    until(lambda: "Stuck.release() takes more than 0.1 s" in caplog.text)
    assert time.monotonic() - began < 5
    over.set()
