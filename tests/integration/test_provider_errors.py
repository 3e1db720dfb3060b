"""Each answer of a provider in the table becomes its error, through the real SDK, on every way."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from support import provider_errors as table
from support.ollama_server import OllamaServer
from support.openai_server import COMPLETION_MODELS, OpenAIServer

pytest.importorskip("mellea_api_ollama")
pytest.importorskip("mellea_api_openai")

import mellea_api
from mellea_api._sessions.adoption import adoption_of
from mellea_api.runtime import MelleaRuntime

BACKENDS = ("ollama", "openai")
KINDS = {
    "ollama": (
        "the model is not there",
        "a model in the cloud, and nobody signed in",
        "a model in the cloud that the plan does not have",
        "a proxy in front of it limits the rate",
        "a prompt that is too long for a model in the cloud",
        "the model embeds, and cannot chat",
        "the machine does not hold the model",
    ),
    "openai": (
        "the key is wrong",
        "the key's project may not use the model",
        "the model does not exist",
        "the prompt is too long",
        "Azure: the prompt is filtered",
        "too many calls a minute",
        "a parameter that the model does not take",
        "the server failed",
        "a proxy gives up on the server",
    ),
}
"""One row of each kind of error."""
KIND_ROWS = [
    pytest.param(table.named(backend, when), id=f"{backend}-{when[:40]}")
    for backend in BACKENDS
    for when in KINDS[backend]
]

ANYWHERE = [
    pytest.param(row.values[0], way, id=f"{row.id}-{way}")
    for row in table.rows("any")
    for way in table.WAYS
    # Only a stream has a middle.
    if way in ("stream", "astream") or not row.values[0]["fault"].endswith("in the middle")
]


@contextmanager
def provider(backend: str, *, raw: bool = False) -> Iterator[tuple[Any, str, dict[str, Any]]]:
    """A good server, a model that it has, and what a session on it is given."""
    if backend == "ollama":
        with OllamaServer() as ollama:
            yield ollama, "tiny", {"base_url": ollama.base_url}
        return
    with OpenAIServer(api_key=table.SECRET) as server:
        model = COMPLETION_MODELS[0] if raw else "gpt-4o"
        arguments = {"base_url": server.base_url, "api_key": table.SECRET, "server": "official"}
        yield server, model, arguments


Opened = Callable[[str, bool], tuple[Any, Any]]


@pytest.fixture(scope="module")
def opened() -> Iterator[Opened]:
    """Opens a session for chats, or for raw prompts, on a good server: once for all tests here."""
    with ExitStack() as stack:

        @functools.cache
        def opened(backend: str, raw: bool = False) -> tuple[Any, Any]:
            server, model, arguments = stack.enter_context(provider(backend, raw=raw))
            return server, mellea_api.start_session(backend, model, **arguments)

        yield opened


@pytest.mark.parametrize("row", table.rows(*BACKENDS))
def test_an_answer_is_its_error(row: dict[str, Any], opened: Opened) -> None:
    """And is asked for once: no SDK tries again behind the caller's back."""
    server, session = opened(row["backend"], row.get("raw", False))
    with table.answering(server, table.reply(row)) as asked:
        if row["error"] == "none":
            assert table.way_of(row)(session).content == "4"
            return
        with pytest.raises(mellea_api.MelleaAPIError) as caught:
            table.way_of(row)(session)
    table.check(caught.value, row)
    assert len(asked) == 1
    assert table.way_of(row)(session)  # the session is none the worse


@pytest.mark.parametrize("way", table.WAYS)
@pytest.mark.parametrize("row", KIND_ROWS)
def test_every_kind_is_the_same_on_every_way(row: dict[str, Any], way: str, opened: Opened) -> None:
    server, session = opened(row["backend"], way == "raw")
    with (
        table.answering(server, table.reply(row)) as asked,
        pytest.raises(mellea_api.MelleaAPIError) as caught,
    ):
        table.WAYS[way](session)
    table.check(caught.value, row)
    assert len(asked) == 1


@pytest.mark.parametrize("row", KIND_ROWS)
def test_a_runtime_raises_it_too(row: dict[str, Any]) -> None:
    with (
        provider(row["backend"]) as (server, model, arguments),
        MelleaRuntime(row["backend"], model, **arguments) as runtime,
        table.answering(server, table.reply(row)),
    ):
        for call in (lambda: runtime.chat("?"), lambda: list(runtime.stream("?"))):
            with pytest.raises(mellea_api.MelleaAPIError) as caught:
                call()
            table.check(caught.value, row)


