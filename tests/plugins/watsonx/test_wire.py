"""What a session's options become on the wire, by the real SDK: the report says it, and watsonx.ai takes it."""

from __future__ import annotations

from typing import Any

import pytest
from support.table import a_tool
from support.watsonx_server import (
    CHAT_PATH,
    GENERATION_PATH,
    MODELS,
    PROJECT,
    STREAM_PATH,
    WatsonxServer,
)
from support.watsonx_session import DEPRECATED, said, start, write

pytest.importorskip("mellea_api_watsonx", reason="mellea-api-watsonx is not installed")
pytest.importorskip("ibm_watsonx_ai", reason="the watsonx.ai SDK is not installed")
pytest.importorskip("trustme", reason="trustme, which makes certificates, is not installed")

import mellea_api
from mellea_api import stream_chat
from mellea_api._contract.errors import OptionError

pytestmark = DEPRECATED

# What a chat has without any option.
PLAIN = {"model_id", "messages", "project_id", "response_format", "tool_choice_option"}
OPTIONS: list[dict[str, Any]] = [
    {"temperature": 0},
    {"temperature": 0.7, "top_p": 0.9},
    {"max_tokens": 2},
    {"max_tokens": 0},
    {"stop": ["is"]},
    {"seed": 0},
    {"seed": 41},
    {"thinking": True},
    {"thinking": False},
    {"presence_penalty": 0.5, "frequency_penalty": -0.5},
    {"repetition_penalty": 1.5},
    {"logprobs": True},
    {"top_logprobs": 3},
    {"logit_bias": {"1003": -100}},
    {"time_limit": 5000},
    {"length_penalty": 1.0},
    {"guided_choice": ["red", "blue"]},
    {"guided_regex": r"\w+"},
    {"guided_grammar": 'root ::= "a"'},
    {"guided_json": {"type": "object"}},
    {"chat_template_kwargs": {"thinking": True, "other": 1}},
    {"thinking": True, "chat_template_kwargs": {"other": 1}},
    {"include_reasoning": False},
    {"crypto": {"key_ref": "crn:v1"}},
    {"tool_choice": "none"},
    {"stop": [], "n": 1},
    {"@@@max_new_tokens@@@": 3, "@@@seed@@@": 5, "@@@stop_sequences@@@": ["x"]},
    {"max_completion_tokens": 3, "stop_sequences": "x", "random_seed": 5},
]
RAW_OPTIONS: list[dict[str, Any]] = [
    {"temperature": 0},
    {"temperature": 0.7, "top_p": 0.9, "top_k": 5},
    {"max_tokens": 2},
    {"stop": ["is"]},
    {"stop": ["is"], "include_stop_sequence": True},
    {"seed": 41},
    {"repetition_penalty": 1.5},
    {"time_limit": 5000},
    {"min_new_tokens": 1},
    {"length_penalty": {"decay_factor": 2.5, "start_index": 5}},
    {"truncate_input_tokens": 100},
    {"return_options": {"input_text": True}},
    {"prompt_variables": {"name": "value"}},
    {"decoding_method": "sample"},
    {"thinking": False},
    {"@@@max_new_tokens@@@": 3, "@@@seed@@@": 5, "@@@stop_sequences@@@": ["x"]},
]


def sent(body: dict[str, Any], wire: dict[str, Any]) -> dict[str, Any]:
    """What a chat's body has beside what it always has."""
    return {name: value for name, value in body.items() if name not in PLAIN or name in wire}


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_chat_sends_what_the_report_says(watsonx: WatsonxServer, options: dict[str, Any]) -> None:
    session = start()
    answer = session.chat("What is 2 + 2?", model_options=options)
    report = mellea_api.options_report(session)
    assert report is not None
    assert sent(watsonx.last.json, dict(report.wire)) == report.wire
    assert watsonx.last.json["project_id"] == PROJECT
    assert said(answer) or options.get("stop") == ["is"]


def test_a_streamed_chat_sends_the_same_to_the_streaming_endpoint(watsonx: WatsonxServer) -> None:
    watsonx.chunk_delay = 0.02
    session = start(model_options={"max_tokens": 3, "seed": 5, "thinking": True})
    pieces = list(stream_chat(session, "What is 2 + 2?", model_options={"temperature": 0}))
    assert "".join(pieces) == "The answer is"
    assert len(pieces) > 1
    assert watsonx.last.path == STREAM_PATH
    report = mellea_api.options_report(session)
    assert report is not None
    assert sent(watsonx.last.json, dict(report.wire)) == report.wire
    assert report.wire == {
        "temperature": 0,
        "max_completion_tokens": 3,
        "seed": 5,
        "chat_template_kwargs": {"thinking": True},
    }


@pytest.mark.parametrize("options", RAW_OPTIONS, ids=str)
def test_a_raw_prompt_sends_what_the_report_says(
    watsonx: WatsonxServer, options: dict[str, Any]
) -> None:
    session = start()
    write(session, "2 + 2 =", **options)
    report = mellea_api.options_report(session)
    assert report is not None
    body = watsonx.last.json
    assert watsonx.last.path == GENERATION_PATH
    assert body.get("parameters", {}) == report.wire.get("parameters", {})
    assert set(body) <= {"model_id", "input", "parameters", "project_id"}


