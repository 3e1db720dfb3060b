"""Mellea's backend on shared weights: a subclass that generates with `generation`."""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from mellea.backends.huggingface import LocalHFBackend as Original
from mellea.core import Component

from mellea_api import SessionRequest
from mellea_api_hf.generation import SEED, Generation, current
from mellea_api_hf.options import TEMPLATE
from mellea_api_hf.weights import Weights

logger = logging.getLogger("mellea_api.hf")
_RAW = next(name for name in ("_generate_from_raw", "generate_from_raw") if hasattr(Original, name))


class LocalHFBackend(Original):  # type: ignore[misc]
    """Mellea's backend, on weights that other sessions may use too.

    A closed backend loads its model again when it is called: Mellea 0.3's `cleanup` closes a
    backend that a cloned session still uses.
    """

    def __init__(
        self,
        model_id: str,
        *,
        request: SessionRequest,
        load: Callable[[], Weights] | None = None,
        **arguments: Any,
    ) -> None:
        """Load the model, unless `custom_config` has the caller's own.

        Args:
            model_id: The model.
            request: The session's request.
            load: Loads the weights, now and again after `close`.
            **arguments: Those of Mellea's backend.
        """
        self._weights: Weights | None = None
        self._load, self._request = load, request
        if load is None:
            super().__init__(model_id, **arguments)
            return
        weights = load()
        config = (weights.tokenizer, weights.model, weights.device)
        super().__init__(model_id, custom_config=config, **arguments)
        self._take(weights)

    def _take(self, weights: Weights) -> None:
        self._weights = weights
        self._tokenizer, self._model, self._device = (
            weights.tokenizer,
            weights.model,
            weights.device,
        )
        self._generation_lock = weights.lock

    def close(self) -> None:
        """Release the weights: their memory is freed when no session uses them."""
        if self._load is None or self._weights is None:
            return
        self._weights = self._tokenizer = self._model = None
        kept: Any = getattr(self._cache, "cache", {})  # keys and values of whole conversations
        kept.clear()

    async def _awake(self) -> Weights:
        if self._weights is None:
            if self._load is None:  # built with the caller's own model
                return Weights(self._tokenizer, self._model, self._device, self._generation_lock)
            logger.debug("%s is loaded again: its session was closed", self.model_id)
            self._take(await asyncio.to_thread(self._load))
        assert self._weights is not None
        return self._weights

    async def _generation(self, options: Mapping[str, Any]) -> Generation:
        weights = await self._awake()
        return Generation(options, weights, self._request)

    async def _generate_from_context_standard(
        self, *args: Any, model_options: Mapping[str, Any], **kwargs: Any
    ) -> Any:
        generation = await self._generation(model_options)
        with generation.going_on():
            thunk = await super()._generate_from_context_standard(
                *args, model_options=_unseeded(model_options), **kwargs
            )
        # What Mellea keeps with the thunk moved in 0.7.
        holder, prefix = (thunk._gen, "") if hasattr(thunk, "_gen") else (thunk, "_")
        for name, wrap in (("process", _cutting), ("post_process", _finishing)):
            function = getattr(holder, f"{prefix}{name}")
            setattr(holder, f"{prefix}{name}", wrap(function, generation))

        def ended(task: asyncio.Task[Any]) -> None:
            if task.cancelled():
                generation.cancelled.set()

        getattr(holder, f"{prefix}generate").add_done_callback(ended)
        return thunk

    async def _generate_from_intrinsic(
        self, action: Any, ctx: Any, *, model_options: Mapping[str, Any], **rest: Any
    ) -> Any:
        """Let Mellea run it, whose adapters have their own arguments, and report what it drops."""
        await self._awake()
        lost = [name for name in model_options if not _reaches_an_intrinsic(name)]
        if lost:
            self._request.unsupported(
                [name.strip("@") for name in lost],
                "is not passed on to an intrinsic by Mellea; leave it out of this call",
            )
        return await super()._generate_from_intrinsic(
            action, ctx, model_options=dict(model_options), **rest
        )

    def _generate_with_adapter_lock(self, *args: Any, **kwargs: Any) -> Any:
        generation = current.get()
        if generation is None:
            return super()._generate_with_adapter_lock(*args, **kwargs)
        # Up to 0.6 the name of an adapter comes first.
        at = next(index for index, value in enumerate(args) if callable(value))
        inputs = args[at + 1] if len(args) > at + 1 else None

        def generate() -> Any:
            if generation.cancelled.is_set():
                return None  # nobody waits for the answer, or for an error
            return generation.run(args[at], kwargs, inputs)

        # A generation ends on the weights that it began with: `close` may come meanwhile. A stream
        # that was stopped early has a thread that reads the model once more when it is done.
        steady = copy.copy(self)
        steady._take(generation.weights)
        return super(LocalHFBackend, steady)._generate_with_adapter_lock(*args[:at], generate)

    def _make_backend_specific_and_remove(self, *args: Any, **kwargs: Any) -> Any:
        generation = current.get()
        if generation is None:
            return super()._make_backend_specific_and_remove(*args, **kwargs)
        # Up to 0.6 this is for the chat template; arguments of generate() do not come this way.
        return generation.template() if not generation.raw else {}

    def _filter_for_chat_template(self, model_options: dict[str, Any]) -> Any:
        generation = current.get()
        if generation is None:
            return super()._filter_for_chat_template(model_options)
        return generation.template()


