"""Mellea's own backends, of whatever version is installed, run on the loopback providers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from support.ollama_server import OllamaServer
from support.openai_server import COMPLETION_MODELS, OpenAIServer

pytest.importorskip("mellea")

from mellea import MelleaSession
from mellea.backends import ModelOption
from mellea.core import CBlock
from mellea.stdlib.context import SimpleContext

Server = OllamaServer | OpenAIServer
TEXT = "one two three four five six"


@pytest.fixture(params=["ollama", "openai", "ollama on llama.cpp", "openai on llama.cpp"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    engine = request.getfixturevalue("llamacpp") if "llama.cpp" in request.param else None
    if request.param.startswith("ollama"):
        with OllamaServer(engine=engine, text=TEXT) as ollama:
            yield ollama
    else:
        with OpenAIServer(engine=engine, text=TEXT) as openai:
            yield openai


def make_backend(server: Server) -> Any:
    if isinstance(server, OllamaServer):
        from mellea.backends.ollama import OllamaModelBackend

        return OllamaModelBackend("tiny", base_url=server.base_url)
    from mellea.backends.openai import OpenAIBackend

    return OpenAIBackend(COMPLETION_MODELS[0], base_url=server.base_url, api_key="sk-good")


def body(server: Server) -> Any:
    json = server.last.json
    return json.get("options") if isinstance(server, OllamaServer) else json


def test_chat_and_instruct(server: Server) -> None:
    session = MelleaSession(make_backend(server))
    options = {ModelOption.MAX_NEW_TOKENS: 5, ModelOption.SEED: 1}
    assert session.chat("What is 2+2?", model_options=options).content
    assert str(session.instruct("What is 2+2?", model_options=options))
    limit = "num_predict" if isinstance(server, OllamaServer) else "max_completion_tokens"
    assert (body(server)[limit], body(server)["seed"]) == (5, 1)
    assert server.warnings == server.violations == []


def test_streaming(server: Server) -> None:
    backend = make_backend(server)

    async def stream() -> str:
        options = {ModelOption.STREAM: True, ModelOption.MAX_NEW_TOKENS: 6}
        thunk, _ = await backend.generate_from_context(
            CBlock("Count."), SimpleContext(), model_options=options
        )
        while not thunk.is_computed():
            await thunk.astream()
        return str(thunk.value)

    text = asyncio.run(stream())
    assert server.last.json["stream"] is True
    assert text


def test_raw_completion(server: Server) -> None:
    backend = make_backend(server)

    async def complete() -> list[str]:
        # The completion endpoint of OpenAI has `max_tokens` alone.
        limit = ModelOption.MAX_NEW_TOKENS if isinstance(server, OllamaServer) else "max_tokens"
        answers = await backend.generate_from_raw(
            [CBlock("a"), CBlock("b")], SimpleContext(), model_options={limit: 4}
        )
        # A tuple of the thunks and the usage from 0.8 on.
        return [
            str(thunk.value) for thunk in (answers[0] if isinstance(answers, tuple) else answers)
        ]

    texts = asyncio.run(complete())
    assert len(texts) == 2
    assert all(texts)
    assert server.last.path in ("/api/generate", "/v1/completions")


def test_a_wrong_key_reaches_the_caller() -> None:
    import openai
    from mellea.backends.openai import OpenAIBackend

    with OpenAIServer() as server:
        session = MelleaSession(OpenAIBackend("gpt-4o", base_url=server.base_url, api_key="sk-bad"))
        with pytest.raises(Exception, match=r"API key|401") as caught:
            session.chat("What is 2+2?")
    error: BaseException | None = caught.value
    while error is not None and not isinstance(error, openai.AuthenticationError):
        error = error.__cause__ or error.__context__
    assert error is not None