def test_limits_and_stop_sequences_have_their_effect_at_both_endpoints(
    watsonx: WatsonxServer,
) -> None:
    session = start()
    assert said(session.chat("?", model_options={"max_tokens": 2})) == "The answer"
    assert said(session.chat("?", model_options={"stop": [" is"]})) == "The answer"
    assert write(session, "?", max_tokens=2) == ["The answer"]
    assert write(session, "?", stop=[" is"]) == ["The answer"]
    assert write(session, "?", stop=[" is"], include_stop_sequence=True) == ["The answer is"]


def test_several_raw_prompts_are_answered_in_their_order(watsonx: WatsonxServer) -> None:
    session = start()
    watsonx.clear()
    assert write(session, "one", "two", "three", max_tokens=1) == ["The"] * 3
    assert sorted(request.json["input"] for request in watsonx.requests) == ["one", "three", "two"]


@pytest.mark.parametrize("model", MODELS)
def test_the_model_asked_for_is_the_model_used(watsonx: WatsonxServer, model: str) -> None:
    session = start(model)
    session.chat("?")
    write(session, "?")
    list(stream_chat(session, "?"))
    assert [request.path for request in watsonx.written()] == [
        CHAT_PATH,
        GENERATION_PATH,
        STREAM_PATH,
    ]
    assert {request.json["model_id"] for request in watsonx.written()} == {model}


def test_a_model_identifier_of_mellea_is_its_name_at_watsonx(watsonx: WatsonxServer) -> None:
    from mellea.backends import model_ids

    session = start(model_ids.IBM_GRANITE_3_3_8B)
    session.chat("?")
    assert watsonx.last.json["model_id"] == "ibm/granite-3-3-8b-instruct"


def test_the_default_model_is_granite_3_3(watsonx: WatsonxServer) -> None:
    start().chat("?")
    assert watsonx.last.json["model_id"] == "ibm/granite-3-3-8b-instruct"


def test_thoughts_are_told_apart_from_the_answer(watsonx: WatsonxServer) -> None:
    answer = start().instruct("What is 2 + 2?", model_options={"thinking": True})
    assert answer.value == "The answer is 4."
    thoughts = getattr(answer, "thinking", None) or getattr(answer, "_thinking", None)
    assert thoughts == "Two and two."


def test_a_calls_options_win_over_the_sessions_under_any_spelling(watsonx: WatsonxServer) -> None:
    session = start(model_options={"max_tokens": 50, "seed": 1})
    session.chat("?", model_options={"max_new_tokens": 2, "@@@seed@@@": None})
    assert watsonx.last.json["max_completion_tokens"] == 2
    assert "seed" not in watsonx.last.json
    assert "max_tokens" not in watsonx.last.json


def test_names_passed_on_unchecked_arrive_where_the_endpoint_looks(watsonx: WatsonxServer) -> None:
    watsonx.more = frozenset({"brand_new", "max_tokens"})
    session = start()
    # Mellea would rename the second one, and drop the first.
    session.chat("?", model_options={"extra": {"brand_new": {"a": 1}, "max_tokens": 9}})
    assert watsonx.last.json["brand_new"] == {"a": 1}
    assert watsonx.last.json["max_tokens"] == 9
    write(session, "?", extra={"brand_new": [1]})
    assert watsonx.last.json["parameters"] == {"brand_new": [1]}


def test_an_unsupported_option_is_not_sent_and_reported(watsonx: WatsonxServer) -> None:
    session = start(unsupported="drop")
    session.chat("?", model_options={"top_k": 5, "min_p": 0.1})
    assert set(watsonx.last.json) == PLAIN
    report = mellea_api.options_report(session)
    assert report is not None
    assert [decision.outcome for decision in report.decisions] == ["dropped", "dropped"]
    with pytest.raises(OptionError, match="no such parameter"):
        session.chat("?", model_options={"top_k": 5, "unsupported": "error"})


def test_a_format_reaches_the_endpoint_as_a_schema(watsonx: WatsonxServer) -> None:
    import pydantic

    class Sum(pydantic.BaseModel):
        result: int

    answer = start().instruct("2 + 2?", format=Sum)
    assert watsonx.last.json["response_format"]["type"] == "json_schema"
    assert Sum.model_validate_json(answer.value).result == 4


@pytest.mark.parametrize(
    ("choice", "fields"),
    [
        (None, {"tool_choice_option": "auto"}),
        ("required", {"tool_choice_option": "required"}),
        (
            "get_weather",
            {"tool_choice": {"type": "function", "function": {"name": "get_weather"}}},
        ),
    ],
)
def test_tools_are_offered_and_may_be_demanded(
    watsonx: WatsonxServer, choice: str | None, fields: dict[str, Any]
) -> None:
    watsonx.tool_calls = [("get_weather", {"city": "Rome"})]
    options = {"tools": [a_tool()]} | ({"tool_choice": choice} if choice else {})
    answer = start().instruct("The weather in Rome?", model_options=options, tool_calls=True)
    body = watsonx.last.json
    assert [tool["function"]["name"] for tool in body["tools"]] == ["get_weather"]
    assert {name: body[name] for name in body if name.startswith("tool_choice")} == fields
    calls = answer.tool_calls
    called = calls["get_weather"] if isinstance(calls, dict) else calls[0]
    assert called.call_func() == "sunny in Rome"
