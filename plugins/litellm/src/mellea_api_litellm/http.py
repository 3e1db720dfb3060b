"""The HTTP clients that LiteLLM works with during a call of a session.

Its own follow redirects, with keys in headers of the provider's own; they read without end, send
a request once more when a connection breaks, and call a stream complete that broke off. What it
takes as `client` differs from provider to provider, and some of them take none. But they come
from few places (LiteLLM 1.106.2): `litellm.in_memory_llm_clients_cache`, where it looks for one
and keeps the one it made, `litellm.module_level_aclient` and `module_level_client`; and the raw
endpoint of OpenAI's protocol makes an `AsyncOpenAI` for each call. From the first session on these
have stand-ins, which hand out the session's clients during a call of a session, and LiteLLM's own
everywhere else: what a program does with LiteLLM beside is as before.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import re
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, Final

import httpx
import litellm
import openai
from litellm.llms.custom_httpx.http_handler import (
    AsyncHTTPHandler,
    HTTPHandler,
    get_ssl_configuration,
)
from litellm.llms.openai.completion import handler as raw_endpoint
from litellm.types.llms.custom_http import httpxSpecialProvider

from mellea_api._provider.authoring import UnreadableAnswerError
from mellea_api.plugin import careful

__all__ = ["OWN_CLIENT", "Clients", "in_use"]

OWN_CLIENT: Final = frozenset({"aiohttp_openai", "amazon_nova", "maritalk"})
"""Providers for which LiteLLM makes a client of its own, out of reach."""

_END: Final = re.compile(
    rb'"finish_reason"\s*:\s*"|"done"\s*:\s*true|data:\s*\[DONE\]|"type"\s*:\s*"message_stop"'
)
_ENDS: Final = frozenset(
    {"anthropic", "azure", "mistral", "ollama", "ollama_chat", "openai", "openrouter", "watsonx"}
)
"""Providers whose streams end in one of these ways, beside those that LiteLLM lists."""
_BESIDE: Final = tuple(
    kind.value for kind in httpxSpecialProvider if not kind.value.startswith("a2a")
)
"""What LiteLLM needs clients for beside providers: logging, guardrails, vaults and the like."""
_SDK: Final = (openai.AsyncOpenAI, openai.OpenAI)
_in_use: Final[ContextVar[Clients | None]] = ContextVar("mellea_api_litellm", default=None)
_closing: Final[set[asyncio.Task[None]]] = set()
_standing: Final = threading.Lock()


class Clients:
    """The clients of one session on one event loop.

    Args:
        provider: As LiteLLM calls it.
    """

    def __init__(self, provider: str) -> None:
        # Of the other providers' streams LiteLLM itself says where they end.
        ends = provider in _ENDS or provider in litellm.openai_compatible_providers
        self._end = _END if ends else None
        self._later = Handler(self._end)
        self._now = HTTPHandler()
        careful(self._now.client)
        self._kept: dict[str, Any] = {}

    async def close(self) -> None:
        """Close them, on their event loop."""
        for client in (*self._kept.values(), self._later):
            if isinstance(client, AsyncHTTPHandler):
                await client.close()
        self._now.close()

    def choose(self, own: Any) -> Any:
        """Return what takes the place of a client that all of LiteLLM shares."""
        return self._later if isinstance(own, AsyncHTTPHandler) else self._now

    def find(self, key: str) -> Any:
        """Return the client that LiteLLM looks for, or None: it then makes one, and keeps it."""
        found = self._kept.get(key)
        own = key.endswith(_BESIDE) or "ssl_verify_" in key.replace("ssl_verify_None", "")
        if found is not None or own:
            return found
        if key.startswith("async_httpx_client"):
            return self._later
        return self._now if key.startswith("httpx_client") else None

    def keep(self, key: str, client: Any) -> bool:
        """Take a client that LiteLLM has made and not yet used, and make it careful.

        Returns:
            Whether it was one.
        """
        if isinstance(client, openai.AsyncOpenAI):
            self.put_below(client)
        elif isinstance(client, openai.OpenAI):
            if litellm.client_session is None:
                client._client = self._now.client
        elif isinstance(client, AsyncHTTPHandler | HTTPHandler) and not key.endswith(_BESIDE):
            careful(client.client, end=self._end)
        else:
            return False
        self._kept[key] = client
        return True

    def put_below(self, client: openai.AsyncOpenAI) -> None:
        """Have a client of OpenAI's SDK work with this session's, if its program chose none."""
        if litellm.aclient_session is None:
            client._client = self._later.client


@contextlib.contextmanager
def in_use(clients: Clients) -> Iterator[None]:
    """Have LiteLLM use a session's clients in this context, and in tasks that begin in it."""
    _stand_in()
    token = _in_use.set(clients)
    try:
        yield
    finally:
        _in_use.reset(token)


