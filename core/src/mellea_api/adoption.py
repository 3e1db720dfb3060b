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

import asyncio
import contextvars
import functools
import threading
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from mellea_api import _mellea, translation
from mellea_api.descriptor import Endpoint
from mellea_api.errors import MelleaAPIError, PluginError, SessionClosedError
from mellea_api.logs import mark_records, run_id_var
from mellea_api.options.pipeline import OptionPipeline, Rendered
from mellea_api.reports import NormalizedOptions
from mellea_api.requests import ErrorRequest
from mellea_api.secrets import redact

__all__ = ["Adoption", "adopt", "adoption_of", "options_report"]

_ATTRIBUTE: Final = "_mellea_api"
_REPORT: Final = "_mellea_api_report"
_calling: Final[contextvars.ContextVar[bool]] = contextvars.ContextVar(
    "mellea_api_calling", default=False
)
_STUMBLES: Final = (AssertionError, AttributeError, IndexError, KeyError, TypeError)
_classes: dict[type, type] = {}
_classes_lock = threading.Lock()


class _Normalized(dict[str, Any]):
    """Options that have been through the pipeline; the mark keeps it from happening twice."""


class Adoption:
    """What the core keeps with an adopted backend.

    It is shared by all sessions on that backend, and safe to share between threads and tasks.

    Args:
        pipeline: Takes each call's options through all steps.
        translate: Says an SDK's exception in our terms, or answers None.
        timeout: Seconds allowed for each whole call; None for no limit.
        run_id: Names the run in log records and telemetry.

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
    ) -> None:
        self.pipeline = pipeline
        self.timeout = timeout
        self.run_id = run_id
        self.last: Rendered | None = None
        self.user_options: dict[str, Any] = {}
        self._translate = translate
        self._lock = threading.Lock()
        self._running = 0
        self._closed = False
        self._when_idle: Callable[[], None] | None = None

    def set_options(self, options: Mapping[str, Any]) -> None:
        """Replace the session's default options.

        Raises:
            OptionError: If they cannot be used; the old ones then stay.
        """
        self.pipeline.set_defaults(options)
        self.user_options = dict(options)

    def translated(self, error: BaseException) -> BaseException:
        """Return the error to raise instead of an SDK's; itself if it says nothing to us."""
        if isinstance(error, MelleaAPIError):
            return error
        request = ErrorRequest(
            target=self.pipeline.target, operation="call", error=error, timeout=self.timeout
        )
        typed = self._translate(request)
        return error if typed is None else caused(typed, error)

    def unreadable(self, why: object, cause: BaseException | None = None) -> BaseException:
        """Return the error for an answer that cannot be read."""
        error = cause or ValueError(str(why))
        request = ErrorRequest(target=self.pipeline.target, operation="call", error=error)
        typed = translation.unreadable(request, why)
        return typed if cause is None else caused(typed, cause)

    def begin(self) -> None:
        """Count a call in.

        Raises:
            SessionClosedError: If the backend was closed.
        """
        with self._lock:
            if self._closed:
                raise SessionClosedError(
                    f"Cannot call the {self.pipeline.target.backend} backend: its session was "
                    "cleaned up.",
                    next_step="Start a new session.",
                    backend=self.pipeline.target.backend,
                )
            self._running += 1

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


def caused(typed: MelleaAPIError, error: BaseException) -> MelleaAPIError:
    """Give an error its cause: the original, or where that shows a secret, its redacted text."""
    text = f"{error} {error.args!r}"
    if redact(text) != text:
        error = RuntimeError(f"{type(error).__name__}: {redact(str(error))}")
    typed.__cause__ = error
    typed.__suppress_context__ = True
    return typed


def adoption_of(backend: object) -> Adoption | None:
    """Return what the core keeps with a backend, or None if it was not adopted."""
    found = getattr(backend, "__dict__", {}).get(_ATTRIBUTE)
    return found if isinstance(found, Adoption) else None


