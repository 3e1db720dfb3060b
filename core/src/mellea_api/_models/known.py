"""Guess which model somebody meant, from the names that are known without asking anybody."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable, Mapping
from typing import Final

from attrs import evolve

from mellea_api._contract.errors import MelleaAPIError, ModelNotFoundError
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
