"""Mellea's sampling loops, in which a call that failed must not pass for a sample that was bad."""

from __future__ import annotations

import contextlib
import contextvars
import functools
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
_WATCHED: Final = "_mellea_api_watched"


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


def watch_sampling() -> None:
    """See to it that a provider's error leaves a sampling loop.

    Newer Mellea (0.8, say) runs each loop as one or more subsamples, and goes on with the samples
    that it has where one of them ends in an error: a repair that was told to come back later ends
    in the sample that was to be repaired, with a line in Mellea's log. A sampling without a good
    sample then ends in the error instead, as it does in older Mellea. Doing it again changes
    nothing, and errors that are not of this library are left alone.
    """
    from mellea.stdlib.sampling.base import BaseSamplingStrategy as Strategy

    if hasattr(Strategy, "_subsample_iteration") and not hasattr(Strategy, _WATCHED):
        setattr(Strategy, _WATCHED, True)
        Strategy._subsample_iteration = _keeping(Strategy._subsample_iteration)
        Strategy.sample = _raising(Strategy.sample)


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
