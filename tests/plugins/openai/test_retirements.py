"""Models that OpenAI shuts down: the table, and who is told."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Iterator
from datetime import datetime, tzinfo
from typing import Any

import pytest
from openai.types.shared import chat_model
from support.openai_server import OpenAIServer

import mellea_api
from mellea_api._contract import descriptor
from mellea_api._models import known
from mellea_api.plugin import Retirement, Target
from mellea_api.testing import LoopbackServer
from mellea_api_openai import OPENAI
from mellea_api_openai.families import FAMILIES


class Today(datetime):
    """The day on which these tests were written: what is in the future then, stays there."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Today:
        return cls(2026, 11, 30, tzinfo=tz)


@pytest.fixture(autouse=True)
def today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descriptor, "datetime", Today)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    monkeypatch.setattr(known, "_noted", set())
    with OpenAIServer(api_key=None, strict=False) as server:
        server.models[:] = ["gpt-4o", "gpt-oss:20b"]
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789abcdefghij")
        yield server


def of_sdk() -> dict[str, str]:
    """The days that the SDK's own notes give, by model."""
    notes = inspect.getsource(chat_model).partition("Deprecated values:")[2]
    found = {}
    for note in re.split(r"\n- ", notes):
        day = re.search(r"shutdown\s+date:\s+(\d{4}-\d\d-\d\d)", note)
        if day:
            found |= dict.fromkeys(re.findall(r'"([\w.-]+)"', note), day[1])
    return found


def test_the_table_has_the_days_that_the_sdk_has() -> None:
    days = of_sdk()
    if not days:
        pytest.skip("this SDK is too old to say")
    for model_id, day in days.items():
        found = Target(descriptor=OPENAI, model_id=model_id.upper()).retirement()
        assert (model_id, found and found.day) == (model_id, day)
    for model_id in ("gpt-5.2", "gpt-5.4-mini", "gpt-5.5", "gpt-6-luna", "gpt-oss:20b"):
        assert Target(descriptor=OPENAI, model_id=model_id).retirement() is None


def test_no_model_of_the_catalogue_is_shut_down() -> None:
    for model in OPENAI.models:
        assert Target(descriptor=OPENAI, model_id=model.id).retirement() is None


def test_no_rule_is_for_a_model_that_is_gone() -> None:
    for glob in FAMILIES:
        shut = Target(descriptor=OPENAI, model_id=glob.replace("*", "")).retirement()
        assert shut is None or shut.day > "2026-11-30", glob


def test_no_model_is_advised_that_is_shut_down_itself() -> None:
    for one in OPENAI.retirements:
        assert Target(descriptor=OPENAI, model_id=one.instead).retirement() is None


def test_a_day_is_a_day() -> None:
    with pytest.raises(ValueError, match="soon"):
        Retirement(models="x", day="soon", source="a test")


def test_a_session_says_so_once_and_only_on_the_providers_own_server(
    server: OpenAIServer, caplog: pytest.LogCaptureFixture
) -> None:
    def said(**arguments: Any) -> list[str]:
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="mellea_api"):
            mellea_api.start_session("openai", "gpt-4o", **arguments).cleanup()
        return [text for text in caplog.messages if "shut down" in text]

    assert said() == []
    assert said(server="official") == ["gpt-4o is shut down on 2027-01-14; use gpt-6-luna instead."]
    assert said(server="official") == []


def test_a_model_that_is_gone_is_told_so_where_the_server_does_not_have_it(
    server: OpenAIServer,
) -> None:
    with pytest.raises(mellea_api.ModelNotFoundError) as caught:
        mellea_api.start_session("openai", "o1-mini", server="official")
    assert "o1-mini was shut down on 2025-10-27; see " in str(caught.value)


def test_a_day_that_the_server_itself_says_counts() -> None:
    rows = [
        {"id": "gpt-4o", "shutdown_date": "2028-02-29"},
        {"id": "new", "shutdown_date": "2028-12-31"},
        {"id": "odd", "shutdown_date": {"soon": True}},
        {"id": "stays", "shutdown_date": None},
    ]
    with LoopbackServer(lambda asked: {"object": "list", "data": rows}) as server:
        arguments = {"base_url": f"{server.address}/v1", "api_key": "sk-x", "server": "official"}
        found = mellea_api.list_models("openai", **arguments)  # type: ignore[arg-type]
    assert {model.id: model.shutdown for model in found} == {
        "gpt-4o": "2028-02-29",
        "new": "2028-12-31",
        "odd": None,
        "stays": None,
    }


def test_lists_and_checks_say_so(server: OpenAIServer) -> None:
    def days(**arguments: Any) -> dict[str, str | None]:
        found = mellea_api.list_models("openai", **arguments)
        return {model.id: model.shutdown for model in found}

    expected = {"gpt-4o": "2027-01-14", "gpt-oss:20b": None}
    assert days(server="official") == expected
    assert days(server="official") == expected  # from the cache
    assert days() == dict.fromkeys(expected)
    address = "https://api.openai.com/v1"
    (report,) = mellea_api.check_readiness("openai", "gpt-4o", base_url=address).backends
    (step,) = [step for step in report.steps if step.name == "settings"]
    assert (step.state, step.next_step.split(";")[0]) == (
        "warning",
        "gpt-4o is shut down on 2027-01-14",
    )
