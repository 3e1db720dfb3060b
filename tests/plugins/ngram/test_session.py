"""The n-gram backend through real Mellea: each way into it, and each option by its effect."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

pytest.importorskip("mellea")

from mellea.backends import ModelOption
from mellea.core import CBlock
from mellea.stdlib.components import Message
from mellea.stdlib.requirements import check, simple_validate
from pydantic import BaseModel

import mellea_api
from mellea_api import (
    ConfigurationError,
    ModelNotFoundError,
    OptionError,
    RequestRefusedError,
    RequestTimeoutError,
    options_report,
    stream_chat,
)
from mellea_api_ngram.model import tokenize

SEA = "Tell me about the sea."


def start(model_id: str | None = None, **options: Any) -> Any:
    return mellea_api.start_session("ngram", model_id, model_options=options)


def chat(prompt: str = SEA, **options: Any) -> str:
    """The answer of a new session."""
    return said(start(**options).chat(prompt))


def said(answer: Any) -> str:
    return str(getattr(answer, "content", answer))


async def generate(session: Any, action: Any, endpoint: str, **options: Any) -> Any:
    """Call the backend itself, by the name that this Mellea has for it."""
    name = f"generate_from_{endpoint}"
    method = getattr(session.backend, f"_{name}", None) or getattr(session.backend, name)
    return await method(action, ctx=session.ctx, model_options=options)


def raw(*prompts: str, **options: Any) -> list[str]:
    async def ask() -> list[str]:
        actions = [CBlock(prompt) for prompt in prompts]
        found = await generate(start(**options), actions, "raw")
        return [str(thunk) for thunk in (found[0] if isinstance(found, tuple) else found)]

    return asyncio.run(ask())


class TestWays:
    @pytest.mark.parametrize("seed", range(5))
    def test_it_knows_what_2_and_2_is(self, seed: int) -> None:
        assert chat("What is 2+2?", seed=seed).startswith("2+2 is 4")

    def test_chat_achat_and_instruct_give_the_same_to_the_same_seed(self) -> None:
        async def achat() -> str:
            return said(await start(seed=3).achat(SEA))

        assert chat(seed=3) == asyncio.run(achat()) == said(start(seed=3).instruct(SEA))

    def test_instruct_repairs_until_a_requirement_holds(self) -> None:
        tried: list[str] = []

        def second_time(answer: str) -> bool:
            tried.append(answer)
            return len(tried) > 1

        requirement = check("be long", validation_fn=simple_validate(second_time))
        answer = start().instruct(SEA, requirements=[requirement])
        assert said(answer) == tried[1]

    def test_a_conversation_is_one_prompt(self) -> None:
        """The model looks three words back, and what was said before is a topic for it."""
        session = mellea_api.start_session("ngram", context_type="chat", model_options={"seed": 1})
        session.chat("What is 2+2?")
        answer = said(session.chat("What is 7*8?", model_options={"temperature": 0}))
        assert answer == "7*8 is 56."
        assert len(session.ctx.as_list()) == 4

    def test_a_raw_prompt_is_continued(self) -> None:
        first, second = raw("The capital of France", "The harbour is quiet", temperature=0)
        assert first == " is Paris."
        assert second.startswith(" in the morning")

    def test_a_raw_question_is_followed_by_its_answer(self) -> None:
        assert raw("What is 3+4?", temperature=0) == ["\n3+4 is 7."]

    def test_a_format_is_refused(self) -> None:
        class Sum(BaseModel):
            value: int

        with pytest.raises(RequestRefusedError, match="format"):
            start().chat("What is 2+2?", format=Sum)

    def test_threads_may_share_a_session(self) -> None:
        session = start(seed=5, temperature=1)
        with ThreadPoolExecutor(4) as pool:
            answers = set(pool.map(lambda _: said(session.chat(SEA)), range(12)))
        assert len(answers) == 1

    def test_calls_in_one_event_loop_take_turns(self) -> None:
        async def both() -> list[str]:
            session, order = start(temperature=0), []

            async def one(name: str) -> None:
                thunk = await begin(session)
                while not thunk.is_computed():
                    await thunk.astream()
                    order.append(name)

            await asyncio.gather(one("a"), one("b"))
            return order

        order = asyncio.run(both())
        assert order != sorted(order)


async def begin(session: Any, **options: Any) -> Any:
    found = await generate(session, Message("user", SEA), "context", stream=True, **options)
    return found[0]


async def read(thunk: Any) -> list[str]:
    """What the thunk's value was at each step."""
    seen = []
    while not thunk.is_computed():
        await thunk.astream()
        seen.append(thunk.value if thunk.is_computed() else thunk._underlying_value)
    return seen