_INTRINSIC = inspect.signature(Original._generate_from_intrinsic).parameters


def _reaches_an_intrinsic(option: str) -> bool:
    if "tool_calls" not in _INTRINSIC:  # Mellea 0.3 looks at these alone
        return option in ("temperature", SEED, "@@@system_prompt@@@", "@@@stream@@@")
    return option not in (TEMPLATE, "@@@thinking@@@")


def _unseeded(options: Mapping[str, Any]) -> dict[str, Any]:
    # Mellea would seed the process now, while other generations run.
    return {name: value for name, value in options.items() if name != SEED}


def _cutting(
    process: Callable[..., Coroutine[Any, Any, Any]], generation: Generation
) -> Callable[..., Coroutine[Any, Any, Any]]:
    async def cutting(thunk: Any, piece: Any) -> None:
        await process(thunk, piece)
        if not isinstance(piece, str):  # a streamer cuts its pieces itself
            thunk._underlying_value = generation.stops.cut(thunk._underlying_value)

    return cutting


def _finishing(
    post_process: Callable[..., Coroutine[Any, Any, Any]], generation: Generation
) -> Callable[..., Coroutine[Any, Any, Any]]:
    async def finishing(thunk: Any) -> None:
        await post_process(thunk)
        # Mellea 0.8 looks for the stop text at the end of the answer, where we removed it.
        if generation.stops.met and hasattr(getattr(thunk, "generation", None), "finish_reasons"):
            thunk.generation.finish_reasons = ["stop"]

    return finishing


async def _generate_from_raw(self: Any, actions: Any, ctx: Any, **kwargs: Any) -> Any:
    options = kwargs.pop("model_options", None) or {}
    generation = await self._generation(options)
    generation.raw = True
    original = functools.partial(getattr(Original, _RAW), self)
    try:
        with generation.going_on():
            result = await original(actions, ctx, model_options=_unseeded(options), **kwargs)
    except asyncio.CancelledError:
        generation.cancelled.set()
        raise
    for thunk, action in zip(
        result[0] if isinstance(result, tuple) else result, actions, strict=False
    ):
        text = thunk._underlying_value
        if generation.stops and (short := generation.stops.cut(text)) != text:
            thunk._underlying_value = short
            thunk.parsed_repr = action.parse(thunk) if isinstance(action, Component) else short
    return result


_generate_from_raw.__name__ = _RAW
setattr(LocalHFBackend, _RAW, _generate_from_raw)
