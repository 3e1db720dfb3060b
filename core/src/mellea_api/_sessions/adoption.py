"""What the core keeps with a session's backend: options, running calls, and errors.

`adopt` puts an `Adoption` on the backend; each `call` goes through it.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from mellea_api._contract.errors import (
    AnswerError,
    MelleaAPIError,
    PluginError,
    SessionClosedError,
)
from mellea_api._contract.refusals import ErrorRequest, completed
from mellea_api._contract.reports import NormalizedOptions
from mellea_api._contract.requests import SessionRequest
from mellea_api._options.pipeline import OptionPipeline, Rendered
from mellea_api._options.rules import own
from mellea_api._options.spelling import Given
from mellea_api._provider.exceptions import caused
from mellea_api._secrecy.veil import shows_secret, veiled, words_of

ATTRIBUTE: Final = "_mellea_api"
"""The attribute of a backend that holds its `Adoption`."""
reports: Final[weakref.WeakKeyDictionary[Any, Rendered]] = weakref.WeakKeyDictionary()
"""The options of answers, beside them: a program may copy or pickle an answer."""

begun_calls: Final[contextvars.ContextVar[Mapping[Adoption, Given]]] = contextvars.ContextVar(
    "mellea_api_begun_calls", default=MappingProxyType({})
)
"""The calls that were counted, and the session's default options as each of them began."""


class Adoption:
    """What the core keeps with a backend.

    All sessions on the backend share it. It is safe to share between threads and tasks.

    Args:
        pipeline: Takes each call's options through all steps.
        translate: Returns our error for an SDK's exception, or None. It holds the credentials,
            which are masked as long as they exist.
        request: What the session was opened for.

    Attributes:
        timeout: Seconds allowed for each whole call; None for no limit.
        run_id: Names the run in log records and telemetry.
        user_options: The session's default options as the user spelt them.
        filters: The finish reasons that say that a content filter ended an answer.
        last: The options of the call that began last, on any thread.
        stop_watching: Ends what is changed in Mellea for this backend.
        torn_down: Whether somebody closed the backend itself, maybe under a running call.
    """

    def __init__(
        self,
        pipeline: OptionPipeline,
        translate: Callable[[ErrorRequest], MelleaAPIError | None],
        request: SessionRequest,
    ) -> None:
        self.pipeline = pipeline
        self.timeout, self.run_id = request.timeout, request.run_id
        self.user_options = own(dict(request.options))
        self.filters = pipeline.target.descriptor.filtered
        self.last: Rendered | None = None
        self.stop_watching: Callable[[], object] = lambda: None
        self.torn_down = False
        self._translate = translate
        self._for_program = request.for_program
        self._lock = threading.Lock()
        self._running = 0
        self._closed = False
        self._when_idle: Callable[[], None] | None = None

    # Options

    def set_options(self, options: Mapping[str, Any]) -> None:
        """Replace the session's default options.

        Raises:
            OptionError: If they cannot be used; the old ones then stay.
        """
        given = self.pipeline.read_defaults(options)
        with self._lock:
            self.pipeline.defaults, self.user_options = given, own(dict(options))

    # Running calls

    def begin(self) -> None:
        """Count a call in.

        Raises:
            SessionClosedError: If the backend was closed, and this is no part of a call that
                began before.
        """
        with self._lock:
            if self.torn_down or (self._closed and self not in begun_calls.get()):
                raise self._closed_error()
            self._running += 1

    def end(self) -> None:
        """Count a call out; the last call of a closed backend really closes it."""
        with self._lock:
            self._running -= 1
            if self._running or self._when_idle is None:
                return
            callback, self._when_idle = self._when_idle, None
        # Mellea's close may wait for the event loop that this is called from.
        threading.Thread(target=callback, name="mellea-api-close", daemon=True).start()

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Count what happens inside as one call: the backend stays open for it.

        Raises:
            SessionClosedError: If the backend was closed before.
        """
        self.begin()
        try:
            yield
        finally:
            self.end()

    @contextlib.contextmanager
    def within_call(self) -> Iterator[None]:
        """Make the generations inside part of a call that was counted.

        An instruction with repairs generates several times. Once it has begun, it keeps the
        session's options, and may finish on a backend that was closed meanwhile.
        """
        token = begun_calls.set({**begun_calls.get(), self: self.pipeline.defaults})
        try:
            yield
        finally:
            begun_calls.reset(token)

    def close(self, when_idle: Callable[[], None]) -> None:
        """Take no more calls, and run a function when the last running one has ended."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._running:
                self._when_idle = when_idle
                return
        when_idle()

    # Errors

    def translated(self, error: BaseException, *, reading: bool = False) -> MelleaAPIError:
        """Return our error for an exception of a call.

        Args:
            error: What was raised. One that is no `Exception`, such as `SystemExit`, would end
                more than the call.
            reading: Whether an answer was being read: an unknown exception is then its fault.

        Returns:
            Our error. It is of the exception's class too if the exception is unknown, or if a
            program that was written for Mellea alone may be prepared for it.
        """
        target = self.pipeline.target
        if isinstance(error, MelleaAPIError):
            # It may be bare, and may have come through frames of Mellea.
            return veiled(completed(error, target, self.timeout))
        if self.torn_down:
            return caused(self._closed_error(), error)
        known = self._translate(self._about(error)) if isinstance(error, Exception) else None
        what = "" if known else f"{type(error).__name__}: {words_of(error)}".rstrip(": ")
        if known is not None:
            typed = known
        elif reading:
            typed = completed(AnswerError(what), target)
        else:
            typed = PluginError(
                f"A call failed inside the {target.backend} backend with {what}.",
                next_step="Look at its cause: it comes from what was asked, or from the plugin.",
                backend=target.backend,
            )
        typed = caused(typed, error)
        expected = self._for_program or (known is None and not reading)
        if expected and isinstance(error, Exception) and not shows_secret(error):
            return _of_both_classes(typed, error)
        return typed

    def _closed_error(self) -> SessionClosedError:
        name = self.pipeline.target.backend
        return SessionClosedError(
            f"Cannot call the {name} backend: it was closed.",
            next_step="Start a new session.",
            backend=name,
        )

    def late(self) -> MelleaAPIError:
        """Return the error for a call that passed its deadline."""
        return self._about(TimeoutError()).timed_out()

    def _about(self, error: BaseException) -> ErrorRequest:
        return ErrorRequest(
            target=self.pipeline.target, operation="call", error=error, timeout=self.timeout
        )


