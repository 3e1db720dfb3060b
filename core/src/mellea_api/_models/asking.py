"""Whom to ask for models: a kept answer, the provider, or nobody; one backend or all at once.

Every backend is asked in a thread of its own, so that none can hold up, or bring down, another
one, and so that the caller may be inside a running event loop.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from mellea_api._contract.errors import (
    ConfigurationError,
    CredentialError,
    MelleaAPIError,
    PluginError,
    ProviderError,
    RequestTimeoutError,
)
from mellea_api._contract.reports import ModelListing
from mellea_api._contract.requests import Freshness, Target
from mellea_api._models.cache import KeptFailure, ModelCache
from mellea_api._provider.deadlines import call_each
from mellea_api._provider.refusals import caused

if TYPE_CHECKING:
    from mellea_api._registry.backend import Backend


GRACE: Final = 2.0
"""Seconds beyond the timeout before a plugin that does not keep to it is given up."""
_VARIABLE: Final = "MELLEA_API_MODELS_LIFETIME"


def default_cache() -> ModelCache:
    """Return the user's cache, with the lifetime that the environment says.

    Raises:
        ConfigurationError: If that is no number of seconds from 0 on.
    """
    import platformdirs

    text = os.environ.get(_VARIABLE, "").strip()
    try:
        lifetime = float(text) if text else 3600.0
    except ValueError:
        lifetime = -1.0
    if not 0 <= lifetime < float("inf"):
        raise ConfigurationError(
            f"Cannot use {_VARIABLE}={text!r:.40}.",
            next_step="Set it to a number of seconds, 0 to ask every time.",
            variable=_VARIABLE,
        )
    folder = platformdirs.user_cache_path("mellea-api", appauthor=False) / "models"
    return ModelCache(folder, lifetime=lifetime)


def list_one(
    backend: Backend,
    target: Target,
    arguments: Mapping[str, Any],
    freshness: Freshness,
    timeout: float,
    cache: ModelCache,
    *,
    keyring: bool,
) -> ModelListing:
    """List the models of one backend.

    Args:
        backend: The backend.
        target: Its server and settings.
        arguments: Credentials that were given by name.
        freshness: Where the list may come from.
        timeout: Seconds allowed for all of it.
        cache: Where answers are kept.
        keyring: Whether the system's keyring may be asked for credentials.

    Raises:
        MelleaAPIError: If the question could not be put at all.
    """
    credentials = backend.credentials(target, arguments, keyring=keyring)
    # What was given and cannot be used must not be lost: it is an error, not the environment's.
    arguments = {**arguments, **credentials}
    key = cache.key(target, credentials, make=freshness != "offline")

    if freshness == "offline":
        kept = cache.models(key) if key else None
        if kept is not None:
            return ModelListing(backend=backend.name, models=kept.models)
        catalogue = backend.list_models(
            target, arguments, live=False, timeout=timeout, keyring=False
        )
        return ModelListing(backend=backend.name, models=catalogue)
    if freshness == "live" or key is None:
        return _ask(backend, target, arguments, timeout, cache, key, keyring)
    found = _remembered(backend, cache, key)
    if found is not None:
        return found
    # Of several that start together one asks. A little longer than its time it is waited for,
    # since what it keeps at the end may be that there was no answer.
    began = time.monotonic()
    with cache.alone(key, timeout + GRACE / 4) as alone:
        found = _remembered(backend, cache, key)
        if found is not None:
            return found
        if not alone:
            raise RequestTimeoutError(
                f"The {backend.name} backend did not answer within {timeout:g} s; another process, "
                "or thread, was asking it already.",
                next_step='Try again, or ask it all the same: --refresh, or freshness="live".',
                backend=backend.name,
                timeout=timeout,
            )
        left = max(timeout - round(time.monotonic() - began, 1), min(timeout, GRACE / 2))
        return _ask(backend, target, arguments, left, cache, key, keyring)


def _remembered(backend: Backend, cache: ModelCache, key: str) -> ModelListing | None:
    """Return what was answered a short time ago, or None."""
    kept = cache.models(key)
    if kept is not None and kept.fresh:
        return ModelListing(backend=backend.name, models=kept.models)
    failure = cache.failure(key)
    if failure is not None and failure.fresh:
        models = None if kept is None else kept.models
        return ModelListing(backend=backend.name, models=models, error=_from_before(failure))
    return None


def _from_before(failure: KeptFailure) -> ProviderError:
    error = failure.error
    return type(error)(
        f"{error.reason} (That was {failure.age:.0f} s ago; it was not asked again.)",
        next_step=f'{error.next_step} To ask at once: --refresh, or freshness="live".',
        **{name: getattr(error, name) for name in error.facts},
    )


def _ask(
    backend: Backend,
    target: Target,
    arguments: Mapping[str, Any],
    timeout: float,
    cache: ModelCache,
    key: str | None,
    keyring: bool,
) -> ModelListing:
    try:
        models = backend.list_models(target, arguments, timeout=timeout, keyring=keyring)
    except MelleaAPIError as error:
        if key is None:
            return ModelListing(backend=backend.name, error=error)
        # Without a status it is a credential that is missing here: nobody was asked.
        missing = isinstance(error, CredentialError) and error.status is None
        if isinstance(error, ProviderError) and not missing:
            cache.keep_failure(key, error)
        kept = cache.models(key)
        models_before = None if kept is None else kept.models
        return ModelListing(backend=backend.name, models=models_before, error=error)
    # What a plugin found without a provider is not kept, nor is an empty list: whoever has no
    # model is about to get one.
    if key is not None and any(model.source == "live" for model in models):
        cache.keep_models(key, models)
    return ModelListing(backend=backend.name, models=models)


def ask_each(
    backends: Sequence[str], question: Callable[[str], ModelListing], timeout: float
) -> list[ModelListing]:
    """Put a question to each backend, at once.

    Args:
        backends: Their names, each once.
        question: Asks the backend of a name, in a thread of its own, which does not keep the
            interpreter from ending.
        timeout: Seconds that each allows itself. One that takes longer is given up.

    Returns:
        The answers in the same order; what a question raises is its answer's error.
    """

    def ask(name: str) -> ModelListing:
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
            return ModelListing(backend=name, error=caused(failure, error))

    def late(name: str) -> ModelListing:
        error = RequestTimeoutError(
            f"The {name} backend did not answer within {timeout:g} s.",
            next_step="Give it more time with timeout= (--timeout), or see whether its server "
            "is well.",
            backend=name,
            timeout=timeout,
        )
        return ModelListing(backend=name, error=error)

    questions = {name: functools.partial(ask, name) for name in backends}
    answers = call_each(questions, timeout + GRACE, "mellea-api-models-")
    return [answers.get(name) or late(name) for name in backends]