class TestStreaming:
    def test_the_pieces_are_the_answer_that_comes_without_streaming(self) -> None:
        for seed in range(5):
            pieces = list(stream_chat(start(seed=seed, temperature=1), SEA))
            assert len(pieces) > 1
            assert "".join(pieces) == chat(seed=seed, temperature=1)

    def test_a_stop_never_shows_not_even_its_beginning(self) -> None:
        whole = chat(temperature=0)
        stop = whole[6:14]  # begins and ends within words
        seen = asyncio.run(self.steps(temperature=0, stop=[stop]))
        assert seen[-1] == whole[:6]
        assert all(whole[:6].startswith(step or "") for step in seen)

    async def steps(self, **options: Any) -> list[str]:
        return await read(await begin(start(**options)))

    def test_an_answer_that_is_not_streamed_comes_at_once(self) -> None:
        async def steps(stream: bool) -> int:
            session = start(temperature=0, stream=stream)
            (thunk, *_) = await generate(session, Message("user", SEA), "context")
            return len(await read(thunk))

        assert asyncio.run(steps(True)) > 1
        assert asyncio.run(steps(False)) == 1

    @pytest.mark.parametrize("stream", [True, False])
    def test_an_answer_without_end_is_cut_by_the_deadline(self, stream: bool) -> None:
        session = mellea_api.start_session(
            "ngram",
            "primer-2",
            model_options={"temperature": 0, "max_tokens": 10**9, "stream": stream},
            timeout=0.1,
        )
        with pytest.raises(RequestTimeoutError) as late:
            session.chat("What is 2+2?")
        assert str(late.value).startswith("The ngram backend did not answer within 0.1 s.")
        assert "server" not in str(late.value)


