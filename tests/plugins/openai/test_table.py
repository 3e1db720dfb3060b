"""The table of options for OpenAI and for compatible servers, line by line: what the real SDK sends is what it says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

pytest.importorskip("mellea")
pytest.importorskip("mellea_api_openai", reason="mellea-api-openai is not installed")

from generator.backends import rules_of
from support.openai_schema import efforts_of
from support.openai_server import OpenAIServer
from support.table import Case, Column, Seen, a_tool, ask, patience, prove

import mellea_api

RULES = rules_of("openai")
SAMPLES: dict[str, Any] = {
    "logit_bias": {"50256": -100},
    "service_tier": "auto",
    "logprobs": 3,
    "top_logprobs": 3,
    "allowed_token_ids": [5],
    "stop_token_ids": [5],
    "samplers": ["top_k"],
    "json_schema": {"type": "object"},
    "guided_json": {"type": "object"},
    "structured_outputs": {"choice": ["a", "b"]},
    "extra_body": {"user": "somebody"},
    "extra_headers": {"x-own": "b"},
    "extra_query": {"a": "b"},
    "metadata": {"a": "b"},
    "moderation": {"a": "b"},
    "vllm_xargs": {"a": "b"},
    "mm_processor_kwargs": {"a": "b"},
    "chat_template_kwargs": {"a": "b"},
    "web_search_options": {"search_context_size": "low"},
    "prompt_cache_options": {"a": "b"},
    "prediction": {"type": "content", "content": "4"},
    "audio": {"voice": "alloy", "format": "wav"},
}
BESIDE = {name: {"tools": [a_tool()]} for name in ("tool_choice", "parallel_tool_calls")}
ALONG = {"stream": ["stream_options"]}


_DIALECTS = {"official": "openai", "compatible": "any"}


def globs(server: str = "official") -> list[str]:
    """A model for each pattern that a rule names."""
    found = (
        glob
        for rule in RULES
        for glob in rule.models
        if rule.server in (None, server, _DIALECTS[server])
    )
    models = [glob.replace("*", "").replace("?", "2") for glob in dict.fromkeys(found)]
    return sorted(models, key=lambda model: not model.startswith("gpt-5"))


def official(*models: str) -> Column:
    return Column(
        name="openai",
        rules=RULES,
        server="official",
        models=models,
        samples=SAMPLES,
        beside=BESIDE,
        along=ALONG,
    )


COLUMNS = {
    "chat": official("gpt-4o", *globs(), "some-new-model"),
    "completion": official("gpt-3.5-turbo-instruct", "some-new-model"),
    "compatible": Column(
        name="openai",
        rules=RULES,
        server="compatible",
        models=["tiny", *globs("compatible")],
        samples=SAMPLES,
        beside=BESIDE,
        along=ALONG,
    ),
}


def added(path: tuple[str, ...], value: str) -> Any:
    """What is merged into the request is there, and nothing else is changed."""

    def effect(session: Any, found: Case, seen: Seen) -> None:
        assert seen.changed == {path: value}

    return effect


@pytest.fixture(scope="module")
def opened() -> Iterator[dict[str, Any]]:
    """The servers, and the sessions that were opened there."""
    models = [*COLUMNS["chat"].models, *COLUMNS["completion"].models]
    servers = COLUMNS["compatible"].models
    with (
        OpenAIServer(models=models) as official,
        OpenAIServer(api_key=None, strict=False, models=servers) as compatible,
        OpenAIServer(strict=False, models=models) as new,
    ):
        yield {"chat": official, "completion": official, "compatible": compatible, "new": new}


# OpenAI's chat models refuse the raw endpoint, so nothing is said of what they do there.
LINES = [
    pytest.param(kind, *param.values, id=f"{kind}-{param.id}")
    for kind, column in COLUMNS.items()
    for param in column.lines()
    for line in param.values
    if kind == "compatible"
    or (line.endpoint == kind and not (kind == "completion" and line.rule and line.rule.models))
]


@pytest.mark.parametrize(("kind", "line"), LINES)
def test_a_line_of_the_table_is_what_goes_over_the_wire(
    kind: str, line: Any, opened: dict[str, Any]
) -> None:
    server = opened[kind]

    def session(target: Any) -> Any:
        nonlocal server
        if kind != "compatible" and line.option == "thinking" and not efforts_of(target.model_id):
            server = opened["new"]  # the strict one does not know how this model reasons
        key = f"{server.url}:{kind}:{target.model_id}"
        if key not in opened:
            opened[key] = mellea_api.start_session(
                "openai",
                target.model_id,
                base_url=server.base_url,
                api_key="sk-good",
                server=COLUMNS[kind].server,
                unsupported="drop",
            )
        return opened[key]

    def send(here: Any, endpoint: str, options: Mapping[str, Any], tools: bool) -> Any:
        server.clear()
        ask(here, endpoint, options, tools=tools)
        (request,) = (one for one in server.requests if one.path.endswith("/completions"))
        assert server.violations == []
        own = {"x-own": request.headers.get("x-own"), "query": request.query}
        return {**request.json, **own, "path": request.path}

    effects = {
        "stream_timeout": patience(server),
        "extra_body": added(("user",), "somebody"),
        "extra_headers": added(("x-own",), "b"),
        "extra_query": added(("query", "a"), "b"),
    }
    prove(COLUMNS[kind], line, session, send, effects)
