"""The table of options for Ollama, line by line: what the real SDK sends is what the table says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

pytest.importorskip("mellea")
pytest.importorskip("mellea_api_ollama", reason="mellea-api-ollama is not installed")

from generator.backends import rules_of
from support.ollama_server import OllamaServer
from support.table import Column, ask, patience, prove

import mellea_api

COLUMN = Column(
    name="ollama",
    rules=rules_of("ollama"),
    models=["granite4:micro", "gpt-oss:20b", "tiny"],
    agreeing=["stream"],  # False is sent anyway
    samples={"keep_alive": "5m", "images": ["eA=="]},
)


@pytest.fixture(scope="module")
def opened() -> Iterator[tuple[OllamaServer, dict[str, Any]]]:
    """A loopback Ollama with all models of the column, and the sessions that were opened."""
    capabilities = dict.fromkeys(COLUMN.models, ("completion", "tools", "thinking"))
    with OllamaServer(models=capabilities) as server:
        yield server, {}


@pytest.mark.parametrize("line", COLUMN.lines())
def test_a_line_of_the_table_is_what_goes_over_the_wire(
    line: Any, opened: tuple[OllamaServer, dict[str, Any]]
) -> None:
    server, known = opened

    def session(target: Any) -> Any:
        if target.model_id not in known:
            known[target.model_id] = mellea_api.start_session(
                "ollama", target.model_id, base_url=server.base_url, unsupported="drop"
            )
        return known[target.model_id]

    def send(here: Any, endpoint: str, options: Mapping[str, Any], tools: bool) -> Any:
        server.clear()
        ask(here, endpoint, options, tools=tools)
        (request,) = (one for one in server.requests if one.path.endswith(("/chat", "/generate")))
        assert server.warnings == server.violations == []
        return {**request.json, "path": request.path}

    prove(COLUMN, line, session, send, {"stream_timeout": patience(server)})
