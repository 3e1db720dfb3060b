"""Whatever watsonx.ai answers, a call ends in an answer or in one of our errors: over sockets, on the real SDK."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("mellea_api_watsonx", reason="mellea-api-watsonx is not installed")
pytest.importorskip("ibm_watsonx_ai", reason="the watsonx.ai SDK is not installed")
pytest.importorskip("trustme", reason="trustme, which makes certificates, is not installed")

from support import messages, watsonx_server
from support.fuzz import KEY, TIMEOUT, fuzzed, strange_answers, try_it
from support.tunnel import Authority
from support.watsonx_server import CHAT_PATH, STREAM_PATH, WatsonxServer
from support.watsonx_session import DEPRECATED, start

from mellea_api.testing import Asked, Reply, openai_answer

pytestmark = DEPRECATED


def well(asked: Asked) -> Any:
    """The good answer to a chat: that of OpenAI's protocol, on two paths, and without its last event."""
    assert isinstance(asked.body, dict)
    body = {**asked.body, "stream": asked.path == STREAM_PATH}
    found = openai_answer(Asked(method="POST", path="/chat/completions", headers={}, body=body))
    if isinstance(found, Reply):
        return evolve(found, body=found.body.removesuffix(b"data: [DONE]\n\n"))
    return found


class Server(WatsonxServer):
    """Asks `answer` what its models write."""

    answer: Callable[[Asked], Any] = staticmethod(well)

    def handle(self, request: messages.Recorded) -> messages.Reply:
        """See the base class."""
        if request.path not in (CHAT_PATH, STREAM_PATH):
            return super().handle(request)
        asked = Asked(method="POST", path=request.path, headers={}, body=request.json)
        found = self.answer(asked)
        if not isinstance(found, Reply):
            return messages.Reply(json=found)
        headers = {"Content-Length": str(len(found.body)), **found.headers}
        return messages.Reply(
            found.status,
            body=found.body[: found.cut],
            headers={name.lower(): value for name, value in headers.items()},
            reset=found.cut is not None and found.cut < len(found.body),
        )


@pytest.fixture(scope="module")
def on(authority: Authority) -> Iterator[tuple[Any, Any]]:
    with Server(authority) as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment().items():
            patch.setenv(name, value)
        patch.setattr(watsonx_server, "API_KEY", KEY)
        session = start(api_key=KEY, timeout=TIMEOUT)
        yield server, session
        session.cleanup()


@fuzzed
@given(strange=strange_answers, streamed=st.booleans())
def test_a_call_ends_in_an_answer_or_in_one_of_our_errors(
    on: tuple[Any, Any], strange: Any, streamed: bool
) -> None:
    try_it(*on, strange, streamed=streamed)
