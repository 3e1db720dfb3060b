"""The loopback Ollama holds the real SDK, and real Mellea, to what the real server takes."""

from __future__ import annotations

from typing import Any

import httpx
import ollama
import pytest
from support.llamacpp import LlamaCppServer
from support.ollama_schema import OPTION_TYPES
from support.ollama_server import OllamaServer

MESSAGES = [{"role": "user", "content": "What is 2+2?"}]
TOOL = {
    "type": "function",
    "function": {"name": "add", "parameters": {"type": "object", "properties": {}}},
}


@pytest.fixture
def client(ollama_server: OllamaServer) -> ollama.Client:
    return ollama.Client(ollama_server.base_url)


def test_the_sdk_reads_the_model_list(ollama_server: OllamaServer, client: ollama.Client) -> None:
    (model,) = client.list().models
    assert (model.model, model.details and model.details.parameter_size) == (
        "tiny:latest",
        "202.43K",
    )
    assert (model.modified_at and model.modified_at.year, model.size) == (2025, 836_256)
    assert len(model.digest or "") == 64
    assert client.ps().models == []
    client.chat("tiny", MESSAGES)
    assert [model.model for model in client.ps().models] == ["tiny:latest"]
    assert client.show("TINY").capabilities == ["completion", "tools"]


def test_chat_is_answered_whole_and_in_pieces(
    ollama_server: OllamaServer, client: ollama.Client
) -> None:
    ollama_server.script.text = "one two three"
    whole = client.chat("tiny", MESSAGES)
    assert (whole.message.content, whole.done_reason, whole.eval_count) == (
        "one two three",
        "stop",
        3,
    )
    pieces = [part.message.content for part in client.chat("tiny", MESSAGES, stream=True)]
    assert pieces == ["one", " two", " three", ""]
    cut = client.chat("tiny", MESSAGES, options={"num_predict": 2})
    assert (cut.message.content, cut.done_reason) == ("one two", "length")
    assert client.chat("tiny", MESSAGES, options={"stop": [" two"]}).message.content == "one"
    assert client.generate("tiny", "2+2=", raw=True, options={"num_predict": 1}).response == "one"


def test_answers_and_tool_calls_can_be_queued(
    ollama_server: OllamaServer, client: ollama.Client
) -> None:
    ollama_server.script.answers.extend(["first", "second"])
    ollama_server.script.tool_calls.append(("add", {"a": 1}))
    assert client.chat("tiny", MESSAGES).message.content == "first"
    calls = client.chat("tiny", MESSAGES, tools=[TOOL]).message.tool_calls
    assert calls is not None
    assert (calls[0].function.name, calls[0].function.arguments) == ("add", {"a": 1})
    assert [client.chat("tiny", MESSAGES, tools=[TOOL]).message.content for _ in range(2)] == [
        "second",
        "4",
    ]


def test_thinking_is_only_for_models_that_think(
    ollama_server: OllamaServer, client: ollama.Client
) -> None:
    with pytest.raises(ollama.ResponseError, match='"tiny" does not support thinking') as caught:
        client.chat("tiny", MESSAGES, think=True)
    assert caught.value.status_code == 400
    ollama_server.add_model("thinker", ["completion", "thinking"])
    assert client.chat("thinker", MESSAGES, think="low").message.thinking == "Two and two."
    assert client.chat("thinker", MESSAGES, think=False).message.thinking is None
    with pytest.raises(ollama.ResponseError, match="library/thinker:latest does not support tools"):
        client.chat("thinker", MESSAGES, tools=[TOOL])


def test_a_schema_is_followed(client: ollama.Client) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    assert client.chat("tiny", MESSAGES, format=schema).message.content == '{"n": 4}'


def test_logprobs_come_when_asked_for(client: ollama.Client) -> None:
    answer = client.chat("tiny", MESSAGES, logprobs=True, top_logprobs=2)
    assert answer.logprobs is not None
    assert (answer.logprobs[0].token, len(answer.logprobs[0].top_logprobs or [])) == ("4", 2)


def test_a_missing_model_is_404_and_a_pull_brings_it(
    ollama_server: OllamaServer, client: ollama.Client
) -> None:
    with pytest.raises(ollama.ResponseError, match="model 'granite4' not found") as caught:
        client.chat("granite4", MESSAGES)
    assert caught.value.status_code == 404
    steps = [step.status for step in client.pull("granite4", stream=True)]
    assert (steps[0], steps[-1]) == ("pulling manifest", "success")
    assert client.chat("granite4:latest", MESSAGES).message.content == "4"
    ollama_server.pull_fails = True
    with pytest.raises(ollama.ResponseError, match="file does not exist"):
        list(client.pull("nothing", stream=True))
    with pytest.raises(ollama.ResponseError, match="file does not exist"):
        client.pull("nothing")
    assert "nothing:latest" not in ollama_server.models


