"""Where Mellea generates, and what a thunk holds while it does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final

from mellea_api._contract.option_rule import Endpoint

Reading = Callable[..., Coroutine[Any, Any, Any]]

_SEAMS: Final[tuple[tuple[str, str, Endpoint], ...]] = (
    ("_generate_from_context", "generate_from_context", "chat"),
    ("_generate_from_raw", "generate_from_raw", "completion"),
)


def seams(cls: type) -> Iterator[tuple[str, Endpoint]]:
    """Yield the methods of a backend class through which every generation goes.

    Args:
        cls: A subclass of Mellea's `Backend`.
    """
    for private, public, endpoint in _SEAMS:
        if hasattr(cls, private):
            yield private, endpoint
        elif hasattr(cls, public):
            yield public, endpoint
    if hasattr(cls, "generate_from_chat_context"):
        yield "generate_from_chat_context", "chat"


def thunks(result: Any) -> list[Any]:
    """Return the thunks in what a seam returned: one, a list, or a tuple that begins with it."""
    first = result[0] if isinstance(result, tuple) and result else result
    return first if isinstance(first, list) else [first]


def generation_of(thunk: Any) -> tuple[Any, str]:
    """Return where a thunk keeps its generation, and the prefix of the names there."""
    gen = getattr(thunk, "_gen", None)
    return (thunk, "_") if gen is None else (gen, "")


def generation_task(thunk: Any) -> asyncio.Task[Any] | None:
    """Return the task that generates a thunk's value, or None."""
    holder, prefix = generation_of(thunk)
    task: asyncio.Task[Any] | None = getattr(holder, f"{prefix}generate", None)
    return task


def queue_of(thunk: Any) -> asyncio.Queue[Any]:
    """Return the queue that a thunk's answer arrives in."""
    holder, _ = generation_of(thunk)
    queue: asyncio.Queue[Any] = getattr(holder, "queue", None) or thunk._async_queue
    return queue


def abort(thunk: Any, error: Exception) -> bool:
    """End a generation that is still going on; whoever waits for the thunk gets the error.

    Args:
        thunk: The thunk.
        error: What its `astream` and `avalue` will raise.

    Returns:
        Whether there was anything to end.
    """
    task = generation_task(thunk)
    if task is None or task.done() or thunk.is_computed():
        return False
    # A second cancellation would interrupt the closing of the connection that the first began.
    if not task.cancelling():
        hook = getattr(generation_of(thunk)[0], "cancel_hook", None)
        if callable(hook):
            hook()
        task.cancel()
    tell(thunk, error)
    return True


def tell(thunk: Any, error: Exception) -> None:
    """Give an error to whoever waits for a thunk, in place of the rest of the answer."""
    queue = queue_of(thunk)
    while True:
        try:
            queue.put_nowait(error)
            return
        except asyncio.QueueFull:
            queue.get_nowait()


def wrap_reading(
    thunk: Any, take: Reading, finish: Reading
) -> tuple[asyncio.Task[Any] | None, Any, Any]:
    """Replace the two functions that Mellea calls on a thunk while its answer arrives.

    Args:
        thunk: The thunk; one without a task is left as it is.
        take: Called with each piece of the answer.
        finish: Called at the end of the answer.

    Returns:
        The task that generates the answer, and the functions that were there.
    """
    holder, prefix = generation_of(thunk)
    task = getattr(holder, f"{prefix}generate", None)
    if task is None:
        return None, None, None
    process, post_process = f"{prefix}process", f"{prefix}post_process"
    before = getattr(holder, process), getattr(holder, post_process)
    setattr(holder, process, take)
    setattr(holder, post_process, finish)
    return task, *before


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


def without_delay(thunk: Any) -> None:
    """Make `astream` return each piece of the answer; Mellea returns four at once."""
    holder, prefix = generation_of(thunk)
    setattr(holder, f"{prefix}chunk_size", 0)


def lost_error(thunk: Any) -> BaseException | None:
    """Return the error that Mellea replaced by an empty answer, if it did."""
    log = getattr(thunk, "_generate_log", None)
    found = (getattr(log, "extra", None) or {}).get("error")
    return found if isinstance(found, BaseException) else None


def model_output(thunk: Any) -> Any:
    """Return the SDK's own answer that a raw thunk was made of, or None."""
    return getattr(getattr(thunk, "_generate_log", None), "model_output", None)


def raw_returns_usage() -> bool:
    """Return whether the raw seam answers with a tuple of thunks and usage, or thunks alone."""
    from mellea.core import Backend

    return hasattr(Backend, "_generate_from_raw")


def astream_accumulates() -> bool:
    """Return whether `astream` returns the whole text so far instead of the new text."""
    from mellea.core import ModelOutputThunk

    return "beginning_length" not in ModelOutputThunk.astream.__code__.co_varnames
