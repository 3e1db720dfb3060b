"""The loopback OpenAI holds the real SDK to what the real one takes, and refuses the rest in its words."""

from __future__ import annotations

import inspect
from typing import Any

import httpx
import openai
import pytest
from openai.resources.chat.completions import Completions as ChatCompletions
from openai.resources.completions import Completions
from support.llamacpp import LlamaCppServer
from support.openai_schema import CHAT_PARAMETERS, COMPLETION_PARAMETERS, efforts_of
from support.openai_server import OpenAIServer

MESSAGES: Any = [{"role": "user", "content": "What is 2+2?"}]
TOOL: Any = {
    "type": "function",
    "function": {"name": "add", "parameters": {"type": "object", "properties": {}}},
}


def connect(server: OpenAIServer, key: str = "sk-good") -> openai.OpenAI:
    return openai.OpenAI(
        base_url=server.base_url, api_key=key, max_retries=0, organization="org-1", project="proj-1"
    )


def post(server: OpenAIServer, path: str = "/chat/completions", **body: Any) -> tuple[int, Any]:
    request = (
        {"model": "gpt-4o", "messages": MESSAGES}
        if path.startswith("/chat")
        else {"model": "gpt-3.5-turbo-instruct"}
    )
    headers = {"authorization": "Bearer sk-good"}
    response = httpx.post(server.base_url + path, json=request | body, headers=headers)
    return response.status_code, response.json().get("error")


def test_models_are_listed_and_found(openai_server: OpenAIServer) -> None:
    client = connect(openai_server)
    assert {"gpt-4o", "gpt-5.1", "o3"} <= {model.id for model in client.models.list()}
    assert client.models.retrieve("gpt-4o").id == "gpt-4o"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("nope")
    assert caught.value.code == "model_not_found"
    headers = openai_server.last.headers
    assert (headers["openai-organization"], headers["openai-project"]) == ("org-1", "proj-1")


