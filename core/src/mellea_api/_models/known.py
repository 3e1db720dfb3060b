"""What is known of models without asking anybody: their names, and the facts of the catalogue."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable, Mapping
from typing import Any, Final

from attrs import evolve

from mellea_api._contract.descriptor import BackendDescriptor, ModelInfo
from mellea_api._contract.errors import MelleaAPIError, ModelNotFoundError, cannot_use
from mellea_api._contract.requests import Target
from mellea_api._models.cache import default_cache
from mellea_api._secrecy.logs import logger
from mellea_api._secrecy.secrets import Secret, redact

_NEAR: Final = 0.4
"""How alike a name must be to be listed before the others (0 to 1, as `difflib` counts)."""
_MEANT: Final = 0.8
"""How alike a name must be to be asked about."""
_noted: Final[set[str]] = set()


def suggestion(model_id: str, known: Iterable[str]) -> str | None:
    """Return the name that was probably meant; None if no name is near, or the name is right.

    >>> suggestion("granite4:mirco", ["granite4:micro", "gpt-4o"])
    'granite4:micro'
    >>> suggestion("granite4:giant", ["granite4:micro"]) is None
    True
    """
    names = sorted(set(known))
    near = difflib.get_close_matches(model_id, names, n=1, cutoff=_MEANT)
    return near[0] if near and model_id not in names else None


def name_of(identifier: Any, target: Target, backend: str) -> str:
    """Return the name of a `ModelIdentifier`, as Mellea finds it.

    Args:
        identifier: It, or what was given in its place.
        target: Backend and server.
        backend: The name under which the backend was asked for.

    Raises:
        ConfigurationError: If it is something else.
        ModelNotFoundError: If it has no name for this backend.
    """
    attribute = target.descriptor.model_identifier or ""
    name = getattr(identifier, attribute, None)
    if not name and target.server == "compatible":  # such servers have the names of Hugging Face
        name = getattr(identifier, "hf_model_name", None)
    if name and isinstance(name, str):
        return name
    if not hasattr(identifier, "hf_model_name"):
        default = target.descriptor.default_model
        example = f", such as {default}" if default else ""
        step = f"Give a model's name as text{example}."
        raise cannot_use("model_id", identifier, step, backend=backend)
    raise ModelNotFoundError(
        f"The {backend} backend has no name for the model {identifier!r} "
        f"({attribute or 'ModelIdentifier'} is not set).",
        next_step=f"Give the name that {backend} knows it by, as text.",
        backend=backend,
    )


def filled_in(model: ModelInfo, about: BackendDescriptor) -> ModelInfo:
    """Return what a provider said of a model with what the catalogue knows beside it."""
    known = next((known for known in about.models if known.id == model.id), None)
    if known is model:
        return model
    known = known or model
    return evolve(
        model,
        source="live" if model.source == "catalogue" else model.source,
        default=model.default or model.id == about.default_model,
        description=model.description or known.description,
        size=model.size or known.size,
        context_length=model.context_length or known.context_length,
    )


def with_shutdown(model: ModelInfo, target: Target) -> ModelInfo:
    """Return a model with the day on which it is shut down; what the provider said counts."""
    found = None if model.shutdown else target.retirement(model.id)
    return model if found is None else evolve(model, shutdown=found.day)


def _nearest_first(model_id: str, known: Iterable[str]) -> tuple[str, ...]:
    names = sorted(set(known) - {model_id})
    near = difflib.get_close_matches(model_id, names, n=3, cutoff=_NEAR)
    return (*near, *(name for name in names if name not in near))


def known_models(
    target: Target, credentials: Mapping[str, Secret]
) -> tuple[list[str], list[str] | None]:
    """Return the names of the catalogue, and those of the provider's last list, if it is kept.

    Args:
        target: Backend and server. Its settings are those of a session, not of a list.
        credentials: What was found, by field name.
    """
    catalogue = [model.id for model in target.descriptor.models]
    try:
        cache = default_cache()
        key = cache.key(evolve(target, settings={}), credentials)
        kept = cache.models(key) if key else None
    except MelleaAPIError:  # the lifetime is wrong, which matters only for a list
        kept = None
    return catalogue, None if kept is None else [model.id for model in kept.models]


def complete(
    error: ModelNotFoundError,
    target: Target,
    credentials: Mapping[str, Secret],
) -> None:
    """Put the models that are known into an error, nearest first, and what was probably meant.

    Args:
        error: What the provider, or a plugin, said; it is changed in place.
        target: Whom it came from.
        credentials: What was found, by field name.
    """
    model_id = error.model_id or target.model_id
    catalogue, listed = known_models(target, credentials)
    others = [*catalogue, *(listed or ())]
    if error.known is None:
        error.known = _nearest_first(model_id, others)
    if (shut := target.retirement(model_id)) is not None:
        hint = shut.sentence(model_id)
    elif "Did you mean" in error.next_step or model_id in others:
        return
    elif name := suggestion(model_id, error.known) or suggestion(model_id, others):
        hint = f"Did you mean {name!r}? If not:"
    else:
        return
    error.next_step = redact(f"{hint} {error.next_step}")
    error.args = (str(error),)


def note_shutdown(target: Target) -> None:
    """Log once that the provider shuts a model down."""
    found = target.retirement()
    if found is not None and target.model_id not in _noted:
        _noted.add(target.model_id)
        logger.warning("%s", found.sentence(target.model_id))


def note_unchecked(target: Target, credentials: Mapping[str, Secret], why: str) -> None:
    """Log that nobody was asked whether a model exists; a warning if its name looks wrong."""
    catalogue, listed = known_models(target, credentials)
    name = suggestion(target.model_id, [*catalogue, *(listed or ())])
    # A catalogue has a few models of many: only a provider's list makes a name unlikely.
    unlikely = name is not None and listed is not None
    logger.log(
        logging.WARNING if unlikely else logging.INFO,
        "Whether the %s backend has the model %r was not checked (%s).%s",
        *(target.backend, target.model_id, why),
        f" It is not among those that are known: did you mean {name!r}?" if name else "",
    )
