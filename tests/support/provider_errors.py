"""What providers answer, row by row (docs/reference/provider-errors.toml), sent to a session through a socket."""

from __future__ import annotations

import asyncio
import json
import pickle
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.http import LoopbackServer
from support.messages import Recorded, Reply

TABLE = Path(__file__).resolve().parents[2] / "docs/reference/provider-errors.toml"
ROWS: list[dict[str, Any]] = tomllib.loads(TABLE.read_text("utf-8"))["row"]
_JSON = {"content-type": "application/json"}
SECRET = "sk-canary-5e1d2c3b5a69788796a5b4c3d2e1f0"


def rows(*backends: str) -> list[Any]:
    """The rows of some backends, as parameters of a test."""
    return [
        pytest.param(row, id=f"{row['backend']}-{row['when'][:48]}")
        for row in ROWS
        if row["backend"] in backends
    ]


def named(backend: str, when: str) -> dict[str, Any]:
    """One row."""
    (row,) = [row for row in ROWS if (row["backend"], row["when"]) == (backend, when)]
    return row


def reply(row: dict[str, Any]) -> Reply:
    """The answer of a row."""
    body = row["body"]
    if row.get("stream"):
        return Reply(chunks=_events(row["backend"], body), headers=_kind(row["backend"]))
    kind = {"<": "text/html", "{": "application/json"}.get(body[:1], "text/plain")
    headers = {"content-type": kind, **row.get("headers", {})}
    return Reply(row["status"], body=body.encode(), headers=headers)


def _kind(backend: str) -> dict[str, str]:
    sse = "text/event-stream; charset=utf-8"
    return {"content-type": "application/x-ndjson" if backend == "ollama" else sse}


def _events(backend: str, last: str) -> Iterator[str]:
    """The beginning of a good answer, and then the error."""
    if backend == "ollama":
        first = {"model": "tiny", "created_at": "2026-01-01T00:00:00Z", "done": False}
        yield json.dumps(first | {"message": {"role": "assistant", "content": "The "}}) + "\n"
        yield last + "\n"
        return
    choice = {"index": 0, "delta": {"role": "assistant", "content": "The "}, "finish_reason": None}
    first = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_735_689_600}
    names = ("model_id", "message", "error") if backend == "watsonx" else ("model", "", "")
    chunk = json.dumps(first | {names[0]: "gpt-4o", "choices": [choice]})
    for name, data in ((names[1], chunk), (names[2], last)):
        yield (f"event: {name}\n" if name else "") + f"data: {data}\n\n"


def fault(row: dict[str, Any], server: LoopbackServer, backend: str) -> Callable[[], Reply]:
    """What makes the answer of a row that is about every server."""
    first = next(_events(backend, ""))
    kinds: dict[str, Callable[[], Reply]] = {
        "silent": lambda: Reply(chunks=[3600.0]),
        "silent in the middle": lambda: Reply(chunks=[first, 3600.0], headers=_kind(backend)),
        "cut": lambda: Reply(body=b'{"model"', headers={"content-length": "99"}, reset=True),
        "cut in the middle": lambda: Reply(chunks=[first], headers=_kind(backend), reset=True),
        "page": lambda: Reply(body=row["body"].encode(), headers={"content-type": "text/html"}),
        "not JSON": lambda: Reply(body=row["body"].encode(), headers=_JSON),
        "other JSON": lambda: Reply(body=row["body"].encode(), headers=_JSON),
    }
    if row["fault"] == "refused":
        server.__exit__(None, None, None)
        return Reply
    return kinds[row["fault"]]


@contextmanager
def answering(server: LoopbackServer, answer: Reply | Callable[[], Reply]) -> Iterator[list[str]]:
    """A server that gives one answer wherever it generates; its calls there."""
    good = server.handle
    asked: list[str] = []

    def handle(request: Recorded) -> Reply:
        if request.path not in (server.fault_paths or ()):
            return good(request)
        asked.append(request.path)
        return answer if isinstance(answer, Reply) else answer()

    server.handle = handle  # type: ignore[method-assign]
    try:
        yield asked
    finally:
        server.handle = good  # type: ignore[method-assign]


def check(error: Any, row: dict[str, Any], *, through: str = "") -> None:
    """Hold an error to its row, and to what holds for every error.

    Args:
        error: What was raised.
        row: The row.
        through: `litellm`, where the answer came through that.
    """
    expected = row["error"]
    assert type(error).__name__ == expected, repr(error)
    assert error.backend == (through or row["backend"])
    assert error.model_id
    assert error.base_url
    assert error.next_step
    assert str(error).endswith(error.next_step)
    assert error.reason.endswith(".")
    assert ".." not in error.reason
    assert "<html" not in str(error)
    assert SECRET not in str(error)
    if not through:
        status = None if row.get("stream") or row["status"] == 200 else row["status"]
        assert error.status == row.get("known_status", status)
    if expected == "RateLimitError":
        assert error.retry_after == row.get("retry_after")
        assert ("Try again in" in error.next_step) == ("retry_after" in row)
    if expected != "ContentRefusedError" or row.get("status") != 200:
        assert error.__cause__ is not None
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), vars(again)) == (str(error), vars(error))


# ------------------------------------------------------------------ the ways into generation


def chat(session: Any) -> Any:
    return session.chat("What is 2+2?")


def achat(session: Any) -> Any:
    return asyncio.run(session.achat("What is 2+2?"))


def instruct(session: Any) -> Any:
    return session.instruct("What is 2+2?")


def ainstruct(session: Any) -> Any:
    async def run() -> Any:
        answer = await session.ainstruct("What is 2+2?")
        await answer.avalue()
        return answer

    return asyncio.run(run())


def stream(session: Any) -> Any:
    from mellea_api import stream_chat

    return "".join(stream_chat(session, "What is 2+2?"))


def astream(session: Any) -> Any:
    from mellea_api import astream_chat

    async def run() -> str:
        return "".join([piece async for piece in astream_chat(session, "What is 2+2?")])

    return asyncio.run(run())


def raw(session: Any) -> Any:
    from mellea.core import CBlock

    async def run() -> Any:
        return await session.backend.generate_from_raw([CBlock("2+2=")], ctx=session.ctx)

    return asyncio.run(run())


def sampling(session: Any) -> Any:
    from support.way import failing_first, rejecting

    return session.instruct(
        "What is 2+2?", requirements=[failing_first()], strategy=rejecting(budget=2)
    )


WAYS: dict[str, Callable[[Any], Any]] = {
    way.__name__: way for way in (chat, achat, instruct, ainstruct, stream, astream, raw, sampling)
}


def way_of(row: dict[str, Any]) -> Callable[[Any], Any]:
    """The way that a row is about."""
    return stream if row.get("stream") else raw if row.get("raw") else chat
