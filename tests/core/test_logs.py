"""The run id of a call is on the records of the library's logger."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Iterator

import pytest

from mellea_api import MelleaAPIError, current_run_id
from mellea_api._secrecy.logs import logger, mark_records, run_id_var


@pytest.fixture
def run_id() -> Iterator[str]:
    token = run_id_var.set("run-1")
    yield "run-1"
    run_id_var.reset(token)


def test_a_record_within_a_run_carries_its_id(
    run_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    logger.warning("within")
    assert current_run_id() == run_id
    assert [record.run_id for record in caplog.records] == [run_id]


def test_a_record_outside_of_a_run_carries_none(caplog: pytest.LogCaptureFixture) -> None:
    logger.warning("outside")
    assert current_run_id() is None
    assert [record.run_id for record in caplog.records] == [None]


def test_a_formatter_may_name_it_always(run_id: str) -> None:
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(logging.Formatter("%(run_id)s %(message)s"))
    logger.addHandler(handler)
    try:
        logger.warning("said")
    finally:
        logger.removeHandler(handler)
    assert text.getvalue() == "run-1 said\n"


def test_a_run_id_that_the_program_gives_stays(
    run_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    logger.warning("said", extra={"run_id": "mine"})
    assert caplog.records[0].run_id == "mine"


@pytest.mark.parametrize("letters", ["\x1b[2J", "\x9b31m", "\u202e", "\rover", "\ud800"])
def test_no_control_character_reaches_a_handler_or_an_error(
    letters: str, caplog: pytest.LogCaptureFixture
) -> None:
    error = MelleaAPIError(f"it says {letters}", next_step=f"ask {letters}")
    try:
        raise RuntimeError(letters)
    except RuntimeError:
        logger.exception("the model %s", letters)
    logger.warning("%s", error)
    for text in (caplog.text, str(error), error.reason, error.next_step):
        assert letters not in text
        assert "\ufffd" in text


def test_marking_a_logger_twice_changes_nothing(
    run_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    other = logging.getLogger("a.program.of.the.tests")
    mark_records(other)
    mark_records(other)
    assert len(other.filters) == 1
    other.warning("said")
    assert caplog.records[0].run_id == run_id


def test_another_thread_is_not_in_the_run(run_id: str) -> None:
    seen: list[str | None] = []
    thread = threading.Thread(target=lambda: seen.append(current_run_id()))
    thread.start()
    thread.join()
    assert seen == [None]


@pytest.mark.parametrize("wrong", [("%d", "text"), ("%y", 1)])
def test_a_mistake_in_a_records_format_is_left_to_logging(wrong: tuple[str, object]) -> None:
    record = logging.LogRecord("mellea_api", logging.INFO, "", 1, wrong[0], wrong[1:], None)
    assert logger.filter(record)
    with pytest.raises((TypeError, ValueError)):
        record.getMessage()
