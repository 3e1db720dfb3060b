"""What an SDK's HTTP client does once it is made careful, and what makes a stream whole."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fake_plugins import described
from support.http import LoopbackServer, Recorded, Reply

from mellea_api import AnswerError, ProviderError
from mellea_api._provider.answers import RefusedWithSuccessError, reading_answer, whole
from mellea_api._provider.exceptions import by_kind
from mellea_api._provider.http import LARGEST_ANSWER, careful
from mellea_api.plugin import ErrorRequest, Target

TARGET = Target(descriptor=described("fake"), model_id="small")


class Server(LoopbackServer):
    """Answers with what it is told."""

    reply: Reply

    def handle(self, request: Recorded) -> Reply:
        return self.reply


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as started:
        yield started


def ask(server: Server, reply: Reply, **arguments: Any) -> httpx.Response:
    """Ask with both kinds of client, which must find the same."""
    server.reply = reply
    end = arguments.pop("end", None)

    async def later() -> httpx.Response:
        async with careful(httpx.AsyncClient(verify=False), end=end) as client:
            return await client.post(server.url, **arguments)

    try:
        with careful(httpx.Client(verify=False), end=end) as client:
            now = client.post(server.url, **arguments)
    except Exception as error:
        with pytest.raises(type(error)):
            asyncio.run(later())
        raise
    then = asyncio.run(later())
    assert (now.status_code, now.content) == (then.status_code, then.content)
    return then


def test_a_compressed_answer_is_not_asked_for_and_refused(server: Server) -> None:
    assert ask(server, Reply(text="plain")).text == "plain"
    assert server.last.headers["accept-encoding"] == "identity"
    for encoding in ("gzip", "deflate", "br", "gzip, gzip"):
        with pytest.raises(AnswerError, match=f"compressed .{encoding}."):
            ask(server, Reply(body=b"", headers={"content-encoding": encoding}))
    named = Reply(text="plain", headers={"content-encoding": "Identity"})
    assert ask(server, named).text == "plain"


def test_an_answer_is_read_up_to_a_size(server: Server) -> None:
    assert LARGEST_ANSWER == 16 * 2**20
    with pytest.raises(AnswerError, match="larger than 16 MiB"):
        ask(server, Reply(chunks=["x" * 2**20] * 18))


@pytest.mark.parametrize(
    ("answer", "words", "status"),
    [
        ({"error": "the model was put away"}, "the model was put away", None),
        ({"error": {"message": "too many", "code": 429}}, "too many", 429),
        ({"error": {"message": "no", "code": "42"}, "choices": None}, "no", None),
        ({"error": {"type": "odd"}}, '{"type": "odd"}', None),
        ({"object": "error", "message": "gone", "code": 40303}, "gone", None),
    ],
)
def test_an_error_with_a_good_status_is_an_error(
    server: Server, answer: Any, words: str, status: int | None
) -> None:
    with pytest.raises(RefusedWithSuccessError) as caught:
        ask(server, Reply(json=answer))
    assert str(caught.value) == words
    request = ErrorRequest(target=TARGET, operation="call", error=caught.value)
    error = by_kind(request)
    assert isinstance(error, ProviderError)
    assert error.status == status
    assert words in error.reason


@pytest.mark.parametrize(
    "answer",
    [
        {"error": None, "data": []},
        {"error": {"message": "x"}, "choices": [{}]},
        {"text": '"error"'},
        ["error"],
        "error",
    ],
)
def test_what_is_no_error_is_read(server: Server, answer: Any) -> None:
    assert ask(server, Reply(json=answer)).json() == answer
    assert ask(server, Reply(400, json={"error": "no"})).status_code == 400
    broken = Reply(text='{"error": ' + "[" * 10_000, headers={"content-type": "application/json"})
    assert ask(server, broken).text.startswith('{"error"')


@pytest.mark.parametrize("charset", ["idna", "punycode", "utf-7", "unicode_escape", "no-such"])
def test_an_answer_is_decoded_as_json_is_whatever_it_says(server: Server, charset: str) -> None:
    """Some of Python's decoders take time that grows with the square of the length."""
    reply = Reply(
        400, text="ü" * 300_000, headers={"content-type": f"text/plain; charset={charset}"}
    )
    began = time.perf_counter()
    assert ask(server, reply).text == "ü" * 300_000
    assert time.perf_counter() - began < 3


