"""Options have their effects: on a real llama.cpp server, through Mellea, the SDKs and this library.

The tiny model writes nonsense, but it is a real sampler that draws it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("mellea")

from support.llamacpp import LlamaCppServer
from support.ollama_server import OllamaServer
from support.openai_server import COMPLETION_MODELS, OpenAIServer

import mellea_api
from mellea_api._sessions.adoption import adoption_of

PROMPT = "Say something."
GREEDY = {"temperature": 0, "max_tokens": 24}
# Long enough for a model of random weights to repeat itself, whatever its tokens are.
LONG = {"temperature": 0, "max_tokens": 200}

Ask = Callable[..., str]


@pytest.fixture(params=["ollama", "openai", "compatible"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def session(kind: str, llamacpp: LlamaCppServer) -> Iterator[Any]:
    """A session that ends in llama.cpp: behind an Ollama, behind OpenAI's rules, or bare."""
    if kind == "ollama":
        with OllamaServer(engine=llamacpp) as ollama:
            yield mellea_api.start_session("ollama", "tiny", base_url=ollama.base_url)
            assert ollama.warnings == ollama.violations == []
    elif kind == "openai":
        with OpenAIServer(engine=llamacpp) as openai:
            yield mellea_api.start_session(
                "openai",
                COMPLETION_MODELS[0],
                base_url=openai.base_url,
                api_key="sk-good",
                server="official",
            )
            assert openai.violations == []
    else:
        yield mellea_api.start_session("openai", llamacpp.model, base_url=llamacpp.base_url)


@pytest.fixture(params=["chat", "raw"])
def ask(request: pytest.FixtureRequest, session: Any) -> Ask:
    """Asks, by either endpoint, with options."""
    from mellea.core import CBlock

    def chat(**options: Any) -> str:
        return str(session.chat(PROMPT, model_options=options).content)

    def raw(**options: Any) -> str:
        async def run() -> Any:
            return await session.backend.generate_from_raw(
                [CBlock(PROMPT)], session.ctx, model_options=options
            )

        found = asyncio.run(run())
        return str((found[0] if isinstance(found, tuple) else found)[0].value)

    return chat if request.param == "chat" else raw


def test_max_tokens_limits(ask: Ask) -> None:
    long, short = ask(**GREEDY), ask(**GREEDY | {"max_tokens": 6})
    assert 0 < len(short) < len(long)
    assert long.startswith(short.rstrip("\N{REPLACEMENT CHARACTER}"))  # a token may cut a character


def test_a_stop_sequence_ends_the_answer_and_is_not_part_of_it(ask: Ask) -> None:
    text = ask(**GREEDY)
    stop = text[len(text) // 2 :][:3]
    before = text[: text.index(stop)]
    assert before
    stopped = ask(**GREEDY, stop=stop)
    assert stopped.strip() == before.strip()
    assert ask(**GREEDY, stop_sequences=["not in there", stop]) == stopped


def test_temperature_zero_always_says_the_same(ask: Ask) -> None:
    assert len({ask(**GREEDY) for _ in range(2)}) == 1


def test_temperature_makes_it_vary(ask: Ask) -> None:
    assert len({ask(temperature=2, max_tokens=24) for _ in range(3)}) > 1


def test_a_seed_reproduces(ask: Ask) -> None:
    drawn = {"temperature": 1.5, "max_tokens": 24}
    answers = [ask(**drawn, seed=seed) for seed in (1, 2, 3)]
    assert [ask(**drawn, random_seed=seed) for seed in (1, 2, 3)] == answers
    assert len(set(answers)) > 1


def test_a_tiny_top_p_is_greedy(ask: Ask) -> None:
    drawn = {"temperature": 2, "max_tokens": 24, "top_p": 0.000001}
    assert len({ask(**drawn) for _ in range(2)}) == 1


def test_a_frequency_penalty_changes_what_is_said(ask: Ask) -> None:
    """Greedily the tiny model repeats itself soon."""
    assert ask(**LONG, frequency_penalty=2) != ask(**LONG)


@pytest.mark.parametrize("kind", ["ollama", "compatible"], indirect=True)
@pytest.mark.parametrize("greedy", [{"top_k": 1}, {"min_p": 1.0}], ids=["top_k", "min_p"])
def test_options_that_openai_itself_lacks(ask: Ask, kind: str, greedy: dict[str, Any]) -> None:
    drawn = {"temperature": 2, "max_tokens": 24, "unsupported": "error"}
    try:
        first = ask(**drawn, **greedy)
    except mellea_api.OptionError as error:
        if "needs Mellea 0.8" not in str(error):
            raise
        pytest.skip(f"before Mellea 0.8 the raw endpoint of OpenAIBackend cannot send it: {error}")
    assert ask(**drawn, **greedy) == first


@pytest.mark.parametrize("kind", ["ollama", "compatible"], indirect=True)
def test_a_repetition_penalty_changes_what_is_said(session: Any, kind: str) -> None:
    def chat(**options: Any) -> str:
        return str(session.chat(PROMPT, model_options=LONG | options).content)

    assert chat(repetition_penalty=1) == chat()
    assert chat(repetition_penalty=2) != chat()


def test_defaults_of_the_session_have_effects_too(session: Any) -> None:
    long = str(session.chat(PROMPT, model_options=GREEDY).content)
    adoption = adoption_of(session.backend)
    assert adoption is not None
    adoption.set_options({"temperature": 0.0, "num_predict": 6})
    short = str(session.chat(PROMPT).content)
    assert 0 < len(short) < len(long)
    assert str(session.chat(PROMPT, model_options={"max_tokens": 24}).content) == long


def test_a_stream_says_the_same_as_the_whole(session: Any) -> None:
    from mellea.stdlib.components import Message

    async def streamed() -> str:
        thunk, _ = await session.backend.generate_from_context(
            Message("user", PROMPT), session.ctx, model_options={**GREEDY, "stream": True}
        )
        while not thunk.is_computed():
            await thunk.astream()
        return str(thunk.value)

    assert asyncio.run(streamed()) == str(session.chat(PROMPT, model_options=GREEDY).content)


def test_structured_output_is_json_of_that_shape(session: Any) -> None:
    from pydantic import BaseModel

    class Sum(BaseModel):
        right: bool

    thunk = session.instruct(
        PROMPT, strategy=None, format=Sum, model_options={"temperature": 0, "max_tokens": 200}
    )
    assert set(json.loads(str(thunk))) == {"right"}
