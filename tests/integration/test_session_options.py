"""The options of a session on the wire: which spelling wins, and what the session says of them."""

from __future__ import annotations

import asyncio
import copy
import itertools
import threading
from typing import Any

import pytest

pytest.importorskip("mellea")

from support.late import provider
from support.load import generations
from support.stage import BackendName, Stage, stage
from support.way import failing_first, newer, rejecting
from support.ways_functional import raw_answers

from mellea_api import (
    ConfigurationError,
    MelleaAPIError,
    OptionError,
    explain_options,
    options_report,
    session_request,
)
from mellea_api._sessions.adoption import adoption_of
from mellea_api.runtime import MelleaRuntime

SPELLINGS = (
    "max_tokens",
    "num_predict",
    "max_new_tokens",
    "max_completion_tokens",
    "@@@max_new_tokens@@@",
)
QUESTION = "What is 2+2?"


@pytest.fixture(params=["ollama", "openai"])
def backend(request: pytest.FixtureRequest) -> BackendName:
    name: BackendName = request.param
    return name


def defaults(on: Stage, options: dict[str, Any]) -> None:
    """Give the session other default options, as `MelleaRuntime.switch_model` does."""
    adoption = adoption_of(on.session.backend)
    assert adoption is not None
    adoption.set_options(options)


# Spellings.


def test_a_call_beats_the_session_under_any_name_in_a_chat(backend: BackendName) -> None:
    with stage(backend) as on:
        for default, call in itertools.product(SPELLINGS, SPELLINGS):
            defaults(on, {default: 11})
            on.server.clear()
            on.session.chat(QUESTION, model_options={call: 7})
            assert on.limits() == {7: 1}, (default, call)
        assert on.problems() == []


def test_a_call_beats_the_session_under_any_name_at_the_raw_endpoint(backend: BackendName) -> None:
    with stage(backend, raw=True) as on:
        for default, call in itertools.product(SPELLINGS, SPELLINGS):
            defaults(on, {default: 11})
            on.server.clear()
            on.call = {call: 7}
            raw_answers(on, QUESTION)
            assert on.limits() == {7: 1}, (default, call)
        assert on.problems() == []


@pytest.mark.parametrize("default", SPELLINGS)
def test_none_unsets_a_default_under_any_name(backend: BackendName, default: str) -> None:
    with stage(backend, model_options={default: 11, "seed": 3}) as on:
        for call in SPELLINGS:
            on.session.chat(QUESTION, model_options={call: None})
        assert on.limits() == {None: len(SPELLINGS)}
        assert set(on.values("seed")) == {3}
        assert on.problems() == []


def test_every_option_reaches_the_provider_as_the_report_says(backend: BackendName) -> None:
    options: dict[str, Any] = {
        "temperature": 0.7,
        "max_tokens": 64,
        "top_p": 0.9,
        "stop": "\n\n",
        "seed": 3,
        "presence_penalty": 0.5,
        "frequency_penalty": -0.5,
        "logprobs": True,
        "top_logprobs": 2,
        "system_prompt": "Be brief.",
    }
    with stage(backend, model_options=options) as on:
        on.session.chat(QUESTION)
        report = options_report(on.session)
        assert report is not None
        assert on.problems() == []
        (request,) = on.requests
        for decision in report.decisions:
            assert decision.outcome in ("kept", "renamed", "converted"), decision
            found: Any = request.json
            for part in decision.wire.split("."):
                found = found[part]
            if decision.wire == "messages":
                assert found[0] == {"role": "system", "content": "Be brief."}
            else:
                assert found == decision.sent, decision
        assert {decision.name for decision in report.decisions} == set(options)


def test_several_raw_prompts_share_one_set_of_options(backend: BackendName) -> None:
    with stage(backend, raw=True, model_options={"max_tokens": 11}) as on:
        on.call = {"max_new_tokens": 7, "seed": 3}
        answers = raw_answers(on, "one", "two", "three")
        assert [answer.value for answer in answers] == ["4", "4", "4"]
        assert set(on.limits()) == {7}
        assert set(on.values("seed")) == {3}
        assert on.problems() == []
        assert all(options_report(answer) is options_report(on.session) for answer in answers)


