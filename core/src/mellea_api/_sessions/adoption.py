"""The one place through which every generation of a session goes.

After a plugin has created a session, the core *adopts* its backend: the object's class becomes
a subclass of its own class, made once per class, that overrides the methods through which Mellea
generates. Whatever way a program takes into generation (chat, instruct with repair, `@generative`,
a clone, the functional API, the raw endpoint, …) ends there, so options are normalized exactly
once, the deadline holds, and what a provider's SDK raises becomes one of our errors.

A proxy would fail Mellea's isinstance checks, and a mixin before the real class would break the
assignment of `__class__`; a subclass that adds no storage of its own does neither.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, cast

from mellea_api._contract.descriptor import Endpoint
from mellea_api._contract.errors import (
    ContentRefusedError,
    MelleaAPIError,
    PluginError,
    SessionClosedError,
)
from mellea_api._contract.reports import NormalizedOptions
from mellea_api._contract.requests import ErrorRequest
from mellea_api._options.pipeline import OptionPipeline, Rendered
from mellea_api._options.spelling import Given
from mellea_api._options.view import OptionsView
from mellea_api._provider import refusals as translation
from mellea_api._secrecy import veil
from mellea_api._secrecy.logs import mark_records, mask_sdk_records
from mellea_api._secrecy.secrets import Secret, redact
from mellea_api._sessions import _mellea
from mellea_api._sessions.generation import ATTRIBUTE, calling_var, rendered_of, seam_of

_classes: dict[type, type] = {}
_classes_lock = threading.Lock()
_begun: Final[contextvars.ContextVar[tuple[Adoption, Given] | None]] = contextvars.ContextVar(
    "mellea_api_begun", default=None
)
"""The call that was counted, and the session's default options as it began."""


