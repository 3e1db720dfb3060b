"""The table of backends and options, cell by cell: what a session sends is what the table says.

Ollama and OpenAI here, the latter as itself and as a compatible server; the other backends have
the same test beside their own engines, in `tests/plugins/`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

pytest.importorskip("mellea")

from support.ollama_server import OllamaServer
from support.openai_server import OpenAIServer

from mellea_api import explain_options, start_session

VALUES: dict[str, Any] = {
    "temperature": 0.5,
    "max_tokens": 7,
    "top_p": 0.9,
    "stop": ["END"],
    "top_k": 5,
    "min_p": 0.1,
    "seed": 11,
    "presence_penalty": 0.5,
    "frequency_penalty": -0.5,
    "repetition_penalty": 1.1,
    "system_prompt": "Be brief.",
    "context_window": 512,
    "thinking": True,
    "stream": True,
    "logprobs": True,
}
MODELS = {
    "ollama": ["granite4:micro"],
    "official": ["gpt-4o", "gpt-5.1", "o3"],
    "compatible": ["tiny"],
}
CELLS = [
    (server, model, name)
    for server, models in MODELS.items()
    for model in models
    for name in VALUES
]


@contextmanager
def place(server: str, model: str) -> Iterator[tuple[Any, dict[str, Any]]]:
    if server == "ollama":
        capabilities = {model: ("completion", "tools", "thinking")}
        with OllamaServer(models=capabilities) as ollama:
            yield ollama, {"backend_name": "ollama", "base_url": ollama.base_url}
        return
    strict = server == "official"
    models = None if strict else [model]
    with OpenAIServer(strict=strict, models=models) as openai:
        base_url = openai.base_url
        kind = {"server": server, "api_key": "sk-good", "base_url": base_url}
        yield openai, {"backend_name": "openai", **kind}


def sent(body: dict[str, Any], wire: dict[str, Any]) -> dict[str, Any]:
    """Return those parts of a request that the report speaks of."""
    found = {}
    for name, value in wire.items():
        if name == "messages":
            found[name] = body["messages"][: len(value)]
        elif isinstance(value, dict) and isinstance(body.get(name), dict):
            found[name] = sent(body[name], value)
        elif name in body:
            found[name] = body[name]
    return found


@pytest.mark.parametrize(("server", "model", "name"), CELLS)
def test_a_cell_of_the_table_is_what_goes_over_the_wire(server: str, model: str, name: str) -> None:
    options = {name: VALUES[name]}
    with place(server, model) as (engine, where):
        backend, base_url = where["backend_name"], where["base_url"]
        table = explain_options(backend, options, model, base_url, server=where.get("server"))
        session = start_session(**where, model_id=model, unsupported="drop")
        engine.clear()
        session.chat("What is 2+2?")
        plain = engine.last.json
        engine.clear()
        session.chat("What is 2+2?", model_options=options)
        body = engine.last.json
        assert engine.violations == []
        wire = dict(table.wire)
        assert sent(body, wire) == wire
        decision = table.decision(name)
        assert decision is not None
        if decision.outcome == "dropped":
            assert decision.reason
            assert body == plain, "an option that is not sent changes nothing"


RAW = {"ollama": "granite4:micro", "compatible": "tiny"}


@pytest.mark.parametrize("name", sorted(set(VALUES) - {"stream", "logprobs"}))
@pytest.mark.parametrize("server", RAW)
def test_a_cell_of_the_raw_endpoint_is_what_goes_over_the_wire(server: str, name: str) -> None:
    from mellea.core import CBlock

    model = RAW[server]
    options = {name: VALUES[name]}
    with place(server, model) as (engine, where):
        backend, base_url = where["backend_name"], where["base_url"]
        table = explain_options(
            backend, options, model, base_url, server=where.get("server"), endpoint="completion"
        )
        session = start_session(**where, model_id=model, unsupported="drop")
        engine.clear()
        raw = session.backend.generate_from_raw
        asyncio.run(raw([CBlock("2+2=")], ctx=session.ctx, model_options=options))
        wire = dict(table.wire)
        assert sent(engine.last.json, wire) == wire
        assert engine.violations == []
