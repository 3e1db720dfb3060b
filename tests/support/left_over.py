"""What a call leaves behind: threads, tasks of Mellea's loop, file descriptors."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator

_POOLS = ("asyncio_", "litellm-logging_")
"""Pools that grow when they are busy, to a size, and are kept: an event loop's, and LiteLLM's for its logs."""
SETTLING = 10.0
"""Seconds to wait for what is about to end by itself; far above what it takes."""


def descriptors() -> Counter[str]:
    """The open file descriptors of this process, counted by kind; a file is its own kind."""
    found: Counter[str] = Counter()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            name = os.readlink(f"/proc/self/fd/{number}")
            found[name.partition(":")[0] if not name.startswith("/") else name] += 1
    return found


def tasks() -> int:
    """How many tasks Mellea's own event loop has."""
    from mellea_api._sessions._mellea.sessions import event_loop

    return len(asyncio.all_tasks(event_loop()))


class State:
    """What there is now."""

    def __init__(self) -> None:
        names = [thread.name for thread in threading.enumerate()]
        self.threads = Counter(
            name.partition("-")[0] for name in names if not name.startswith(_POOLS)
        )
        self.descriptors = descriptors()
        self.tasks = tasks()

    def beyond(self, before: State) -> str:
        """What there is more of than before, in words; empty if nothing."""
        more = {
            "threads": self.threads - before.threads,
            "descriptors": self.descriptors - before.descriptors,
            "tasks": max(0, self.tasks - before.tasks),
        }
        return ", ".join(f"{name}: {found}" for name, found in more.items() if found)


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """Fails if there is more at the end of the block than at its beginning, and it stays so."""
    before = State()
    yield
    deadline = time.monotonic() + SETTLING
    while more := State().beyond(before):
        if time.monotonic() > deadline:
            raise AssertionError(f"left behind: {more}")
        time.sleep(0.01)
        gc.collect(0)
