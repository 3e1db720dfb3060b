"""The library's logger, and the run id on its records."""

from __future__ import annotations

import contextlib
import contextvars
import logging
from collections.abc import Iterator
from typing import Final

__all__ = ["current_run_id", "logger", "mark_records", "run_id_var", "under_run"]

logger: Final = logging.getLogger("mellea_api")

run_id_var: Final[contextvars.ContextVar[str | None]] = contextvars.ContextVar(
    "mellea_api_run_id", default=None
)


def current_run_id() -> str | None:
    """Return the id of the run that the current call belongs to, or None."""
    return run_id_var.get()


@contextlib.contextmanager
def under_run(run_id: str | None) -> Iterator[None]:
    """Have what happens inside belong to a run."""
    token = run_id_var.set(run_id)
    try:
        yield
    finally:
        run_id_var.reset(token)


class _RunIdFilter(logging.Filter):
    """Puts the run id of the current call on each record; lets every record pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not hasattr(record, "run_id"):
            record.run_id = run_id_var.get()
        return True


_filter: Final = _RunIdFilter()


def mark_records(of: logging.Logger) -> None:
    """Have a logger's records carry `run_id`; doing it again changes nothing."""
    of.addFilter(_filter)


mark_records(logger)