@pytest.mark.parametrize(("row", "way"), ANYWHERE)
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_may_happen_to_any_server_is_the_same_on_every_way(
    row: dict[str, Any], backend: str, way: str
) -> None:
    with provider(backend, raw=way == "raw") as (server, model, arguments):
        session = mellea_api.start_session(backend, model, **arguments)
        adoption = adoption_of(session.backend)
        assert adoption is not None
        # Opening has the same deadline, and could miss a short one on a busy machine.
        adoption.timeout = 0.2 if row["error"] == "RequestTimeoutError" else 60.0
        with (
            table.answering(server, table.fault(row, server, backend)),
            pytest.raises(mellea_api.ProviderError) as caught,
        ):
            table.WAYS[way](session)
    error: Any = caught.value
    assert type(error).__name__ == row["error"], repr(error)
    assert (error.backend, error.model_id, error.status) == (backend, model, None)
    assert error.base_url == arguments["base_url"]
    assert str(error).endswith(error.next_step)
    assert error.next_step
    if row["error"] == "RequestTimeoutError":
        assert error.timeout == 0.2


def test_the_ways_cover_every_kind_that_a_call_can_end_in() -> None:
    kinds = {table.named(backend, when)["error"] for backend in BACKENDS for when in KINDS[backend]}
    kinds |= {row.values[0]["error"] for row in table.rows("any")}
    assert {row["error"] for row in table.ROWS} - {"none"} <= kinds


@pytest.mark.parametrize("way", ["stream", "astream"])
def test_a_filter_that_ends_a_stream_is_said_after_what_came(way: str) -> None:
    first = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o"}
    told = ({"delta": {"content": "The"}}, {"delta": {}, "finish_reason": "content_filter"})
    chunks = [
        f"data: {json.dumps({**first, 'choices': [{'index': 0, **one}]})}\n\n" for one in told
    ]
    kind = {"content-type": "text/event-stream"}
    with provider("openai") as (server, model, arguments):
        session = mellea_api.start_session("openai", model, **arguments)
        with (
            table.answering(server, lambda: table.Reply(chunks=iter(chunks), headers=kind)),
            pytest.raises(mellea_api.ContentRefusedError, match="content filter"),
        ):
            table.WAYS[way](session)


@pytest.mark.parametrize("way", ["achat", "astream"])
@pytest.mark.parametrize(
    ("backend", "when"),
    [
        ("ollama", "a proxy in front of it limits the rate"),
        ("openai", "too many calls a minute"),
    ],
)
def test_what_a_program_was_handling_does_not_matter(backend: str, when: str, way: str) -> None:
    """Python writes what is being handled over what an error came from: here, over the headers."""
    row = table.named(backend, when)
    with provider(backend) as (server, model, arguments):
        session = mellea_api.start_session(backend, model, **arguments)
        with table.answering(server, table.reply(row)):
            try:
                raise KeyError("the program's own")
            except KeyError:
                with pytest.raises(mellea_api.RateLimitError) as caught:
                    table.WAYS[way](session)
        table.check(caught.value, row)


@pytest.mark.parametrize(
    ("backend", "when", "path"),
    [
        ("ollama", "a proxy in front of it limits the rate", "/api/show"),
        ("openai", "too many calls a minute", "/v1/models/gpt-4o"),
    ],
)
def test_a_session_that_is_told_to_wait_says_so_and_asks_once(
    backend: str, when: str, path: str
) -> None:
    row = table.named(backend, when)
    with provider(backend) as (server, model, arguments):
        good = server.handle
        server.handle = lambda asked: table.reply(row) if asked.path == path else good(asked)
        with pytest.raises(mellea_api.RateLimitError) as caught:
            mellea_api.start_session(backend, model, **arguments)
        table.check(caught.value, row)
        assert len(server.calls(path)) == 1


def test_max_retries_lets_the_sdk_try_again_and_no_more() -> None:
    row = table.named("openai", "too many calls a minute") | {"headers": {"retry-after": "0.01"}}
    with provider("openai") as (server, model, arguments):
        session = mellea_api.start_session("openai", model, max_retries=2, **arguments)
        with table.answering(server, table.reply(row)) as asked:
            with pytest.raises(mellea_api.RateLimitError):
                session.chat("?")
            assert len(asked) == 3
