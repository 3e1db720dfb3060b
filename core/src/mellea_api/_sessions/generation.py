"""One call of an adopted backend: its options, its deadline, its errors, its run id.

A call begins in a seam (a method through which Mellea generates) and ends when the last of the
thunks that the seam returned has been generated: what an SDK raises surfaces there, long after
the seam has returned.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import weakref
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final

from mellea_api._contract.descriptor import Endpoint
from mellea_api._contract.errors import MelleaAPIError
from mellea_api._contract.requests import ErrorRequest
from mellea_api._options.pipeline import Rendered
from mellea_api._provider import refusals as translation
from mellea_api._secrecy.logs import run_id_var
from mellea_api._sessions import _mellea
from mellea_api._sessions.telemetry import mark_span

if TYPE_CHECKING:
    from mellea_api._sessions.adoption import Adoption


ATTRIBUTE: Final = "_mellea_api"
"""The attribute of an adopted backend that holds its `Adoption`."""

_REPORT: Final = "_mellea_api_report"
_reports: weakref.WeakKeyDictionary[Any, Rendered] = weakref.WeakKeyDictionary()


def rendered_of(answer: Any) -> Rendered | None:
    """Return the options of the call that an answer came from: a thunk, or Mellea's message."""
    found = getattr(answer, "__dict__", {}).get(_REPORT)
    if isinstance(found, Rendered):
        return found
    try:
        return _reports.get(answer)
    except TypeError:  # not hashable, or not to be referred to weakly
        return None


def _remember(answer: Any, rendered: Rendered) -> None:
    """Remember what an answer was made with, beside it: a program may copy or pickle it."""
    # Strings and a program's own types are values; Mellea's objects are the answers themselves.
    if type(answer).__module__.startswith("mellea."):
        _reports[answer] = rendered


calling_var: Final[contextvars.ContextVar[Call | None]] = contextvars.ContextVar(
    "mellea_api_calling", default=None
)
"""The call whose seam is at work: Mellea must then find no options but those it is handed."""

_STUMBLES: Final = (AssertionError, AttributeError, IndexError, KeyError, TypeError)

Method = Callable[..., Coroutine[Any, Any, Any]]


class Normalized(dict[str, Any]):
    """Options that have been through the pipeline; the mark keeps it from happening twice."""


def seam_of(original: Method, endpoint: Endpoint) -> Method:
    """Return what overrides one of the methods through which Mellea generates."""

    @functools.wraps(original)
    async def seam(self: Any, *args: Any, **kwargs: Any) -> Any:
        options = kwargs.get("model_options")
        if type(options) is Normalized:
            return await original(self, *args, **kwargs)
        adoption: Adoption = self.__dict__[ATTRIBUTE]
        rendered = adoption.render(options, endpoint)
        kwargs["model_options"] = Normalized(rendered.options)
        return await Call(adoption, rendered, endpoint).run(original(self, *args, **kwargs))

    return seam


