"""On the wire: what the provider gets through real LiteLLM is what the report says, on real routes."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from support.ollama_server import OllamaServer
from support.openai_server import OpenAIServer
from support.table import a_tool

pytest.importorskip("mellea_api_litellm")

import mellea_api
from mellea_api import stream_chat

pytestmark = pytest.mark.usefixtures("sdk")

OPTIONS: dict[str, Any] = {
    "temperature": 0,
    "max_tokens": 7,
    "top_p": 0.9,
    "stop": ["zz", "yy"],
    "seed": 3,
    "top_k": 4,
    "min_p": 0.1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "repetition_penalty": 1.1,
    "system_prompt": "Be brief.",
    "context_window": 512,
    "thinking": True,
}
_GIVEN = ("model", "messages", "stream", "stream_options", "prompt", "images", "format", "input")


@pytest.fixture(
    params=["openai/gpt-4o", "openai/o3", "openai/tiny", "ollama_chat/tiny", "ollama/tiny"]
)
def staged(
    request: pytest.FixtureRequest,
    openai_server: OpenAIServer,
    compatible_server: OpenAIServer,
    ollama_server: OllamaServer,
) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """A route, the server at its end, and the arguments that lead there."""
    ollama_server.models["tiny:latest"] = ("completion", "tools", "thinking")
    route: str = request.param
    if route.startswith("ollama"):
        yield route, ollama_server, {"base_url": ollama_server.base_url}
    elif route == "openai/tiny":
        yield route, compatible_server, {"base_url": compatible_server.base_url}
    else:
        official = {"server": "official", "api_key": "sk-good"}
        yield route, openai_server, {"base_url": openai_server.base_url, **official}


def body(server: Any) -> dict[str, Any]:
    """What was sent last, without what is no option."""
    found = sent(server).json.items()
    return {name: value for name, value in found if name not in _GIVEN and value != {}}


def sent(server: Any) -> Any:
    """What asked for a text last: LiteLLM asks Ollama for facts about the model as well."""
    ends = ("/completions", "/api/chat", "/api/generate", "/text/chat", "/text/chat_stream")
    return [found for found in server.requests if found.path.endswith(ends)][-1]


def clean(server: Any) -> None:
    assert server.warnings == []
    assert server.violations == []
    assert "@@@" not in json.dumps(sent(server).json)


def wire(of: Any) -> dict[str, Any]:
    report = mellea_api.options_report(of)
    assert report is not None
    return {name: value for name, value in report.wire.items() if name not in _GIVEN}


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_each_option_alone(staged: tuple[str, Any, dict[str, Any]], name: str) -> None:
    route, server, arguments = staged
    session = mellea_api.start_session("litellm", route, unsupported="drop", **arguments)
    session.chat("Hello!", model_options={name: OPTIONS[name]})
    assert body(server) == wire(session)
    clean(server)


def test_all_options_at_once(staged: tuple[str, Any, dict[str, Any]]) -> None:
    route, server, arguments = staged
    session = mellea_api.start_session(
        "litellm", route, unsupported="drop", model_options=OPTIONS, **arguments
    )
    session.chat("Hello!")
    assert body(server) == wire(session)
    clean(server)
    explained = mellea_api.explain_options(
        "litellm", OPTIONS, route, arguments["base_url"], server=arguments.get("server")
    )
    assert explained.wire == mellea_api.options_report(session).wire


def test_streamed(staged: tuple[str, Any, dict[str, Any]]) -> None:
    route, server, arguments = staged
    options = {"temperature": 1, "max_tokens": 7}
    session = mellea_api.start_session("litellm", route, model_options=options, **arguments)
    assert "".join(stream_chat(session, "Hello!")) == "4"
    assert sent(server).json["stream"] is True
    assert body(server) == wire(session)


def test_a_last_piece_with_usage_alone_is_no_fault(
    compatible_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LiteLLM 1.110 and newer send the usage in a piece without choices."""
    import litellm
    from litellm.types.utils import Delta, ModelResponseStream, StreamingChoices, Usage

    async def pieces(**_: Any) -> Any:
        delta = Delta(content="4", role="assistant")
        yield ModelResponseStream(choices=[StreamingChoices(delta=delta)])
        yield ModelResponseStream(choices=[StreamingChoices(finish_reason="stop")])
        last = ModelResponseStream(choices=[StreamingChoices()], usage=Usage(total_tokens=2))
        last.choices = []
        yield last

    async def answer(**arguments: Any) -> Any:
        return pieces(**arguments)

    monkeypatch.setattr(litellm, "acompletion", answer)
    session = mellea_api.start_session(
        "litellm", "openai/tiny", base_url=compatible_server.base_url
    )
    assert "".join(stream_chat(session, "Hello!")) == "4"


def test_a_call_beats_the_session_whatever_the_spelling(
    staged: tuple[str, Any, dict[str, Any]],
) -> None:
    route, server, arguments = staged
    session = mellea_api.start_session(
        "litellm", route, model_options={"max_tokens": 11}, **arguments
    )
    session.chat("Hello!", model_options={"num_predict": 7})
    assert "11" not in json.dumps(body(server))
    assert body(server) == wire(session)


def raw(session: Any, *prompts: str, **options: Any) -> Any:
    from mellea.core import CBlock

    actions = [CBlock(prompt) for prompt in prompts or ("x",)]
    return asyncio.run(
        session.backend.generate_from_raw(actions, ctx=session.ctx, model_options=options)
    )


