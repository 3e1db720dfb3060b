"""A secret is planted; every public call and command succeeds, and fails in each way: nothing written shows it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support import planting
from support.http import Reply
from support.planting import Planted
from support.watsonx_server import (
    API_KEY,
    CHAT_PATH,
    GENERATION_PATH,
    PROJECT,
    SPECS_PATH,
    STREAM_PATH,
    TOKEN_PATH,
    WatsonxServer,
    error_body,
)
from support.watsonx_session import DEPRECATED

pytest.importorskip("ibm_watsonx_ai")

pytestmark = DEPRECATED

MODEL = "ibm/granite-3-3-8b-instruct"
GENERATING = (CHAT_PATH, STREAM_PATH, GENERATION_PATH)


def rejecting(server: WatsonxServer) -> None:
    body = {"errorCode": "BXNIM0415E", "errorMessage": f"Provided API key {API_KEY} is unknown."}
    server.answers[TOKEN_PATH] = Reply(400, json=body)


def answering(status: int) -> Callable[[WatsonxServer], None]:
    """Repeats the key wherever something is written."""

    def set_up(server: WatsonxServer) -> None:
        for path in GENERATING:
            server.answers[path] = Reply(status, json=error_body(status, API_KEY, API_KEY))

    return set_up


def down(server: WatsonxServer) -> None:
    for path in (*GENERATING, TOKEN_PATH, SPECS_PATH):
        server.answers[path] = Reply(503, text=API_KEY, headers={"x-said": API_KEY})


OUTCOMES: dict[str, Callable[[WatsonxServer], None]] = {
    "good": lambda server: None,
    "rejected": rejecting,
    "unauthorized": answering(401),
    "forbidden": answering(403),
    "limited": answering(429),
    "down": down,
}


def planted(server: WatsonxServer, outcome: str) -> Planted:
    OUTCOMES[outcome](server)
    return Planted(
        "watsonx",
        MODEL,
        {"api_key": API_KEY, "project_id": PROJECT},
        {"WATSONX_API_KEY": API_KEY, "WATSONX_PROJECT_ID": PROJECT},
        canaries=lambda: (API_KEY, *server.tokens),
    )


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("call", planting.CALLS)
def test_no_call_shows_the_secret(watsonx: WatsonxServer, outcome: str, call: str) -> None:
    assert planting.leaks_of_call(planted(watsonx, outcome), call) == []


@pytest.mark.parametrize("outcome", ["good", "rejected", "down"])
@pytest.mark.parametrize("command", ["models", "check --probe", "chat", "run"])
def test_no_command_shows_it(
    watsonx: WatsonxServer, outcome: str, command: str, tmp_path: Path
) -> None:
    assert planting.leaks_of_command(planted(watsonx, outcome), command, tmp_path) == []
