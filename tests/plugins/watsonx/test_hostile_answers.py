"""Hostile answers of watsonx.ai, from the table that plugin authors have: complete and true, or one of our errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from support.watsonx_server import Reply, WatsonxServer
from support.watsonx_session import DEPRECATED, start

pytest.importorskip("mellea_api_watsonx", reason="mellea-api-watsonx is not installed")
pytest.importorskip("ibm_watsonx_ai", reason="the watsonx.ai SDK is not installed")
pytest.importorskip("trustme", reason="trustme, which makes certificates, is not installed")

import mellea_api
from mellea_api import stream_chat
from mellea_api.testing import HOSTILE

pytestmark = DEPRECATED


def answer_with(
    server: WatsonxServer, monkeypatch: pytest.MonkeyPatch, change: Callable[[bytes], bytes]
) -> None:
    good = WatsonxServer._chat

    def chat(self: WatsonxServer, body: Any, *, streamed: bool) -> Reply:
        found = good(self, body, streamed=streamed)
        whole = "".join(found.chunks) if streamed else json.dumps(found.json)
        kind = "text/event-stream" if streamed else "application/json"
        return Reply(body=change(whole.encode()), headers={"content-type": kind})

    monkeypatch.setattr(WatsonxServer, "_chat", chat)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_an_answer_of_another_shape_is_complete_and_true_or_an_error(
    watsonx: WatsonxServer, streamed: bool
) -> None:
    watsonx.text = "4"
    session = start(timeout=60)

    def ask() -> str:
        return "".join(stream_chat(session, "?")) if streamed else str(session.chat("?").content)

    wrong = []
    for name, row in HOSTILE.items():
        said = None
        with pytest.MonkeyPatch.context() as patch:
            answer_with(watsonx, patch, row.change)
            try:
                said = ask()
            except mellea_api.MelleaAPIError:
                continue
            except Exception as error:
                wrong.append(f"{name}: {type(error).__name__}: {error}")
                continue
        if said != (row.text or "4"):
            wrong.append(f"{name}: the answer is {said!r}")
    assert not wrong, "\n".join(wrong)
    assert ask() == "4"
