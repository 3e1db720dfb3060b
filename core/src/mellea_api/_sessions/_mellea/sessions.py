"""How a session begins, what context it has, and how it is sent a message."""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
import sys
import uuid
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from attrs import evolve

from mellea_api._contract.errors import ConfigurationError
from mellea_api._contract.requests import SessionRequest

if TYPE_CHECKING:
    import asyncio


def new_context(context: Any) -> Any:
    """Return Mellea's context for `simple` or `chat`; a context that is given stays itself."""
    _import_mellea()
    from mellea.core import Context
    from mellea.stdlib.context import ChatContext, SimpleContext

    if isinstance(context, Context):
        return context
    for name, kind in (("simple", SimpleContext), ("chat", ChatContext)):
        if context == name:
            return kind()
    raise ConfigurationError(
        f"Cannot start a session with the context {context!r}.",
        next_step="Use 'simple', 'chat' or a Context of Mellea.",
    )


def apply_context(session: Any, context: Any) -> None:
    """Give a new session its context, without counting that as an interaction."""
    if isinstance(getattr(type(session), "ctx", None), property):
        session._ctx = context
        if hasattr(session, "_auto_bind_model"):
            session._auto_bind_model()
    else:
        session.ctx = context


def forget(session: Any) -> None:
    """Give a session an empty context; also a simple one links each call to the one before."""
    context = session.ctx
    apply_context(session, getattr(context, "new_instance", context.reset_to_new)())


def is_simple(context: Any) -> bool:
    """Return whether a context shows a model nothing of what was said before."""
    from mellea.stdlib.context import SimpleContext

    view = getattr(type(context), "view_for_generation", None)
    return isinstance(context, SimpleContext) and view is SimpleContext.view_for_generation


def loggers() -> list[logging.Logger]:
    """Return Mellea's own loggers, so that their records can carry the run id."""
    import mellea.core as core

    kind = getattr(core, "MelleaLogger", None) or getattr(core, "FancyLogger", None)
    return [kind.get_logger()] if kind is not None else []


def _import_mellea() -> None:
    """Import Mellea without asking anybody.

    Mellea 0.6 imports LiteLLM wherever that is installed, and LiteLLM fetches its list of models
    and prices while it is imported, if it is not told to take that of its package.
    """
    variable = "LITELLM_LOCAL_MODEL_COST_MAP"
    if "mellea" in sys.modules or variable in os.environ:
        return
    os.environ[variable] = "True"
    try:
        import mellea  # noqa: F401
    finally:
        del os.environ[variable]


@contextlib.contextmanager
def starting(request: SessionRequest) -> Iterator[str]:
    """Trace the start of a session, as Mellea's own `start_session` does from 0.7 on.

    Args:
        request: The session asked for, with a context of Mellea.

    Yields:
        The id that the session will have.
    """
    session_id = str(uuid.uuid4())
    try:
        from mellea.telemetry.tracing import (
            finish_session_startup_span,
            start_session_startup_span,
        )
    except ImportError:
        yield session_id
        return
    start_session_startup_span(
        session_id,
        backend=request.target.backend,
        model_id=request.target.model_id,
        context_type=type(request.context).__name__,
    )
    try:
        yield session_id
    except BaseException as error:
        finish_session_startup_span(session_id, exception=error)
        raise
    finish_session_startup_span(session_id)


def prepare_start(request: SessionRequest, session_id: str) -> SessionRequest:
    """Do what Mellea's own `start_session` does before it builds a backend.

    Mellea's plugins may change the model and the options of a session that is about to start.

    Args:
        request: The session asked for, with a context of Mellea.
        session_id: The id that it will have.

    Returns:
        The request to go on with.

    Raises:
        ConfigurationError: If the installed Mellea lacks an argument that was given, or cannot
            work in this process.
    """
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.saved:
        raise ConfigurationError(
            "Cannot start a session: gevent has patched Python, and Mellea's event loop, which "
            "needs a thread, would wait for ever.",
            next_step="Use Mellea in a process without gevent.monkey.",
        )
    from mellea.stdlib import session

    for name in request.session_arguments:
        takers = (session.start_session, session.MelleaSession)
        if not any(name in inspect.signature(taker).parameters for taker in takers):
            raise ConfigurationError(
                f"Cannot start the session: the installed Mellea has no {name}=.",
                next_step=f"Upgrade it (pip install --upgrade mellea), or leave {name} out.",
                backend=request.target.backend,
            )
    if not _has_plugins("SESSION_PRE_INIT"):
        return request
    from mellea.plugins.hooks.session import SessionPreInitPayload

    payload = SessionPreInitPayload(
        session_id=session_id,
        backend_name=request.target.backend,
        model_id=request.target.model_id,
        model_options=dict(request.options),
        context_type=type(request.context).__name__,
    )
    payload = _ask_plugins("SESSION_PRE_INIT", payload)
    return evolve(
        request,
        target=evolve(request.target, model_id=payload.model_id),
        options=dict(payload.model_options or {}),
    )