class Adoption:
    """What the core keeps with an adopted backend.

    It is shared by all sessions on that backend, and safe to share between threads and tasks.

    Args:
        pipeline: Takes each call's options through all steps.
        translate: Says an SDK's exception in our terms, or answers None.
        timeout: Seconds allowed for each whole call; None for no limit.
        run_id: Names the run in log records and telemetry.
        secrets: The credentials in use: only what lives is masked in what a provider says.

    Attributes:
        last: The options of the call that began last, on any thread.
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
    ) -> None:
        self.pipeline = pipeline
        self.timeout = timeout
        self.run_id = run_id
        self.last: Rendered | None = None
        self.user_options: dict[str, Any] = {}
        self._translate = translate
        self._secrets = tuple(secrets)
        self._lock = threading.Lock()
        self._running = 0
        self._closed = False
        self._when_idle: Callable[[], None] | None = None

    def set_options(self, options: Mapping[str, Any]) -> None:
        """Replace the session's default options.

        Raises:
            OptionError: If they cannot be used; the old ones then stay.
        """
        given = self.pipeline.read_defaults(options)
        with self._lock:
            self.pipeline.defaults, self.user_options = given, dict(options)

    def render(self, options: Mapping[str, Any] | None, endpoint: Endpoint) -> Rendered:
        """Take a call's options through all steps, over the defaults that the call began with.

        Raises:
            OptionError: If they cannot be used.
        """
        call = self._own_call()
        defaults = None if call is None else call[1]
        rendered = self.last = self.pipeline.render(options, endpoint, defaults)
        return rendered

    def _own_call(self) -> tuple[Adoption, Given] | None:
        call = _begun.get()
        return call if call is not None and call[0] is self else None

    def translated(self, error: BaseException) -> BaseException:
        """Return the error to raise instead of an SDK's; itself if it says nothing to us."""
        if isinstance(error, MelleaAPIError):
            return veil.veiled(error)  # it may have come through frames of Mellea
        request = ErrorRequest(
            target=self.pipeline.target, operation="call", error=error, timeout=self.timeout
        )
        typed = self._translate(request)
        if typed is None and veil.shows_secret(error):
            return self.broken(error)
        return veil.veiled(error) if typed is None else translation.caused(typed, error)

    def broken(self, error: BaseException) -> MelleaAPIError:
        """Return the error for what no call may end in: code of the plugin's that exits, say."""
        name = self.pipeline.target.backend
        what = f"{type(error).__name__}: {error}".rstrip(": ")
        typed = PluginError(
            f"A call failed inside the {name} backend with {what}.",
            next_step="Upgrade or mend its plugin, or what the plugin calls.",
            backend=name,
        )
        return translation.caused(typed, error)

    def unreadable(self, why: object, cause: BaseException | None = None) -> BaseException:
        """Return the error for an answer that cannot be read."""
        error = cause or ValueError(str(why))
        request = ErrorRequest(target=self.pipeline.target, operation="call", error=error)
        typed = translation.unreadable(request, why)
        return typed if cause is None else translation.caused(typed, cause)

    def filtered(self) -> BaseException:
        """Return the error for an answer that the provider's content filter ended."""
        error = ValueError("the answer was filtered")
        request = ErrorRequest(target=self.pipeline.target, operation="call", error=error)
        return translation.by_status(
            request, None, "it ended the answer", meaning=ContentRefusedError
        )

    def begin(self) -> None:
        """Count a call in.

        Raises:
            SessionClosedError: If the backend was closed.
        """
        with self._lock:
            if self._closed and self._own_call() is None:
                raise SessionClosedError(
                    f"Cannot call the {self.pipeline.target.backend} backend: its session was "
                    "cleaned up.",
                    next_step="Start a new session.",
                    backend=self.pipeline.target.backend,
                )
            self._running += 1

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Count what happens until the end as one call: the backend stays open for it.

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
        """Have the generations inside be part of a call that was counted.

        An instruction that is repaired generates several times: once it has begun, it may go on
        to its end, with the session's options as they were, also on a backend that was closed
        meanwhile.
        """
        token = _begun.set((self, self.pipeline.defaults))
        try:
            yield
        finally:
            _begun.reset(token)

    def end(self) -> None:
        """Count a call out; the last one of a closed backend closes it for good."""
        with self._lock:
            self._running -= 1
            callback = self._when_idle if self._closed and self._running == 0 else None
            if callback is not None:
                self._when_idle = None
        if callback is not None:
            # Mellea's close may wait for the event loop that this is called from.
            threading.Thread(target=callback, name="mellea-api-close", daemon=True).start()

    def close(self, when_idle: Callable[[], None]) -> None:
        """Take no more calls, and run a function once the last running one has ended."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._running:
                self._when_idle = when_idle
                return
        when_idle()


def adoption_of(backend: object) -> Adoption | None:
    """Return what the core keeps with a backend, or None if it was not adopted."""
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
        rendered = rendered_of(answer)
        if rendered is not None:
            return rendered.report
    adoption = adoption_of(of) or adoption_of(getattr(of, "backend", None))
    return adoption.last.report if adoption is not None and adoption.last is not None else None


def adopt(backend: Any, adoption: Adoption) -> None:
    """Adopt a backend.

    Args:
        backend: An object of a subclass of Mellea's `Backend`, built without model options.
        adoption: What the core keeps with it.

    Raises:
        PluginError: If it was built with model options, is adopted already, or cannot be.
    """
    name = adoption.pipeline.target.backend
    if adoption_of(backend) is not None:
        raise PluginError(
            f"The {name} plugin returned a session on a backend that another session has.",
            next_step="Its create_session must build a backend of its own for each session.",
            backend=name,
        )
    if getattr(backend, "model_options", None):
        raise PluginError(
            f"The {name} plugin built its backend with model options, which would be merged into "
            "every call behind the checks.",
            next_step="Its create_session must leave model_options out; the core applies them.",
            backend=name,
        )
    adopted = _adopted_class(type(backend))
    backend.__dict__.pop("model_options", None)
    try:
        backend.__class__ = adopted
    except TypeError as error:
        raise PluginError(
            f"The {name} plugin's backend class {type(backend).__name__} cannot be adopted: "
            f"{error}.",
            next_step="Give it no __slots__.",
            backend=name,
        ) from error
    backend.__dict__[ATTRIBUTE] = adoption
    _mellea.keep_clients(backend)
    for logger in _mellea.loggers():
        mark_records(logger)
    mask_sdk_records()
    _mellea.watch_sampling()


def _adopted_class(cls: type) -> type:
    with _classes_lock:
        found = _classes.get(cls)
        if found is None:
            body: dict[str, Any] = {
                name: seam_of(getattr(cls, name), endpoint) for name, endpoint in _mellea.seams(cls)
            }
            body |= {
                "__doc__": cls.__doc__,
                "__module__": cls.__module__,
                "__qualname__": cls.__qualname__,
                # Mellea's shows the server's address as it is, with a password.
                "__repr__": lambda backend: redact(cast(Any, cls).__repr__(backend)),
                "model_options": property(_get_options, _set_options),
            }
            found = _classes[cls] = type(cls)(cls.__name__, (cls,), body)
        return found


def _get_options(backend: Any) -> dict[str, Any]:
    # Mellea would merge what it finds here into each call; there it must find nothing.
    call = calling_var.get()
    if call is not None and call.in_seam:
        return {}
    adoption: Adoption = backend.__dict__[ATTRIBUTE]
    return OptionsView(adoption.user_options, adoption.set_options)


def _set_options(backend: Any, options: Mapping[str, Any] | None) -> None:
    backend.__dict__[ATTRIBUTE].set_options(options or {})
