"""How long one call holds the event loop, beside the bare SDK on the same large answers.

`python loop.py [SHAPE ...]`: those shapes alone. The answers come from `server.py large`.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import itertools
import json
import logging
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

from sessions import server

import mellea_api

MEGABYTES = (1, 15)
TITLE = "How long a call on {} holds the event loop"
NOTE = (
    "In ms of the processor, the longest time of each call; both on the same answer. A call of "
    "ours may end earlier with an error, where the SDK reads on."
)
HEAD = ("answer", "a session's call", "the bare SDK", "longer by", "least to greatest")
ROUNDS, LEAST, ENOUGH = 7, 3, 20  # at least so many, and no more after so many seconds


def fill(size: int, item: Callable[[int], str], between: str = ", ") -> str:
    """Join as many items as fit."""
    return between.join(map(item, range(size // len(item(0) + between))))


def words(size: int) -> str:
    """Return a long text."""
    return "word " * (size // 5)


def nested(size: int) -> str:
    """Return lists, each nested nearly as deeply as Python reads it."""
    return fill(size, lambda _: "[" * 900 + "]" * 900)


def whole(openai: bool, said: str, more: str = "") -> str:
    """Return an answer of one message, of which two parts are JSON that is written already."""
    message = f'"message": {{"role": "assistant", {said}}}'
    if not openai:
        return f'{{"model": "tiny", "done": true, {message}{more}}}'
    choice = f'{{"index": 0, "finish_reason": "stop", {message}}}'
    return f'{{"id": "a", "created": 1, "model": "tiny", "choices": [{choice}]{more}}}'


def call(openai: bool, arguments: str) -> str:
    """Return a call of a tool; the arguments are JSON."""
    value = json.dumps(arguments) if openai else arguments
    return f'{{"id": "1", "type": "function", "function": {{"name": "f", "arguments": {value}}}}}'


def piece(openai: bool, text: str, **more: Any) -> str:
    """Return a piece of a stream."""
    message = {"role": "assistant", "content": text, **more}
    if not openai:
        return json.dumps({"model": "tiny", "message": message, "done": False}) + "\n"
    choice = {"index": 0, "finish_reason": None, "delta": message}
    event = {"id": "a", "created": 1, "model": "tiny", "choices": [choice]}
    return f"data: {json.dumps(event)}\n\n"


def end(openai: bool) -> str:
    """Return the end of a stream."""
    if openai:
        return piece(True, "").replace("null", '"stop"') + "data: [DONE]\n\n"
    return piece(False, "").replace("false", "true")


def called(openai: bool, size: int) -> str:
    """Return a stream with one call of a tool; Ollama sends it in one piece."""
    parts = [{"index": 0, "id": "1", "function": {"name": "f", "arguments": '{"x": "'}}]
    parts += [{"index": 0, "function": {"arguments": text}} for text in ("word ", '"}')]
    first, one, last = (piece(openai, "", tool_calls=[part]) for part in parts)
    if openai:
        return first + fill(size - 1000, lambda _: one, "") + last + end(openai)
    return piece(False, "").replace("}", f', "tool_calls": [{call(False, "{}")}]}}', 1) + end(False)


SHAPES: dict[str, Callable[[bool, int], str]] = {
    "one long text": lambda o, n: whole(o, f'"content": "{words(n)}"'),
    "a text of escapes": lambda o, n: whole(
        o, '"content": "' + fill(n, lambda _: r"\ud83d\ude00\n\"", "") + '"'
    ),
    "many parts": lambda o, n: whole(o, f'"content": [{fill(n, lambda _: """{"text": 1}""")}]'),
    "many choices": lambda o, n: (
        '{"id": "a", "created": 1, "choices": ['
        + fill(n, lambda _: '{"index": 0, "message": {"role": "assistant", "content": "4"}}')
        + "]}"
    ),
    "deep nesting": lambda o, n: whole(o, '"content": "4"', f', "x": [{nested(n)}]'),
    "nesting without end": lambda o, n: "[" * n,
    "many unknown keys": lambda o, n: whole(
        o, '"content": "4"', ", " + fill(n, lambda i: f'"key{i:07}": 1')
    ),
    "many calls of tools": lambda o, n: whole(
        o, f'"content": "", "tool_calls": [{fill(n, lambda _: call(o, "{}"))}]'
    ),
    "a large call of a tool": lambda o, n: whole(
        o, f'"content": "", "tool_calls": [{call(o, json.dumps({"x": words(n)}))}]'
    ),
    "no JSON": lambda o, n: words(n),
    "streamed: one piece": lambda o, n: piece(o, words(n)) + end(o),
    "streamed: many pieces": lambda o, n: fill(n, lambda _: piece(o, "word "), "") + end(o),
    "streamed: a call of a tool": called,
    "streamed: empty lines": lambda o, n: "\n" * n + piece(o, "4") + end(o),
    "status 400: a long text": lambda o, n: json.dumps({"error": {"message": words(n)}}),
    "status 400: many keys": lambda o, n: (
        '{"error": {"message": "no", "x": {' + fill(n, lambda i: f'"key{i:07}": 1') + "}}}"
    ),
    "status 500: no JSON": lambda o, n: f"<p>{words(n)}",
    "status 500: deep nesting": lambda o, n: f'{{"error": [{nested(n)}]}}',
}
"""What is answered: a function of whether it is for OpenAI's protocol, and of the size."""