def test_chat_is_answered_whole_and_in_pieces(openai_server: OpenAIServer) -> None:
    client = connect(openai_server)
    openai_server.script.text = "one two three"
    whole = client.chat.completions.create(
        model="gpt-4o", messages=MESSAGES, max_completion_tokens=2, n=2
    )
    assert [(choice.message.content, choice.finish_reason) for choice in whole.choices] == [
        ("one two", "length")
    ] * 2
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 4
    stopped = client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stop=" two")
    assert (stopped.choices[0].message.content, stopped.choices[0].finish_reason) == ("one", "stop")
    stream = client.chat.completions.create(
        model="gpt-4o", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert [chunk.choices[0].delta.content for chunk in chunks[:-1]] == [
        "",
        "one",
        " two",
        " three",
        None,
    ]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 3


def test_completions_answer_every_prompt(openai_server: OpenAIServer) -> None:
    client = connect(openai_server)
    openai_server.script.answers.extend(["first", "second"])
    answer = client.completions.create(model="gpt-3.5-turbo-instruct", prompt=["a", "b"])
    assert [(choice.index, choice.text) for choice in answer.choices] == [
        (0, "first"),
        (1, "second"),
    ]
    stream = client.completions.create(model="gpt-3.5-turbo-instruct", prompt="a", stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == "4"
    assert post(openai_server, "/completions", prompt="a", max_completion_tokens=3)[1][
        "message"
    ] == ("Unrecognized request argument supplied: max_completion_tokens")
    status, error = post(openai_server, "/completions", prompt="a", model="gpt-4o")
    assert (status, "This is a chat model" in error["message"]) == (404, True)


def test_tool_calls_and_schemas_can_be_had(openai_server: OpenAIServer) -> None:
    client = connect(openai_server)
    for stream in (False, True):
        openai_server.script.tool_calls.append(("add", {"a": 1}))
        answer: Any = client.chat.completions.create(
            model="gpt-4o", messages=MESSAGES, tools=[TOOL], stream=stream
        )
        parts = (
            [chunk.choices[0].delta for chunk in answer] if stream else [answer.choices[0].message]
        )
        (call,) = [call for part in parts for call in part.tool_calls or []]
        assert (call.function.name, call.function.arguments) == ("add", '{"a": 1}')
    schema: Any = {
        "name": "n",
        "schema": {"type": "object", "properties": {"n": {"type": "integer"}}},
    }
    shaped = client.chat.completions.create(
        model="gpt-4o",
        messages=MESSAGES,
        response_format={"type": "json_schema", "json_schema": schema},
    )
    assert shaped.choices[0].message.content == '{"n": 4}'


def test_logprobs_come_when_asked_for(openai_server: OpenAIServer) -> None:
    client = connect(openai_server)
    answer = client.chat.completions.create(
        model="gpt-4o", messages=MESSAGES, logprobs=True, top_logprobs=2
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert (logprobs.content[0].token, len(logprobs.content[0].top_logprobs)) == ("4", 2)


@pytest.mark.parametrize(
    ("key", "shown"),
    [("sk-bad", "sk-bad"), ("sk-proj-0123456789abcdef", "sk-proj-************cdef")],
)
def test_a_wrong_key_is_401_and_shown_masked(
    openai_server: OpenAIServer, key: str, shown: str
) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        connect(openai_server, key).models.list()
    assert caught.value.body == {
        "message": f"Incorrect API key provided: {shown}. "
        "You can find your API key at https://platform.openai.com/account/api-keys.",
        "type": "invalid_request_error",
        "param": None,
        "code": "invalid_api_key",
    }


def test_a_server_can_echo_the_key_and_a_missing_one_is_401() -> None:
    with OpenAIServer(echo_key=True) as server:
        with pytest.raises(openai.AuthenticationError, match="sk-proj-0123456789abcdef"):
            connect(server, "sk-proj-0123456789abcdef").models.list()
        answer = httpx.get(f"{server.base_url}/models")
        assert (answer.status_code, "You didn't provide an API key" in answer.text) == (401, True)


@pytest.mark.parametrize(
    ("body", "param", "code", "words"),
    [
        ({"top_k": 3}, None, None, "Unrecognized request argument supplied: top_k"),
        (
            {"top_k": 3, "min_p": 1},
            None,
            None,
            "Unrecognized request arguments supplied: top_k, min_p",
        ),
        (
            {"temperature": "x"},
            "temperature",
            "invalid_type",
            "expected a decimal, but got a string instead.",
        ),
        (
            {"temperature": True},
            "temperature",
            "invalid_type",
            "expected a decimal, but got a boolean instead.",
        ),
        (
            {"temperature": 2.5},
            "temperature",
            "decimal_above_max_value",
            "Expected a value <= 2, but got 2.5 instead.",
        ),
        (
            {"max_tokens": 0},
            "max_tokens",
            "integer_below_min_value",
            "Expected a value >= 1, but got 0 instead.",
        ),
        (
            {"max_tokens": 1.5},
            "max_tokens",
            "invalid_type",
            "expected an integer, but got a decimal number instead.",
        ),
        ({"seed": 2**63}, "seed", "integer_above_max_value", "integer above maximum value."),
        (
            {"stop": list("abcde")},
            "stop",
            "array_above_max_length",
            "maximum length 4, but got an array with length 5",
        ),
        (
            {"stop": [1]},
            "stop[0]",
            "invalid_type",
            "expected a string, but got an integer instead.",
        ),
        ({"tools": []}, "tools", "empty_array", "Expected an array with minimum length 1"),
        ({"tool_choice": "auto"}, "tool_choice", None, "only allowed when 'tools' are specified."),
        (
            {"stream_options": {"include_usage": True}},
            "stream_options",
            None,
            "only allowed when 'stream' is enabled.",
        ),
        ({"top_logprobs": 2}, "top_logprobs", None, "only allowed when 'logprobs' is enabled."),
        (
            {"reasoning_effort": "low"},
            None,
            None,
            "Unrecognized request argument supplied: reasoning_effort",
        ),
        (
            {"model": "o3", "reasoning_effort": "lots"},
            "reasoning_effort",
            "invalid_value",
            "Invalid value: 'lots'.",
        ),
        (
            {"model": "gpt-5", "reasoning_effort": "none"},
            "reasoning_effort",
            "unsupported_value",
            "does not support 'none'",
        ),
        (
            {"model": "o4-mini", "max_tokens": 5},
            "max_tokens",
            "unsupported_parameter",
            "Use 'max_completion_tokens' instead.",
        ),
        (
            {"model": "o1", "temperature": 0},
            "temperature",
            "unsupported_value",
            "does not support 0 with this model.",
        ),
        (
            {"model": "gpt-5-mini", "top_p": 1},
            "top_p",
            "unsupported_parameter",
            "'top_p' is not supported with this model.",
        ),
        (
            {"model": "o3", "stop": "x"},
            "stop",
            "unsupported_parameter",
            "'stop' is not supported with this model.",
        ),
        (
            {"model": "gpt-5.1", "temperature": 0, "reasoning_effort": "low"},
            "temperature",
            "unsupported_value",
            "does not support 0 with this model.",
        ),
        ({"messages": []}, "messages", "empty_array", "Invalid 'messages': empty array."),
        (
            {"messages": None},
            "messages",
            "missing_required_parameter",
            "Missing required parameter: 'messages'.",
        ),
    ],
)
def test_what_openai_refuses_is_refused_in_its_words(
    openai_server: OpenAIServer,
    body: dict[str, Any],
    param: str | None,
    code: str | None,
    words: str,
) -> None:
    status, error = post(openai_server, **body)
    assert (status, error["type"], error["param"], error["code"]) == (
        400,
        "invalid_request_error",
        param,
        code,
    )
    assert words in error["message"]


@pytest.mark.parametrize(
    "body",
    [
        {"model": "gpt-5.1", "temperature": 0, "top_p": 0.5},
        {"model": "gpt-5.2", "temperature": 0, "reasoning_effort": "none"},
        {"model": "gpt-5", "temperature": 1, "reasoning_effort": "minimal"},
        {"model": "o3", "max_completion_tokens": 5},
        {"temperature": 2, "top_p": 0, "stop": list("abcd"), "seed": -1},
        {"temperature": None, "max_tokens": None, "tools": None},
    ],
)
def test_what_openai_takes_is_taken(openai_server: OpenAIServer, body: dict[str, Any]) -> None:
    assert post(openai_server, **body)[0] == 200
    assert openai_server.violations == []


def test_an_unknown_model_is_404(openai_server: OpenAIServer) -> None:
    status, error = post(openai_server, model="gpt-9")
    assert (status, error["code"]) == (404, "model_not_found")
    assert error["message"] == "The model `gpt-9` does not exist or you do not have access to it."


def test_what_no_client_may_send_is_collected(openai_server: OpenAIServer) -> None:
    body: Any = {"parallel_tool_calls": None, "temperature": None, "@@@seed@@@": 1}
    post(openai_server, **body)
    assert openai_server.violations == ["key @@@seed@@@", "null parallel_tool_calls"]


def test_a_compatible_server_takes_extensions_and_ignores_the_rest(
    compatible_server: OpenAIServer,
) -> None:
    answer = connect(compatible_server, "anything").chat.completions.create(
        model="tiny",
        messages=MESSAGES,
        stop=list("abcdef"),
        extra_body={
            "top_k": 1,
            "min_p": 0.1,
            "repetition_penalty": 1.1,
            "chat_template_kwargs": {},
            "odd": 1,
        },
    )
    assert answer.choices[0].message.content == "4"
    assert compatible_server.warnings == ["ignored parameter: 'odd'"]
    assert httpx.get(f"{compatible_server.url}/version").status_code == 404


def test_a_rate_limit_is_given_as_often_as_asked(openai_server: OpenAIServer) -> None:
    openai_server.fail_next(429, headers={"retry-after": "7"}, times=2)
    client = connect(openai_server)
    client.models.list()
    for _ in range(2):
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
        assert (caught.value.response.headers["retry-after"], caught.value.code) == (
            "7",
            "rate_limit_exceeded",
        )
    assert (
        client.chat.completions.create(model="gpt-4o", messages=MESSAGES).choices[0].message.content
        == "4"
    )


def test_the_parameters_are_those_of_the_sdk() -> None:
    not_sent = {"self", "extra_headers", "extra_query", "extra_body", "timeout"}
    # A newer or older SDK may know one more or less; these are the ones that our rules are about.
    assert (
        set(CHAT_PARAMETERS) >= set(inspect.signature(ChatCompletions.create).parameters) - not_sent
    )
    assert (
        set(COMPLETION_PARAMETERS)
        == set(inspect.signature(Completions.create).parameters) - not_sent
    )


@pytest.mark.parametrize(
    "model", ["gpt-4o", "gpt-4.1", "gpt-5-chat-latest", "gpt-3.5-turbo", "omni"]
)
def test_models_that_do_not_reason_have_no_effort(model: str) -> None:
    assert efforts_of(model) == ()


def test_with_an_engine_options_have_effects(llamacpp: LlamaCppServer) -> None:
    with OpenAIServer(api_key=None, strict=False, engine=llamacpp) as server:
        client = connect(server)

        def ask(**options: Any) -> str:
            answer = client.chat.completions.create(
                model="tiny", messages=MESSAGES, **{"max_completion_tokens": 60, **options}
            )
            assert answer.model == "tiny"
            return answer.choices[0].message.content or ""

        greedy, hot = ask(temperature=0), {"temperature": 1.5, "seed": 1}
        assert greedy == ask(**hot, extra_body={"top_k": 1})
        assert ask(**hot) == ask(**hot) != ask(temperature=1.5, seed=2)
        assert ask(temperature=0, extra_body={"repetition_penalty": 3.0}) != greedy
        for penalty in ("presence_penalty", "frequency_penalty"):
            assert ask(temperature=0, **{penalty: 2.0}) != greedy, penalty
        assert greedy.startswith(ask(temperature=0, max_completion_tokens=5))
        assert ask(temperature=0, stop=[greedy[20:24]]) == greedy[: greedy.index(greedy[20:24])]
        stream = client.chat.completions.create(
            model="tiny", messages=MESSAGES, max_completion_tokens=60, temperature=0, stream=True
        )
        assert (
            "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
            == greedy
        )
        several = client.chat.completions.create(
            model="tiny", messages=MESSAGES, max_completion_tokens=20, n=2, temperature=1.5, seed=1
        )
        assert [choice.index for choice in several.choices] == [0, 1]
        assert several.choices[0].message.content != several.choices[1].message.content
        both = client.completions.create(model="tiny", prompt=["a", "b"], max_tokens=5)
        assert [choice.index for choice in both.choices] == [0, 1]
        assert both.usage is not None
        assert both.usage.completion_tokens == 10