class TestOptions:
    def test_temperature_0_is_greedy_and_2_is_not(self) -> None:
        assert len({chat(temperature=0) for _ in range(5)}) == 1
        assert len({chat(temperature=2) for _ in range(10)}) > 5

    @pytest.mark.parametrize(
        "name", ["max_tokens", "num_predict", "max_new_tokens", ModelOption.MAX_NEW_TOKENS]
    )
    def test_max_tokens_counts_tokens_under_any_name(self, name: str) -> None:
        assert len(tokenize(chat(temperature=0, **{name: 5}))) == 5

    @pytest.mark.parametrize("cut", [{"top_k": 1}, {"top_p": 0.0001}, {"min_p": 1.0}])
    def test_a_tight_cut_tames_any_temperature(self, cut: dict[str, Any]) -> None:
        question = "What is 6*7?"
        assert chat(question, temperature=2, seed=1, **cut).startswith("6*7 is 42")
        assert not chat(question, temperature=2, seed=1).startswith("6*7 is 42")

    @pytest.mark.parametrize("stop", [" deep", ["nowhere", " deep"], ["ide and d", " deep"]])
    def test_a_stop_ends_the_answer_and_is_not_in_it(self, stop: Any) -> None:
        answer = chat(temperature=0, stop=stop)
        assert answer in ("The sea is wide and", "The sea is w")
        assert not any(each in answer for each in ([stop] if isinstance(stop, str) else stop))

    def test_a_seed_reproduces_and_without_one_answers_vary(self) -> None:
        assert chat(temperature=1, seed=11) == chat(temperature=1, seed=11)
        assert len({chat(temperature=1) for _ in range(20)}) > 3
        assert len({chat(temperature=1, seed=seed) for seed in range(20)}) > 3

    @pytest.mark.parametrize(
        "options",
        [{"presence_penalty": 2}, {"frequency_penalty": 2}, {"repetition_penalty": 1.5}],
        ids=lambda options: next(iter(options)),
    )
    def test_a_penalty_breaks_a_loop(self, options: dict[str, float]) -> None:
        """Left alone, the greedy bigram goes round in circles."""
        question, loop = "What is 2+2?", "2+2 is 2+2 is 2+2 is"

        def rambling(**options: Any) -> str:
            return said(start("primer-2", temperature=0, **options).chat(question))

        assert rambling().startswith(loop)
        assert not rambling(**options).startswith(loop)

    def test_a_system_prompt_is_part_of_the_prompt(self) -> None:
        question = "Tell me about something."
        about = [
            sum("moon" in chat(question, seed=seed, **options).lower() for seed in range(40))
            for options in ({}, {"system_prompt": "You always speak of the moon."})
        ]
        assert about[1] > 3 * about[0]

    def test_a_call_beats_the_session(self) -> None:
        session = start(temperature=0, max_tokens=3)
        assert said(session.chat(SEA, model_options={"num_predict": 2})) == "The sea"
        assert said(session.chat(SEA)) == "The sea is"

    def test_the_report_says_what_became_of_each(self) -> None:
        session = start(temperature=0, num_predict=4, logprobs=True)
        session.chat(SEA)
        report = options_report(session)
        assert report is not None
        assert {item.name: item.outcome for item in report.decisions} == {
            "temperature": "kept",
            "max_tokens": "kept",
            "logprobs": "dropped",
        }
        assert dict(report.wire) == {"temperature": 0, "max_tokens": 4}

    @pytest.mark.parametrize(
        "options",
        [
            {"context_window": 10},
            {"thinking": True},
            {"tools": []},
            {"stream_timeout": 3},
            {"top_logprobs": 2},
            {"extra": {"typical_p": 0.5}},
        ],
        ids=lambda options: next(iter(options)),
    )
    def test_what_the_model_lacks_is_said_and_harms_nothing(
        self, options: dict[str, Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.WARNING):
            assert chat("What is 7*8?", temperature=0, **options) == "7*8 is 56."
        names = set(options) if "extra" not in options else {"typical_p"}
        assert [name for name in names if name in caplog.text]
        with pytest.raises(OptionError):
            mellea_api.start_session("ngram", model_options=options, unsupported="error").chat("Hi")

    def test_a_raw_prompt_has_no_system_prompt_and_no_stream(self) -> None:
        options = {"system_prompt": "Speak.", "stream": True}
        report = mellea_api.explain_options("ngram", options, endpoint="completion")
        assert {item.outcome for item in report.decisions} == {"dropped"}
        assert all(item.reason for item in report.decisions)


class TestModels:
    def test_another_model_answers_otherwise(self) -> None:
        answers = {
            said(start(model_id, temperature=0).chat(SEA))
            for model_id in ("primer-4", "primer-3", "primer-2")
        }
        assert len(answers) == 3

    def test_an_unknown_model_is_an_error_that_names_those_there_are(self) -> None:
        with pytest.raises(ModelNotFoundError, match="primer-2") as found:
            start("primer-9")
        assert found.value.known == ("primer-4", "primer-3", "primer-2")

    def test_a_setting_that_it_does_not_have_is_an_error(self) -> None:
        with pytest.raises(ConfigurationError, match="device"):
            mellea_api.start_session("ngram", device="cpu")
