"""Put a session that a plugin has created under the care of the core: *adopt* it.

The backend's class becomes a
subclass of its own class, made once per class, that overrides the methods through which Mellea
generates. Every way into generation (chat, instruct with repair, `@generative`, a clone, the
functional API, the raw endpoint, …) ends there, so options are normalized exactly once, the
deadline holds, and an SDK's exceptions become our errors. The session's class becomes a subclass
in the same way if its calls need a run id or turns.

A proxy would fail Mellea's isinstance checks, and a mixin before the real class would break the
assignment of `__class__`; a subclass that adds no storage of its own does neither.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from mellea_api._contract.errors import ConfigurationError, MelleaAPIError, PluginError
from mellea_api._contract.refusals import ErrorRequest
from mellea_api._contract.requests import SessionRequest
from mellea_api._options.pipeline import OptionPipeline
from mellea_api._secrecy.logs import logger, mark_records, mask_sdk_records
from mellea_api._secrecy.secrets import redact
from mellea_api._sessions._mellea.clients import keep_clients
from mellea_api._sessions._mellea.sampling import watch_sampling
from mellea_api._sessions._mellea.seams import seams
from mellea_api._sessions._mellea.sessions import (
    apply_context,
    finish_start,
    is_simple,
    loggers,
)
from mellea_api._sessions.adoption import ATTRIBUTE, Adoption, adoption_of
from mellea_api._sessions.call import current_call, seam_of
from mellea_api._sessions.telemetry import mark_spans
from mellea_api._sessions.turns import LEAVE_A_CONTEXT, RUN_ID, in_turn

# Nothing is traced in these, and they may outlive the call that they are made in.
_NO_CALLS: Final = frozenset({"cleanup", "clone", "reset"})
_adopted: dict[type, type] = {}
_adopting = threading.Lock()


def adopt_session(
    session: Any,
    request: SessionRequest,
    pipeline: OptionPipeline,
    translate: Callable[[ErrorRequest], MelleaAPIError | None],
) -> None:
    """Put a new session under the care of the core.

    Args:
        session: What the plugin's `create_session` returned.
        request: What it was created for; its context is Mellea's.
        pipeline: Takes each call's options through all steps.
        translate: Returns our error for an SDK's exception, or None.

    Raises:
        PluginError: If its backend cannot be adopted.
    """
    adoption = Adoption(pipeline, translate, request)
    _adopt_backend(session.backend, adoption)
    apply_context(session, request.context)
    # A session's calls happen under its run id, and one at a time in a conversation. A program
    # that was written for Mellea alone does not know that rule.
    conversation = not (is_simple(session.ctx) or request.for_program)
    if request.run_id is not None or conversation:
        session.__class__ = _subclass(type(session), _session_members)
        session.__dict__[RUN_ID] = request.run_id
    if request.run_id is not None:
        mark_spans()
    finish_start(session, request.target.model_id, request.session_arguments)
    logger.debug(
        "started a session: backend %s, model %s",
        request.target.backend,
        request.target.model_id,
        extra={"run_id": request.run_id},
    )


def _adopt_backend(backend: Any, adoption: Adoption) -> None:
    """Put every generation of a backend under the care of the core.

    Args:
        backend: An object of a subclass of Mellea's `Backend`, built without model options.
        adoption: What the core keeps with it.

    Raises:
        PluginError: If it was built with model options, is adopted already, or cannot be.
    """
    problem = ""
    if adoption_of(backend) is not None:
        problem = "another session has it; build one for each session"
    elif getattr(backend, "model_options", None):
        # They would be merged into every call behind the checks.
        problem = "it has model_options; leave them out, since the core applies them"
    else:
        adopted = _subclass(type(backend), _backend_members)
        backend.__dict__.pop("model_options", None)
        try:
            backend.__class__ = adopted
        except TypeError as error:
            problem = f"its class cannot be changed; give it no __slots__ ({error})"
    if problem:
        raise PluginError(
            f"Cannot use the {type(backend).__name__} that create_session returned: {problem}.",
            next_step="Upgrade the plugin, or report this to its author.",
            backend=adoption.pipeline.target.backend,
        )
    backend.__dict__[ATTRIBUTE] = adoption
    keep_clients(backend)
    for of_mellea in loggers():
        mark_records(of_mellea)
    mask_sdk_records()
    adoption.stop_watching = watch_sampling(backend)


def _subclass(cls: Any, members: Callable[[Any], dict[str, Any]]) -> type:
    """Return the subclass of a class that an adopted object has: one per class."""
    with _adopting:
        found = _adopted.get(cls)
        if found is None:
            same = {name: getattr(cls, name) for name in ("__doc__", "__module__", "__qualname__")}
            found = _adopted[cls] = type(cls)(cls.__name__, (cls,), members(cls) | same)
        return found


def _backend_members(cls: Any) -> dict[str, Any]:
    return {
        # Mellea's shows the server's address as it is, with a password.
        "__repr__": lambda backend: redact(cls.__repr__(backend)),
        "model_options": property(_get_options, _set_options),
        **{
            name: _tearing_down(getattr(cls, name))
            for name in ("close", "aclose")
            if hasattr(cls, name)
        },
        **{name: seam_of(getattr(cls, name), endpoint) for name, endpoint in seams(cls)},
    }


def _tearing_down(close: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a backend's `close` or `aclose`, which calls that are running are told of."""

    @functools.wraps(close)
    def closing(backend: Any) -> Any:
        backend.__dict__[ATTRIBUTE].torn_down = True
        closed = close(backend)
        return ended(backend, closed) if inspect.isawaitable(closed) else end(backend)

    def end(backend: Any) -> None:
        # One that only lets go of what it holds can be called again.
        backend.__dict__[ATTRIBUTE].torn_down = getattr(backend, "_closed", False)

    async def ended(backend: Any, closed: Awaitable[None]) -> None:
        await closed
        end(backend)

    return closing


def _session_members(cls: type) -> dict[str, Any]:
    return {
        name: in_turn(function, name in LEAVE_A_CONTEXT)
        for name, function in inspect.getmembers(cls, inspect.isfunction)
        if not name.startswith("_") and name not in _NO_CALLS
    }


def _get_options(backend: Any) -> Mapping[str, Any]:
    # Mellea would merge what it finds here into each call; there it must find nothing.
    call = current_call.get()
    if call is not None and call.in_seam:
        return {}
    adoption: Adoption = backend.__dict__[ATTRIBUTE]
    return MappingProxyType(adoption.user_options)


def _set_options(backend: Any, options: object) -> None:
    raise ConfigurationError(
        "Cannot change the options of a session that is open.",
        next_step="Give model_options= to the call, or start another session with them.",
        backend=backend.__dict__[ATTRIBUTE].pipeline.target.backend,
    )
