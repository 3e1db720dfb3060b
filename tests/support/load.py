"""Many threads and tasks at once, what they asked, and what of it came over the wire."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from support.http import LoopbackServer
from support.messages import Recorded
from support.waiting import until

THREADS = 64
TASKS = 256
MODELS = ("granite4:micro", "llama3.2:3b", "phi4:14b", "qwen3:8b", "one", "two")
"""Models of a loopback Ollama: more than a runtime keeps open."""


def echo(request: Recorded) -> str:
    """Says what it was told last, so that answers cannot be taken for one another."""
    body = request.json
    return str(body["messages"][-1]["content"] if "messages" in body else body["prompt"])


class Ask:
    """One call, which no other one is like.

    Attributes:
        prompt: What is said, and expected back.
        options: The call's options: a seed and a limit of its own.
    """

    _numbers = itertools.count(1)

    def __init__(self) -> None:
        self.number = next(self._numbers)
        self.prompt = f"ask {self.number}"
        self.options = {"seed": self.number, "max_tokens": 1000 + self.number}

    def chat(self, runtime: Any) -> None:
        assert runtime.chat(self.prompt, model_options=self.options) == self.prompt

    def instruct(self, runtime: Any) -> None:
        assert self.prompt in runtime.instruct(self.prompt, model_options=self.options)

    def stream(self, runtime: Any) -> None:
        pieces = runtime.stream(self.prompt, model_options=self.options)
        assert "".join(pieces) == self.prompt

    async def achat(self, runtime: Any) -> None:
        assert await runtime.achat(self.prompt, model_options=self.options) == self.prompt

    async def ainstruct(self, runtime: Any) -> None:
        assert self.prompt in await runtime.ainstruct(self.prompt, model_options=self.options)

    async def astream(self, runtime: Any) -> None:
        pieces = runtime.astream(self.prompt, model_options=self.options)
        assert "".join([piece async for piece in pieces]) == self.prompt

    SYNC = (chat, instruct, stream)
    ASYNC = (achat, ainstruct, astream)


def in_threads(works: Iterable[Callable[[], Any]]) -> list[Any]:
    """Does each in a thread of its own, all at the same time; returns their results in order."""
    found = list(works)
    start = threading.Barrier(len(found))

    def run(work: Callable[[], Any]) -> Any:
        start.wait(30)
        return work()

    with ThreadPoolExecutor(len(found)) as threads:
        return list(threads.map(run, found))


async def in_tasks(works: Iterable[Any]) -> list[Any]:
    """Does all at once; unlike `gather`, waits for all of them where one fails."""
    return await asyncio.gather(*[asyncio.create_task(work) for work in works])


@contextlib.contextmanager
def meanwhile(*works: Callable[[], Any]) -> Iterator[Counter[int]]:
    """Does each again and again, in threads of their own, and says how often it was done.

    What one of them raises is raised at the end.
    """
    done: Counter[int] = Counter()
    failures: list[BaseException] = []
    over = threading.Event()

    def repeat(number: int, work: Callable[[], Any]) -> None:
        while not over.is_set():
            try:
                work()
            except BaseException as error:
                failures.append(error)
                return
            done[number] += 1
            over.wait(0.005)  # or they would leave nothing of the processor to what is looked at

    threads = [threading.Thread(target=repeat, args=found) for found in enumerate(works)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: failures or len(done) == len(works))
        yield done
    finally:
        over.set()
        for thread in threads:
            thread.join(30)
    assert not [thread for thread in threads if thread.is_alive()], "a deadlock"
    if failures:
        raise failures[0]


def generations(*servers: LoopbackServer) -> list[Any]:
    """The bodies of the requests that asked servers to generate."""
    return [
        request.json
        for server in servers
        for request in server.requests
        if request.path in (server.fault_paths or ())
    ]


def sent(body: Any) -> tuple[str, int, int]:
    """The prompt, the seed and the limit that came over the wire, whichever provider it is."""
    options = body.get("options", body)
    limits = [options[name] for name in ("num_predict", "max_completion_tokens") if name in options]
    assert len(limits) == 1, options
    (message,) = body["messages"]
    return message["content"], options["seed"], limits[0]


def expected(asks: Iterable[Ask]) -> list[tuple[str, int, int]]:
    """What must have come, in the order of the seeds."""
    return [(ask.prompt, ask.number, 1000 + ask.number) for ask in asks]
