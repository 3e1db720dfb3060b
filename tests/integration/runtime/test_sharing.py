"""Who may call a runtime at the same time."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.load import MODELS, generations
from support.ollama_server import OllamaServer
from support.waiting import until

import mellea_api
from mellea_api.runtime import MelleaRuntime


def test_overlapping_calls_in_one_conversation_are_refused(ollama: OllamaServer) -> None:
    with MelleaRuntime(context="chat") as runtime, ThreadPoolExecutor(1) as threads:
        runtime.chat("zero")
        ollama.latency = 1.0
        running = threads.submit(runtime.chat, "one")
        until(lambda: len(generations(ollama)) == 2)
        for call in (
            lambda: runtime.chat("two"),
            lambda: runtime.instruct("two"),
            lambda: list(runtime.stream("two")),
            lambda: asyncio.run(runtime.achat("two")),
            lambda: runtime.switch_model("one"),
        ):
            with pytest.raises(mellea_api.ConcurrentUseError, match="simple"):
                call()
        assert running.result(20) == "one"
        ollama.latency = 0
        runtime.chat("three")
    assert [found["content"] for found in generations(ollama)[-1]["messages"]][::2] == [
        "zero",
        "one",
        "three",
    ]


def test_overlapping_tasks_in_one_conversation_are_refused(ollama: OllamaServer) -> None:
    async def main() -> list[Any]:
        return await asyncio.gather(
            runtime.achat("one"), runtime.achat("two"), return_exceptions=True
        )

    with MelleaRuntime(context="chat") as runtime:
        first, second = asyncio.run(main())
    assert first == "one"
    assert isinstance(second, mellea_api.ConcurrentUseError)


def test_a_stream_that_was_left_early_frees_the_conversation(ollama: OllamaServer) -> None:
    with MelleaRuntime(context="chat") as runtime:
        pieces: Any = runtime.stream("one two three")
        next(pieces)
        with pytest.raises(mellea_api.ConcurrentUseError):
            runtime.chat("too early")
        pieces.close()
        assert runtime.chat("four") == "four"
    assert [found["content"] for found in generations(ollama)[-1]["messages"]] == ["four"]


def test_a_call_that_failed_frees_the_conversation(ollama: OllamaServer) -> None:
    with MelleaRuntime(context="chat") as runtime:
        ollama.fail_next(500)
        with pytest.raises(mellea_api.BackendUnavailableError):
            runtime.chat("one")
        assert runtime.chat("two") == "two"


def test_many_threads_share_a_runtime_without_cross_talk(runtime: MelleaRuntime) -> None:
    """Each call has its own answer, with its own options."""

    def ask(number: int) -> str:
        text = f"number {number}"
        if number % 2:
            return runtime.chat(text, model_options={"seed": number})
        return "".join(runtime.stream(text, model_options={"max_tokens": 2 + number}))

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(ask, range(64)))
    assert answers == [f"number {number}" for number in range(64)]


def test_options_of_many_threads_reach_the_wire_with_their_prompt(ollama: OllamaServer) -> None:
    with MelleaRuntime(model_options={"top_k": 5}) as runtime:

        def ask(number: int) -> str:
            return runtime.chat(str(number), model_options={"seed": number})

        with ThreadPoolExecutor(16) as threads:
            assert list(threads.map(ask, range(64))) == [str(number) for number in range(64)]
    for found in generations(ollama):
        said = int(found["messages"][-1]["content"])
        assert found["options"] == {"top_k": 5, "seed": said}
        assert len(found["messages"]) == 1


def test_switching_while_others_call_harms_nobody(ollama: OllamaServer) -> None:
    with MelleaRuntime(model_id="one") as runtime, ThreadPoolExecutor(8) as threads:

        def switch(number: int) -> str:
            runtime.switch_model(MODELS[number % len(MODELS)])
            return "done"

        asked = [threads.submit(runtime.chat, str(number)) for number in range(40)]
        switched = [threads.submit(switch, number) for number in range(12)]
        asked += [threads.submit(runtime.chat, str(number)) for number in range(40, 80)]
        assert [found.result(30) for found in asked] == [str(number) for number in range(80)]
        assert {found.result(30) for found in switched} == {"done"}
        assert runtime.chat("after") == "after"
