"""From a request to the session that a program gets.

After the plugin has created a session, the core *adopts* it. The backend's class becomes a
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
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from attrs import evolve

from mellea_api._contract.errors import ConfigurationError, MelleaAPIError, PluginError
from mellea_api._contract.refusals import ErrorRequest
from mellea_api._contract.requests import Policy, SessionRequest, Target
from mellea_api._options.pipeline import OptionPipeline
from mellea_api._options.spelling import Unknown
from mellea_api._secrecy.logs import logger, mark_records, mask_sdk_records, under_run
from mellea_api._secrecy.secrets import Secret, redact
from mellea_api._sessions._mellea.clients import keep_clients
from mellea_api._sessions._mellea.sampling import watch_sampling
from mellea_api._sessions._mellea.seams import seams
from mellea_api._sessions._mellea.sessions import (
    apply_context,
    finish_start,
    is_simple,
    loggers,
    new_context,
    prepare_start,
)
from mellea_api._sessions.adoption import ATTRIBUTE, Adoption, adoption_of
from mellea_api._sessions.call import current_call, seam_of
from mellea_api._sessions.telemetry import mark_spans
from mellea_api._sessions.turns import LEAVE_A_CONTEXT, RUN_ID, in_turn

if TYPE_CHECKING:
    from mellea import MelleaSession

# Nothing is traced in these, and they may outlive the call that they are made in.
_NO_CALLS: Final = frozenset({"cleanup", "clone", "reset"})
_adopted: dict[type, type] = {}
_adopting = threading.Lock()


class Opener(Protocol):
    """What opening a session needs of a backend: see `mellea_api._registry.backend.Backend`."""

    def pipeline(
        self, target: Target, *, policy: Policy = "warn", unknown: Unknown = "error"
    ) -> OptionPipeline:
        """Return the steps that options for a target go through."""

    def required_credentials(
        self, target: Target, arguments: Mapping[str, Secret]
    ) -> dict[str, Secret]:
        """Return the credentials that can be used; raise if a needed one is missing."""

    def new_session(self, request: SessionRequest) -> MelleaSession:
        """Return the session that the plugin creates."""

    def with_rules(self, target: Target) -> Target:
        """Return a target with the option rules that hold for it now."""

    def translate(
        self, request: ErrorRequest, credentials: Mapping[str, Secret]
    ) -> MelleaAPIError | None:
        """Return our error for an SDK's exception, or None."""


def open_session(backend: Opener, request: SessionRequest) -> MelleaSession:
    """Open a session.

    Args:
        backend: The backend.
        request: What to open. Credentials that it holds count as arguments.

    Raises:
        MelleaAPIError: If that fails; the class says why.
    """
    request = prepare_start(request)
    target = request.target
    # Options are checked before anything costs time or opens a connection.
    pipeline = _pipeline(backend, target, request)
    credentials = backend.required_credentials(target, request.credentials)
    context = new_context(request.context)
    with under_run(request.run_id):
        session = backend.new_session(evolve(request, credentials=credentials))
    learnt = backend.with_rules(target)
    if learnt is not target:
        pipeline = _pipeline(backend, learnt, request)
    adoption = Adoption(
        pipeline,
        functools.partial(backend.translate, credentials=credentials),
        timeout=request.timeout,
        run_id=request.run_id,
        secrets=credentials.values(),
        options=request.options,
    )
    _adopt_backend(session.backend, adoption)
    apply_context(session, context)
    _adopt_session(session, request.run_id)
    if request.run_id is not None:
        mark_spans()
    finish_start(session, target.model_id, dict(request.session_arguments))
    logger.debug(
        "started a session: backend %s, model %s",
        target.backend,
        target.model_id,
        extra={"run_id": request.run_id},
    )
    return session


def _pipeline(backend: Opener, target: Target, request: SessionRequest) -> OptionPipeline:
    pipeline = backend.pipeline(target, policy=request.policy, unknown=request.unknown)
    pipeline.set_defaults(request.options)
    return pipeline


def _adopt_backend(backend: Any, adoption: Adoption) -> None:
    """Put every generation of a backend under the care of the core.

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
    adopted = _subclass(type(backend), _backend_members)
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
    keep_clients(backend)
    for of_mellea in loggers():
        mark_records(of_mellea)
    mask_sdk_records()
    adoption.stop_watching = watch_sampling(backend)


def _adopt_session(session: Any, run_id: str | None) -> None:
    """Make a session's calls happen under a run id, and one at a time in a conversation."""
    if run_id is not None or not is_simple(session.ctx):
        session.__class__ = _subclass(type(session), _session_members)
        session.__dict__[RUN_ID] = run_id


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
        **{name: seam_of(getattr(cls, name), endpoint) for name, endpoint in seams(cls)},
    }


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
    return MappingProxyType(cast(Adoption, backend.__dict__[ATTRIBUTE]).user_options)


def _set_options(backend: Any, options: object) -> None:
    raise ConfigurationError(
        "Cannot change the options of a session that is open.",
        next_step="Give model_options= to the call, or start another session with them.",
        backend=backend.__dict__[ATTRIBUTE].pipeline.target.backend,
    )
