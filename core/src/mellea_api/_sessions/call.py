"""One call of a session's backend: its options, its deadline, its errors, its run id.

A call begins in a seam (a method through which Mellea generates) and ends when the last of the
thunks that the seam returned has been generated: what an SDK raises surfaces there, long after
the seam has returned.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
from collections.abc import Callable, Coroutine
from typing import Any, Final

from attrs import define

from mellea_api._contract.errors import AnswerError, ConfigurationError, MelleaAPIError
from mellea_api._contract.option_rule import Endpoint
from mellea_api._options.pipeline import Rendered
from mellea_api._secrecy.logs import run_id_var
from mellea_api._secrecy.secrets import one_line
from mellea_api._secrecy.veil import words_of
from mellea_api._sessions._mellea.seams import (
    abort,
    lost_error,
    model_output,
    tell,
    thunks,
    wrap_reading,
)
from mellea_api._sessions.adoption import ATTRIBUTE, Adoption, begun_calls, reports
from mellea_api._sessions.choices import Choices, check_ends
from mellea_api._sessions.telemetry import mark_span

_STUMBLES: Final = (AssertionError, AttributeError, IndexError, KeyError, TypeError)
_NOTHING: Final = "it ended without a single piece"

Method = Callable[..., Coroutine[Any, Any, Any]]

current_call: Final[contextvars.ContextVar[Call | None]] = contextvars.ContextVar(
    "mellea_api_calling", default=None
)
"""The call whose seam is at work: Mellea must then find no options but those it is handed."""


class Normalized(dict[str, Any]):
    """Options that have been through the pipeline; the mark keeps it from happening twice."""


def seam_of(original: Method, endpoint: Endpoint) -> Method:
    """Return what overrides one of the methods through which Mellea generates."""

    @functools.wraps(original)
    async def seam(self: Any, *args: Any, **kwargs: Any) -> Any:
        options = kwargs.get("model_options")
        if type(options) is Normalized:
            return await original(self, *args, **kwargs)
        if asyncio._get_running_loop() is None:  # trio's, say
            raise ConfigurationError(
                "Cannot call Mellea's asynchronous methods outside asyncio.",
                next_step="Call the synchronous ones, in a thread (trio.to_thread.run_sync).",
            )
        adoption: Adoption = self.__dict__[ATTRIBUTE]
        defaults = begun_calls.get().get(adoption)
        rendered = adoption.last = adoption.pipeline.render(options, endpoint, defaults)
        kwargs["model_options"] = Normalized(rendered.options)
        adoption.begin()
        return await Call(adoption, rendered, endpoint).run(original(self, *args, **kwargs))

    return seam


@define(eq=False)
class Call:
    """One generation, from the seam until its thunks have their values.

    Args:
        adoption: What the core keeps with the backend. The call was counted in.
        rendered: The call's options.
        endpoint: Whether it is a chat or a raw prompt.
        deadline: When it must end, by the event loop's clock; set as it begins.
        in_seam: Whether the seam is still at work. Tasks that begin in a seam inherit its
            context and outlive it, so the call itself must know.
        followed: How many thunks are generated after the seam.
    """

    adoption: Adoption
    rendered: Rendered
    endpoint: Endpoint
    deadline: float | None = None
    in_seam: bool = True
    followed: int = 0

    async def run(self, generation: Coroutine[Any, Any, Any]) -> Any:
        """Run what a seam of Mellea does, and follow the thunks that it returns."""
        adoption = self.adoption
        calling = current_call.set(self)
        run_id = run_id_var.set(adoption.run_id or run_id_var.get())
        if run_id_var.get() is not None:
            mark_span()
        try:
            async with asyncio.timeout(adoption.timeout) as limit:
                self.deadline = limit.when()
                result = await generation
        except Exception as error:
            if limit.expired() and isinstance(error, TimeoutError):
                failure = adoption.late()
            # The raw endpoint's answer is read before the seam returns, and Mellea stumbles over
            # one that is malformed (bare text, a list that is not there).
            elif self.endpoint == "completion" and isinstance(error, _STUMBLES):
                failure = adoption.translated(error, reading=True)
            else:
                failure = adoption.translated(error)
        except (SystemExit, asyncio.CancelledError) as error:
            # SystemExit would end the event loop with every call that runs there. A cancellation
            # may come from a timeout or a task group inside an SDK.
            cancelled = isinstance(error, asyncio.CancelledError)
            if cancelled and _was_told_to_stop(asyncio.current_task()):
                raise
            failure = adoption.translated(error)
        else:
            for thunk in thunks(result):
                reports[thunk] = self.rendered
                if thunk.is_computed():
                    self._check(thunk)
                else:
                    Following(self, thunk)
            return result
        finally:
            run_id_var.reset(run_id)
            current_call.reset(calling)
            self.in_seam = False
            if not self.followed:
                adoption.end()
        raise failure

    def _check(self, thunk: Any) -> None:
        """Raise the error of an answer that was there when the seam returned."""
        error = lost_error(thunk)
        try:
            check_ends(model_output(thunk), self.adoption.filters)
        except MelleaAPIError as failure:
            error = error or failure
        if error is not None:
            raise self.adoption.translated(error)


class Following:
    """Watches one thunk of a call until it has its value.

    Args:
        call: The call.
        thunk: Mellea's thunk; its `astream`, and the functions that read its answer, are wrapped.

    Raises:
        AnswerError: If nothing generates it.
    """

    def __init__(self, call: Call, thunk: Any) -> None:
        self._call = call
        self._adoption = call.adoption
        self._thunk = thunk
        self._pieces = 0
        self._choices = Choices(call.adoption.filters)
        task, self._take, self._finish = wrap_reading(thunk, self.take, self.finish)
        if task is None:  # a raw answer without a text
            raise self._adoption.translated(AnswerError("it has no text"))
        call.followed += 1
        self._timer: asyncio.TimerHandle | None = None
        if call.deadline is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(call.deadline, self.on_deadline)
        task.add_done_callback(self.on_done)
        thunk.__dict__["astream"] = self.astream

    def on_deadline(self) -> None:
        """End the generation."""
        abort(self._thunk, self._adoption.late())

    def on_done(self, task: asyncio.Task[Any]) -> None:
        """Count the thunk out, and tell its reader if the generation broke off silently."""
        self._call.followed -= 1
        if not self._call.followed:  # the seam returned long ago
            self._adoption.end()
        if self._timer is not None:
            self._timer.cancel()
        error: BaseException | None
        if not task.cancelled():
            error = task.exception()
        else:
            error = None if _was_told_to_stop(task) else asyncio.CancelledError()
        if error is not None:
            tell(self._thunk, self._adoption.translated(error))

    async def astream(self) -> Any:
        """Return what Mellea's `astream` returns, and raise our errors."""
        adoption, thunk = self._adoption, self._thunk
        run_id = run_id_var.set(adoption.run_id or run_id_var.get())
        try:
            text = await type(thunk).astream(thunk)
            answer = thunk.parsed_repr if thunk.is_computed() else thunk
            # A string, or a program's own type, is a value; one of Mellea's is the answer itself.
            if type(answer).__module__.startswith("mellea."):
                reports[answer] = self._call.rendered
            return text
        except asyncio.CancelledError:
            # As with a task that is waited for: it would go on, and keep its connection.
            if _was_told_to_stop(asyncio.current_task()):
                abort(thunk, RuntimeError("whoever waited for it was cancelled"))
            raise
        except Exception as error:
            failure = self._failure(error)
        finally:
            run_id_var.reset(run_id)
            if thunk.is_computed():
                thunk.__dict__.pop("astream", None)
        if not thunk.is_computed():
            # The queue is empty now; asking it again would wait for ever.
            thunk.__dict__["astream"] = functools.partial(_raise, failure)
        raise failure

    def _failure(self, error: Exception) -> Exception:
        if isinstance(error, AssertionError) and not self._pieces:
            error = AnswerError(_NOTHING)
        elif "Invalid role None" in words_of(error):
            # Mellea's words for an answer that LiteLLM made of a page without an event.
            error = AnswerError("nobody says whose words it has")
        elif self._thunk.is_computed() and not isinstance(error, MelleaAPIError):
            return error  # the program's own: only its parsing can fail now
        return self._adoption.translated(error)

    async def take(self, thunk: Any, piece: Any) -> Any:
        """Have Mellea read a piece of the answer."""
        self._pieces += 1
        before = thunk._underlying_value or ""
        result = None
        try:
            if self._choices.read(piece):
                result = await self._take(thunk, piece)
            else:  # it may have the usage
                with contextlib.suppress(IndexError):
                    await self._take(thunk, piece)
        except Exception as error:
            failure = self._adoption.translated(error, reading=True)
        else:
            # SDKs return the bare text of an answer that is not JSON, and Mellea ignores it.
            ignored = isinstance(piece, str | bytes) and (thunk._underlying_value or "") == before
            if ignored and piece.strip():
                raise AnswerError(f"it is text that begins {one_line(piece, 60)!r}")
            return result
        raise failure

    async def finish(self, thunk: Any) -> Any:
        """Have Mellea finish the answer."""
        # An SDK finds no event in a malformed stream, and Mellea calls that an empty text.
        if not self._pieces:
            raise AnswerError(_NOTHING)
        try:
            self._choices.finish(thunk._underlying_value or "")
            return await self._finish(thunk)
        except Exception as error:
            failure = self._adoption.translated(error, reading=True)
        raise failure

    def __deepcopy__(self, memo: dict[int, Any]) -> Following:
        return self  # it stays with its thunk


def _was_told_to_stop(task: asyncio.Task[Any] | None) -> bool:
    return task is None or task.cancelling() > 0


async def _raise(error: BaseException) -> Any:
    raise error
