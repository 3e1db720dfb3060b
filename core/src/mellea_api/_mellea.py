"""The seams of Mellea, from 0.3.0 to the newest: all that differs between versions is here.

Differences are detected by feature, not by version number. Nothing in this module imports
Mellea until a function is called.

- `generate_from_context` is the method to override up to 0.3.2, `_generate_from_context` after;
  likewise `generate_from_raw` (a list) up to 0.6, `_generate_from_raw` (a tuple) after.
- A thunk keeps what belongs to its generation in attributes of its own up to 0.6, and in
  `_gen` and `_call` from 0.7.
- `astream` gives the text so far up to 0.4, and what is new from 0.5.
- `aact` waits for its answer up to 0.3, and only where told from 0.4.
- A session's context is an attribute, and from 0.8 a property that counts interactions.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import logging
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final

from attrs import evolve

from mellea_api.descriptor import Endpoint
from mellea_api.errors import ConfigurationError
from mellea_api.requests import SessionRequest

__all__ = [
    "Hook",
    "abort",
    "apply_context",
    "astream_accumulates",
    "close",
    "finish_start",
    "generation_task",
    "loggers",
    "lost_error",
    "model_name",
    "new_context",
    "pending_hooks",
    "prepare_start",
    "raw_returns_usage",
    "seams",
    "send_message",
    "thunks",
    "version",
    "wire_thunk",
]

_SEAMS: Final[tuple[tuple[str, str, Endpoint], ...]] = (
    ("_generate_from_context", "generate_from_context", "chat"),
    ("_generate_from_raw", "generate_from_raw", "completion"),
)


def version() -> str:
    """Return the installed version of Mellea, without importing it; empty if there is none."""
    import importlib_metadata

    try:
        return importlib_metadata.version("mellea")
    except importlib_metadata.PackageNotFoundError:
        return ""


def seams(cls: type) -> Iterator[tuple[str, Endpoint]]:
    """Yield the methods of a backend class through which every generation goes.

    Args:
        cls: A subclass of Mellea's `Backend`.
    """
    for private, public, endpoint in _SEAMS:
        if hasattr(cls, private):
            yield private, endpoint
        elif hasattr(cls, public):
            yield public, endpoint
    if hasattr(cls, "generate_from_chat_context"):
        yield "generate_from_chat_context", "chat"


def thunks(result: Any) -> list[Any]:
    """Return the thunks in what a seam returned, whatever its shape."""
    from mellea.core import ModelOutputThunk

    if isinstance(result, ModelOutputThunk):
        return [result]
    first = result[0] if isinstance(result, tuple) and result else result
    if isinstance(first, ModelOutputThunk):
        return [first]
    if isinstance(first, list):
        return [item for item in first if isinstance(item, ModelOutputThunk)]
    return []


def _generation(thunk: Any) -> tuple[Any, str]:
    """Return where a thunk keeps its generation, and the prefix of the names there."""
    gen = getattr(thunk, "_gen", None)
    return (thunk, "_") if gen is None else (gen, "")


def generation_task(thunk: Any) -> asyncio.Task[Any] | None:
    """Return the task that generates a thunk's value, or None."""
    holder, prefix = _generation(thunk)
    task = getattr(holder, f"{prefix}generate", None)
    return task if isinstance(task, asyncio.Task) else None


def _queue(thunk: Any) -> asyncio.Queue[Any]:
    holder, _ = _generation(thunk)
    queue: asyncio.Queue[Any] = getattr(holder, "queue", None) or thunk._async_queue
    return queue


def abort(thunk: Any, error: Exception) -> bool:
    """End a generation that is still going on; whoever waits for the thunk gets the error.

    Args:
        thunk: The thunk.
        error: What its `astream` and `avalue` will raise.

    Returns:
        Whether there was anything to end.
    """
    task = generation_task(thunk)
    if task is None or task.done() or thunk.is_computed():
        return False
    hook = getattr(_generation(thunk)[0], "cancel_hook", None)
    if callable(hook):
        hook()
    task.cancel()
    queue = _queue(thunk)
    while True:
        try:
            queue.put_nowait(error)
            return True
        except asyncio.QueueFull:
            queue.get_nowait()