def options_report(of: Any) -> NormalizedOptions | None:
    """Return what became of the options of a call.

    Args:
        of: An answer of Mellea (a `ModelOutputThunk`), for that call; or a session or its
            backend, for the call that began last there.

    Returns:
        The report; None if there was no call, or it did not go through this library.
    """
    rendered = getattr(of, "__dict__", {}).get(_REPORT)
    if isinstance(rendered, Rendered):
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
    backend.__dict__[_ATTRIBUTE] = adoption
    for logger in _mellea.loggers():
        mark_records(logger)


def _adopted_class(cls: type) -> type:
    with _classes_lock:
        found = _classes.get(cls)
        if found is None:
            body: dict[str, Any] = {
                name: _seam(getattr(cls, name), endpoint) for name, endpoint in _mellea.seams(cls)
            }
            body |= {
                "__doc__": cls.__doc__,
                "__module__": cls.__module__,
                "__qualname__": cls.__qualname__,
                "model_options": property(_get_options, _set_options),
            }
            found = _classes[cls] = type(cls)(cls.__name__, (cls,), body)
        return found


def _get_options(backend: Any) -> dict[str, Any]:
    # Mellea would merge what it finds here into each call; there it must find nothing.
    if _calling.get():
        return {}
    return dict(backend.__dict__[_ATTRIBUTE].user_options)


def _set_options(backend: Any, options: Mapping[str, Any] | None) -> None:
    backend.__dict__[_ATTRIBUTE].set_options(options or {})


_Method = Callable[..., Coroutine[Any, Any, Any]]


def _seam(original: _Method, endpoint: Endpoint) -> _Method:
    @functools.wraps(original)
    async def seam(self: Any, *args: Any, **kwargs: Any) -> Any:
        options = kwargs.get("model_options")
        if type(options) is _Normalized:
            return await original(self, *args, **kwargs)
        adoption: Adoption = self.__dict__[_ATTRIBUTE]
        rendered = adoption.last = adoption.pipeline.render(options, endpoint)
        kwargs["model_options"] = _Normalized(rendered.options)
        return await _Call(adoption, rendered, endpoint).run(original(self, *args, **kwargs))

    return seam


class _Call:
    """One generation, from the seam until its thunks have their values."""

    def __init__(self, adoption: Adoption, rendered: Rendered, endpoint: Endpoint) -> None:
        self._adoption = adoption
        self._rendered = rendered
        self._endpoint = endpoint
        self._deadline: float | None = None

    async def run(self, generation: Coroutine[Any, Any, Any]) -> Any:
        adoption = self._adoption
        try:
            adoption.begin()
        except BaseException:
            generation.close()
            raise
        calling = _calling.set(True)
        run_id = run_id_var.set(adoption.run_id or run_id_var.get())
        _mark_span(run_id_var.get())
        failure: BaseException | None = None
        result = None
        try:
            async with asyncio.timeout(adoption.timeout) as limit:
                self._deadline = limit.when()
                result = await generation
        except Exception as error:
            late = isinstance(error, TimeoutError) and limit.expired()
            failure = self._late() if late else self._failed(error)
        finally:
            run_id_var.reset(run_id)
            _calling.reset(calling)
            if failure is not None or result is None:
                adoption.end()
        if failure is not None:
            raise failure
        self._watch(result)
        return result

    def _failed(self, error: Exception) -> BaseException:
        failure = self._adoption.translated(error)
        # The raw endpoint's answer is read before the seam returns, and where it is none (bare
        # text, a list that is not there) Mellea stumbles over it.
        if self._endpoint == "completion" and isinstance(failure, _STUMBLES):
            return self._adoption.unreadable(f"{type(error).__name__}: {error}", error)
        return failure

    def _late(self) -> BaseException:
        target = self._adoption.pipeline.target
        request = ErrorRequest(
            target=target,
            operation="call",
            error=TimeoutError(),
            timeout=self._adoption.timeout,
        )
        return translation.timed_out(request)

    def _watch(self, result: Any) -> None:
        """Follow what the seam returned until the last of its thunks has been generated."""
        adoption = self._adoption
        pending = 0
        ended = _Countdown(adoption.end)
        for thunk in _mellea.thunks(result):
            thunk.__dict__[_REPORT] = self._rendered
            lost = _mellea.lost_error(thunk)
            if lost is not None:
                adoption.end()
                raise adoption.translated(lost)
            task = _mellea.generation_task(thunk)
            if thunk.is_computed():
                continue
            if task is None:  # a raw answer without a text
                adoption.end()
                raise adoption.unreadable("it has no text")
            pending += 1
            ended.expect()
            task.add_done_callback(ended)
            self._follow(thunk, task)
        if not pending:
            adoption.end()

    def _follow(self, thunk: Any, task: asyncio.Task[Any]) -> None:
        adoption = self._adoption
        if self._deadline is not None:
            loop = asyncio.get_running_loop()
            timer = loop.call_at(
                self._deadline, lambda: _mellea.abort(thunk, _as_exception(self._late()))
            )
            task.add_done_callback(lambda _: timer.cancel())
        reader = _Reader(adoption)
        take, finish = _mellea.pending_hooks(thunk)
        if take.function is not None and finish.function is not None:
            take.replace(reader.taking(take.function))
            finish.replace(reader.finishing(finish.function))
        astream = type(thunk).astream

        async def typed_astream() -> Any:
            token = run_id_var.set(adoption.run_id or run_id_var.get())
            try:
                return await astream(thunk)
            except Exception as error:
                # Once computed, only the program's own parsing can fail: that is its own error.
                failure = error if thunk.is_computed() else adoption.translated(error)
                if isinstance(failure, AssertionError) and not reader.pieces:
                    failure = reader.nothing()
            finally:
                run_id_var.reset(token)
                if thunk.is_computed():
                    thunk.__dict__.pop("astream", None)
            if not thunk.is_computed():
                # The queue is empty now; asking it again would wait for ever.
                thunk.__dict__["astream"] = functools.partial(_raise, failure)
            raise failure

        thunk.__dict__["astream"] = typed_astream


