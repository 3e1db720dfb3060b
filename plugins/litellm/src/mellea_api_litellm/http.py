"""What a session changes in the HTTP of LiteLLM.

LiteLLM's clients follow redirects, with keys in headers of the provider's own; they read answers
without limit, and call a stream complete that broke off. Which client a provider uses, and where
LiteLLM keeps it, differs from provider to provider. All that there are routes for send with httpx.
So while a session has clients, four names are patched; they are restored when the last session
closes its clients:

- `httpx.AsyncClient.send` and `httpx.Client.send` refuse redirects, limit answers, and check that
  streams end;
- `LLMClientCache.update_cache_key_with_event_loop`, so that LiteLLM keeps a session's clients apart
  from those of the rest of the program;
- `litellm.disable_aiohttp_transport` is True, so that LiteLLM sends with httpx alone.

The first three act only in the context of a call of a session. Everywhere else, also where the
program calls httpx or LiteLLM itself, they do what they did before.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import logging
import re
import threading
import weakref
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, Final

import httpx
import litellm
from litellm.caching.llm_caching_handler import LLMClientCache

from mellea_api.plugin import careful

_END: Final = re.compile(
    rb'"finish_reason"\s*:\s*"|"done"\s*:\s*true|data:\s*\[DONE\]|"type"\s*:\s*"message_stop"'
)
# Providers whose streams end in one of these ways, beside those that LiteLLM lists.
_ENDS: Final = frozenset(
    {"anthropic", "azure", "mistral", "ollama", "ollama_chat", "openai", "openrouter", "watsonx"}
)


class Clients:
    """The HTTP clients that LiteLLM makes for one session on one event loop.

    Args:
        provider: LiteLLM's name of the provider.
        offline: Whether every request is refused.
    """

    def __init__(self, provider: str, *, offline: bool = False) -> None:
        ends = provider in _ENDS or provider in litellm.openai_compatible_providers
        # Only its hooks are used: it cannot send.
        unused = httpx.AsyncClient(transport=httpx.AsyncBaseTransport())
        self._hooks = careful(unused, end=_END if ends else None).event_hooks["response"]
        self._used: weakref.WeakSet[httpx.AsyncClient] = weakref.WeakSet()
        self.offline = offline
        self.name = f"mellea-api-{next(_numbers)}"
        _patch()
        self.restore = weakref.finalize(self, _restore)

    async def close(self) -> None:
        """Close them, on their event loop."""
        shared = getattr(vars(litellm).get("module_level_aclient"), "client", None)
        for client in self._used:
            if client is not shared:
                await client.aclose()
        self.restore()

    async def check(self, client: httpx.AsyncClient, answer: httpx.Response) -> None:
        """Check an answer before its body is read, and see to it that it is closed."""
        self._used.add(client)
        for hook in self._hooks:
            await hook(answer)
        if (task := asyncio.current_task()) is not None:
            # LiteLLM leaves a stream that it cannot read to the garbage collector.
            task.add_done_callback(functools.partial(_close, answer))


@contextlib.contextmanager
def in_use(clients: Clients) -> Iterator[None]:
    """Use a session's clients in this context, and in tasks that begin in it."""
    token = _in_use.set(clients)
    try:
        yield
    finally:
        _in_use.reset(token)


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """Send nothing in this context, and log none of LiteLLM's warnings about options.

    LiteLLM asks an Ollama server for facts about a model while it makes a request's body.
    """
    clients = Clients("", offline=True)
    logger = logging.getLogger("LiteLLM")
    logger.addFilter(heard := lambda record: _in_use.get() is not clients)
    try:
        with in_use(clients):
            yield
    finally:
        logger.removeFilter(heard)
        clients.restore()


_in_use: Final[ContextVar[Clients | None]] = ContextVar("mellea_api_litellm", default=None)
_numbers: Final = itertools.count()
_closing: Final[set[asyncio.Task[None]]] = set()
_lock: Final = threading.Lock()
_undo: Final = contextlib.ExitStack()
_users: Final[list[None]] = []
_sync_hooks: Final = careful(httpx.Client(transport=httpx.BaseTransport())).event_hooks["response"]


def _patch() -> None:
    with _lock:
        _users.append(None)
        if len(_users) == 1:
            _replace(httpx.AsyncClient, "send", _careful_send)
            _replace(httpx.Client, "send", _careful_sync_send)
            _replace(LLMClientCache, "update_cache_key_with_event_loop", _key_of_session)
            _replace(litellm, "disable_aiohttp_transport", lambda own: True)


def _replace(where: Any, name: str, make: Callable[[Any], Any]) -> None:
    own = getattr(where, name)
    ours = make(own)
    setattr(where, name, ours)

    def put_back() -> None:
        if getattr(where, name) is ours:  # else somebody has patched it since
            setattr(where, name, own)

    _undo.callback(put_back)


def _restore() -> None:
    with _lock:
        _users.pop()
        if not _users:
            _undo.close()


def _careful_send(own: Any) -> Any:
    @functools.wraps(own)
    async def send(self: httpx.AsyncClient, request: Any, **how: Any) -> Any:
        clients = _in_use.get()
        if clients is None:
            return await own(self, request, **how)
        answer = await own(self, request, **how | _made_careful(clients, request))
        try:
            await clients.check(self, answer)
            if not how.get("stream"):
                await answer.aread()
        except BaseException:
            await answer.aclose()
            raise
        return answer

    return send


def _careful_sync_send(own: Any) -> Any:
    @functools.wraps(own)
    def send(self: httpx.Client, request: Any, **how: Any) -> Any:
        clients = _in_use.get()
        if clients is None:
            return own(self, request, **how)
        answer = own(self, request, **how | _made_careful(clients, request))
        try:
            for hook in _sync_hooks:
                hook(answer)
            if not how.get("stream"):
                answer.read()
        except BaseException:
            answer.close()
            raise
        return answer

    return send


def _made_careful(clients: Clients, request: httpx.Request) -> dict[str, Any]:
    """Return how to send a request, so that its answer can be checked before it is read."""
    if clients.offline:
        raise httpx.ConnectError("LiteLLM must not ask anybody now")
    request.headers["accept-encoding"] = "identity"
    return {"stream": True, "follow_redirects": False}


def _key_of_session(own: Any) -> Any:
    @functools.wraps(own)
    def key(self: LLMClientCache, key: str) -> Any:
        clients = _in_use.get()
        return own(self, key if clients is None else f"{key}-{clients.name}")

    return key


def _close(answer: httpx.Response, task: asyncio.Task[Any]) -> None:
    if not answer.is_closed:
        closing = task.get_loop().create_task(answer.aclose())
        _closing.add(closing)
        closing.add_done_callback(_closing.discard)
