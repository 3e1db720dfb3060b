"""What the environment says about a runtime: `MELLEA_BACKEND` and its companions.

A value that cannot be used is an error that names its variable; it is never replaced by a
default. A variable that is empty counts as not set.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from attrs import field, frozen

from mellea_api._contract.errors import ConfigurationError, MelleaAPIError
from mellea_api._secrecy.veil import environment

DEFAULT_BACKEND: Final = "ollama"
VARIABLES: Final = (
    "MELLEA_API_DISABLE",
    "MELLEA_API_MODELS_LIFETIME",
    "MELLEA_API_PLUGINS",
    "MELLEA_API_PREFER",
    "MELLEA_API_UNSUPPORTED",
    "MELLEA_BACKEND",
    "MELLEA_MODEL_ID",
    "MELLEA_MODEL_OPTIONS",
    "MELLEA_RUN_ID",
)
"""All variables that this library reads itself; `mellea-api doctor` takes others for mistakes."""
_MOST_OPTIONS: Final = 64 * 1024
"""Characters of JSON in MELLEA_MODEL_OPTIONS; more than any real options need."""
_DEEPEST: Final = 32
"""Levels of JSON in it; likewise."""

Failure = TypeVar("Failure", bound=MelleaAPIError)


@frozen
class RuntimeEnvironment:
    """The environment of a runtime.

    Args:
        backend: `MELLEA_BACKEND`; None if it is not set.
        model_id: `MELLEA_MODEL_ID`, which belongs to that backend.
        model_options: `MELLEA_MODEL_OPTIONS`, a JSON object, which belongs to that backend.
        run_id: `MELLEA_RUN_ID`.
    """

    backend: str | None = None
    model_id: str | None = None
    model_options: Mapping[str, Any] = field(factory=dict)
    run_id: str | None = None

    @classmethod
    def read(cls, environ: Mapping[str, str] | None = None) -> RuntimeEnvironment:
        """Read it.

        Args:
            environ: The environment; None for the process's own.

        Raises:
            ConfigurationError: If a value cannot be used; names the variable.
        """
        environ = environment(environ)

        def value(variable: str) -> str | None:
            return environ.get(variable, "").strip() or None

        run_id = value("MELLEA_RUN_ID")
        options = value("MELLEA_MODEL_OPTIONS")
        return cls(
            value("MELLEA_BACKEND"),
            value("MELLEA_MODEL_ID"),
            {} if options is None else parse_options(options, "MELLEA_MODEL_OPTIONS"),
            checked_run_id(run_id, "MELLEA_RUN_ID"),
        )


def parse_options(text: str, variable: str) -> dict[str, Any]:
    """Parse model options from the JSON text of an environment variable.

    Args:
        text: The text.
        variable: Its variable, for errors.

    Raises:
        ConfigurationError: If it is too long, no JSON, nested too deeply, no object, or names
            one option twice.
    """
    if len(text) > _MOST_OPTIONS:
        raise _bad(variable, f"it has {len(text)} characters, and {_MOST_OPTIONS} are allowed")
    try:
        found = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise _bad(variable, f"it is not JSON ({error})") from None
    except RecursionError:
        raise _bad(variable, "it is nested too deeply") from None
    except ValueError as error:
        raise _bad(variable, str(error)) from None
    if not isinstance(found, dict):
        raise _bad(variable, f"it is a JSON {_kind(found)}, not an object")
    if _deeper_than(found, _DEEPEST):
        raise _bad(variable, "it is nested too deeply")
    return found


def _deeper_than(value: Any, levels: int) -> bool:
    """Look level by level: how deep Python itself can go differs from version to version."""
    level = [value]
    for _ in range(levels):
        level = [
            item
            for holder in level
            if isinstance(holder, dict | list)
            for item in (holder.values() if isinstance(holder, dict) else holder)
        ]
    return bool(level)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"it names {name!r} twice")
        found[name] = value
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _kind(value: Any) -> str:
    kinds = {list: "array", str: "string", bool: "boolean", type(None): "null"}
    return kinds.get(type(value), "number")


def _bad(variable: str, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"Cannot use {variable}: {why}.",
        next_step=f"""Set it to a JSON object, such as {variable}='{{"temperature": 0.7}}'.""",
        variable=variable,
    )


def checked_run_id(run_id: Any, variable: str | None = None) -> str | None:
    """Return a run id that is safe on a line of a log.

    Args:
        run_id: The id, or None.
        variable: The variable that it came from, if it did.

    Raises:
        ConfigurationError: If it is no printable text of at most 200 characters.
    """
    if run_id is None:
        return None
    if not isinstance(run_id, str) or not run_id.isprintable() or not 0 < len(run_id) <= 200:
        raise ConfigurationError(
            f"Cannot use {variable or 'run_id'}={run_id!r:.80}.",
            next_step="Give one line of printable text, at most 200 characters.",
            variable=variable,
        )
    return run_id


def from_variable(error: Failure, variable: str) -> Failure:
    """Return an error that also says which variable the value came from."""
    facts = {name: getattr(error, name) for name in error.facts}
    if "variable" in facts:
        facts["variable"] = variable
    told = type(error)(
        f"{error.reason} (The value comes from {variable}.)", next_step=error.next_step, **facts
    )
    told.__cause__ = error.__cause__
    return told
