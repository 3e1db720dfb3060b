"""An answer as it is written: the text of a chat, piece by piece.

`astream_chat` and `stream_chat` do what `session.achat` and `session.chat` do, and yield the text
while it arrives. The turn joins the session's context when the answer is complete; an answer that
fails or is stopped early leaves the context unchanged.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator, Coroutine, Generator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mellea_api._options.plan import plan_for
from mellea_api._sessions._mellea.seams import (
    abort,
    astream_accumulates,
    generation_task,
    without_delay,
)
from mellea_api._sessions._mellea.sessions import event_loop, send_message
from mellea_api._sessions.adoption import adoption_of
from mellea_api._sessions.turns import session_turn

if TYPE_CHECKING:
    from mellea import MelleaSession


Result = TypeVar("Result")

_END: Final = ""  # never yielded as a piece
_STOPPING: Final = 10.0
"""Seconds to wait for a generation that was told to stop."""


async def astream_chat(
    session: MelleaSession, prompt: str, *, model_options: Mapping[str, Any] | None = None
) -> AsyncGenerator[str]:
    """Send a message of the user, and yield the answer's text as it arrives.

    Closing the generator (`aclose`, or leaving `contextlib.aclosing`) cancels the generation.

    Args:
        session: Mellea's session.
        prompt: What the user says.
        model_options: Options of this call; they win over the session's.

    Yields:
        New text, never empty. A backend that cannot stream yields its answer whole.

    Raises:
        MelleaAPIError: What the backend's provider did, as from `session.achat`.
        ConcurrentUseError: Another call is in the session's conversation.
    """
    with session_turn(session):
        thunk, context = await send_message(
            session, prompt, _streamed(session, model_options or {})
        )
        without_delay(thunk)
        accumulates = astream_accumulates()
        length = 0
        try:
            if thunk.is_computed() and thunk.value:
                yield thunk.value
            while not thunk.is_computed():
                text = await thunk.astream() or ""
                if accumulates:
                    text, length = text[length:], len(text)
                if text:
                    yield text
            session.ctx = context
        finally:
            task = generation_task(thunk)
            if abort(thunk, RuntimeError("the generation was stopped")) and task is not None:
                await asyncio.wait({task}, timeout=_STOPPING)


def stream_chat(
    session: MelleaSession, prompt: str, *, model_options: Mapping[str, Any] | None = None
) -> Generator[str]:
    """Send a message of the user, and yield the answer's text as it arrives, synchronously.

    It runs on Mellea's own event loop, as `session.chat` does, and may be mixed with that. To
    stop early, close the generator (`close`, or `contextlib.closing`) or interrupt it.

    Args:
        session: Mellea's session.
        prompt: What the user says.
        model_options: Options of this call; they win over the session's.

    Yields:
        New text, never empty.

    Raises:
        MelleaAPIError: What the backend's provider did, as from `session.chat`.
        ConcurrentUseError: Another call is in the session's conversation.
        ConfigurationError: If called from inside Mellea's own event loop.
    """
    loop = event_loop()
    pieces = astream_chat(session, prompt, model_options=model_options)
    step_under_way: asyncio.Task[Any] | None = None

    async def step() -> str:
        nonlocal step_under_way
        step_under_way = asyncio.current_task()
        return await anext(pieces, _END)

    async def stop() -> None:
        # If the wait for a step was interrupted, the step itself still runs.
        if step_under_way is not None and not step_under_way.done():
            step_under_way.cancel()
            await asyncio.wait({step_under_way}, timeout=_STOPPING)
        with contextlib.suppress(RuntimeError):  # it may be running still, if it will not stop
            await pieces.aclose()

    def run(work: Coroutine[Any, Any, Result], timeout: float | None = None) -> Result:
        future = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return future.result(timeout)
        except RuntimeError as error:
            # An interrupt that meets threading's Condition as it wakes leaves its lock unlocked,
            # and the release of that puts an error of its own in the interrupt's place.
            if isinstance(error.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            raise

    try:
        while (piece := run(step())) != _END:
            yield piece
    finally:
        # At the end of the program the loop's thread stands still, and would be waited for.
        if not sys.is_finalizing() and loop.is_running():
            run(stop(), 2 * _STOPPING)


def _streamed(session: Any, given: Any) -> Any:
    """Ask for a stream, unless the caller chose, or the backend cannot stream."""
    if not isinstance(given, Mapping):
        return given  # the call refuses it
    options = dict(given)
    adoption = adoption_of(session.backend)
    if adoption is None:
        return {"@@@stream@@@": True, **options}
    plan = plan_for(adoption.pipeline.target, "chat")
    said = any(plan.spellings.get(name) == "stream" for name in options)
    return options if said or not plan.takes("stream", True) else {**options, "stream": True}
