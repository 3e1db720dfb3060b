"""The ways through sampling strategies, nested calls, and what only newer Mellea have."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

from support.stage import Stage
from support.way import CALL, DEFAULT, adder, as_tool, failing_first, judged, newer, way
from support.ways_functional import functional, message, place
from support.ways_session import QUESTION

OLLAMA_ALONE = ("ollama", "Mellea has it for Ollama alone")


def sampled(stage: Stage, strategy: Any, *requirements: Any) -> Any:
    """An instruction that goes through a strategy."""
    return stage.session.instruct(
        QUESTION, requirements=list(requirements), strategy=strategy, model_options=stage.call
    )


@way(limits={CALL: 2})
def repair_template(stage: Stage) -> Any:
    from mellea.stdlib.sampling import RepairTemplateStrategy

    return sampled(stage, RepairTemplateStrategy(loop_budget=2), failing_first())


@way(limits={CALL: 2}, chat=True)
def multi_turn(stage: Stage) -> Any:
    from mellea.stdlib.sampling import MultiTurnStrategy

    return sampled(stage, MultiTurnStrategy(loop_budget=2), failing_first())


@way(limits={CALL: 2})
def friendly_repair(stage: Stage) -> Any:
    strategy = newer("mellea.stdlib.sampling.feedback", "ModelFriendlyRepairStrategy")
    return sampled(stage, strategy(loop_budget=2), failing_first())


@way(limits={CALL: 3}, text="\\boxed{4}")
def majority_voting(stage: Stage) -> Any:
    strategy = newer("mellea.stdlib.sampling.majority_voting", "MajorityVotingStrategyForMath")
    return sampled(stage, strategy(number_of_samples=3, loop_budget=1))


@way(limits={CALL: 3})
def rouge_voting(stage: Stage) -> Any:
    strategy = newer("mellea.stdlib.sampling.majority_voting", "MBRDRougeLStrategy")
    return sampled(stage, strategy(number_of_samples=3, loop_budget=1))


@way(limits={21: 1, 13: 1}, only=OLLAMA_ALONE, text="It is four, and it was always four.")
def budget_forcing(stage: Stage) -> Any:
    """Mellea writes its own limits over the call's, which it means: the call has 7."""
    strategy = newer("mellea.stdlib.sampling.budget_forcing", "BudgetForcingSamplingStrategy")
    forcing = strategy(
        think_max_tokens=21, answer_max_tokens=13, answer_suffix="So", requirements=None
    )
    return sampled(stage, forcing)


@way(limits={CALL: 4}, chat=True, text="no")
def sofai(stage: Stage) -> Any:
    """A fast solver, a judge that says no, a slow solver and its judge.

    (With a `judge_backend` of its own, Mellea never awaits what judges, up to 0.8 at least.)
    """
    strategy = newer("mellea.stdlib.sampling.sofai", "SOFAISamplingStrategy")
    backend = stage.session.backend
    return sampled(stage, strategy(backend, backend, loop_budget=1), judged())


@way(limits={CALL: 1, 50: 1}, only=OLLAMA_ALONE, text="no", temperatures=(0.0, 0.5))
def guardian(stage: Stage) -> Any:
    """Mellea gives its judge a limit, a temperature and a system prompt of its own."""
    check = newer("mellea.stdlib.requirements.safety.guardian", "GuardianCheck")
    stage.session.chat(QUESTION, model_options=stage.call)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        # Given a backend, it imports transformers to see whether it is one of those: not here.
        stage.server.add_model("ibm/granite3.3-guardian:8b")
        requirement = check("harm", backend_type="ollama", ollama_url=stage.server.base_url)
        requirement._backend = stage.session.backend
    return stage.session.validate([requirement], model_options=stage.call)


# Calls inside of calls.


@way(limits={CALL: 2, DEFAULT: 2})
def requirement_that_asks_the_session(stage: Stage) -> Any:
    """The outer call is in this thread's loop, the inner one in Mellea's."""
    from mellea.stdlib.sampling import RejectionSamplingStrategy

    asks = failing_first(lambda: stage.session.clone().chat("Is it right?"))

    async def run() -> Any:
        return await stage.session.ainstruct(
            QUESTION,
            requirements=[asks],
            strategy=RejectionSamplingStrategy(loop_budget=2),
            model_options=stage.call,
        )

    return asyncio.run(run())


@way(limits={CALL: 1, DEFAULT: 1})
def component_that_asks_the_session(stage: Stage) -> Any:
    """It asks while it is being printed: inside of the outer generation."""
    from mellea.core import CBlock
    from mellea.stdlib.components import SimpleComponent

    class Asking(SimpleComponent):
        asked = False  # it is printed again when the answer is read

        def format_for_llm(self) -> Any:
            if not self.asked:
                self.asked = True
                stage.session.clone().chat("What shall I ask?")
            return super().format_for_llm()

    async def run() -> Any:
        thunk = await stage.session.aact(
            Asking(question=CBlock(QUESTION)), strategy=None, model_options=stage.call
        )
        return await thunk.avalue()

    return asyncio.run(run())