def _stand_in() -> None:
    """Put the stand-ins in their places, where they are not yet."""
    with _standing:
        for name in ("module_level_aclient", "module_level_client"):
            own = getattr(litellm, name)
            if type(own) is not _Client:
                setattr(litellm, name, _Client(own))
        cache = litellm.in_memory_llm_clients_cache
        if type(cache) is not _Cache:
            litellm.in_memory_llm_clients_cache = _Cache(cache)
        raw_endpoint.AsyncOpenAI = _RawClient


class _Client:
    """Stands in for a client that all of LiteLLM shares."""

    def __init__(self, own: Any) -> None:
        vars(self)["_own"] = own

    def _chosen(self) -> Any:
        own = vars(self)["_own"]
        clients = _in_use.get()
        return own if clients is None else clients.choose(own)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # LiteLLM asks for it, by isinstance
        return type(vars(self)["_own"])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chosen(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._chosen(), name, value)


class _Cache:
    """Stands in for the cache where LiteLLM keeps its clients."""

    def __init__(self, own: Any) -> None:
        self._own = own

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def get_cache(self, key: str, **arguments: Any) -> Any:
        clients = _in_use.get()
        found = None if clients is None else clients.find(key)
        if found is not None:
            return found
        found = self._own.get_cache(key, **arguments)
        return None if clients is not None and isinstance(found, _SDK) else found

    def set_cache(self, key: str, value: Any, *rest: Any, **arguments: Any) -> Any:
        clients = _in_use.get()
        if clients is None or not clients.keep(key, value):
            return self._own.set_cache(key, value, *rest, **arguments)
        return None


class _RawClient(openai.AsyncOpenAI):
    """Stands in for what the raw endpoint makes for each call."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        clients = _in_use.get()
        if clients is not None:
            clients.put_below(self)


class Handler(AsyncHTTPHandler):  # type: ignore[misc, unused-ignore]
    """LiteLLM's client with careful HTTP below it, and certificates as LiteLLM is told.

    Args:
        end: What the streams of its provider end with, if LiteLLM does not see to that.
    """

    def __init__(self, end: re.Pattern[bytes] | None) -> None:
        self._end = end
        super().__init__()

    def create_client(
        self, timeout: Any, event_hooks: Any, ssl_verify: Any = None, shared_session: Any = None
    ) -> httpx.AsyncClient:
        """Make one of httpx; LiteLLM hands over a timeout with each call."""
        client = httpx.AsyncClient(
            timeout=timeout,
            event_hooks={"response": [_refuse_a_page, _close_with_its_task]},
            verify=get_ssl_configuration(ssl_verify),
            cert=os.getenv("SSL_CERTIFICATE", litellm.ssl_certificate),
        )
        return careful(client, end=self._end)


async def _refuse_a_page(answer: httpx.Response) -> None:
    """Refuse a web page; of one that comes as a stream LiteLLM makes an empty answer."""
    if answer.is_success and answer.headers.get("content-type", "").startswith("text/html"):
        raise UnreadableAnswerError("it is a web page")


async def _close_with_its_task(answer: httpx.Response) -> None:
    """Close an answer when the generation that asked for it ends.

    LiteLLM leaves a stream that it stumbles over, and its connection, to the garbage collector.
    """
    task = asyncio.current_task()
    if task is not None:
        task.add_done_callback(functools.partial(_close, answer))


def _close(answer: httpx.Response, task: asyncio.Task[Any]) -> None:
    if not answer.is_closed:
        closing = task.get_loop().create_task(answer.aclose())
        _closing.add(closing)
        closing.add_done_callback(_closing.discard)
