"""The HTTP clients that LiteLLM is given, where it takes one.

Its own follow redirects, with keys in headers of the provider's own, read without end, and call a
stream complete that broke off. On routes that are not in `ROUTES` they stay: what LiteLLM takes as
a client there differs from provider to provider.
"""

from __future__ import annotations

import asyncio
import functools
import re
from typing import Any, ClassVar, Final

import httpx
import openai
from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler, get_ssl_configuration

from mellea_api.http import careful

__all__ = ["ROUTES", "Handler", "client_for", "handler_for"]

ROUTES: Final = frozenset(
    {"anthropic", "deepseek", "gemini", "groq", "mistral", "ollama", "ollama_chat", "openai"}
    | {"openrouter", "xai"}
)
"""Providers whose routes take a client of ours."""
_closing: Final[set[asyncio.Task[None]]] = set()
_END: Final = re.compile(rb'"finish_reason"\s*:\s*"|"done"\s*:\s*true|data:\s*\[DONE\]')


class Handler(AsyncHTTPHandler):  # type: ignore[misc, unused-ignore]
    """LiteLLM's client with careful HTTP below it, and certificates as LiteLLM is told."""

    end: ClassVar[re.Pattern[bytes] | None] = _END

    def create_client(
        self, timeout: Any, event_hooks: Any, ssl_verify: Any = None, shared_session: Any = None
    ) -> httpx.AsyncClient:
        """Make one of httpx; LiteLLM hands over a timeout with each call."""
        client = httpx.AsyncClient(
            timeout=timeout,
            event_hooks={"response": [_close_with_its_task]},
            verify=get_ssl_configuration(ssl_verify),
        )
        return careful(client, end=self.end)


class UnendingHandler(Handler):
    """The same for providers of whose streams LiteLLM itself says where they end."""

    end = None


def handler_for(provider: str) -> type[Handler]:
    """Return the class of the client of an event loop.

    Args:
        provider: One of `ROUTES`.
    """
    return UnendingHandler if provider in ("anthropic", "gemini") else Handler


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


def client_for(provider: str, address: str | None, handler: Handler, handed: dict[str, Any]) -> Any:
    """Return what LiteLLM takes as `client` on a route.

    Args:
        provider: One of `ROUTES`.
        address: The server's.
        handler: The client of the running event loop.
        handed: What is handed to LiteLLM with the call.
    """
    if provider != "openai":
        return handler
    return openai.AsyncOpenAI(
        api_key=handed["api_key"],
        base_url=address,
        organization=handed.get("organization"),
        max_retries=handed.get("max_retries", 0),
        http_client=handler.client,
    )
