"""Where the run id of a runtime is found again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from support.ollama_server import OllamaServer

from mellea_api._sessions._mellea.sessions import loggers as mellea_loggers
from mellea_api.runtime import MelleaRuntime


class _Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.found: list[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(record)


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> Iterator[list[Any]]:
    """The records of the library and of Mellea."""
    handler = _Records()
    caplog.set_level(logging.DEBUG, "mellea_api")
    loggers = [logging.getLogger("mellea_api"), *mellea_loggers()]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
        logger.addHandler(handler)
    yield handler.found
    for logger, level in zip(loggers, levels, strict=True):
        logger.removeHandler(handler)
        logger.setLevel(level)


def test_the_run_id_is_on_the_records_of_the_library_and_of_mellea(
    ollama: OllamaServer, records: list[Any]
) -> None:
    with MelleaRuntime(run_id="run-7") as runtime:
        runtime.chat("Hello!", model_options={"logprobs": True, "frequency_penalty": 0.5})
        runtime.instruct("Hello!")
        list(runtime.stream("Hello!"))
        asyncio.run(runtime.achat("Hello!"))
        runtime.session.instruct("Hello!")
        runtime.session.chat("Hello!")
        runtime.switch_model("one")
    assert {record.name for record in records} >= {"mellea_api"}
    assert len({record.name for record in records}) > 1, "Mellea logged nothing"
    assert {(record.name, record.run_id) for record in records} == {
        (name, "run-7") for name in {record.name for record in records}
    }


def test_run_ids_of_two_runtimes_do_not_mix(ollama: OllamaServer) -> None:
    """Nor does one stay behind with the program, while a stream is read or after it."""
    from mellea_api import current_run_id

    with MelleaRuntime(run_id="a") as one, MelleaRuntime(run_id="b") as other:
        first, second = one.stream("one two three"), other.stream("one two three")
        next(first)
        assert current_run_id() is None
        next(second)
        list(first)
        assert current_run_id() is None
        list(second)
        assert current_run_id() is None


def test_without_a_run_id_records_have_none(ollama: OllamaServer, records: list[Any]) -> None:
    with MelleaRuntime() as runtime:
        runtime.instruct("Hello!")
        runtime.switch_model("one")
    assert {record.run_id for record in records} == {None}
