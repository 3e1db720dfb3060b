"""The table of options for LiteLLM's routes, line by line: what real LiteLLM sends is what the table says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pytest

pytest.importorskip("mellea_api_litellm")
pytest.importorskip("litellm")

from support.cloud_servers import AnthropicServer, GeminiServer
from support.http import LoopbackServer
from support.ollama_server import OllamaServer
from support.openai_server import OpenAIServer
from support.table import Case, Column, Seen, a_tool, ask, patience, prove, written_once
from support.watsonx_server import API_KEY

import mellea_api
from mellea_api_litellm.options import rules_for
from mellea_api_litellm.routes import find

pytestmark = pytest.mark.usefixtures("sdk")

ENDS = ("/completions", "/api/chat", "/messages", "/text/chat", "/text/chat_stream", "Content")
SAMPLES = {"logit_bias": {"50256": -100}, "service_tier": "auto"}
BESIDE = {
    "tool_choice": {"tools": [a_tool()]},
    "parallel_tool_calls": {"tools": [a_tool()]},
}
COMPATIBLE = "openai/tiny"


def column(route: str) -> Column:
    found = find(route)
    assert found is not None
    compatible = route == COMPATIBLE
    return Column(
        name="litellm",
        rules=rules_for(found, compatible=compatible),
        models=[route],
        server="compatible" if compatible else "official" if route == "gpt-4o" else None,
        samples=SAMPLES,
        beside=BESIDE,
        along={
            "stream": ["stream_options", "path"],
            "tools": ["tool_choice_option"],
            "thinking": ["max_tokens"],  # which Anthropic asks for: LiteLLM's own, if none is given
        },
    )


# Models whose parameters the servers here know.
ROUTES = (
    *("ollama_chat/granite4:micro", "gpt-4o", "anthropic/claude-sonnet-4-5"),
    *("gemini/gemini-2.5-flash", "watsonx/ibm/granite-3-3-8b-instruct"),
)
COLUMNS = {route: column(route) for route in (*ROUTES, COMPATIBLE)}


@pytest.fixture(scope="module")
def opened() -> Iterator[dict[str, Any]]:
    """The servers, and the sessions that were opened there."""
    with ExitStack() as stack:
        capabilities = {"granite4:micro": ("completion", "tools", "thinking")}
        servers: dict[str, LoopbackServer] = {
            "ollama_chat": OllamaServer(models=capabilities),
            "gpt-4o": OpenAIServer(),
            "openai": OpenAIServer(api_key=None, strict=False),
            "anthropic": AnthropicServer(),
            "gemini": GeminiServer(),
        }
        for server in servers.values():
            stack.enter_context(server)
        yield {"servers": servers}


def elsewhere(session: Any, found: Case, seen: Seen) -> None:
    """A streamed answer is asked for at another address."""
    assert seen.changed.keys() == {("path",)}
    assert "stream" in seen.body["path"]


def in_its_terms(session: Any, found: Case, seen: Seen) -> None:
    """Something is said that was not said before, and nothing else is changed."""
    assert seen.changed
    assert {*map(repr, seen.plain)} <= {*map(repr, seen.body)}


EFFECTS = {
    "system_prompt": written_once("Be brief."),
    "stream": elsewhere,  # of Gemini
    "tools": written_once("get_weather"),
    "tool_choice": in_its_terms,
    "parallel_tool_calls": in_its_terms,
}
LINES = [
    pytest.param(route, *line.values, id=f"{route}-{line.id}")
    for route, column in COLUMNS.items()
    for line in column.lines()
]


@pytest.mark.parametrize(("route", "line"), LINES)
def test_a_line_of_the_table_is_what_goes_over_the_wire(
    route: str, line: Any, opened: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    provider = route.partition("/")[0]
    server: Any
    if provider == "watsonx":
        server = request.getfixturevalue("watsonx")
        where = {"base_url": "https://us-south.ml.cloud.ibm.com", "api_key": API_KEY}
    else:
        server = opened["servers"][provider]
        where = {"base_url": server.base_url, "api_key": "sk-good"}
    here = COLUMNS[route]

    def session(target: Any) -> Any:
        if route not in opened:
            stated = {"server": here.server} if here.server else {}
            opened[route] = mellea_api.start_session(
                "litellm", route, unsupported="drop", **where, **stated
            )
        return opened[route]

    def send(session: Any, endpoint: str, options: Mapping[str, Any], tools: bool) -> Any:
        server.clear()
        ask(session, endpoint, options, tools=tools)
        (found,) = (one for one in server.requests if one.path.endswith(ENDS))
        return {**found.json, "path": found.path}

    prove(here, line, session, send, {**EFFECTS, "stream_timeout": patience(server)})
