"""Give up on code that takes too long: a coroutine, or a function that blocks."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, TypeVar

from mellea_api._contract.requests import Asking

Result = TypeVar("Result")


def run_with_deadline(
    work: Callable[[], Coroutine[Any, Any, Result]],
    seconds: float | None,
    current: Asking | None = None,
) -> Result:
    """Run a coroutine from synchronous code, and give up on it after a time.

    It runs in a thread and an event loop of its own, so that the caller may be inside a running
    loop. SDKs' own timeouts are per read: a server that sends a byte a second is never late.

    Args:
        work: Makes the coroutine.
        seconds: The time that it may take; None for no limit.
        current: Is given the function that lifts the limit.

    Raises:
        TimeoutError: If it took longer.
        Exception: Whatever the coroutine raises.
    """
    import asyncio  # which `call_with_deadline` does without

    answer: Future[Result] = Future()

    async def limited() -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds) as limit:
                if current is not None:
                    current.lift = lambda: loop.call_soon_threadsafe(_lift, limit)
                found = await work()
        except BaseException as error:
            answer.set_exception(error)
        else:
            answer.set_result(found)

    ended: Future[Any] = _begin(functools.partial(asyncio.run, limited()))
    # Closing the loop may take long: it waits for a thread that the coroutine left.
    wait((answer, ended), return_when=FIRST_COMPLETED)
    if not answer.done():
        ended.result()  # raises: there is no event loop
    if not isinstance(answer.exception(), TimeoutError):
        wait((ended,), 1.0)
    return answer.result()


def _lift(limit: Any) -> None:
    with contextlib.suppress(RuntimeError):  # it has ended
        limit.reschedule(None)


def call_with_deadline(work: Callable[[], Result], seconds: float | None) -> Result:
    """Call a function in a thread of its own, and give up on it after a time.

    This is for code that blocks and cannot be cancelled. If there is a choice, use a coroutine,
    which leaves nothing behind.

    Args:
        work: The function.
        seconds: The time that it may take; None for no limit.

    Raises:
        TimeoutError: If it took longer; the thread then ends when the function does.
        Exception: Whatever the function raises.
    """
    return _begin(work).result(seconds)


def call_each(
    functions: Mapping[str, Callable[[], Result]], seconds: float, thread: str
) -> dict[str, Result]:
    """Call functions at once, each in a thread of its own, and wait for all of them.

    Args:
        functions: The functions by name; none may raise.
        seconds: Seconds to wait. The threads do not keep the interpreter from ending.
        thread: How the names of the threads begin.

    Returns:
        What those returned that were done in time, by name.
    """
    calls = {name: _begin(function, f"{thread}{name}") for name, function in functions.items()}
    wait(calls.values(), seconds)
    return {name: call.result() for name, call in calls.items() if call.done()}


def _begin(work: Callable[[], Result], thread: str = "mellea-api-ask") -> Future[Result]:
    """Call a function in a thread of its own, which does not keep the interpreter from ending."""
    answer: Future[Result] = Future()

    def run() -> None:
        try:
            answer.set_result(work())
        except BaseException as error:
            answer.set_exception(error)

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(run,), name=thread, daemon=True).start()
    return answer
