"""Give up on code that takes too long: a coroutine, or a function that blocks."""

from __future__ import annotations

import contextlib
import contextvars
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
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

    ended = threading.Event()
    outcome: list[tuple[bool, Any]] = []

    async def limited() -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds) as limit:
                if current is not None:
                    current.lift = lambda: loop.call_soon_threadsafe(_lift, limit)
                outcome.append((True, await work()))
        except BaseException as error:
            outcome.append((False, error))
        finally:
            # Closing the loop may take long: it waits for a thread that the coroutine left.
            ended.set()

    def run() -> None:
        try:
            asyncio.run(limited())
        finally:
            ended.set()

    thread = _start(run)
    ended.wait()
    if not isinstance(outcome[0][1], TimeoutError):
        thread.join(1.0)
    result: Result = _unwrapped(outcome)
    return result


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
    outcome: list[tuple[bool, Any]] = []

    def run() -> None:
        try:
            outcome.append((True, work()))
        except BaseException as error:
            outcome.append((False, error))

    _start(run).join(seconds)
    if not outcome:
        raise TimeoutError
    result: Result = _unwrapped(outcome)
    return result


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
    results: dict[str, Result] = {}

    def call(name: str) -> None:
        results[name] = functions[name]()

    deadline = time.monotonic() + seconds
    threads = [
        threading.Thread(
            target=contextvars.copy_context().run,
            args=(call, name),
            name=f"{thread}{name}",
            daemon=True,
        )
        for name in functions
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join(max(0.0, deadline - time.monotonic()))
    return dict(results)


def _start(run: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(
        target=contextvars.copy_context().run, args=(run,), name="mellea-api-ask", daemon=True
    )
    thread.start()
    return thread


def _unwrapped(outcome: list[tuple[bool, Any]]) -> Any:
    succeeded, value = outcome[0]
    if not succeeded:
        raise value
    return value