@pytest.mark.parametrize("route", ["openai/tiny", "ollama_chat/tiny"])
def test_the_raw_endpoint(
    route: str, compatible_server: OpenAIServer, ollama_server: OllamaServer
) -> None:
    """OpenAI's protocol has one; of others LiteLLM makes a chat."""
    server: Any = compatible_server if route.startswith("openai") else ollama_server
    session = mellea_api.start_session("litellm", route, base_url=server.base_url)
    given = {"temperature": 0.5, "max_tokens": 7, "stop": ["zz"], "top_k": 4, "seed": 5}
    raw(session, **given)
    assert sent(server).path == ("/v1/completions" if server is compatible_server else "/api/chat")
    assert body(server) == wire(session)
    clean(server)


@pytest.mark.parametrize("route", ["openai/tiny", "ollama_chat/tiny"])
def test_several_raw_prompts_are_several_answers(
    route: str, compatible_server: OpenAIServer, ollama_server: OllamaServer
) -> None:
    """Of several prompts LiteLLM makes one chat where there is no raw endpoint."""
    server: Any = compatible_server if route.startswith("openai") else ollama_server
    session = mellea_api.start_session("litellm", route, base_url=server.base_url)
    found = raw(session, "one", "two", "three", max_tokens=5)
    answers = found[0] if isinstance(found, tuple) else found
    assert len(answers) == 3
    assert all(answer.value == "4" for answer in answers)


def test_tools_need_no_package_that_litellm_does_not_bring(
    compatible_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LiteLLM looks for an MCP gateway's among them, and fails where `mcp` is not installed."""
    for name in [name for name in sys.modules if name.startswith("litellm.responses.mcp")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mcp", None)
    session = mellea_api.start_session(
        "litellm", "openai/tiny", base_url=compatible_server.base_url
    )
    session.instruct("The weather?", model_options={"tools": [a_tool()]}, tool_calls=True)
    (tool,) = sent(compatible_server).json["tools"]
    assert tool["function"]["name"] == "get_weather"
    assert "_skip_mcp_handler" not in sent(compatible_server).json


# --- nothing is dropped, changed or sent under a wrong name ------------------------------------


def test_ollama_is_not_sent_a_neutral_penalty_as_a_factor_of_nothing(
    ollama_server: OllamaServer,
) -> None:
    """LiteLLM would make repeat_penalty=0 of frequency_penalty=0."""
    session = mellea_api.start_session(
        "litellm", "ollama_chat/tiny", base_url=ollama_server.base_url, unsupported="drop"
    )
    session.chat("Hello!", model_options={"frequency_penalty": 0})
    assert sent(ollama_server).json["options"] == {}
    decision = mellea_api.options_report(session).decision("frequency_penalty")
    assert decision is not None
    assert decision.outcome == "dropped"
    assert "repeat_penalty" in decision.reason


def test_a_misspelt_option_does_not_reach_the_extra_body(compatible_server: OpenAIServer) -> None:
    """LiteLLM would put `temprature` into it."""
    session = mellea_api.start_session(
        "litellm", "openai/tiny", base_url=compatible_server.base_url
    )
    before = len(compatible_server.requests)
    with pytest.raises(mellea_api.OptionError, match="did you mean 'temperature'"):
        session.chat("Hello!", model_options={"temprature": 0.5})
    with pytest.raises(mellea_api.OptionError, match="at most 2"):
        session.chat("Hello!", model_options={"temperature": 77})
    assert len(compatible_server.requests) == before


def test_what_litellm_would_drop_is_under_our_policy(
    ollama_server: OllamaServer, caplog: pytest.LogCaptureFixture
) -> None:
    session = mellea_api.start_session(
        "litellm", "ollama_chat/tiny", base_url=ollama_server.base_url
    )
    session.chat("Hello!", model_options={"presence_penalty": 0.5})
    assert "presence_penalty=0.5: LiteLLM drops it" in caplog.text
    with pytest.raises(mellea_api.OptionError, match="presence_penalty is not supported"):
        session.chat("Hello!", model_options={"presence_penalty": 0.5, "unsupported": "error"})


def test_extra_names_are_passed_on_where_the_route_has_a_place(
    compatible_server: OpenAIServer, ollama_server: OllamaServer
) -> None:
    session = mellea_api.start_session(
        "litellm", "openai/tiny", base_url=compatible_server.base_url
    )
    session.chat("Hello!", model_options={"extra": {"min_tokens": 2, "logit_bias": {"5": 1}}})
    assert body(compatible_server) == wire(session) == {"min_tokens": 2, "logit_bias": {"5": 1}}
    session = mellea_api.start_session(
        "litellm", "ollama_chat/tiny", base_url=ollama_server.base_url
    )
    session.chat("Hello!", model_options={"extra": {"num_thread": 2}})
    assert sent(ollama_server).json["options"] == {"num_thread": 2}
    for name in ("presence_penalty", "metadata", "api_key", "api_base"):
        with pytest.raises(
            mellea_api.OptionError, match=r"cannot be (passed on|given)|is a credential"
        ):
            session.chat("Hello!", model_options={"extra": {name: 1}})


@pytest.mark.parametrize("name", ["api_key", "api_base", "base_url", "drop_params", "timeout"])
def test_litellms_own_arguments_are_no_options(name: str) -> None:
    with pytest.raises(mellea_api.OptionError, match="cannot be given"):
        mellea_api.explain_options("litellm", {name: "x"})
