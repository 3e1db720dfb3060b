"""Where Mellea generates, and what a thunk holds while it does."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Final

from mellea_api._contract.descriptor import Endpoint

if TYPE_CHECKING:
    import asyncio


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


@functools.cache
def _thunk_and_task() -> tuple[Any, Any]:
    """Return two classes that every call needs and that cost too much to import with this module.

    An import statement that is run again takes microseconds.
    """
    import asyncio

    from mellea.core import ModelOutputThunk

    return ModelOutputThunk, asyncio.Task


def thunks(result: Any) -> list[Any]:
    """Return the thunks in what a seam returned, whatever its shape."""
    thunk_class, _ = _thunk_and_task()
    if isinstance(result, thunk_class):
        return [result]
    first = result[0] if isinstance(result, tuple) and result else result
    if isinstance(first, thunk_class):
        return [first]
    if isinstance(first, list):
        return [item for item in first if isinstance(item, thunk_class)]
    return []


def generation_of(thunk: Any) -> tuple[Any, str]:
    """Return where a thunk keeps its generation, and the prefix of the names there."""
    gen = getattr(thunk, "_gen", None)
    return (thunk, "_") if gen is None else (gen, "")


def generation_task(thunk: Any) -> asyncio.Task[Any] | None:
    """Return the task that generates a thunk's value, or None."""
    _, task_class = _thunk_and_task()
    holder, prefix = generation_of(thunk)
    task: asyncio.Task[Any] | None = getattr(holder, f"{prefix}generate", None)
    return task if isinstance(task, task_class) else None


def queue_of(thunk: Any) -> asyncio.Queue[Any]:
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
    # Told a second time, it would stop closing what the first time made it close: its connection.
    if not task.cancelling():
        hook = getattr(generation_of(thunk)[0], "cancel_hook", None)
        if callable(hook):
            hook()
        task.cancel()
    tell(thunk, error)
    return True


def tell(thunk: Any, error: Exception) -> None:
    """Have whoever waits for a thunk get an error, whatever else was to come."""
    import asyncio

    queue = queue_of(thunk)
    while True:
        try:
            queue.put_nowait(error)
            return
        except asyncio.QueueFull:
            queue.get_nowait()


class Hook:
    """The two functions that Mellea calls on a thunk while its answer arrives, to be wrapped."""

    def __init__(self, thunk: Any, name: str) -> None:
        self._holder, prefix = generation_of(thunk)
        self._name = f"{prefix}{name}"

    @property
    def function(self) -> Callable[..., Coroutine[Any, Any, Any]] | None:
        """The function that is there now."""
        found: Callable[..., Coroutine[Any, Any, Any]] | None = getattr(
            self._holder, self._name, None
        )
        return found

    def replace(self, function: Callable[..., Coroutine[Any, Any, Any]]) -> None:
        """Put another one in its place."""
        setattr(self._holder, self._name, function)


def without_delay(thunk: Any) -> None:
    """Have `astream` return with each piece of the answer; Mellea's own way is four at once."""
    holder, prefix = generation_of(thunk)
    setattr(holder, f"{prefix}chunk_size", 0)


def pending_hooks(thunk: Any) -> tuple[Hook, Hook]:
    """Return the hooks that take a piece of the answer, and that finish it."""
    return Hook(thunk, "process"), Hook(thunk, "post_process")


def lost_error(thunk: Any) -> BaseException | None:
    """Return the error that Mellea put aside and returned an empty answer for, if it did."""
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
    """Return whether `astream` gives the whole text so far, rather than what is new."""
    from mellea.core import ModelOutputThunk

    return "beginning_length" not in ModelOutputThunk.astream.__code__.co_varnames
