"""Sending a message of a conversation, and the event loop that Mellea does it on."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

from mellea_api._contract.errors import ConfigurationError


async def send_message(session: Any, prompt: str, options: dict[str, Any]) -> tuple[Any, Any]:
    """Start the answer to a message of the user, as `session.achat` does, and do not wait for it.

    Args:
        session: Mellea's session; its context is not changed.
        prompt: The message's text.
        options: Model options of the call.

    Returns:
        The thunk that is being generated, and the context with the message and the thunk.
    """
    from mellea.stdlib import functional
    from mellea.stdlib.components.chat import Message

    message = Message("user", prompt)
    known = inspect.signature(functional.aact).parameters
    if "await_result" not in known:  # up to 0.3 it always waits, and does nothing else
        found: tuple[Any, Any] = await session.backend.generate_from_context(
            message, ctx=session.ctx, model_options=options
        )
        return found
    allowed = getattr(session, "allow_context_type_change", None)
    answer: tuple[Any, Any] = await functional.aact(
        message,
        context=session.ctx,
        backend=session.backend,
        strategy=None,
        model_options=options,
        silence_context_type_warning=True,
        **({} if allowed is None else {"allow_context_type_change": allowed}),
    )
    return answer


def event_loop() -> asyncio.AbstractEventLoop:
    """Return the loop, running in a thread of its own, on which Mellea's synchronous calls run.

    The clients of a backend belong to the loop that used them first, so that what waits for a
    backend in synchronous code must wait there.

    Raises:
        ConfigurationError: If the caller is running on that very loop, and would block it.
    """
    from mellea.helpers import _run_async_in_thread

    async def running() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    found: asyncio.AbstractEventLoop = _run_async_in_thread(running())
    # To its own thread Mellea lends another loop, made for one call.
    if asyncio._get_running_loop() is not None and _run_async_in_thread(running()) is not found:
        raise ConfigurationError(
            "Cannot stream synchronously from inside Mellea's own event loop.",
            next_step="Use the asynchronous function there.",
        )
    return found
