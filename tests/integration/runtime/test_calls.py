"""What a runtime's calls return, keep and leave behind."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from support.load import MODELS
from support.messages import Recorded
from support.ollama_server import OllamaServer
from support.waiting import until

from mellea_api import OptionError
from mellea_api.runtime import MelleaRuntime


def test_calls_return_text(runtime: MelleaRuntime) -> None:
    assert runtime.chat("Hello!") == "Hello!"
    assert "Hello!" in runtime.instruct("Hello!")
    assert "".join(runtime.stream("one two")) == "one two"


def test_so_do_the_asynchronous_twins(runtime: MelleaRuntime) -> None:
    async def main() -> None:
        assert await runtime.achat("Hello!") == "Hello!"
        assert "Hello!" in await runtime.ainstruct("Hello!")
        assert "".join([piece async for piece in runtime.astream("one two")]) == "one two"
        assert sorted(await asyncio.gather(*(runtime.achat(str(n)) for n in range(8)))) == [
            str(n) for n in range(8)
        ]

    asyncio.run(main())


@pytest.mark.parametrize("wrong", ["temperature", [("temperature", 0)], 5])
def test_options_that_are_no_dict_are_an_error_of_the_call(
    runtime: MelleaRuntime, wrong: Any
) -> None:
    for call in (runtime.chat, lambda text, **more: list(runtime.stream(text, **more))):
        with pytest.raises(OptionError, match="must be a dict"):
            call("Hello!", model_options=wrong)


def test_the_session_is_the_real_one(runtime: MelleaRuntime) -> None:
    from mellea import MelleaSession

    assert isinstance(runtime.session, MelleaSession)
    assert runtime.session.chat("Hello!").content == "Hello!"


class _Counting(OllamaServer):
    """Counts the pieces that it got rid of."""

    def __init__(self) -> None:
        super().__init__(MODELS, text="one " * 200)
        self.chunk_delay = 0.05
        self.ended: list[Recorded] = []

    def finished(self) -> None:
        super().finished()
        self.ended.append(self.last)


@pytest.mark.parametrize("way", ["sync", "async"])
def test_to_stop_reading_a_stream_ends_the_generation_on_the_server(way: str) -> None:
    with _Counting() as server, MelleaRuntime(base_url=server.base_url) as runtime:
        del server.ended[:]
        if way == "sync":
            pieces: Any = runtime.stream("Hello!")
            assert next(pieces) == "one"
            pieces.close()
        else:

            async def main() -> None:
                pieces: Any = runtime.astream("Hello!")
                assert await anext(pieces) == "one"
                await pieces.aclose()

            asyncio.run(main())
        # It would have taken ten seconds; a server notices a lost client when it writes.
        began = time.monotonic()
        until(lambda: server.ended)
        assert time.monotonic() - began < 5


def test_single_calls_are_not_kept(runtime: MelleaRuntime) -> None:
    """Mellea links each to the one before; a service would grow with every call."""
    for number in range(4):
        runtime.chat(str(number))
        list(runtime.stream(str(number)))
    asyncio.run(runtime.ainstruct("after"))
    context = runtime.session.ctx
    assert "after" in str(context.last_output())
    assert len(context.as_list()) == 2