@way(limits={CALL: 1, DEFAULT: 1})
def tool_that_asks_the_session(stage: Stage) -> Any:
    acall_tools = newer("mellea.stdlib.functional", "acall_tools")

    def look_up(word: str) -> str:
        """Look a word up.

        Args:
            word: The word.
        """
        return str(stage.session.clone().chat(word).content)

    stage.server.script.tool_calls.append(("look_up", {"word": "four"}))
    options = {**stage.call, "tools": [as_tool(look_up)]}

    async def run() -> Any:
        thunk, _ = await functional().aact(
            message(), strategy=None, tool_calls=True, **{**place(stage), "model_options": options}
        )
        await thunk.avalue()
        return await acall_tools(thunk, stage.session.backend)

    (answer,) = asyncio.run(run())
    assert answer.content == "4"
    return answer


# What only newer Mellea have.


@way(limits={CALL: 2}, chat=True)
def react(stage: Stage) -> Any:
    run = newer("mellea.stdlib.frameworks.react", "react")
    calls = stage.server.script.tool_calls
    calls += [("add", {"a": 2, "b": 2}), ("final_answer", {"answer": "4"})]
    answer, _ = asyncio.run(
        run(
            goal=QUESTION,
            context=stage.session.ctx,
            backend=stage.session.backend,
            model_options=stage.call,
            tools=[adder()],
        )
    )
    assert answer.value == "4"
    return answer


@way(limits={DEFAULT: 1}, text="one two three")
def stream_with_chunking(stage: Stage) -> Any:
    """It takes no options: the session's hold."""
    stream = newer("mellea.stdlib.streaming", "stream_with_chunking")

    async def run() -> Any:
        result = await stream(message(), stage.session.backend, stage.session.ctx, chunking="word")
        return [chunk async for chunk in result.astream()]

    chunks = asyncio.run(run())
    assert len(chunks) == 3
    assert stage.requests[0].json["stream"] is True
    return chunks


@way(limits={DEFAULT: 2}, text="one two yes")
def stream_and_judge(stage: Stage) -> Any:
    """It takes no options: the session's hold, also for the judge."""
    stream = newer("mellea.stdlib.streaming", "stream")

    async def run() -> Any:
        async with await stream(
            message(), stage.session.backend, stage.session.ctx, requirements=[judged()]
        ) as chunks:
            return [chunk async for chunk in chunks]

    chunks = asyncio.run(run())
    assert "".join(chunks) == "one two yes"
    return chunks


@way(limits={DEFAULT: 1}, text="one two three")
def stream_as_events(stage: Stage) -> Any:
    stream = newer("mellea.stdlib.streaming", "stream")

    async def run() -> Any:
        async with await stream(
            message(), stage.session.backend, stage.session.ctx, as_events=True
        ) as events:
            return [event async for event in events]

    return asyncio.run(run())


@way(limits={CALL: 2}, chat=True)
def context_that_summarizes(stage: Stage) -> Any:
    """Its compactor asks the backend for a summary."""
    compactor = newer("mellea.stdlib.context.compactor", "LLMSummarizeCompactor")
    stage.session.chat(QUESTION, model_options=stage.call)
    summarizer = compactor(
        default_backend=stage.session.backend, keep_n=0, model_options=stage.call
    )
    short = summarizer.compact(stage.session.ctx, backend=stage.session.backend)
    assert "[CONTEXT SUMMARY]" in str(short.as_list()[0].content)
    return short


@way(limits={CALL: 1, DEFAULT: 2}, chat=True)
def context_that_summarizes_while_it_grows(stage: Stage) -> Any:
    """What is added to it inside of a generation is summarized there: a call inside of a call."""
    compactor = newer("mellea.stdlib.context.compactor", "LLMSummarizeCompactor")
    threshold = newer("mellea.stdlib.context.compactor", "ThresholdCompactor")
    from mellea.stdlib.context import ChatContext

    summarizer = compactor(default_backend=stage.session.backend, keep_n=1)
    context = ChatContext(compactor=threshold(summarizer, threshold=1))
    for turn in ("one", "two"):
        _, context = functional().chat(
            turn, context, stage.session.backend, model_options=stage.call if turn == "two" else {}
        )
    return context


@way(limits={5: 1})
def changed_by_a_plugin_of_mellea(stage: Stage) -> Any:
    """What a plugin makes of a call's options is normalized like what the call says."""
    newer("cpex")
    plugins = newer("mellea.plugins")

    @plugins.hook(plugins.HookType.GENERATION_PRE_CALL)
    async def shorten(payload: Any, context: Any) -> Any:
        limits = dict.fromkeys(payload.model_options, 5)
        return plugins.modify(payload, model_options=limits)

    with plugins.plugin_scope(shorten):
        return stage.session.chat(QUESTION, model_options=stage.call)


@way()
def served_program(stage: Stage) -> Any:
    """A program that `m serve` offers: its options come in the request, under OpenAI's names."""
    app = newer("cli.serve.app")
    models = newer("cli.serve.models")

    class Program:
        __name__ = "program"

        @staticmethod
        def serve(input: Any, requirements: Any = None, model_options: Any = None) -> Any:
            # Some versions say here what the request left open, too.
            names = {"max_tokens", "@@@max_new_tokens@@@"} & set(model_options)
            options = {name: model_options[name] for name in names}
            return stage.session.instruct(input[-1].content, strategy=None, model_options=options)

    request = models.ChatCompletionRequest(
        model="any", messages=[{"role": "user", "content": QUESTION}], max_tokens=CALL
    )
    return asyncio.run(app.make_chat_endpoint(Program)(request))