@functools.cache
def body(shape: str, megabytes: int, openai: bool) -> bytes:
    """Return an answer."""
    return SHAPES[shape](openai, megabytes * 2**20 - 2**12).encode()


def answer(path: str) -> dict[str, Any]:
    """Answer as the address says: `/SHAPE'S NUMBER/MEGABYTES/...`."""
    if path.endswith("/api/show"):
        return {"json": {"details": {}, "capabilities": ["completion"]}}
    _, number, megabytes, *_ = path.split("/")
    shape = list(SHAPES)[int(number)]
    openai = path.endswith("/completions")
    status = int(shape.split()[1][:3]) if shape.startswith("status") else 200
    kind = "application/json"
    if shape.startswith("streamed"):
        kind = "text/event-stream" if openai else "application/x-ndjson"
    content = body(shape, int(megabytes), openai)
    return {"status": status, "headers": {"Content-Type": kind}, "body": content}


async def held(call: Callable[[], Any]) -> float:
    """Return for how many milliseconds at most a call holds its event loop.

    By the processor time of the loop's thread, which other programs do not disturb.
    """
    longest = 0.0

    async def tick() -> None:
        nonlocal longest
        while True:
            begun = time.thread_time()
            await asyncio.sleep(0.001)
            longest = max(longest, time.thread_time() - begun)

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0.005)
    with suppress(Exception):
        await call()
    await asyncio.sleep(0.005)
    ticking.cancel()
    return longest * 1000


@asynccontextmanager
async def bare(backend: str, address: str, streamed: bool) -> AsyncIterator[Callable[[], Any]]:
    """Give a call of the SDK alone."""
    if backend == "openai":
        import openai

        client = openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="sk-good", max_retries=0)
        create = client.chat.completions.create
    else:
        import ollama

        create = ollama.AsyncClient(address).chat

    async def ask() -> None:
        said = [{"role": "user", "content": "Hello!"}]
        found = await create(model="tiny", messages=said, stream=streamed)
        if streamed:
            async for _ in found:
                pass

    yield ask


@asynccontextmanager
async def ours(backend: str, address: str, streamed: bool) -> AsyncIterator[Callable[[], Any]]:
    """Give a call of our session."""
    arguments: dict[str, Any] = {"base_url": address}
    if backend == "openai":
        arguments = {"base_url": f"{address}/v1", "api_key": "sk-good", "max_retries": 0}
        arguments["check"] = False
    session = await asyncio.to_thread(mellea_api.start_session, backend, "tiny", **arguments)

    async def ask() -> None:
        session.reset()
        if not streamed:
            await session.achat("Hello!")
            return
        async with aclosing(mellea_api.astream_chat(session, "Hello!")) as pieces:
            async for _ in pieces:
                pass

    yield ask
    await asyncio.to_thread(session.cleanup)


async def measure_one(backend: str, address: str, streamed: bool) -> dict[str, list[float]]:
    """Measure both, in turns; the first turn is not counted."""
    taken: dict[str, list[float]] = {"ours": [], "bare": []}
    async with (
        ours(backend, address, streamed) as our_call,
        bare(backend, address, streamed) as bare_call,
    ):
        contenders = {"ours": our_call, "bare": bare_call}
        begun = time.perf_counter()
        for turn in range(-1, ROUNDS):
            if turn >= LEAST and time.perf_counter() - begun > ENOUGH:
                break
            for name in list(contenders)[:: 1 if turn % 2 else -1]:
                gc.collect()
                found = await held(contenders[name])
                if turn >= 0:
                    taken[name].append(found)
    return taken


def row(what: str, taken: dict[str, list[float]]) -> str:
    """Return what was measured as a row of a table."""
    longer = [one - other for one, other in zip(taken["ours"], taken["bare"], strict=True)]
    one, other, median = (statistics.median(each) for each in (*taken.values(), longer))
    extremes = f"{min(longer):+.0f} to {max(longer):+.0f}"
    return f"| {what} | {one:.0f} | {other:.0f} | **{median:+.0f}** | {extremes} |"


def measure(shapes: list[str]) -> list[dict[str, Any]]:
    """Measure each shape, in each size, on each backend."""
    logging.disable(logging.CRITICAL)
    sections = []
    with server("large") as url:
        for backend in ("ollama", "openai"):
            rows = []
            for shape, megabytes in itertools.product(shapes or SHAPES, MEGABYTES):
                address = f"{url}/{list(SHAPES).index(shape)}/{megabytes}"
                streamed = shape.startswith("streamed")
                taken = asyncio.run(measure_one(backend, address, streamed))
                rows.append(row(f"{shape}, {megabytes} MiB", taken))
                print(rows[-1], file=sys.stderr, flush=True)
            section = {"title": TITLE.format(backend), "note": NOTE, "head": HEAD, "rows": rows}
            sections.append(section)
    return sections


if __name__ == "__main__":
    json.dump(measure(sys.argv[1:]), sys.stdout)
