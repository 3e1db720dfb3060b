"""The ways through a session and through `@generative`."""

from __future__ import annotations

import asyncio
import copy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from support.stage import Stage
from support.way import CALL, adder, failing_first, judged, rejecting, way

QUESTION = "What is 2+2?"


@contextmanager
def in_thread(function: Any) -> Iterator[threading.Thread]:
    """Runs a function beside what the block does."""
    thread = threading.Thread(target=function)
    thread.start()
    yield thread
    thread.join()


@way()
def chat(stage: Stage) -> Any:
    return stage.session.chat(QUESTION, model_options=stage.call)


@way()
def achat(stage: Stage) -> Any:
    return asyncio.run(stage.session.achat(QUESTION, model_options=stage.call))


@way()
def instruct(stage: Stage) -> Any:
    return stage.session.instruct(QUESTION, strategy=None, model_options=stage.call)


@way()
def instruct_with_the_default_strategy(stage: Stage) -> Any:
    return stage.session.instruct(QUESTION, model_options=stage.call)


@way(limits={CALL: 2})
def instruct_and_repair(stage: Stage) -> Any:
    return stage.session.instruct(
        QUESTION, requirements=[failing_first()], strategy=rejecting(), model_options=stage.call
    )


@way(limits={CALL: 2}, text="yes")
def instruct_and_judge(stage: Stage) -> Any:
    return stage.session.instruct(
        QUESTION, requirements=[judged()], strategy=rejecting(), model_options=stage.call
    )


@way(limits={CALL: 4}, text="no")
def instruct_judge_and_repair(stage: Stage) -> Any:
    return stage.session.instruct(
        QUESTION,
        requirements=[judged()],
        strategy=rejecting(),
        return_sampling_results=True,
        model_options=stage.call,
    )


@way(limits={CALL: 2})
def ainstruct_and_repair(stage: Stage) -> Any:
    return asyncio.run(
        stage.session.ainstruct(
            QUESTION, requirements=[failing_first()], strategy=rejecting(), model_options=stage.call
        )
    )


@way()
def act(stage: Stage) -> Any:
    from mellea.stdlib.components import Message

    return stage.session.act(Message("user", QUESTION), strategy=None, model_options=stage.call)


@way()
def aact_awaited_later(stage: Stage) -> Any:
    from mellea.stdlib.components import Message

    async def run() -> Any:
        thunk = await stage.session.aact(
            Message("user", QUESTION), strategy=None, model_options=stage.call
        )
        return await thunk.avalue()

    return asyncio.run(run())


def thing() -> Any:
    """An object of Mellea's, to be asked about and changed."""
    from mellea.stdlib.components.mify import mify

    @mify(fields_include={"price"}, template="{{ price }}", funcs_include={"raised"})
    class Thing:
        def __init__(self) -> None:
            self.price = 4

        def raised(self, by: int) -> int:
            """Raise the price.

            Args:
                by: How much.
            """
            return self.price + int(by)

    return Thing()


@way()
def query(stage: Stage) -> Any:
    return stage.session.query(thing(), "What does it cost?", model_options=stage.call)


@way()
def aquery(stage: Stage) -> Any:
    async def run() -> Any:
        thunk = await stage.session.aquery(thing(), "The price?", model_options=stage.call)
        return await thunk.avalue()

    return asyncio.run(run())


@way()
def transform(stage: Stage) -> Any:
    return stage.session.transform(thing(), "Make it cheaper.", model_options=stage.call)


@way()
def transform_by_a_tool(stage: Stage) -> Any:
    stage.server.script.tool_calls.append(("raised", {"by": 3}))
    changed = stage.session.transform(thing(), "Raise it by 3.", model_options=stage.call)
    assert changed == 7
    return changed


@way()
def atransform(stage: Stage) -> Any:
    return asyncio.run(
        stage.session.atransform(thing(), "Make it cheaper.", model_options=stage.call)
    )


@way(limits={CALL: 2}, text="yes")
def validate(stage: Stage) -> Any:
    stage.session.chat(QUESTION, model_options=stage.call)
    (result,) = stage.session.validate([judged()], model_options=stage.call)
    assert result
    return result


@way(limits={CALL: 3}, text="yes")
def avalidate(stage: Stage) -> Any:
    stage.session.chat(QUESTION, model_options=stage.call)
    reqs = [judged(), judged()]
    return asyncio.run(stage.session.avalidate(reqs, model_options=stage.call))


