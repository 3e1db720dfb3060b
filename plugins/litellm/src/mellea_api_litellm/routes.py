"""What LiteLLM says about a route: `provider/model`, or a model that it knows without a provider.

LiteLLM takes seconds to import. So it is asked in a process of its own, and the answer is kept in
the cache folder of this user under LiteLLM's version. Only the first question about a route after
an upgrade takes that time. A process that has imported LiteLLM anyway asks it right there.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from attrs import field, frozen

from mellea_api import ModelNotFoundError, PluginError
from mellea_api.plugin import ask_apart
from mellea_api_litellm.probe import answer


@frozen(kw_only=True, eq=False)
class Route:
    """One route.

    Args:
        model_id: The route as it was asked for.
        provider: LiteLLM's name of the provider.
        model: The provider's name of the model.
        places: Where each of LiteLLM's parameters goes, as `probe.places` has it.
        raw_places: The same where LiteLLM has a raw completion endpoint; None where it makes a
            chat of one message instead.
        merges: Whether LiteLLM merges an `extra_body` into the JSON, as for OpenAI's protocol.
        taken: Names that LiteLLM does not pass on: its own arguments, and OpenAI's parameters,
            which it translates or drops.
        shutdown: The day on which the provider shuts the model down, if LiteLLM knows it.
    """

    model_id: str
    provider: str
    model: str
    places: Mapping[str, Any] = field(factory=dict)
    raw_places: Mapping[str, Any] | None = None
    merges: bool = False
    taken: tuple[str, ...] = ()
    shutdown: str | None = None


_known: Final[dict[str, Route]] = {}


def find(model_id: str) -> Route | None:
    """Return a model id's route; None if LiteLLM would not know whom to ask.

    Raises:
        PluginError: If LiteLLM cannot be imported.
    """
    if model_id not in _known:
        said = _answer(model_id)
        if "near" in said:
            return None
        _known[model_id] = Route(model_id=model_id, **said)
    return _known[model_id]


def no_route(model_id: str) -> ModelNotFoundError:
    """Return the error for a model id that is no route."""
    said = _answer(model_id)
    near, why = " or ".join(said["near"]), said.get("why", "").rstrip(".")
    return ModelNotFoundError(
        f"There is no route for the model {model_id!r}{f': {why}' if why else ''}.",
        next_step="Write it as provider/model, such as ollama_chat/granite4:micro."
        + (f" Did you mean {near}?" if near else ""),
    )


def listed() -> dict[str, dict[str, dict[str, Any]]]:
    """Return LiteLLM's list: under each provider its models, with facts of a `ModelInfo`."""
    return _answer("")


@functools.cache
def litellm_version() -> str:
    """Return the version of the installed LiteLLM, read from its metadata."""
    try:
        return version("litellm")
    except PackageNotFoundError:
        return ""


def _answer(question: str) -> dict[str, Any]:
    """Return what `probe.answer` says: from the cache, from this process, or from its own."""
    # Another version of this plugin may ask LiteLLM otherwise.
    versions = f"{litellm_version()}-{version('mellea-api-litellm')}"
    try:
        said: dict[str, Any] = ask_apart(
            answer,
            question,
            folder=f"litellm/{versions}",
            timeout=120.0,  # far more than the import of LiteLLM takes
            here="litellm" in sys.modules,
        )
    except RuntimeError as error:
        lines = str(getattr(error, "stderr", "") or error).strip().splitlines()
        raise PluginError(
            f"LiteLLM could not be asked about {question or 'its models'}: {lines[-1]}.",
            next_step="If it cannot be imported, run `pip install --upgrade 'mellea[litellm]'`.",
            backend="litellm",
        ) from None
    return said