def _as_exception(error: BaseException) -> Exception:
    return error if isinstance(error, Exception) else RuntimeError(str(error))


async def _raise(error: BaseException) -> Any:
    raise error


class _Countdown:
    """Calls a function when as many tasks are done as were expected."""

    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function
        self._left = 0

    def expect(self) -> None:
        self._left += 1

    def __call__(self, _: object) -> None:
        self._left -= 1
        if self._left == 0:
            self._function()


class _Reader:
    """Watches Mellea read one answer: where that fails, what came was no answer."""

    def __init__(self, adoption: Adoption) -> None:
        self._adoption = adoption
        self.pieces = 0

    def taking(self, function: _Method) -> _Method:
        """Wrap what Mellea calls with each piece of the answer."""

        @functools.wraps(function)
        async def take(thunk: Any, piece: Any) -> Any:
            self.pieces += 1
            before = thunk._underlying_value or ""
            result = await self._read(function, thunk, piece)
            # SDKs hand over the bare text of an answer that is no JSON, and Mellea ignores it.
            ignored = isinstance(piece, str | bytes) and (thunk._underlying_value or "") == before
            if ignored and piece.strip():
                raise self._adoption.unreadable(f"it is text that begins {piece[:60]!r}")
            return result

        return take

    def finishing(self, function: _Method) -> _Method:
        """Wrap what Mellea calls at the end of the answer."""

        @functools.wraps(function)
        async def finish(thunk: Any) -> Any:
            # An SDK finds no event in a stream that is none, and Mellea calls that an empty text.
            if self.pieces == 0:
                raise self.nothing()
            return await self._read(function, thunk)

        return finish

    def nothing(self) -> BaseException:
        """Return the error for an answer that ended before it began."""
        return self._adoption.unreadable("it ended without a single piece")

    async def _read(self, function: _Method, *arguments: Any) -> Any:
        try:
            return await function(*arguments)
        except Exception as error:
            failure = self._adoption.translated(error)
            if not isinstance(failure, MelleaAPIError):
                failure = self._adoption.unreadable(f"{type(error).__name__}: {error}", error)
        raise failure


def _mark_span(run_id: str | None) -> None:
    """Put the run id on the telemetry span that is open, where OpenTelemetry is in use."""
    import sys

    trace = sys.modules.get("opentelemetry.trace")
    if run_id is not None and trace is not None:
        trace.get_current_span().set_attribute("mellea_api.run_id", run_id)