# Whose dicts.


def test_no_dict_of_the_program_is_changed(backend: BackendName) -> None:
    options = {"max_tokens": 11, "stop": ["x"], "extra": {"user": "me"}}
    call = {"num_predict": 7, "stop": ["y"], "temperature": 0.1}
    before = copy.deepcopy((options, call))
    with stage(backend, model_options=options) as on:
        on.session.instruct(
            QUESTION, requirements=[failing_first()], strategy=rejecting(), model_options=call
        )
        assert (options, call) == before
        options["max_tokens"] = 99  # what the program does with its own dict is its own affair
        on.server.clear()
        on.session.chat(QUESTION)
        assert on.limits() == {11: 1}


def test_what_a_program_changes_in_its_lists_later_is_not_sent(backend: BackendName) -> None:
    options: dict[str, Any] = {"stop": ["x"], "max_tokens": 11}
    call: dict[str, Any] = {"stop": ["y"]}
    with stage(backend, model_options=options) as on:
        options["stop"].append("later")
        on.session.chat(QUESTION)
        on.session.chat(QUESTION, model_options=call)
        call["stop"].append("later")
        call["seed"] = 3
        assert on.values("stop") == [["x"], ["y"]]
        report = options_report(on.session)
        assert report is not None
        assert report.decision("stop").value == ["y"]
        assert report.decision("seed") is None
        on.session.backend.model_options["stop"].append("later")
        on.session.chat(QUESTION)
        assert on.values("stop") == [["x"], ["y"], ["x"]]


def test_a_request_and_a_runtime_keep_options_of_their_own() -> None:
    options: dict[str, Any] = {"stop": ["x"]}
    with provider("ollama") as found:
        request = session_request("ollama", "tiny", model_options=options, **found.arguments())
        with MelleaRuntime("ollama", "tiny", options, **found.arguments()) as runtime:
            options["stop"].append("later")
            options["seed"] = 3
            assert request.options == {"stop": ["x"]}
            runtime.switch_model("tiny")
            assert runtime.model_options == {"stop": ["x"]}
            runtime.chat("Hello!")
    assert generations(found.server)[0]["options"] == {"stop": ["x"]}


# What the session says.


def test_the_session_shows_its_defaults_as_they_were_given(backend: BackendName) -> None:
    options = {"num_predict": 11, "stop": "x"}
    with stage(backend, model_options=options) as on:
        assert on.session.backend.model_options == options
        on.session.chat(QUESTION)
        assert on.session.backend.model_options == options
        on.session.chat(QUESTION)
        assert on.limits() == {11: 2}


def test_new_defaults_of_a_runtime_hold_from_the_next_call_on(backend: BackendName) -> None:
    with stage(backend, model_options={"max_tokens": 11, "seed": 3}) as on:
        clone = on.session.clone()
        defaults(on, {"max_new_tokens": 5})
        on.session.chat(QUESTION)
        clone.chat(QUESTION)  # it has the same backend
        assert on.limits() == {5: 2}
        assert on.values("seed") == [None, None]


def test_the_options_of_an_open_session_cannot_be_written(backend: BackendName) -> None:
    """Mellea reads them at each call; here they would be changed behind the checks."""
    with stage(backend, model_options={"max_tokens": 11}) as on:
        options = on.session.backend.model_options
        with pytest.raises(TypeError):
            options["seed"] = 3
        with pytest.raises(TypeError):
            del options["max_tokens"]
        for changed in ({"seed": 3}, {}, None):
            with pytest.raises(ConfigurationError, match="Cannot change the options") as caught:
                on.session.backend.model_options = changed
            assert "model_options=" in caught.value.next_step
            assert caught.value.backend == backend
        assert on.session.backend.model_options == {"max_tokens": 11}
        on.session.chat(QUESTION)
        assert on.limits() == {11: 1}
        assert on.values("seed") == [None]


