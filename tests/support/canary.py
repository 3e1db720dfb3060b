"""A secret that is planted, and the search for it in everything that was written.

`shown(error)` yields what there is to show of an error: its text, its chain, its pickle, its JSON, and the value of each
local variable of each frame that it holds. `drawn(error)` yields what tools make of that: rich, cgitb, pytest and the
standard library, all with local variables; it takes a second. A `Watch` collects what was written meanwhile: all log records down to DEBUG, standard output and error, warnings, and
the spans of OpenTelemetry.
"""

from __future__ import annotations

import base64
import copy
import functools
import importlib.util
import io
import json
import logging
import pickle
import traceback
import types
import warnings
from collections.abc import Iterable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, Self

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

__all__ = ["CANARY", "Watch", "drawn", "found_in", "shown", "span_exporter"]

CANARY = "canary-Zm9vYmFyYmF6cXV4-0123456789"
"""No text of a provider masks this by its look: only because it is a living secret."""

_TESTS = str(Path(__file__).resolve().parents[1])


def found_in(text: str, canary: str = CANARY) -> bool:
    """Whether a text shows the secret, as it is or as base64 (as HTTP's Basic does it)."""
    return canary in text or base64.b64encode(canary.encode()).decode() in text


def _without_tests(trace: types.TracebackType | None) -> types.TracebackType | None:
    """A traceback without the frames of the tests, which hold the secret that they plant."""
    if trace is None:
        return None
    rest = _without_tests(trace.tb_next)
    if trace.tb_frame.f_code.co_filename.startswith(_TESTS):
        return rest
    return types.TracebackType(rest, trace.tb_frame, trace.tb_lasti, trace.tb_lineno)


def chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and all that it came from, suppressed contexts and groups included."""
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        found = pending.pop()
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        pending += [found.__cause__, found.__context__]
        if isinstance(found, BaseExceptionGroup):
            pending += found.exceptions


def shown(error: BaseException) -> Iterator[tuple[str, str]]:
    """What there is to show of an error, by name."""
    for found in chain(error):
        found.__traceback__ = _without_tests(found.__traceback__)
    yield "str", str(error)
    yield "repr", repr(error)
    yield "traceback", "".join(traceback.format_exception(error))
    yield "pickle", repr(pickle.dumps(error))
    yield "copy", f"{copy.copy(error)} {copy.deepcopy(error)}"
    yield "json", json.dumps(_converted(error))
    for found in chain(error):
        kind = type(found).__name__
        yield f"chain: {kind}", f"{found} {found!r} {found.args!r} {vars(found)!r}"
        for frame, _ in traceback.walk_tb(found.__traceback__):
            for name, value in frame.f_locals.items():
                yield f"locals: {kind}: {frame.f_code.co_qualname}: {name}", _repr(value)


def drawn(error: BaseException) -> Iterator[tuple[str, str]]:
    """How tools draw an error that `shown` was asked about, with the values of local variables."""
    stack = traceback.TracebackException.from_exception(error, capture_locals=True)
    yield "traceback with locals", "".join(stack.format())
    yield "rich", _rich(error)
    yield "pytest", _pytest(error)
    if importlib.util.find_spec("cgitb") is not None:  # not from Python 3.13 on
        yield "cgitb", _cgitb(error)


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:
        return f"<{type(error).__name__}>"


def _converted(error: BaseException) -> Any:
    from mellea_api import MelleaAPIError
    from mellea_api._contract.as_json import to_json

    return to_json(error) if isinstance(error, MelleaAPIError) else None


def _rich(error: BaseException) -> str:
    from rich.console import Console
    from rich.traceback import Traceback

    stream = io.StringIO()
    trace = Traceback.from_exception(
        type(error),
        error,
        error.__traceback__,
        show_locals=True,
    )
    Console(file=stream, width=1_000).print(trace)
    return stream.getvalue()


def _pytest(error: BaseException) -> str:
    if error.__traceback__ is None:
        return ""
    found: Any = pytest.ExceptionInfo.from_exception(error)
    return str(found.getrepr(showlocals=True, style="long", truncate_locals=False))


def _cgitb(error: BaseException) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import cgitb
    if error.__traceback__ is None:
        return ""
    try:
        return str(cgitb.text((type(error), error, error.__traceback__)))
    except (
        AttributeError
    ):  # it cannot show an OSError: `characters_written` is listed and not there
        return ""


@functools.cache
def span_exporter() -> InMemorySpanExporter:
    """Keeps the spans of this process: OpenTelemetry takes one provider, and only once."""
    exporter = InMemorySpanExporter()
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return exporter


class Watch(logging.Handler):
    """Collects what is written inside a `with` block, by where it was written.

    Attributes:
        written: The texts, by name.
    """

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))
        self.written: dict[str, str] = {}
        self._spans = span_exporter()
        self._streams = (io.StringIO(), io.StringIO())
        self._levels: dict[logging.Logger, int] = {}

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        beside = {name: _repr(value) for name, value in vars(record).items()}
        if record.exc_info and record.exc_info[1]:
            text += "".join(found for _, found in shown(record.exc_info[1]))
        name = f"log {record.name} {record.levelname} {record.filename}:{record.lineno}"
        self.written[name] = f"{self.written.get(name, '')}\n{text}\n{beside}"

    def __enter__(self) -> Self:
        root = logging.getLogger()
        known = [logging.getLogger(name) for name in logging.root.manager.loggerDict]
        for logger in (root, *known):
            self._levels[logger] = logger.level
            logger.setLevel(logging.DEBUG)
            if logger is root or not logger.propagate:
                logger.addHandler(self)
        self._spans.clear()
        self._redirects = (redirect_stdout(self._streams[0]), redirect_stderr(self._streams[1]))
        for redirect in self._redirects:
            redirect.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        for redirect in self._redirects:
            redirect.__exit__(None, None, None)
        for logger, level in self._levels.items():
            logger.removeHandler(self)
            logger.setLevel(level)
        for name, stream in zip(("stdout", "stderr"), self._streams, strict=True):
            self.written[name] = stream.getvalue()
        for span in self._spans.get_finished_spans():
            name = f"span {span.name}"
            self.written[name] = self.written.get(name, "") + span.to_json()

    def leaks(self, *more: tuple[str, str], canaries: Iterable[str] = (CANARY,)) -> list[str]:
        """The names of what shows a secret, among what was written and what is given."""
        secrets = list(canaries)
        texts = (*self.written.items(), *more)
        return sorted(
            {name for name, text in texts if any(found_in(text, secret) for secret in secrets)}
        )
