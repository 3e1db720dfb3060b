"""List models: from the cache, the provider, or the catalogue; one backend or many at once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from mellea_api._contract.descriptor import ModelInfo
from mellea_api._contract.errors import MelleaAPIError, PluginError, RequestTimeoutError
from mellea_api._contract.reports import ModelListing
from mellea_api._contract.requests import Freshness, Target
from mellea_api._models.cache import ModelCache
from mellea_api._provider.deadlines import call_each
from mellea_api._secrecy.secrets import Secret
from mellea_api._secrecy.veil import veiled

GRACE: Final = 2.0
"""Seconds beyond the timeout before a plugin that ignores it is given up."""


def list_one(
    name: str,
    target: Target,
    credentials: Mapping[str, Secret],
    ask: Callable[[bool], Sequence[ModelInfo]],
    freshness: Freshness,
    cache: ModelCache,
) -> ModelListing:
    """List the models of one backend.

    Args:
        name: The backend's name.
        target: Its server and settings.
        credentials: What was found, by field name.
        ask: Returns the models of the provider if called with True, else those of the catalogue.
        freshness: Where the list may come from.
        cache: Where answers are kept.

    Raises:
        MelleaAPIError: If even the catalogue cannot be read.
    """
    key = cache.key(target, credentials)
    kept = cache.models(key) if key is not None else None
    if kept is not None and (freshness == "offline" or (freshness == "cached" and kept.fresh)):
        return ModelListing(backend=name, models=kept.models)
    try:
        models = ask(freshness != "offline")
    except MelleaAPIError as error:
        if freshness == "offline":
            raise
        return ModelListing(backend=name, models=kept.models if kept else None, error=error)
    # What came without a provider is not kept, nor is an empty list: whoever has no model is
    # about to get one.
    if key is not None and any(model.source == "live" for model in models):
        cache.keep(key, models)
    return ModelListing(backend=name, models=models)


def list_each(
    backends: Sequence[str], question: Callable[[str], ModelListing], timeout: float
) -> list[ModelListing]:
    """List the models of several backends at once, each in a thread of its own.

    So none can delay another one, and the caller may be inside a running event loop.

    Args:
        backends: Their names, each once.
        question: Lists the models of one backend.
        timeout: Seconds that each allows itself. One that takes longer is given up, and does not
            keep the interpreter from ending.

    Returns:
        The answers in the same order; what a question raises is its answer's error.
    """

    def answer(name: str) -> ModelListing:
        try:
            return question(name)
        except MelleaAPIError as error:
            return ModelListing(backend=name, error=error)
        except BaseException as error:
            failure = PluginError(
                f"Listing the models of {name} failed with {type(error).__name__}: {error}.",
                next_step=f"`mellea-api models {name} --debug` shows where.",
                backend=name,
            )
            failure.__cause__ = error
            return ModelListing(backend=name, error=veiled(failure))

    def late(name: str) -> ModelListing:
        error = RequestTimeoutError(
            f"The {name} backend did not answer within {timeout:g} s.",
            next_step="Give it more time with timeout= (--timeout), or check its server.",
            backend=name,
            timeout=timeout,
        )
        return ModelListing(backend=name, error=error)

    questions = {name: functools.partial(answer, name) for name in backends}
    answers = call_each(questions, timeout + GRACE, "mellea-api-models-")
    return [answers.get(name) or late(name) for name in backends]