def test_a_task_that_began_in_a_call_reads_the_defaults_when_the_call_is_over(
    backend: BackendName,
) -> None:
    with stage(backend, model_options={"max_tokens": 11}) as on:
        read: list[dict[str, Any]] = []
        begun = asyncio.Event()
        over = asyncio.Event()

        async def later() -> None:
            begun.set()
            await over.wait()
            read.append(dict(on.session.backend.model_options))

        tasks = []
        walk = type(on.session.backend).do_generate_walk

        async def walk_and_begin(self: Any, action: Any) -> Any:
            tasks.append(asyncio.create_task(later()))
            return await walk(self, action)

        async def program() -> None:
            on.session.backend.__dict__["do_generate_walk"] = walk_and_begin.__get__(
                on.session.backend
            )
            await on.session.achat(QUESTION)
            over.set()
            await asyncio.gather(*tasks)

        asyncio.run(program())
        assert begun.is_set()
        assert read
        assert all(seen == {"max_tokens": 11} for seen in read)


def test_the_message_of_a_chat_has_the_report_of_its_call(backend: BackendName) -> None:
    with stage(backend) as on:
        first = on.session.chat(QUESTION, model_options={"max_tokens": 5})
        second = on.session.chat(QUESTION, model_options={"max_tokens": 6})
        reports = [options_report(message) for message in (first, second)]
        sent = [report and report.decision("max_tokens") for report in reports]
        assert [decision and decision.sent for decision in sent] == [5, 6]
        assert options_report("4") is None
        assert options_report([]) is None


def test_a_tool_that_cannot_be_called_is_an_error_of_its_own(backend: BackendName) -> None:
    with stage(backend) as on, pytest.raises(OptionError, match=r"tools\[0\] must be a tool"):
        on.session.chat(QUESTION, model_options={"tools": [{"type": "function"}]})


def test_bad_defaults_are_refused_and_the_old_ones_stay(backend: BackendName) -> None:
    with stage(backend, model_options={"max_tokens": 11}) as on:
        for bad in ({"temprature": 1}, {"max_tokens": 0}, {"max_tokens": 1, "num_predict": 2}):
            with pytest.raises(OptionError):
                defaults(on, bad)
        assert on.session.backend.model_options == {"max_tokens": 11}
        on.session.chat(QUESTION)
        assert on.limits() == {11: 1}


def test_options_that_cannot_be_used_stop_the_call_on_every_way(backend: BackendName) -> None:
    from mellea.core import CBlock
    from mellea.stdlib import functional

    with stage(backend) as on:
        session, bad = on.session, {"temperature": 3}
        place = {"context": session.ctx, "backend": session.backend, "model_options": bad}
        for go in (
            lambda: session.chat(QUESTION, model_options=bad),
            lambda: session.instruct(QUESTION, model_options=bad),
            lambda: functional.chat(QUESTION, **place),
            lambda: asyncio.run(
                session.backend.generate_from_context(CBlock("a"), session.ctx, model_options=bad)
            ),
            lambda: asyncio.run(
                session.backend.generate_from_raw([CBlock("a")], session.ctx, model_options=bad)
            ),
        ):
            with pytest.raises(OptionError, match="temperature"):
                go()
        assert on.requests == []


def test_the_backend_is_still_what_mellea_looks_for(backend: BackendName) -> None:
    from mellea.backends.backend import FormatterBackend
    from mellea.backends.ollama import OllamaModelBackend
    from mellea.backends.openai import OpenAIBackend

    expected = {"ollama": OllamaModelBackend, "openai": OpenAIBackend}
    with stage(backend, model_options={"max_tokens": 11}) as on:
        adopted = on.session.backend
        assert isinstance(adopted, expected[backend])
        assert isinstance(adopted, FormatterBackend)
        assert type(adopted).__name__ == expected[backend].__name__
        twin = copy.copy(adopted)
        assert type(twin) is type(adopted)
        assert twin.model_options == {"max_tokens": 11}


def test_an_answer_carries_the_report_of_its_own_call(backend: BackendName) -> None:
    with stage(backend, model_options={"temperature": 0.5}) as on:
        first = on.session.instruct("one", strategy=None, model_options={"max_tokens": 5})
        second = on.session.instruct("two", model_options={"num_predict": 7})
        of_first, of_second = options_report(first), options_report(second)
        assert of_first is not None
        assert of_second is not None
        assert of_first.decision("max_tokens").value == 5
        assert of_second.decision("max_tokens").spelling == "num_predict"
        assert of_first.decision("temperature").origin == "default"
        assert options_report(on.session) is of_second


