"""Careful clients of the OpenAI SDK, and Mellea's backend class on top of them."""

from __future__ import annotations

import asyncio
import functools
import weakref
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Final, Protocol

import openai
from openai.resources.chat.completions import AsyncCompletions

from mellea_api._contract.requests import ProviderRequest
from mellea_api._openai_protocol.declaration import OpenAICompatible
from mellea_api._provider.answers import whole
from mellea_api._provider.http import careful

NO_KEY: Final = "no-key-needed"
"""The key that a server without keys is sent, since the SDK insists on one."""


class Engine(Protocol):
    """What answers inside this process, at an address and with a key of its own."""

    address: str
    key: str

    def check(self) -> None:
        """Raise one of our errors if the engine cannot be used from here any more."""

    def hold(self) -> None:
        """Count a backend in."""

    def leave(self) -> None:
        """Count a backend out; the last one ends the engine, which may take a while."""


def arguments(request: ProviderRequest) -> dict[str, Any]:
    """Return what a client of the SDK is made with, for a request's server and credentials."""
    declared = request.target.descriptor
    headers = dict(declared.headers) if isinstance(declared, OpenAICompatible) else {}
    return {
        **({"default_headers": headers} if headers else {}),
        "api_key": request.credential("api_key") or NO_KEY,
        # Always given: otherwise the SDK reads OpenAI's variables.
        "base_url": request.target.address,
        "organization": request.credential("organization") or "",
        "project": request.credential("project") or "",
    }


def client(arguments: Mapping[str, Any]) -> openai.AsyncOpenAI:
    """Return a client with some arguments, for the time before there is a session."""
    made = _without_blanks(openai.AsyncOpenAI(**{**arguments, "max_retries": 0}))
    careful(made._client)  # the SDK has no other way to the client that it makes
    return made


def _without_blanks(made: openai.AsyncOpenAI) -> openai.AsyncOpenAI:
    """Remove a blank organization and project, which would be sent as empty headers."""
    made.organization = (made.organization or "").strip() or None
    made.project = (made.project or "").strip() or None
    return made


@functools.cache
def backend_class() -> Any:
    """Return Mellea's backend for this protocol, with careful clients."""
    from mellea.backends.openai import OpenAIBackend as Original

    class OpenAIBackend(Original):  # type: ignore[misc, unused-ignore]
        """Mellea's backend with careful clients; it makes one for each event loop."""

        _leave: Callable[[], object] = staticmethod(lambda: None)

        def __init__(self, *args: Any, engine: Engine | None = None, **kwargs: Any) -> None:
            self._engine = engine  # the constructor makes a client
            super().__init__(*args, **kwargs)
            if engine is not None:
                engine.hold()
                self._leave = weakref.finalize(self, engine.leave)  # nobody may close it

        if hasattr(Original, "close"):

            def close(self) -> None:
                super().close()
                self._leave()

            async def aclose(self) -> None:
                await super().aclose()
                await asyncio.to_thread(self._leave)

        else:  # Mellea up to 0.6, whose sessions would call a `close`

            def release(self) -> None:
                self._client_cache.clear()
                self._leave()

        @property
        def _async_client(self) -> openai.AsyncOpenAI:
            made: openai.AsyncOpenAI = super()._async_client
            completions = made.chat.completions
            if type(completions) is AsyncCompletions:
                completions.__class__ = _Completions
                if self._engine is not None:
                    self._engine.check()
                    made._client = openai.DefaultAsyncHttpxClient(trust_env=False)  # no proxy
                careful(_without_blanks(made)._client)
            return made

        if not hasattr(Original, "_merge_user_extra_body"):  # Mellea up to 0.6

            def _make_backend_specific_and_remove(self, *args: Any, **kwargs: Any) -> Any:
                """Keep `extra_body` apart: Mellea has one of its own beside it."""
                own = super()._make_backend_specific_and_remove(*args, **kwargs)
                if not kwargs.get("is_chat_context", args[1:2] == (True,)):
                    return own
                return {"second_body" if key == "extra_body" else key: own[key] for key in own}

    return OpenAIBackend


class _Completions(AsyncCompletions):
    """Raises if a stream breaks off, and if an answer with a good status is an error."""

    def create(self, *args: Any, second_body: Any = None, **kwargs: Any) -> Any:
        if second_body:
            kwargs["extra_body"] = _joined(second_body, kwargs.get("extra_body") or {})
        if not kwargs.get("tools"):  # in a session that has some, for other calls
            kwargs.pop("tool_choice", None)
            body = dict(kwargs.get("extra_body") or {})
            body.pop("parallel_tool_calls", None)
            kwargs["extra_body"] = body or None
        answer = super().create(*args, **kwargs)
        return self._streamed(answer) if kwargs.get("stream") else answer

    async def _streamed(self, answer: Any) -> Any:
        pieces = await answer
        pieces._decoder = decoder = _Decoder(pieces._decoder)
        return whole(pieces, _is_last, lambda: decoder.ended)


class _Decoder:
    """The SDK's decoder of events, which also notes the protocol's mark of a whole answer."""

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder
        self.ended = False

    async def aiter_bytes(self, pieces: Any) -> AsyncGenerator[Any]:
        async for event in self._decoder.aiter_bytes(pieces):
            self.ended = self.ended or event.data.startswith("[DONE]")
            yield event


def _is_last(chunk: Any) -> bool:
    return any(choice.finish_reason for choice in chunk.choices or ())


def _joined(given: Mapping[str, Any], melleas: Mapping[str, Any]) -> dict[str, Any]:
    """Join two bodies; Mellea's wins, since an adapter lives by it."""
    joined = {**given, **melleas}
    for key in given.keys() & melleas.keys():
        if isinstance(given[key], Mapping) and isinstance(melleas[key], Mapping):
            joined[key] = {**given[key], **melleas[key]}
    return joined