class Hook:
    """The two functions that Mellea calls on a thunk while its answer arrives, to be wrapped."""

    def __init__(self, thunk: Any, name: str) -> None:
        self._holder, prefix = _generation(thunk)
        self._name = f"{prefix}{name}"

    @property
    def function(self) -> Callable[..., Coroutine[Any, Any, Any]] | None:
        """The function that is there now."""
        found: Callable[..., Coroutine[Any, Any, Any]] | None = getattr(
            self._holder, self._name, None
        )
        return found

    def replace(self, function: Callable[..., Coroutine[Any, Any, Any]]) -> None:
        """Put another one in its place."""
        setattr(self._holder, self._name, function)


def pending_hooks(thunk: Any) -> tuple[Hook, Hook]:
    """Return the hooks that take a piece of the answer, and that finish it."""
    return Hook(thunk, "process"), Hook(thunk, "post_process")


def lost_error(thunk: Any) -> BaseException | None:
    """Return the error that Mellea put aside and returned an empty answer for, if it did."""
    log = getattr(thunk, "_generate_log", None)
    found = (getattr(log, "extra", None) or {}).get("error")
    return found if isinstance(found, BaseException) else None


def wire_thunk(
    action: Any,
    context: Any,
    options: dict[str, Any],
    produce: Callable[[Callable[[str], Coroutine[Any, Any, None]]], Coroutine[Any, Any, None]],
    *,
    backend: str,
    model_id: str,
    prompt: Any,
) -> Any:
    """Return an uncomputed thunk whose text is produced by a task that starts now.

    Args:
        action: What is being answered.
        context: Mellea's context before it, as a list, or None.
        options: The options of the call.
        produce: Runs the generation; is given a coroutine function that takes each piece.
        backend: The backend's name, for logs and metadata.
        model_id: The model's name, likewise.
        prompt: What was sent, for Mellea's generate log.
    """
    from mellea.core import GenerateLog, GenerateType, ModelOutputThunk

    thunk: Any = ModelOutputThunk(None)
    call = getattr(thunk, "_call", None)
    holder, prefix = (thunk, "_") if call is None else (call, "")
    setattr(holder, f"{prefix}context", context)
    setattr(holder, f"{prefix}action", action)
    setattr(holder, f"{prefix}model_options", options)
    queue = _queue(thunk)

    async def process(thunk: Any, piece: str) -> None:
        thunk._underlying_value = (thunk._underlying_value or "") + piece

    async def post_process(thunk: Any) -> None:
        log = GenerateLog()
        log.prompt = prompt
        log.backend = f"{backend}::{model_id}"
        log.model_options = options
        log.model_output = thunk._underlying_value
        log.action = action
        log.result = thunk
        thunk._generate_log = log
        metadata = getattr(thunk, "generation", None)
        if metadata is not None:
            metadata.model, metadata.provider = model_id, backend

    async def run() -> None:
        try:
            await produce(queue.put)
            await queue.put("")  # an answer of no text is an answer too
            await queue.put(None)
        except Exception as error:
            await queue.put(error)

    generation, prefix = _generation(thunk)
    setattr(generation, f"{prefix}process", process)
    setattr(generation, f"{prefix}post_process", post_process)
    setattr(generation, f"{prefix}generate", asyncio.create_task(run()))
    setattr(generation, f"{prefix}generate_type", GenerateType.ASYNC)
    return thunk


def raw_returns_usage() -> bool:
    """Return whether the raw seam answers with a tuple of thunks and usage, or thunks alone."""
    from mellea.core import Backend

    return hasattr(Backend, "_generate_from_raw")


def astream_accumulates() -> bool:
    """Return whether `astream` gives the whole text so far, rather than what is new."""
    from mellea.core import ModelOutputThunk

    return "beginning_length" not in ModelOutputThunk.astream.__code__.co_varnames


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
    found = await functional.aact(
        message,
        context=session.ctx,
        backend=session.backend,
        strategy=None,
        model_options=options,
        silence_context_type_warning=True,
        **({} if allowed is None else {"allow_context_type_change": allowed}),
    )
    return found


