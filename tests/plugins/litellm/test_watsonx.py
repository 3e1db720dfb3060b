"""LiteLLM's watsonx routes against a loopback watsonx.ai, through the tunnel that IBM's addresses take."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("mellea_api_litellm")
pytest.importorskip("trustme", reason="the loopback watsonx.ai needs trustme")

from support.http import Reply
from support.watsonx_server import API_KEY, CHAT_PATH, GENERATION_PATH, WatsonxServer

import mellea_api

pytestmark = pytest.mark.usefixtures("sdk")

MODEL = "ibm/granite-3-3-8b-instruct"
URL = "https://us-south.ml.cloud.ibm.com"
OPTIONS: dict[str, Any] = {
    "temperature": 0.5,
    "max_completion_tokens": 7,
    "top_p": 0.9,
    "stop": ["zz"],
    "seed": 3,
    "frequency_penalty": 0.5,
    "presence_penalty": 0,
}


def start(route: str, **arguments: Any) -> Any:
    given = {"base_url": URL, "api_key": API_KEY, "unsupported": "drop"} | arguments
    return mellea_api.start_session("litellm", route, **given)


def test_a_chat_carries_what_the_report_says(watsonx: WatsonxServer) -> None:
    """`max_completion_tokens` as `max_tokens`: LiteLLM would drop it."""
    session = start(f"watsonx/{MODEL}", model_options=OPTIONS)
    assert session.chat("Hello!").content == watsonx.text
    (request,) = watsonx.written()
    assert request.path == CHAT_PATH
    given = ("model_id", "messages", "project_id", "model", "stream")
    body = {name: value for name, value in request.json.items() if name not in given}
    assert body == mellea_api.options_report(session).wire
    assert body["max_tokens"] == 7


def test_a_generation_has_no_factor_of_one_half(watsonx: WatsonxServer) -> None:
    """LiteLLM would make repetition_penalty=0.5 of frequency_penalty=0.5."""
    # LiteLLM 1.106 sends no input at all on this route, which the server here would refuse.
    result = {"generated_text": "4", "generated_token_count": 1, "input_token_count": 1}
    answer = {"model_id": MODEL, "results": [{**result, "stop_reason": "eos_token"}]}
    watsonx.answers[GENERATION_PATH] = Reply(json=answer)
    session = start(f"watsonx_text/{MODEL}", model_options=OPTIONS)
    session.chat("Hello!")
    (request,) = watsonx.written()
    assert request.path == GENERATION_PATH
    # What LiteLLM itself adds to each.
    own = {"decoding_method", "include_stop_sequences"}
    parameters = request.json["parameters"]
    sent = {name: value for name, value in parameters.items() if name not in own}
    assert {"parameters": sent} == mellea_api.options_report(session).wire
    assert "repetition_penalty" not in parameters


def test_a_rejected_key(watsonx: WatsonxServer) -> None:
    session = start(f"watsonx/{MODEL}", api_key="canary-wrong-key-0d9f")
    with pytest.raises(mellea_api.ProviderError) as caught:
        session.chat("Hello!")
    assert "canary-wrong-key-0d9f" not in str(caught.value)