def test_a_redirect_is_handed_over_and_not_followed(server: Server) -> None:
    server.clear()
    moved = Reply(307, text="moved", headers={"location": f"{server.url}/elsewhere"})
    assert ask(server, moved).headers["location"].endswith("/elsewhere")
    assert {request.path for request in server.requests} == {"/"}


END = re.compile(rb"\[DONE\]")
EVENTS = {"content-type": "text/event-stream"}


@pytest.mark.parametrize(
    ("piece", "words"),
    [
        ({"error": "put away"}, "put away"),
        ({"choices": [{"error": {"message": "it broke"}}]}, "it broke"),
        ({"choices": [{"finish_reason": "error"}], "error": {"message": "it broke"}}, "it broke"),
        ({"choices": [{"finish_reason": "error"}]}, "ended with an error"),
    ],
)
@pytest.mark.parametrize("cut", [1, 20, 10_000])
def test_a_piece_of_a_stream_that_is_an_error_is_one(
    server: Server, piece: Any, words: str, cut: int
) -> None:
    """However the pieces are cut on their way."""
    body = (
        f'data: {{"choices": [{{"error": null}}]}}\n\ndata: {json.dumps(piece)}\n\ndata: [DONE]\n'
    )
    chunks = [body[start : start + cut] for start in range(0, len(body), cut)]
    for further in ({"json": {"stream": True}, "end": END}, {}):
        with pytest.raises(RefusedWithSuccessError, match=words):
            ask(server, Reply(chunks=chunks, headers=EVENTS), **further)


def test_a_stream_that_was_asked_for_comes_to_its_end(server: Server) -> None:
    asked = {"json": {"stream": True}, "end": END}
    reply = Reply(chunks=["data: 1\n\n", "data: [DONE]\n\n"], headers=EVENTS)
    assert ask(server, reply, **asked).text.endswith("[DONE]\n\n")
    with pytest.raises(ConnectionError, match="broke off"):
        ask(server, Reply(chunks=["data: 1\n\n"] * 2, headers=EVENTS), **asked)
    with pytest.raises(AnswerError, match="instead of a stream"):
        ask(server, Reply(json={"choices": []}), **asked)
    with pytest.raises(AnswerError, match="a line of it does not end"):
        ask(server, Reply(chunks=["x" * 2**20] * 8, headers=EVENTS), **asked)


@pytest.mark.parametrize(
    "body", [{"stream": False}, {"properties": {"stream": True}}, ["stream", True]]
)
def test_what_was_not_asked_for_as_a_stream_is_none(server: Server, body: Any) -> None:
    assert ask(server, Reply(json={"choices": []}), json=body, end=END).is_success


def test_an_upload_may_be_a_stream_itself(server: Server) -> None:
    server.reply = Reply(text="thanks")
    with careful(httpx.Client(verify=False), end=END) as client:
        assert client.post(server.url, content=iter([b"a", b"b"])).text == "thanks"
    assert server.last.body == b"ab"


def test_a_refusal_needs_no_end(server: Server) -> None:
    reply = Reply(429, json={"error": "slow down"})
    assert ask(server, reply, json={"stream": True}, end=END).status_code == 429


async def pieces(*values: Any, closed: list[bool] | None = None) -> AsyncGenerator[Any]:
    try:
        for value in values:
            yield value
    finally:
        if closed is not None:
            closed.append(True)


async def everything(stream: AsyncIterator[Any]) -> list[Any]:
    return [piece async for piece in stream]


@given(st.lists(st.integers(0, 3)))
def test_a_stream_is_whole_if_it_is_empty_or_has_a_last_piece(values: list[int]) -> None:
    stream = whole(pieces(*values), lambda piece: piece == 3)
    if values and 3 not in values:
        with pytest.raises(ConnectionError, match="broke off"):
            asyncio.run(everything(stream))
    else:
        assert asyncio.run(everything(stream)) == values


def test_a_stream_is_closed_by_who_stops_to_read_it() -> None:
    closed: list[bool] = []

    async def stop_early() -> None:
        stream = whole(pieces(1, 2, closed=closed), bool)
        await anext(stream)
        await stream.aclose()
        assert closed == [True]  # and not only where the loop ends

    asyncio.run(stop_early())


def test_a_piece_over_which_an_sdk_stumbles_is_no_answer() -> None:
    with pytest.raises(AnswerError, match="AttributeError"):
        asyncio.run(everything(whole(pieces(1), lambda piece: piece.done)))
    with pytest.raises(AnswerError, match="TypeError"), reading_answer():
        len(1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="as it is"), reading_answer():
        raise ValueError("as it is")
