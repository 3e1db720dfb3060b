"""Addresses with more than a host in them, and servers that say less than Ollama does."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest
from support.table import a_tool

pytest.importorskip("mellea_api_ollama")

import mellea_api
from mellea_api.testing import Asked, LoopbackServer, Reply

ANSWER = {"message": {"role": "assistant", "content": "four"}, "done": True}


class Ollama:
    """What a test says that the server answers, by path."""

    def __init__(self) -> None:
        self.models: Any = [{"name": "m", "model": "m"}]
        self.show: Any = {"details": {}}
        self.chat: Any = ANSWER

    def answer(self, asked: Asked) -> Any:
        found = {"/api/tags": {"models": self.models}, "/api/show": self.show}
        return {**found, "/api/chat": self.chat}.get(asked.path, Reply(status=404, body={}))


@pytest.fixture
def here() -> Iterator[tuple[Ollama, LoopbackServer]]:
    ollama = Ollama()
    with LoopbackServer(ollama.answer) as server:
        yield ollama, server


Here = tuple[Ollama, LoopbackServer]


def start(address: str) -> Any:
    return mellea_api.start_session("ollama", "m", base_url=address, timeout=30)


def test_user_and_password_of_an_address_go_with_each_request(here: Here) -> None:
    _, server = here
    address = server.address.replace("//", "//me:p%40ss@")
    session = start(address)
    assert session.chat("?").content == "four"
    mellea_api.list_models("ollama", base_url=address, freshness="live")
    basic = "Basic " + b64encode(b"me:p@ss").decode()
    assert [asked.headers.get("authorization") for asked in server.asked] == [basic] * 3


@pytest.mark.parametrize("path", ["", "/", "/api", "/api/", "/v1", "/v1/"])
def test_the_end_of_an_address_that_is_the_sdks_own_to_add_is_left_out(
    here: Here, path: str
) -> None:
    _, server = here
    assert start(server.address + path).chat("?").content == "four"
    assert [asked.path for asked in server.asked] == ["/api/show", "/api/chat"]


@pytest.mark.parametrize(
    "show",
    [
        {"details": {"family": ""}, "remote_model": "large", "capabilities": ["completion"]},
        {"capabilities": ["completion"]},
        {"remote_model": "large", "remote_host": "https://ollama.com:443"},
        {"details": None, "model_info": None, "template": ""},
    ],
)
def test_a_model_of_which_the_server_says_little_can_be_used(here: Here, show: Any) -> None:
    ollama, server = here
    ollama.show = show
    assert start(server.address).chat("?").content == "four"


@pytest.mark.parametrize(
    ("models", "ids"),
    [
        ([{"name": "a"}, {"model": "b"}], ["a", "b"]),
        ([{"name": "a", "model": "a", "details": None}], ["a"]),
        ([], []),
        (None, []),
    ],
)
def test_models_of_which_the_server_lists_names_alone(
    here: Here, models: Any, ids: list[str]
) -> None:
    ollama, server = here
    ollama.models = models
    found = mellea_api.list_models("ollama", base_url=server.address, freshness="live")
    assert [model.id for model in found] == ids


@pytest.mark.parametrize(
    ("chat", "words"),
    [
        ({"error": "the model was put away"}, "the model was put away"),
        ({**ANSWER, "done": False}, "not the whole answer"),
    ],
)
def test_what_is_wrong_with_an_answer_of_status_200_is_said(
    here: Here, chat: Any, words: str
) -> None:
    ollama, server = here
    session = start(server.address)
    ollama.chat = chat
    with pytest.raises(mellea_api.ProviderError, match=words):
        session.chat("?")


@pytest.mark.parametrize(
    ("arguments", "read"),
    [({}, {}), ("", {}), (None, {}), ("{}", {}), ('{"city": "Rome"}', {"city": "Rome"})],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_arguments_of_a_tool_that_are_text_or_none_are_read(
    here: Here, arguments: Any, read: dict[str, str], streamed: bool
) -> None:
    ollama, server = here
    call = {"function": {"name": "get_weather", "arguments": arguments}}
    ollama.chat = {
        "message": {"role": "assistant", "content": "", "tool_calls": [call]},
        "done": True,
    }
    answer = start(server.address).instruct(
        "?",
        tool_calls=True,
        strategy=None,
        model_options={"tools": [a_tool()], "stream": streamed},
    )
    calls = answer.tool_calls
    found = calls.values() if isinstance(calls, dict) else calls
    assert [(one.name, dict(one.args)) for one in found] == [("get_weather", read)]


@pytest.mark.parametrize("model", ["gpt-oss", "gpt-oss:20b", "gpt-oss:120b-cloud", "me/GPT-OSS:x"])
def test_gpt_oss_is_sent_the_levels_that_it_has(model: str) -> None:
    def thinking(value: Any) -> Any:
        return mellea_api.explain_options("ollama", {"thinking": value}, model).wire.get("think")

    assert [thinking(level) for level in ("low", "medium", "high", True)] == [
        *("low", "medium", "high", "medium")
    ]
    assert [thinking(value) for value in (False, "none")] == [None, None]
    for level in ("minimal", "xhigh", "max"):
        assert thinking(level) is None
