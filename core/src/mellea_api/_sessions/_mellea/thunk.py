"""A thunk for backends whose authors write only the generation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from mellea_api._sessions._mellea.seams import generation_of, queue_of


def wire_thunk(
    action: Any,
    context: Any,
    options: dict[str, Any],
    produce: Callable[[Callable[[str], Coroutine[Any, Any, None]]], Coroutine[Any, Any, None]],
    *,
    backend: str,
    model_id: str,
    prompt: Any,
) -> Any:
    """Return an uncomputed thunk whose text is produced by a task that starts now.

    Args:
        action: What is being answered.
        context: Mellea's context before it, as a list, or None.
        options: The options of the call.
        produce: Runs the generation; is given a coroutine function that takes each piece.
        backend: The backend's name, for logs and metadata.
        model_id: The model's name, likewise.
        prompt: What was sent, for Mellea's generate log.
    """
    from mellea.core import GenerateLog, GenerateType, ModelOutputThunk

    thunk: Any = ModelOutputThunk(None)
    call = getattr(thunk, "_call", None)
    holder, prefix = (thunk, "_") if call is None else (call, "")
    setattr(holder, f"{prefix}context", context)
    setattr(holder, f"{prefix}action", action)
    setattr(holder, f"{prefix}model_options", options)
    queue = queue_of(thunk)

    async def process(thunk: Any, piece: str) -> None:
        thunk._underlying_value = (thunk._underlying_value or "") + piece

    async def post_process(thunk: Any) -> None:
        log = GenerateLog()
        log.prompt = prompt
        log.backend = f"{backend}::{model_id}"
        log.model_options = options
        log.model_output = thunk._underlying_value
        log.action = action
        log.result = thunk
        thunk._generate_log = log
        metadata = getattr(thunk, "generation", None)
        if metadata is not None:
            metadata.model, metadata.provider = model_id, backend

    async def run() -> None:
        try:
            await produce(queue.put)
            await queue.put("")  # an answer of no text is an answer too
            await queue.put(None)
        except Exception as error:
            await queue.put(error)

    generation, prefix = generation_of(thunk)
    setattr(generation, f"{prefix}process", process)
    setattr(generation, f"{prefix}post_process", post_process)
    setattr(generation, f"{prefix}generate", asyncio.create_task(run()))
    setattr(generation, f"{prefix}generate_type", GenerateType.ASYNC)
    return thunk
