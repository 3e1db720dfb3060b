"""The table of options for watsonx.ai, line by line: what the real SDK sends is what the table says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

pytest.importorskip("mellea_api_watsonx", reason="mellea-api-watsonx is not installed")
pytest.importorskip("ibm_watsonx_ai", reason="the watsonx.ai SDK is not installed")
pytest.importorskip("trustme", reason="trustme, which makes certificates, is not installed")

from generator.backends import rules_of
from support.table import Case, Column, Seen, a_tool, ask, patience, prove
from support.tunnel import Authority
from support.watsonx_server import MODELS, STREAM_PATH, WatsonxServer, spec
from support.watsonx_session import DEPRECATED, start

pytestmark = DEPRECATED

COLUMN = Column(
    name="watsonx",
    rules=rules_of("watsonx"),
    models=[*MODELS, "some/new-model"],
    samples={
        "logit_bias": {"1003": -100},
        "guided_json": {"type": "object"},
        "chat_template_kwargs": {"other": 1},
        "length_penalty": {"decay_factor": 2.5, "start_index": 5},
        "crypto": {"key_ref": "crn:v1"},
        "return_options": {"input_text": True},
        "prompt_variables": {"name": "value"},
    },
    beside={"tool_choice": {"tools": [a_tool()]}},
    along={"tools": ["tool_choice_option"]},
)


@pytest.fixture(scope="module")
def opened(authority: Authority) -> Iterator[tuple[WatsonxServer, dict[str, Any]]]:
    """A loopback watsonx.ai with all models of the column, and the sessions that were opened."""
    with WatsonxServer(authority) as server:
        server.models = {name: spec(name) for name in COLUMN.models}
        yield server, {}


def streamed(session: Any, found: Case, seen: Seen) -> None:
    assert seen.changed == {("path",): STREAM_PATH}


@pytest.mark.parametrize("line", COLUMN.lines())
def test_a_line_of_the_table_is_what_goes_over_the_wire(
    line: Any,
    opened: tuple[WatsonxServer, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, known = opened
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)

    def session(target: Any) -> Any:
        if target.model_id not in known:
            known[target.model_id] = start(target.model_id, unsupported="drop")
        return known[target.model_id]

    def send(here: Any, endpoint: str, options: Mapping[str, Any], tools: bool) -> Any:
        server.clear()
        ask(here, endpoint, options, tools=tools)
        (request,) = server.written()
        return {**request.json, "path": request.path}

    effects = {"stream": streamed, "stream_timeout": patience(server)}
    prove(COLUMN, line, session, send, effects)