def event_loop() -> asyncio.AbstractEventLoop:
    """Return the loop, running in a thread of its own, on which Mellea's synchronous calls run.

    The clients of a backend belong to the loop that used them first, so that what waits for a
    backend in synchronous code must wait there.

    Raises:
        ConfigurationError: If the caller is running on that very loop, and would block it.
    """
    from mellea.helpers import _run_async_in_thread

    async def running() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    try:
        current = asyncio.get_running_loop()
    except RuntimeError:
        return _run_async_in_thread(running())  # type: ignore[no-any-return]
    # Asked from its own thread, Mellea would answer with another loop, made for this call.
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        found: asyncio.AbstractEventLoop = thread.submit(
            lambda: _run_async_in_thread(running())
        ).result()
    if found is current:
        raise ConfigurationError(
            "Cannot stream synchronously from inside Mellea's own event loop.",
            next_step="Use the asynchronous function there.",
        )
    return found


def new_context(context: Any) -> Any:
    """Return Mellea's context for `simple` or `chat`; a context that is given stays itself."""
    if context == "simple":
        from mellea.stdlib.context import SimpleContext

        return SimpleContext()
    if context == "chat":
        from mellea.stdlib.context import ChatContext

        return ChatContext()
    from mellea.core import Context

    if isinstance(context, Context):
        return context
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


def close(backend: Any) -> None:
    """Close what a backend holds open; a Mellea whose backends do not close leaves it to them."""
    closing = getattr(backend, "close", None)
    if callable(closing):
        closing()


def model_name(model_id: Any, attribute: str | None) -> str | None:
    """Return a backend's name for a model that is given as Mellea's `ModelIdentifier`.

    Args:
        model_id: A `ModelIdentifier`, or anything else.
        attribute: The attribute that holds this backend's name.

    Returns:
        The name; None if it is no identifier, or has no name for this backend.
    """
    found = getattr(model_id, attribute, None) if attribute else None
    return found if isinstance(found, str) and found else None


def loggers() -> list[logging.Logger]:
    """Return Mellea's own loggers, so that their records can carry the run id."""
    import mellea.core as core

    kind = getattr(core, "MelleaLogger", None) or getattr(core, "FancyLogger", None)
    return [kind.get_logger()] if kind is not None else []


def prepare_start(request: SessionRequest) -> SessionRequest:
    """Do what Mellea's own `start_session` does before it builds a backend.

    Mellea's plugins may change the model and the options of a session that is about to start.

    Args:
        request: The session asked for.

    Returns:
        The request to go on with.

    Raises:
        ConfigurationError: If the installed Mellea lacks an argument that was given.
    """
    from mellea.stdlib.session import MelleaSession
    from mellea.stdlib.session import start_session as original

    known = set(inspect.signature(original).parameters)
    known |= set(inspect.signature(MelleaSession).parameters)
    for name in request.session_arguments:
        if name not in known:
            raise ConfigurationError(
                f"Cannot start the session: the installed Mellea {version()} has no {name}=.",
                next_step=f"Upgrade it (pip install --upgrade mellea), or leave {name} out.",
                backend=request.target.backend,
            )
    try:
        from mellea.plugins.manager import has_plugins, invoke_hook
        from mellea.plugins.types import HookType
    except ImportError:
        return request
    if not has_plugins(HookType.SESSION_PRE_INIT):
        return request
    from mellea.helpers import _run_async_in_thread
    from mellea.plugins.hooks.session import SessionPreInitPayload

    context = new_context(request.context)
    payload = SessionPreInitPayload(
        backend_name=request.target.backend,
        model_id=request.target.model_id,
        model_options=dict(request.options),
        context_type=type(context).__name__,
    )
    _, payload = _run_async_in_thread(invoke_hook(HookType.SESSION_PRE_INIT, payload))
    return evolve(
        request,
        target=evolve(request.target, model_id=payload.model_id),
        options=dict(payload.model_options or {}),
        context=context,
    )


def finish_start(session: Any, model_id: str, arguments: dict[str, Any]) -> None:
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
    try:
        from mellea.plugins.manager import has_plugins, invoke_hook
        from mellea.plugins.types import HookType
    except ImportError:
        return
    if has_plugins(HookType.SESSION_POST_INIT):
        from mellea.helpers import _run_async_in_thread
        from mellea.plugins.hooks.session import SessionPostInitPayload

        payload = SessionPostInitPayload(
            session_id=session.id, model_id=model_id, context=session.ctx
        )
        _run_async_in_thread(
            invoke_hook(HookType.SESSION_POST_INIT, payload, backend=session.backend)
        )
