"""Which backend, model and options a runtime uses: explicit, environment, default, in this order.

The environment's model and options belong to the environment's backend: they are ignored for
another backend.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import evolve, field, frozen

from mellea_api._api.environment import DEFAULT_BACKEND, RuntimeEnvironment, from_variable
from mellea_api._api.functions import session_request
from mellea_api._contract.errors import BackendNotFoundError, MelleaAPIError, OptionError
from mellea_api._contract.requests import SessionRequest
from mellea_api._options.spelling import overlay
from mellea_api._registry.backend import Backend
from mellea_api._registry.registry import Registry


@frozen
class Selection:
    """A model to talk to.

    Args:
        backend: Its backend.
        request: What to build.
        key: By what a session that was built before is recognised.
        model_variable: The variable that the model comes from; None if it was given, or is the
            backend's default.
    """

    backend: Backend
    request: SessionRequest
    key: tuple[Any, ...] = field(repr=False)
    model_variable: str | None = None


def backend_name(explicit: str | None, environment: RuntimeEnvironment) -> str:
    """Return the name of the backend to use."""
    return explicit or environment.backend or DEFAULT_BACKEND


def select(
    registry: Registry,
    environment: RuntimeEnvironment,
    name: str,
    model_id: Any,
    options: Mapping[str, Any],
    arguments: Mapping[str, Any],
    **common: Any,
) -> Selection:
    """Work out what to build.

    Args:
        registry: Where to look for the backend.
        environment: What the environment says.
        name: The backend's name.
        model_id: The model that was named, or None.
        options: The options that were given.
        arguments: Further arguments of the backend, by name.
        common: What else a request has: `timeout`, `unsupported` and `run_id`.

    Raises:
        MelleaAPIError: If something cannot be used; where it came from the environment, the
            error names the variable.
    """
    with blame("MELLEA_BACKEND" if name == environment.backend else None, BackendNotFoundError):
        backend = registry.backend(name)
    applies = (environment.backend or DEFAULT_BACKEND) in backend.names
    variable = None
    if applies and model_id is None and environment.model_id is not None:
        model_id, variable = environment.model_id, "MELLEA_MODEL_ID"
    request = session_request(backend, model_id, model_options=options, **common, **arguments)
    if applies:
        request = _with_options(request, backend, environment)
    target = request.target
    key = (
        target.backend,
        target.model_id,
        target.base_url,
        target.servers,
        repr(target.settings),
        frozenset(request.credentials.items()),
    )
    return Selection(backend, request, key, variable)


def _with_options(
    request: SessionRequest, backend: Backend, environment: RuntimeEnvironment
) -> SessionRequest:
    """Add the environment's options; given options win, one by one."""
    options = environment.model_options
    if not options:
        return request
    target, unknown = request.target, request.unknown
    with blame("MELLEA_MODEL_OPTIONS", OptionError):
        backend.pipeline(target, policy="drop", unknown=unknown).set_defaults(options)
        merged = overlay(options, request.options, target)
        if request.policy == "error":  # to say where an unsupported option comes from
            used = {
                name: value
                for name, value in options.items()
                if name in merged and name not in request.options
            }
            backend.pipeline(target, policy="error", unknown=unknown).set_defaults(used)
    return evolve(request, options=merged)


@contextlib.contextmanager
def blame(variable: str | None, kind: type[MelleaAPIError]) -> Iterator[None]:
    """Have an error of some kind say which variable its value came from.

    Args:
        variable: The variable; None if the value did not come from one.
        kind: The kind of error.
    """
    failure: MelleaAPIError
    try:
        yield
        return
    except kind as error:
        if variable is None or variable in error.reason:
            raise
        failure = from_variable(error, variable)
    raise failure
