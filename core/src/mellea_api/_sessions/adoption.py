"""What the core keeps with a session's backend: options, running calls, and errors.

`open` puts an `Adoption` on the backend; each `call` goes through it.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from mellea_api._contract.descriptor import Endpoint
from mellea_api._contract.errors import (
    ContentRefusedError,
    MelleaAPIError,
    PluginError,
    SessionClosedError,
)
from mellea_api._contract.refusals import ErrorRequest, completed
from mellea_api._contract.reports import NormalizedOptions
from mellea_api._options.pipeline import OptionPipeline, Rendered
from mellea_api._options.rules import own
from mellea_api._options.spelling import Given
from mellea_api._provider.exceptions import caused
from mellea_api._secrecy.secrets import Secret
from mellea_api._secrecy.veil import shows_secret, veiled

ATTRIBUTE: Final = "_mellea_api"
"""The attribute of a backend that holds its `Adoption`."""
REPORT: Final = "_mellea_api_report"
"""The attribute of a thunk that holds the options of its call."""

_begun: Final[contextvars.ContextVar[tuple[Adoption, Given] | None]] = contextvars.ContextVar(
    "mellea_api_begun", default=None
)
"""The call that was counted, and the session's default options as it began."""
_reports: weakref.WeakKeyDictionary[Any, Rendered] = weakref.WeakKeyDictionary()


class Adoption:
    """What the core keeps with a backend.

    All sessions on the backend share it. It is safe to share between threads and tasks.

    Args:
        pipeline: Takes each call's options through all steps.
        translate: Returns our error for an SDK's exception, or None.
        timeout: Seconds allowed for each whole call; None for no limit.
        run_id: Names the run in log records and telemetry.
        secrets: The credentials in use. Secrets are masked as long as they exist.
        options: The session's default options as the user spelt them.

    Attributes:
        last: The options of the call that began last, on any thread.
        stop_watching: Ends what is changed in Mellea for this backend.
        user_options: The session's default options as the user spelt them.
    """

    def __init__(
        self,
        pipeline: OptionPipeline,
        translate: Callable[[ErrorRequest], MelleaAPIError | None],
        *,
        timeout: float | None = None,
        run_id: str | None = None,
        secrets: Iterable[Secret] = (),
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.timeout = timeout
        self.run_id = run_id
        self.last: Rendered | None = None
        self.user_options: dict[str, Any] = own(dict(options)) if options else {}
        self.stop_watching: Callable[[], object] = lambda: None
        self._translate = translate
        self._secrets = tuple(secrets)
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

    def render(self, options: Mapping[str, Any] | None, endpoint: Endpoint) -> Rendered:
        """Take a call's options through all steps, over the defaults that the call began with.

        Raises:
            OptionError: If they cannot be used.
        """
        begun = _begun.get()
        defaults = begun[1] if begun is not None and begun[0] is self else None
        rendered = self.last = self.pipeline.render(options, endpoint, defaults)
        return rendered

    # Running calls

    def begin(self) -> None:
        """Count a call in.

        Raises:
            SessionClosedError: If the backend was closed, and this is no part of a call that
                began before.
        """
        with self._lock:
            if self._closed:
                begun = _begun.get()
                if begun is None or begun[0] is not self:
                    name = self.pipeline.target.backend
                    raise SessionClosedError(
                        f"Cannot call the {name} backend: its session was cleaned up.",
                        next_step="Start a new session.",
                        backend=name,
                    )
            self._running += 1

    def end(self) -> None:
        """Count a call out; the last call of a closed backend really closes it."""
        with self._lock:
            self._running -= 1
            callback = self._when_idle if self._closed and self._running == 0 else None
            if callback is not None:
                self._when_idle = None
        if callback is not None:
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
        token = _begun.set((self, self.pipeline.defaults))
        try:
            yield
        finally:
            _begun.reset(token)

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

    def about(self, error: BaseException) -> ErrorRequest:
        """Return the request to translate an exception of a call."""
        return ErrorRequest(
            target=self.pipeline.target, operation="call", error=error, timeout=self.timeout
        )

    def translated(self, error: BaseException) -> BaseException:
        """Return our error for an SDK's exception, or the exception if we have none for it."""
        if isinstance(error, MelleaAPIError):
            # It may be bare, and may have come through frames of Mellea.
            return veiled(completed(error, self.pipeline.target, self.timeout))
        typed = self._translate(self.about(error))
        if typed is not None:
            return caused(typed, error)
        return self.broken(error) if shows_secret(error) else veiled(error)

    def broken(self, error: BaseException) -> MelleaAPIError:
        """Return the error for an exception that must not end a call, such as `SystemExit`."""
        name = self.pipeline.target.backend
        what = f"{type(error).__name__}: {error}".rstrip(": ")
        typed = PluginError(
            f"A call failed inside the {name} backend with {what}.",
            next_step="Upgrade or fix its plugin, or what the plugin calls.",
            backend=name,
        )
        return caused(typed, error)

    def unreadable(self, why: object, cause: Exception | None = None) -> MelleaAPIError:
        """Return the error for an answer that cannot be read."""
        typed = self.about(cause or ValueError(str(why))).unreadable(why)
        return typed if cause is None else caused(typed, cause)

    @property
    def filters(self) -> tuple[str, ...]:
        """The finish reasons that say that a content filter ended an answer."""
        return self.pipeline.target.descriptor.filtered

    def filtered(self) -> MelleaAPIError:
        """Return the error for an answer that the provider's content filter ended."""
        request = self.about(ValueError("the answer was filtered"))
        return request.answered(None, "it ended the answer", kind=ContentRefusedError)

    def late(self) -> MelleaAPIError:
        """Return the error for a call that passed its deadline."""
        return self.about(TimeoutError()).timed_out()


def adoption_of(backend: object) -> Adoption | None:
    """Return what the core keeps with a backend, or None if it is not ours."""
    found = getattr(backend, "__dict__", {}).get(ATTRIBUTE)
    return found if isinstance(found, Adoption) else None


def remember(answer: Any, rendered: Rendered) -> None:
    """Remember the options of an answer, beside it: a program may copy or pickle the answer."""
    # Strings and a program's own types are values; Mellea's objects are the answers themselves.
    if type(answer).__module__.startswith("mellea."):
        _reports[answer] = rendered


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
        rendered = getattr(answer, "__dict__", {}).get(REPORT)
        if not isinstance(rendered, Rendered):
            try:
                rendered = _reports.get(answer)
            except TypeError:  # not hashable, or without weak references
                rendered = None
        if rendered is not None:
            return rendered.report
    adoption = adoption_of(of) or adoption_of(getattr(of, "backend", None))
    return adoption.last.report if adoption is not None and adoption.last is not None else None
