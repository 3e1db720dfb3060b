"""Mellea's sampling loops, in which a call that failed must not count as a bad sample.

Two methods of Mellea's `BaseSamplingStrategy` are replaced while there is a session of this
library. They act only on errors of this library, which other sessions do not have.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from mellea_api._contract.errors import MelleaAPIError
from mellea_api._secrecy.logs import logger

_ended: Final[contextvars.ContextVar[list[MelleaAPIError] | None]] = contextvars.ContextVar(
    "mellea_api_ended", default=None
)
"""What ended subsamples of the sampling that is under way."""
_errors: weakref.WeakKeyDictionary[Any, tuple[MelleaAPIError, ...]] = weakref.WeakKeyDictionary()
_watched_for: Final[set[object]] = set()
"""A token for each backend that exists."""
_replaced: Final[list[tuple[Any, str, Any, Any]]] = []
"""Class, name, Mellea's method and ours, while ours is in its place."""
_watching = threading.RLock()  # a garbage collection may end one inside


def sampling_errors(result: Any) -> tuple[MelleaAPIError, ...]:
    """Return what ended the other samples of a sampling that had a good one.

    Args:
        result: Mellea's `SamplingResult`, as `return_sampling_results=True` gives it.

    Returns:
        The errors, in the order in which they came; empty if every call was answered.
    """
    try:
        return _errors.get(result, ())
    except TypeError:  # not to be referred to weakly
        return ()


def watch_sampling(backend: Any) -> Callable[[], object]:
    """Let a provider's error leave a sampling loop, as long as a backend exists.

    Newer Mellea (0.8, say) runs each loop as one or more subsamples, and goes on with the samples
    that it has if one of them ends in an error: a repair that was told to come back later ends
    in the sample that was to be repaired, with a line in Mellea's log. With this, a sampling
    without a good sample ends in the error, as it does in older Mellea.

    Args:
        backend: The backend of a new session.

    Returns:
        Ends it for this backend, as its garbage collection does. The last one gives Mellea its
        own methods back.
    """
    token = object()
    with _watching:
        _watched_for.add(token)
        _patch()
    end = weakref.finalize(backend, _end, token)
    end.atexit = False
    return end


def _end(token: object) -> None:
    with _watching:
        _watched_for.discard(token)
        if not _watched_for:
            _restore()


def _patch() -> None:
    from mellea.stdlib.sampling.base import BaseSamplingStrategy as Strategy

    if _replaced or not hasattr(Strategy, "_subsample_iteration"):
        return
    for name, wrap in (("_subsample_iteration", _keeping), ("sample", _raising)):
        original = getattr(Strategy, name)
        _replaced.append((Strategy, name, original, wrap(original)))
    for _, name, _, ours in _replaced:
        setattr(Strategy, name, ours)


def _restore() -> None:
    # If somebody replaced ours, theirs may call it: then it stays, and does nothing.
    if all(getattr(cls, name) is ours for cls, name, _, ours in _replaced):
        for cls, name, original, _ in _replaced:
            setattr(cls, name, original)
        _replaced.clear()


def _keeping(iterate: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(iterate)
    async def kept(self: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        try:
            async with contextlib.aclosing(iterate(self, *args, **kwargs)) as slices:
                async for one in slices:
                    yield one
        except MelleaAPIError as error:
            ended = _ended.get()
            if ended is not None:
                ended.append(error)
            raise

    return kept


def _raising(sample: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(sample)
    async def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        ended: list[MelleaAPIError] = []
        token = _ended.set(ended)
        try:
            result = await sample(self, *args, **kwargs)
        finally:
            _ended.reset(token)
        if ended and not result.success:
            raise ended[0]
        for error in ended:
            logger.warning("A sample failed, and another one was good: %s", error)
        if ended:
            _errors[result] = tuple(ended)
        return result

    return watched
