"""Deadlines for code that blocks: functions in threads that are abandoned when time is over."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

Result = TypeVar("Result")


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
