"""The library's logger, the run id on its records, and no secret on those of SDKs.

At DEBUG, HTTP libraries log each header of an answer, and some servers repeat the key there; at
INFO, httpx logs the address with its password.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import traceback
from collections.abc import Iterable, Iterator
from typing import Final

from mellea_api._secrecy.secrets import printable, redact

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


def _with_run_id(record: logging.LogRecord) -> bool:
    """Put the run id of the current call on a record, and let it pass."""
    if not hasattr(record, "run_id"):
        record.run_id = run_id_var.get()
    return True


def _masked(record: logging.LogRecord) -> bool:
    """Mask living secrets and control characters in a record and its exception; let it pass."""
    try:
        text = record.getMessage()
    except (TypeError, ValueError):  # a mistake in the message, which logging itself reports
        return True
    masked = printable(redact(text))
    if masked != text:
        record.msg, record.args = masked, ()
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        # As text: some handlers print the variables of its frames. The SDK keeps its object.
        trace = redact("".join(traceback.format_exception(error)))
        record.exc_text = printable(trace).rstrip()
        record.exc_info = None
    return True


_sdks: Final = {
    *("httpcore", "httpcore2", "httpx", "httpx2", "urllib3", "aiohttp"),
    *("mellea", "fancy_logger", "mellea_api"),
}
"""Packages whose loggers write of what is sent and answered: HTTP clients, Mellea, and the SDKs
and plugins that were registered."""
_plugins: Final = {"mellea_api"}
"""Packages whose loggers carry `run_id`."""
_LATE: Final = ("connection", "http11", "http2", "proxy", "socks")
"""Those of httpcore: they come into being with the first connection."""


def mark_records(of: logging.Logger) -> None:
    """Have a logger's records carry `run_id`; doing it again changes nothing."""
    of.addFilter(_with_run_id)


def register_sdk(plugin: str, packages: Iterable[str]) -> None:
    """Have the loggers of a plugin and its SDK masked; those of the plugin carry `run_id` too.

    Args:
        plugin: The plugin's package.
        packages: The SDK's packages: the first parts of the names of its loggers.
    """
    _plugins.add(plugin)
    _sdks.update((plugin, *packages))


def mask_sdk_records() -> None:
    """Have no record of an SDK's logger show a living secret; doing it again changes nothing.

    A logger that comes into being later is masked at the next call or session.
    """
    for core in ("httpcore", "httpcore2"):
        for part in _LATE:
            logging.getLogger(f"{core}.{part}")
    for name in list(logging.root.manager.loggerDict):
        package = name.partition(".")[0].partition(" ")[0]
        if package in _sdks:
            logging.getLogger(name).addFilter(_masked)
        if package in _plugins:
            logging.getLogger(name).addFilter(_with_run_id)


mark_records(logger)
logger.addFilter(_masked)