@pytest.mark.parametrize(
    ("option", "value", "kind"),
    [
        ("num_predict", "5", "integer"),
        ("num_predict", True, "integer"),
        ("temperature", "hot", "float32"),
        ("stop", "END", "array"),
        ("use_mmap", 1, "boolean"),
    ],
)
def test_an_option_of_the_wrong_type_is_refused_in_ollama_s_words(
    ollama_server: OllamaServer, option: str, value: Any, kind: str
) -> None:
    # The SDK checks some of these itself, so past it.
    body = {"model": "tiny", "messages": MESSAGES, "options": {option: value}}
    answer = httpx.post(f"{ollama_server.url}/api/chat", json=body)
    assert (answer.status_code, answer.json()) == (
        500,
        {"error": f'option "{option}" must be of type {kind}'},
    )


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        (
            "stream",
            "yes",
            "json: cannot unmarshal string into Go struct field ChatRequest.stream of type bool",
        ),
        (
            "messages",
            {},
            "json: cannot unmarshal object into Go struct field ChatRequest.messages of type []api.Message",
        ),
        (
            "top_logprobs",
            1.5,
            "json: cannot unmarshal number 1.5 into Go struct field ChatRequest.top_logprobs of type int",
        ),
        (
            "think",
            "minimal",
            'invalid think value: "minimal" (must be "high", "medium", "low", "max", true, or false)',
        ),
        ("top_logprobs", 21, "top_logprobs must be between 0 and 20"),
        ("model", "", "model is required"),
    ],
)
def test_a_field_of_the_wrong_type_is_refused_in_go_s_words(
    ollama_server: OllamaServer, field: str, value: Any, words: str
) -> None:
    body = {"model": "tiny", "messages": MESSAGES} | {field: value}
    answer = httpx.post(f"{ollama_server.url}/api/chat", json=body)
    assert (answer.status_code, answer.json()) == (400, {"error": words})


def test_what_ollama_ignores_is_collected(
    ollama_server: OllamaServer, client: ollama.Client
) -> None:
    client.chat("tiny", MESSAGES, options={"max_tokens": 5, "temperature": 0.1})
    assert ollama_server.warnings == ["invalid option provided: 'max_tokens'"]
    httpx.post(
        f"{ollama_server.url}/api/chat",
        json={"model": "tiny", "messages": MESSAGES, "temperature": 0.1},
    )
    assert ollama_server.warnings[1:] == ["unknown field 'temperature' in ChatRequest"]
    assert ollama_server.violations == []


def test_what_no_client_may_send_is_collected(ollama_server: OllamaServer) -> None:
    body = {
        "model": "tiny",
        "messages": MESSAGES,
        "think": None,
        "options": {"seed": None, "@@@x@@@": 1},
    }
    assert httpx.post(f"{ollama_server.url}/api/chat", json=body).status_code == 200
    assert ollama_server.violations == ["null think", "null options.seed", "key options.@@@x@@@"]


def test_other_routes_and_methods_are_refused_as_gin_does(ollama_server: OllamaServer) -> None:
    assert httpx.get(f"{ollama_server.url}/").text == "Ollama is running"
    assert httpx.get(f"{ollama_server.url}/api/chat").status_code == 405
    assert httpx.get(f"{ollama_server.url}/nothing").text == "404 page not found"
    assert httpx.post(f"{ollama_server.url}/api/chat").json() == {"error": "missing request body"}
    assert "version" in httpx.get(f"{ollama_server.url}/api/version").json()


def test_with_an_engine_every_option_has_an_effect(llamacpp: LlamaCppServer) -> None:
    with OllamaServer(engine=llamacpp) as server:
        client = ollama.Client(server.base_url)

        def ask(**options: Any) -> str:
            return (
                client.chat(
                    "tiny", MESSAGES, options={"num_predict": 60, **options}
                ).message.content
                or ""
            )

        greedy, hot = ask(temperature=0), {"temperature": 1.5, "seed": 1}
        assert greedy == ask(temperature=0)
        assert greedy == ask(**hot, top_k=1) == ask(**hot, top_k=0, min_p=1.0)
        assert ask(**hot) == ask(**hot) != ask(temperature=1.5, seed=2)
        assert ask(**hot) != ask(**hot, top_p=0.2) != greedy
        for penalty in ("repeat_penalty", "presence_penalty", "frequency_penalty"):
            assert ask(temperature=0, **{penalty: 2.0}) != greedy, penalty
        assert greedy.startswith(ask(temperature=0, stop=[greedy[20:24]]) + greedy[20:24])
        few = client.chat("tiny", MESSAGES, options={"num_predict": 5, "temperature": 0})
        assert (few.eval_count, few.done_reason) == (5, "length")
        streamed = client.chat(
            "tiny", MESSAGES, options={"num_predict": 60, "temperature": 0}, stream=True
        )
        assert "".join(part.message.content or "" for part in streamed) == greedy
        raw = client.generate(
            "tiny", "What", raw=True, options={"num_predict": 5, "temperature": 0}
        )
        assert (raw.eval_count, raw.prompt_eval_count) != (5, few.prompt_eval_count)
        assert server.warnings == server.violations == []


def test_the_options_are_those_of_the_sdk() -> None:
    # The SDK still has options that Ollama has dropped, so the server's are not all of the SDK's.
    dropped = {
        "numa",
        "logits_all",
        "vocab_only",
        "f16_kv",
        "low_vram",
        "embedding_only",
        "use_mlock",
        "tfs_z",
    }
    dropped |= {"mirostat", "mirostat_tau", "mirostat_eta", "penalize_newline"}
    assert set(ollama.Options.model_fields) - dropped <= set(OPTION_TYPES)
    assert set(OPTION_TYPES) - set(ollama.Options.model_fields) == {"min_p", "draft_num_predict"}
