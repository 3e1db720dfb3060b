"""An option that a backend does not have is warned about once for each option and reason."""

from __future__ import annotations

import logging

import pytest
from support.fake_options import described

from mellea_api._options.pipeline import OptionPipeline
from mellea_api.plugin import OptionRule

WHY = "the server has none"
TARGET = described(
    OptionRule(name="min_p", reason=WHY),
    OptionRule(name="top_k", reason=WHY),
    OptionRule(name="seed", models=("big-*",), chat="seed"),
    OptionRule(name="seed", requires={"temperature": (0,)}, reason="it is greedy"),
    OptionRule(name="seed", reason="small models draw as they like"),
    OptionRule(name="temperature", chat="temperature"),
)


def test_it_is_said_of_each_option_and_of_each_reason(caplog: pytest.LogCaptureFixture) -> None:
    session = OptionPipeline(TARGET, policy="warn")

    def said(**options: object) -> list[str]:
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="mellea_api"):
            session.render(options, "chat")
        return [record.getMessage() for record in caplog.records]

    (first,) = said(min_p=0.1)
    assert f"does not send min_p=0.1: {WHY}." in first
    assert said(min_p=0.2) == [], "another value is the same option"
    (second,) = said(min_p=0.1, top_k=3)
    assert f"does not send top_k=3: {WHY}." in second, "another option for the same reason"
    (third,) = said(seed=1, temperature=0.5)
    assert "small models draw as they like" in third
    (fourth,) = said(seed=1, temperature=0)
    assert "it is greedy" in fourth, "the same option for another reason"
    assert said(seed=2, temperature=0, min_p=0.3, top_k=1) == []
