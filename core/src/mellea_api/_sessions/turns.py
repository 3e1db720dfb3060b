"""One call at a time in a conversation, and the run id of a session's calls.

Each call of a conversation continues the context that it found, and leaves a longer one. If two
overlap, the first to end loses its turn silently.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import inspect
import os
from collections.abc import Callable, Iterator
from typing import Any, Final

from mellea_api._contract.errors import ConcurrentUseError
from mellea_api._secrecy.logs import current_run_id, under_run
from mellea_api._sessions._mellea.sessions import is_simple
from mellea_api._sessions.adoption import adoption_of

RUN_ID: Final = "_mellea_api_run_id"
"""The attribute of a session that holds its run id."""
LEAVE_A_CONTEXT: Final = frozenset(
    name
    for verb in ("act", "chat", "instruct", "query", "transform")
    for name in (verb, f"a{verb}")
)
"""The methods of a session that continue its conversation."""

_ALTERNATIVE: Final = "or give each thread or task a session.clone() of its own"
_speaking: Final[dict[int, object]] = {}
"""By the id of a session or runtime, the token of the call that it is in."""
if hasattr(os, "register_at_fork"):  # the child does not go on with its parent's calls
    os.register_at_fork(after_in_child=_speaking.clear)
_own: Final[contextvars.ContextVar[tuple[object, ...]]] = contextvars.ContextVar(
    "mellea_api_own_turns", default=()
)


@contextlib.contextmanager
def turn(owner: object, *, backend: str | None, alternative: str) -> Iterator[object]:
    """Keep other calls out of a conversation.

    Args:
        owner: The session or runtime whose conversation it is.
        backend: The backend's name, for the error.
        alternative: What to do instead of waiting: the end of a sentence.

    Raises:
        ConcurrentUseError: If another call is in it.
    """
    token = object()
    if _speaking.setdefault(id(owner), token) is not token:  # in one step, for threads
        raise ConcurrentUseError(
            "Cannot make this call: another one is in the same conversation, and one of them "
            "would lose its turn.",
            next_step=f"Wait for it, {alternative}.",
            backend=backend,
        )
    try:
        yield token
    finally:
        _speaking.pop(id(owner), None)


@contextlib.contextmanager
def session_turn(session: Any) -> Iterator[object]:
    """Keep other calls out of a session's conversation, if it is one.

    Raises:
        ConcurrentUseError: If another call is in it.
    """
    if is_simple(session.ctx):
        yield object()
        return
    adoption = adoption_of(session.backend)
    backend = None if adoption is None else adoption.pipeline.target.backend
    with turn(session, backend=backend, alternative=_ALTERNATIVE) as token:
        yield token


def in_turn(function: Callable[..., Any], leaves_a_context: bool) -> Callable[..., Any]:
    """Return a session's method, called under the session's run id and in its turn.

    Args:
        function: The method of Mellea's class.
        leaves_a_context: Whether it continues the conversation.
    """
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def call_async(self: Any, *args: Any, **kwargs: Any) -> Any:
            with _call(self, leaves_a_context):
                return await function(self, *args, **kwargs)

        return call_async

    @functools.wraps(function)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        with _call(self, leaves_a_context):
            return function(self, *args, **kwargs)

    return call


@contextlib.contextmanager
def _call(session: Any, leaves_a_context: bool) -> Iterator[None]:
    # A requirement, or a tool, may ask the session that it is called for: it is in its turn.
    inside = _speaking.get(id(session)) in _own.get()
    with contextlib.ExitStack() as stack:
        if leaves_a_context and not inside:
            token = stack.enter_context(session_turn(session))
            stack.callback(_own.reset, _own.set((*_own.get(), token)))
        stack.enter_context(under_run(session.__dict__.get(RUN_ID) or current_run_id()))
        yield
