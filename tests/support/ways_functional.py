"""The ways through Mellea's functional API, and straight into a backend."""

from __future__ import annotations

import asyncio
from typing import Any

from support.stage import Stage
from support.way import CALL, DEFAULT, adder, failing_first, judged, newer, rejecting, way
from support.ways_session import QUESTION, thing


def functional() -> Any:
    from mellea.stdlib import functional

    return functional


def place(stage: Stage) -> dict[str, Any]:
    """Where functions of the functional API generate, and with what."""
    session = stage.session
    return {"context": session.ctx, "backend": session.backend, "model_options": stage.call}


def message() -> Any:
    from mellea.stdlib.components import Message

    return Message("user", QUESTION)


@way()
def functional_chat(stage: Stage) -> Any:
    return functional().chat(QUESTION, **place(stage))


@way()
def functional_achat(stage: Stage) -> Any:
    return asyncio.run(functional().achat(QUESTION, **place(stage)))


@way(limits={CALL: 2})
def functional_instruct(stage: Stage) -> Any:
    return functional().instruct(
        QUESTION, requirements=[failing_first()], strategy=rejecting(), **place(stage)
    )


@way(limits={CALL: 2})
def functional_ainstruct(stage: Stage) -> Any:
    return asyncio.run(
        functional().ainstruct(
            QUESTION, requirements=[failing_first()], strategy=rejecting(), **place(stage)
        )
    )


@way()
def functional_act(stage: Stage) -> Any:
    return functional().act(message(), strategy=None, **place(stage))


@way()
def functional_aact(stage: Stage) -> Any:
    async def run() -> Any:
        thunk, _ = await functional().aact(message(), strategy=None, **place(stage))
        return await thunk.avalue()

    return asyncio.run(run())


@way(limits={CALL: 2}, text="yes")
def functional_validate(stage: Stage) -> Any:
    _, context = functional().chat(QUESTION, **place(stage))
    return functional().validate([judged()], **{**place(stage), "context": context})


@way(limits={CALL: 2}, text="yes")
def functional_avalidate(stage: Stage) -> Any:
    _, context = functional().chat(QUESTION, **place(stage))
    return asyncio.run(functional().avalidate([judged()], **{**place(stage), "context": context}))


@way()
def functional_query(stage: Stage) -> Any:
    return functional().query(thing(), "What does it cost?", **place(stage))


@way()
def functional_transform(stage: Stage) -> Any:
    return functional().transform(thing(), "Make it cheaper.", **place(stage))


@way()
def functional_atransform(stage: Stage) -> Any:
    return asyncio.run(functional().atransform(thing(), "Make it cheaper.", **place(stage)))


@way()
def functional_tools(stage: Stage) -> Any:
    call_tools = newer("mellea.stdlib.functional", "call_tools")
    stage.server.script.tool_calls.append(("add", {"a": 2, "b": 2}))
    options = {**stage.call, "tools": [adder()]}
    thunk, _ = functional().act(
        message(), strategy=None, tool_calls=True, **{**place(stage), "model_options": options}
    )
    (answer,) = call_tools(thunk, stage.session.backend)
    assert answer.content == "4"
    return answer


# Straight into the backend.


@way()
def from_context(stage: Stage) -> Any:
    async def run() -> Any:
        thunk, _ = await stage.session.backend.generate_from_context(
            message(), stage.session.ctx, model_options=stage.call
        )
        return await thunk.avalue()

    return asyncio.run(run())


@way()
def from_chat_context(stage: Stage) -> Any:
    async def run() -> Any:
        found = await stage.session.backend.generate_from_chat_context(
            message(), stage.session.ctx, model_options=stage.call
        )
        thunk = found[0] if isinstance(found, tuple) else found
        return await thunk.avalue()

    return asyncio.run(run())


@way(limits={CALL: 1, DEFAULT: 1})
def from_context_lazily(stage: Stage) -> Any:
    """One thunk is part of the next prompt, and computed while that one is being asked."""
    from mellea.core import CBlock
    from mellea.stdlib.components import SimpleComponent

    async def run() -> Any:
        backend, context = stage.session.backend, stage.session.ctx
        first, _ = await backend.generate_from_context(CBlock("one"), context, model_options={})
        second, _ = await backend.generate_from_context(
            SimpleComponent(first=first), context, model_options=stage.call
        )
        return await second.avalue()

    return asyncio.run(run())


def raw_answers(stage: Stage, *prompts: str, **options: Any) -> list[Any]:
    """The raw endpoint's answers, in whatever shape this Mellea gives them."""
    from mellea.core import CBlock

    async def run() -> Any:
        return await stage.session.backend.generate_from_raw(
            [CBlock(prompt) for prompt in prompts],
            stage.session.ctx,
            model_options={**stage.call, **options},
        )

    found = asyncio.run(run())
    return list(found[0] if isinstance(found, tuple) else found)


@way(raw=True)
def raw(stage: Stage) -> Any:
    (answer,) = raw_answers(stage, QUESTION)
    assert answer.value == "4"
    return answer
