"""Each answer of watsonx.ai in the table becomes its error, through the real SDK."""

from __future__ import annotations

from typing import Any

import pytest
from support import provider_errors as table
from support.watsonx_server import PROJECT, SPECS_PATH, TOKEN_PATH, WatsonxServer
from support.watsonx_session import DEPRECATED, start

pytest.importorskip("mellea_api_watsonx", reason="mellea-api-watsonx is not installed")
pytest.importorskip("ibm_watsonx_ai", reason="the watsonx.ai SDK is not installed")
pytest.importorskip("trustme", reason="trustme, which makes certificates, is not installed")

import mellea_api

pytestmark = DEPRECATED


@pytest.mark.parametrize("row", table.rows("watsonx"))
def test_an_answer_is_its_error(watsonx: WatsonxServer, row: dict[str, Any]) -> None:
    """And is asked for once: left alone, the SDK would try ten times more."""
    session = start()
    with (
        table.answering(watsonx, table.reply(row)) as asked,
        pytest.raises(mellea_api.MelleaAPIError) as caught,
    ):
        table.way_of(row)(session)
    table.check(caught.value, row)
    assert len(asked) == 1
    assert table.way_of(row)(session)  # the session is none the worse


@pytest.mark.parametrize("way", table.WAYS)
@pytest.mark.parametrize(
    "when",
    [
        "the project has no runtime",
        "the plan's tokens are used up",
        "the region does not have the model",
        "the prompt is too long",
        "too many calls a second",
        "a service behind it failed",
    ],
)
def test_a_kind_is_the_same_on_every_way(watsonx: WatsonxServer, when: str, way: str) -> None:
    row = table.named("watsonx", when)
    session = start()
    with (
        table.answering(watsonx, table.reply(row)) as asked,
        pytest.raises(mellea_api.MelleaAPIError) as caught,
    ):
        table.WAYS[way](session)
    if way in ("stream", "astream"):
        # The SDK hands over no more than the text and the status of a streamed refusal.
        row = {name: value for name, value in row.items() if name != "retry_after"}
    table.check(caught.value, row)
    assert len(asked) == 1


@pytest.mark.parametrize("path", [TOKEN_PATH, f"/v2/projects/{PROJECT}", SPECS_PATH])
def test_a_session_that_is_told_to_wait_says_so_and_asks_once(
    watsonx: WatsonxServer, path: str
) -> None:
    watsonx.answers[path] = table.reply(table.named("watsonx", "too many calls a second"))
    with pytest.raises(mellea_api.RateLimitError) as caught:
        start()
    assert caught.value.retry_after == 7
    assert watsonx.paths().count(path) == 1


def test_max_retries_lets_the_sdk_try_again_and_no_more(watsonx: WatsonxServer) -> None:
    row = table.named("watsonx", "too many calls a second")
    session = start(max_retries=2, delay_time=0.01)
    with table.answering(watsonx, table.reply(row | {"headers": {}})) as asked:
        with pytest.raises(mellea_api.RateLimitError):
            session.chat("?")
        assert len(asked) == 3
