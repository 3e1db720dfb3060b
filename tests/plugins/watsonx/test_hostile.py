"""Answers of other shapes are complete and true, or one of our errors: the shipped table, on the real SDK."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("mellea_api_watsonx", reason="mellea-api-watsonx is not installed")
pytest.importorskip("ibm_watsonx_ai", reason="the watsonx.ai SDK is not installed")

from support.messages import Reply
from support.watsonx_server import CHAT_PATH, STREAM_PATH, WatsonxServer
from support.watsonx_session import DEPRECATED, start

import mellea_api
from mellea_api.testing import HOSTILE

pytestmark = DEPRECATED

HEAD = {"id": "c", "model_id": "m", "created": 1}
WHOLE = {
    **HEAD,
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "four"},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}
PIECES = [
    {**HEAD, "choices": [{"index": 0, "delta": {"role": "assistant", "content": "four"}}]},
    {**HEAD, "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "stop"}]},
]
GOOD = {
    CHAT_PATH: (json.dumps(WHOLE).encode(), "application/json"),
    STREAM_PATH: (
        b"".join(b"data: " + json.dumps(piece).encode() + b"\n\n" for piece in PIECES),
        "text/event-stream",
    ),
}


@pytest.mark.parametrize("path", [CHAT_PATH, STREAM_PATH], ids=["whole", "streamed"])
def test_an_answer_of_another_shape_is_complete_and_true_or_an_error(
    watsonx: WatsonxServer, path: str
) -> None:
    session = start(timeout=60)

    def ask(body: bytes, kind: str) -> str:
        watsonx.answers[path] = Reply(chunks=iter([body]), headers={"content-type": kind})
        if path == STREAM_PATH:
            return "".join(mellea_api.stream_chat(session, "Hi"))
        return str(session.chat("Hi").content)

    good, kind = GOOD[path]
    assert ask(good, kind) == "four"
    wrong = []
    for name, row in HOSTILE.items():
        if problem := row.problem(lambda row=row: ask(row.change(good), kind), "four"):
            wrong.append(f"{name}: {problem}")
    assert ask(good, kind) == "four"
    assert not wrong, "\n".join(wrong)