def finish_start(session: Any, model_id: str, arguments: Mapping[str, Any]) -> None:
    """Do what Mellea's own `start_session` does after it has built the session.

    Args:
        session: The session.
        model_id: Its model.
        arguments: `plugins` and `allow_context_type_change`, where they were given.
    """
    if "allow_context_type_change" in arguments:
        session.allow_context_type_change = arguments["allow_context_type_change"]
    if arguments.get("plugins"):
        from mellea.plugins.registry import register

        register(arguments["plugins"], session_id=session.id)
    if _has_plugins("SESSION_POST_INIT"):
        from mellea.plugins.hooks.session import SessionPostInitPayload

        payload = SessionPostInitPayload(
            session_id=session.id, model_id=model_id, context=session.ctx
        )
        _ask_plugins("SESSION_POST_INIT", payload, backend=session.backend)


async def send_message(session: Any, prompt: str, options: dict[str, Any]) -> tuple[Any, Any]:
    """Start the answer to a message of the user, as `session.achat` does, and do not wait for it.

    Args:
        session: Mellea's session; its context is not changed.
        prompt: The message's text.
        options: Model options of the call.

    Returns:
        The thunk that is being generated, and the context with the message and the thunk.
    """
    from mellea.stdlib import functional
    from mellea.stdlib.components.chat import Message

    message = Message("user", prompt)
    known = inspect.signature(functional.aact).parameters
    if "await_result" not in known:  # up to 0.3 it always waits, and does nothing else
        found: tuple[Any, Any] = await session.backend.generate_from_context(
            message, ctx=session.ctx, model_options=options
        )
        return found
    allowed = getattr(session, "allow_context_type_change", None)
    answer: tuple[Any, Any] = await functional.aact(
        message,
        context=session.ctx,
        backend=session.backend,
        strategy=None,
        model_options=options,
        silence_context_type_warning=True,
        **({} if allowed is None else {"allow_context_type_change": allowed}),
    )
    return answer


def event_loop() -> asyncio.AbstractEventLoop:
    """Return the loop, running in a thread of its own, on which Mellea's synchronous calls run.

    The clients of a backend belong to the loop that used them first, so that what waits for a
    backend in synchronous code must wait there.

    Raises:
        ConfigurationError: If the caller is running on that very loop, and would block it.
    """
    import asyncio  # which the questions before a session do without

    from mellea.helpers import _run_async_in_thread

    async def running() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    found: asyncio.AbstractEventLoop = _run_async_in_thread(running())
    # To its own thread Mellea lends another loop, made for one call.
    if asyncio._get_running_loop() is not None and _run_async_in_thread(running()) is not found:
        raise ConfigurationError(
            "Cannot stream synchronously from inside Mellea's own event loop.",
            next_step="Use the asynchronous function there.",
        )
    return found


def _has_plugins(hook: str) -> bool:
    try:
        from mellea.plugins.manager import has_plugins
        from mellea.plugins.types import HookType
    except ImportError:
        return False
    return bool(has_plugins(HookType[hook]))


def _ask_plugins(hook: str, payload: Any, **arguments: Any) -> Any:
    from mellea.helpers import _run_async_in_thread
    from mellea.plugins.manager import invoke_hook
    from mellea.plugins.types import HookType

    return _run_async_in_thread(invoke_hook(HookType[hook], payload, **arguments))[1]