class Call:
    """One generation, from the seam until its thunks have their values.

    Args:
        adoption: What the core keeps with the backend.
        rendered: The call's options.
        endpoint: Whether it is a chat or a raw prompt.

    Attributes:
        in_seam: Whether the seam is still at work.
    """

    def __init__(self, adoption: Adoption, rendered: Rendered, endpoint: Endpoint) -> None:
        self._adoption = adoption
        self._rendered = rendered
        self._endpoint = endpoint
        self._deadline: float | None = None
        # Tasks that begin in a seam inherit its context and outlive it: the call itself knows.
        self.in_seam = True

    async def run(self, generation: Coroutine[Any, Any, Any]) -> Any:
        """Run what a seam of Mellea does, and follow the thunks that it returns."""
        adoption = self._adoption
        try:
            adoption.begin()
        except BaseException:
            generation.close()
            raise
        calling = calling_var.set(self)
        run_id = run_id_var.set(adoption.run_id or run_id_var.get())
        mark_span()
        failure: BaseException | None = None
        limit: asyncio.Timeout | None = None
        result = None
        try:
            if adoption.timeout is None:
                result = await generation
            else:
                async with asyncio.timeout(adoption.timeout) as limit:
                    self._deadline = limit.when()
                    result = await generation
        except Exception as error:
            late = limit is not None and limit.expired() and isinstance(error, TimeoutError)
            failure = self._late() if late else self._failed(error)
        except (SystemExit, asyncio.CancelledError) as error:
            # The one would end the event loop, and with it each call that runs there; the other
            # may be a timeout or a task group of an SDK's, gone astray.
            cancelled = isinstance(error, asyncio.CancelledError)
            if cancelled and _was_told_to_stop(asyncio.current_task()):
                raise
            failure = adoption.broken(error)
        finally:
            run_id_var.reset(run_id)
            calling_var.reset(calling)
            self.in_seam = False
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
                if _is_filtered(_mellea.model_output(thunk)):
                    adoption.end()
                    raise adoption.filtered()
                continue
            if task is None:  # a raw answer without a text
                adoption.end()
                raise adoption.unreadable("it has no text")
            pending += 1
            ended.expect()
            task.add_done_callback(ended)
            task.add_done_callback(functools.partial(self._tell, thunk))
            self._follow(thunk, task)
        if not pending:
            adoption.end()

    def _tell(self, thunk: Any, task: asyncio.Task[Any]) -> None:
        """Tell whoever waits for a thunk that its generation broke off without a word."""
        error: BaseException | None
        if not task.cancelled():
            error = task.exception()
        elif not _was_told_to_stop(task):
            error = asyncio.CancelledError()
        else:
            return
        if isinstance(error, Exception):
            _mellea.tell(thunk, _as_exception(self._adoption.translated(error)))
        elif error is not None:
            _mellea.tell(thunk, self._adoption.broken(error))

    def _follow(self, thunk: Any, task: asyncio.Task[Any]) -> None:
        adoption = self._adoption
        if self._deadline is not None:
            loop = asyncio.get_running_loop()
            timer = loop.call_at(
                self._deadline, lambda: _mellea.abort(thunk, _as_exception(self._late()))
            )
            task.add_done_callback(lambda _: timer.cancel())
        reader = Reader(adoption)
        take, finish = _mellea.pending_hooks(thunk)
        if take.function is not None and finish.function is not None:
            take.replace(reader.taking(take.function))
            finish.replace(reader.finishing(finish.function))
        astream = type(thunk).astream

        async def typed_astream() -> Any:
            token = run_id_var.set(adoption.run_id or run_id_var.get())
            try:
                text = await astream(thunk)
                if thunk.is_computed():
                    _remember(thunk.parsed_repr, self._rendered)
                return text
            except asyncio.CancelledError:
                # As of a task that is waited for: it would else go on, and hold its connection.
                if _was_told_to_stop(asyncio.current_task()):
                    _mellea.abort(thunk, RuntimeError("whoever waited for it was cancelled"))
                raise
            except Exception as error:
                # Once computed, only the program's own parsing can fail: that is its own error.
                foreign = thunk.is_computed() and not isinstance(error, MelleaAPIError)
                failure = error if foreign else adoption.translated(error)
                if foreign and "Invalid role None" in str(error):
                    # Mellea's words of an answer that LiteLLM made of a page without an event.
                    failure = adoption.unreadable("nobody says whose words it has", error)
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


def _was_told_to_stop(task: asyncio.Task[Any] | None) -> bool:
    return task is None or task.cancelling() > 0


def _as_exception(error: BaseException) -> Exception:
    return error if isinstance(error, Exception) else RuntimeError(str(error))


async def _raise(error: BaseException) -> Any:
    raise error


def _is_filtered(answer: Any) -> bool:
    """Return whether an answer, or a piece of it, says that a content filter ended it.

    All providers that say so say it as OpenAI does, in an object of an SDK or a dict.
    """
    choices = _field(answer, "choices")
    found = choices if isinstance(choices, list) else ()
    return any(_field(one, "finish_reason") == "content_filter" for one in found)


def _field(of: Any, name: str) -> Any:
    return of.get(name) if isinstance(of, Mapping) else getattr(of, name, None)


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


class Reader:
    """Watches Mellea read one answer: where that fails, what came was no answer."""

    def __init__(self, adoption: Adoption) -> None:
        self._adoption = adoption
        self.pieces = 0

    def taking(self, function: Method) -> Method:
        """Wrap what Mellea calls with each piece of the answer."""

        async def take(thunk: Any, piece: Any) -> Any:
            self.pieces += 1
            before = thunk._underlying_value or ""
            result = await self._read(function, thunk, piece)
            # SDKs hand over the bare text of an answer that is no JSON, and Mellea ignores it.
            ignored = isinstance(piece, str | bytes) and (thunk._underlying_value or "") == before
            if ignored and piece.strip():
                raise self._adoption.unreadable(f"it is text that begins {piece[:60]!r}")
            if _is_filtered(piece):
                raise self._adoption.filtered()
            return result

        return take

    def finishing(self, function: Method) -> Method:
        """Wrap what Mellea calls at the end of the answer."""

        async def finish(thunk: Any) -> Any:
            # An SDK finds no event in a stream that is none, and Mellea calls that an empty text.
            if self.pieces == 0:
                raise self.nothing()
            return await self._read(function, thunk)

        return finish

    def nothing(self) -> BaseException:
        """Return the error for an answer that ended before it began."""
        return self._adoption.unreadable("it ended without a single piece")

    async def _read(self, function: Method, *arguments: Any) -> Any:
        try:
            return await function(*arguments)
        except Exception as error:
            failure = self._adoption.translated(error)
            if not isinstance(failure, MelleaAPIError):
                failure = self._adoption.unreadable(f"{type(error).__name__}: {error}", error)
        raise failure