def test_each_of_many_answers_carries_its_own_report(backend: BackendName) -> None:
    with stage(backend) as on:

        async def run() -> list[Any]:
            calls = (
                on.session.ainstruct(QUESTION, strategy=None, model_options={"max_tokens": number})
                for number in range(1, 9)
            )
            thunks = await asyncio.gather(*calls)
            for thunk in thunks:
                await thunk.avalue()
            return thunks

        reports = [options_report(thunk) for thunk in asyncio.run(run())]
        assert [report.decision("max_tokens").value for report in reports] == list(range(1, 9))
        assert sorted(on.limits()) == list(range(1, 9))


def test_a_report_without_a_call_is_what_explain_options_says(backend: BackendName) -> None:
    options = {"max_tokens": 7, "temperature": 0.5, "seed": 3}
    with stage(backend, model_options=options) as on:
        assert options_report(on.session) is None
        on.session.chat(QUESTION)
        (request,) = on.requests
        model = request.json["model"]
    explained = explain_options(backend, options, model_id=model, server="official")
    sent = request.json
    for path, value in flat(explained.wire):
        found = sent
        for part in path:
            found = found[part]
        assert found == value


def flat(wire: Any, above: tuple[str, ...] = ()) -> Any:
    for name, value in wire.items():
        if isinstance(value, dict):
            yield from flat(value, (*above, name))
        else:
            yield (*above, name), value


# More than one session.


def test_two_sessions_keep_their_options_apart() -> None:
    with (
        stage("ollama", model_options={"max_tokens": 5}) as one,
        stage("openai", model_options={"max_tokens": 6}) as two,
        stage("ollama", model_options={"max_tokens": 7}) as three,
    ):
        threads = [
            threading.Thread(target=lambda on=on: [on.session.chat(QUESTION) for _ in range(4)])
            for on in (one, two, three)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [on.limits() for on in (one, two, three)] == [{5: 4}, {6: 4}, {7: 4}]


def test_a_strategy_over_two_backends_gives_each_its_own_words() -> None:
    """Mellea hands the same call's options to both solvers."""
    strategy = newer("mellea.stdlib.sampling.sofai", "SOFAISamplingStrategy")
    with (
        stage("ollama", context_type="chat") as fast,
        stage("openai", context_type="chat") as slow,
    ):
        fast.session.instruct(
            QUESTION,
            requirements=[failing_first(lambda: None)],
            strategy=strategy(fast.session.backend, slow.session.backend, loop_budget=1),
            model_options={"max_tokens": 7, "stop": "x"},
        )
        assert fast.sent[0]["num_predict"] == slow.sent[0]["max_completion_tokens"] == 7
        assert fast.sent[0]["stop"] == slow.sent[0]["stop"] == ["x"]
        assert fast.problems() == slow.problems() == []


def test_a_call_that_fails_leaves_the_next_one_as_it_was(backend: BackendName) -> None:
    with stage(backend, model_options={"max_tokens": 11}) as on:
        on.server.fail_next(400)
        with pytest.raises(MelleaAPIError):
            on.session.chat(QUESTION, model_options={"num_predict": 7})
        assert on.session.backend.model_options == {"max_tokens": 11}
        on.server.clear()
        on.session.chat(QUESTION)
        assert on.limits() == {11: 1}


def open_ended(on: Stage) -> Any:
    """An answer that is never waited for."""
    from mellea.core import CBlock

    async def run() -> Any:
        thunk, _ = await on.session.backend.generate_from_context(
            CBlock(QUESTION), on.session.ctx, model_options={"max_tokens": 7}
        )
        return thunk

    return asyncio.run(run())


def test_an_answer_that_nobody_waits_for_is_normalized_too(backend: BackendName) -> None:
    with stage(backend, model_options={"max_tokens": 11}) as on:
        thunk = open_ended(on)
        report = options_report(thunk)
        assert report is not None
        assert report.decision("max_tokens").value == 7
        assert on.session.backend.model_options == {"max_tokens": 11}
