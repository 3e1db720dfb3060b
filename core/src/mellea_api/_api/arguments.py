"""Check the arguments of the functions of `mellea_api`, and separate the credentials."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, get_args

from mellea_api._contract.errors import MelleaAPIError, cannot_use
from mellea_api._contract.requests import Policy, Target
from mellea_api._secrecy.veil import plain, veiled

if TYPE_CHECKING:
    from mellea_api._registry.backend import Backend


LONGEST: Final = 366 * 24 * 3600.0
"""Seconds of the longest timeout; clocks do not accept every number."""


def target_and_credentials(
    backend: Backend, model_id: Any, arguments: Mapping[str, Any]
) -> tuple[Target, dict[str, Any]]:
    """Tell the credentials among a backend's arguments from the rest, which is the target's.

    Args:
        backend: The backend.
        model_id: The model, as it was given.
        arguments: What was given by name, hidden: `base_url`, credentials, `server`, settings.

    Raises:
        ConfigurationError: If the model, the address or `server` cannot be used.
        ModelNotFoundError: If a `ModelIdentifier` has no name for this backend.
    """
    rest = dict(arguments)
    base_url = rest.pop("base_url", None)
    given: dict[str, Any] = {}
    for field in backend.descriptor.credentials:
        value = rest.pop(field.name, None)
        if value is not None:
            given[field.name] = value
    rest = {name: plain(value) for name, value in rest.items()}
    server = rest.pop("server", None)
    try:
        return backend.target(model_id, base_url, rest, server=server), given
    except MelleaAPIError as error:  # a misspelt api_key= is among the rest
        del rest
        raise veiled(error) from error.__cause__


def policy_of(given: Policy | None) -> Policy:
    """Return the policy for unsupported options: what is given, else the environment's.

    Args:
        given: What was given; None takes MELLEA_API_UNSUPPORTED, then `warn`.

    Raises:
        ConfigurationError: If it is none.
    """
    variable = "MELLEA_API_UNSUPPORTED"
    value = given if given is not None else os.environ.get(variable, "").strip() or "warn"
    name = "unsupported" if given is not None else variable
    found: Policy = one_of(name, value, get_args(Policy))
    return found


def one_of(name: str, value: Any, allowed: tuple[str, ...]) -> Any:
    """Return a value that is one of those allowed.

    Args:
        name: Its name: an argument's, or a variable's, which is in capitals.
        value: What was given.
        allowed: What may be.

    Raises:
        ConfigurationError: If it is another.
    """
    if value in allowed:
        return value
    raise cannot_use(name, value, f"Use one of {', '.join(allowed)}.")


def seconds(value: Any) -> float | None:
    """Return what was given as `timeout=`, in seconds; None is no limit.

    Raises:
        ConfigurationError: If it is not a number above 0, or more than `LONGEST`.
    """
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value <= LONGEST:
        step = "Give a number of seconds above 0, a year at most, or None for no limit."
        raise cannot_use("timeout", value, step)
    return float(value)
