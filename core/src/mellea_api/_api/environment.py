"""The environment of a runtime: `MELLEA_BACKEND` and the other variables.

A value that cannot be used is an error that names its variable; no default replaces it. An empty
variable counts as not set.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from attrs import field, frozen

from mellea_api._contract.errors import ConfigurationError, MelleaAPIError, cannot_use

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
"""All variables that this library reads itself; `mellea-api doctor` reports others as mistakes."""
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
    def read(cls) -> RuntimeEnvironment:
        """Read the variables.

        Raises:
            ConfigurationError: If a value cannot be used; names the variable.
        """

        def value(variable: str) -> str | None:
            return os.environ.get(variable, "").strip() or None

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

    The options themselves are checked as those that are given to a session.

    Args:
        text: The text.
        variable: Its variable, for errors.

    Raises:
        ConfigurationError: If it is not a JSON object.
    """
    try:
        options = json.loads(text)
    except RecursionError:
        why = "it is nested too deeply"
    except ValueError as error:
        why = f"it is not JSON ({error})"
    else:
        if isinstance(options, dict):
            return options
        why = f"it is JSON, but not an object: {text:.80}"
    raise ConfigurationError(
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
        ConfigurationError: If it is not printable text of at most 200 characters.
    """
    if run_id is None:
        return None
    if not isinstance(run_id, str) or not run_id.isprintable() or not 0 < len(run_id) <= 200:
        step = "Give one line of printable text, at most 200 characters."
        raise cannot_use(variable or "run_id", run_id, step)
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