def generative_slot(asynchronous: bool = False) -> Any:
    """A function that the model implements."""
    from mellea import generative

    if asynchronous:

        async def classify(text: str) -> Literal["short", "long"]:
            """Say whether the text is short or long."""
    else:

        def classify(text: str) -> Literal["short", "long"]:
            """Say whether the text is short or long."""

    return generative(classify)


@way()
def generative_with_a_session(stage: Stage) -> Any:
    said = generative_slot()(stage.session, model_options=stage.call, text="word")
    assert said == "short"
    return said


@way()
def generative_with_a_backend(stage: Stage) -> Any:
    said, _ = generative_slot()(
        context=stage.session.ctx,
        backend=stage.session.backend,
        model_options=stage.call,
        text="word",
    )
    assert said == "short"
    return said


@way()
def generative_async(stage: Stage) -> Any:
    slot = generative_slot(asynchronous=True)
    return asyncio.run(slot(stage.session, model_options=stage.call, text="word"))


@way(limits={CALL: 2})
def generative_with_requirements(stage: Stage) -> Any:
    return generative_slot()(
        stage.session,
        requirements=[failing_first()],
        strategy=rejecting(),
        model_options=stage.call,
        text="word",
    )


@way(limits={CALL: 2})
def clones(stage: Stage) -> Any:
    for session in (stage.session.clone(), copy.copy(stage.session)):
        session.chat(QUESTION, model_options=stage.call)


@way(limits={CALL: 1})
def copied_backend(stage: Stage) -> Any:
    from mellea import MelleaSession

    session = MelleaSession(copy.copy(stage.session.backend))
    return session.chat(QUESTION, model_options=stage.call)


@way(limits={CALL: 1})
def session_built_around_the_backend(stage: Stage) -> Any:
    from mellea import MelleaSession

    return MelleaSession(stage.session.backend).chat(QUESTION, model_options=stage.call)


@way(limits={CALL: 2}, chat=True)
def conversation_after_a_reset(stage: Stage) -> Any:
    stage.session.chat(QUESTION, model_options=stage.call)
    stage.session.reset()
    return stage.session.chat(QUESTION, model_options=stage.call)


@way(limits={CALL: 1})
def current_session(stage: Stage) -> Any:
    from mellea.stdlib.session import get_session

    with stage.session:
        return get_session().chat(QUESTION, model_options=stage.call)


@way()
def tools_of_a_call(stage: Stage) -> Any:
    stage.server.script.tool_calls.append(("add", {"a": 2, "b": 2}))
    thunk = stage.session.instruct(
        QUESTION,
        strategy=None,
        model_options={**stage.call, "tools": [adder()]},
        tool_calls=True,
    )
    assert list(thunk.tool_calls)
    assert stage.requests[0].json["tools"]
    return thunk


@way()
def structured_output(stage: Stage) -> Any:
    from pydantic import BaseModel

    class Sum(BaseModel):
        total: int

    thunk = stage.session.instruct(QUESTION, strategy=None, format=Sum, model_options=stage.call)
    assert Sum.model_validate_json(str(thunk)).total == 4
    return thunk


@way()
def streamed(stage: Stage) -> Any:
    from mellea.stdlib.components import Message

    async def run() -> Any:
        thunk, _ = await stage.session.backend.generate_from_context(
            Message("user", QUESTION),
            stage.session.ctx,
            model_options={**stage.call, "stream": True},
        )
        while not thunk.is_computed():
            await thunk.astream()
        return thunk

    thunk = asyncio.run(run())
    assert stage.requests[0].json["stream"] is True
    return thunk


@way(limits={CALL: 12})
def many_tasks(stage: Stage) -> Any:
    async def run() -> Any:
        return await asyncio.gather(
            *(
                stage.session.ainstruct(QUESTION, strategy=None, model_options=stage.call)
                for _ in range(12)
            ),
        )

    async def all_of_them() -> None:
        for thunk in await run():
            await thunk.avalue()

    asyncio.run(all_of_them())


@way(limits={CALL: 8})
def many_threads(stage: Stage) -> Any:
    def talk() -> None:
        session = stage.session.clone()
        for _ in range(2):
            session.chat(QUESTION, model_options=stage.call)

    with in_thread(talk), in_thread(talk), in_thread(talk), in_thread(talk):
        pass