def _of_both_classes(typed: MelleaAPIError, error: Any) -> MelleaAPIError:
    """Return our error as one that `except` finds by the class of another exception, too."""
    if issubclass(type(typed), type(error)):
        return typed
    kinds: Any = (type(typed), type(error))
    try:
        both: MelleaAPIError = _class_of_both(*kinds)(typed.reason, next_step=typed.next_step)
    except TypeError:  # there can be no such class
        return typed
    vars(both).update({**vars(error), "__notes__": [], **vars(typed)})
    both.__cause__ = typed.__cause__
    return both


@functools.cache
def _class_of_both(ours: type[MelleaAPIError], theirs: Any) -> Any:
    def reduce(self: Any) -> tuple[Any, ...]:
        """Pickle as ours, which other processes know."""
        rebuild, (_, *words), notes = ours.__reduce__(self)
        return rebuild, (ours, *words), notes

    names = {name: getattr(ours, name) for name in ("__doc__", "__module__", "__qualname__")}
    return type(ours.__name__, (ours, theirs), {"__reduce__": reduce, **names})


def adoption_of(backend: object) -> Adoption | None:
    """Return what the core keeps with a backend, or None if it is not ours."""
    found = getattr(backend, "__dict__", {}).get(ATTRIBUTE)
    return found if isinstance(found, Adoption) else None


def options_report(of: Any) -> NormalizedOptions | None:
    """Return what became of the options of a call.

    Args:
        of: An answer of Mellea (a `ModelOutputThunk`, a `SamplingResult`, or the `Message` that
            `session.chat` returns), for that call; or a session or its backend, for the call
            that began last there.

    Returns:
        The report; None if there was no call, or it did not go through this library.
    """
    for answer in (of, getattr(of, "result", None)):
        with contextlib.suppress(TypeError):  # not hashable, or without weak references
            if answer in reports:
                return reports[answer].report
    adoption = adoption_of(of) or adoption_of(getattr(of, "backend", None))
    return adoption.last.report if adoption is not None and adoption.last is not None else None
