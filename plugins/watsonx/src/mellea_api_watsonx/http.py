"""The HTTP clients that the SDK is given, in place of its own: for all event loops, and careful."""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import httpx

from mellea_api import ConfigurationError
from mellea_api.plugin import careful

__all__ = ["AsyncClient", "PerLoop", "sync_client", "trusted"]

Held = TypeVar("Held")

TOKENS: Final = "/identity/token"
PROJECTS: Final = "/v2/projects/"
_REFUSING: Final = (TOKENS, PROJECTS)
VERIFY: Final = "WX_CLIENT_VERIFY_REQUESTS"


class PerLoop(Generic[Held]):
    """One thing per event loop, made when it is first asked for there.

    httpx binds connections to a loop, and asyncio its locks.

    Args:
        make: Makes one.
    """

    def __init__(self, make: Callable[[], Held]) -> None:
        self._make = make
        self._held: dict[asyncio.AbstractEventLoop | None, Held] = {}
        self._lock = threading.Lock()

    def here(self) -> Held:
        """Return the one of the running loop, or of no loop."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        with self._lock:
            for gone in [held for held in self._held if held is not None and held.is_closed()]:
                del self._held[gone]
            if loop not in self._held:
                self._held[loop] = self._make()
            return self._held[loop]

    def items(self) -> list[tuple[asyncio.AbstractEventLoop | None, Held]]:
        """Return what there is, by its loop."""
        with self._lock:
            return list(self._held.items())


class AsyncClient(httpx.AsyncClient):
    """One client for all event loops; the SDK's own serves the loop that it is first used in."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._clients = PerLoop(lambda: careful(httpx.AsyncClient(**arguments)))

    async def send(self, request: httpx.Request, **arguments: Any) -> httpx.Response:
        """Send a request from the running loop."""
        answer = await self._clients.here().send(request, **arguments)
        if not arguments.get("stream"):
            # Before it asks again, the SDK closes an answer as if it were a synchronous one.
            answer.stream = httpx.ByteStream(answer.content)
        return answer

    def close(self) -> None:
        """Close the connections, in the loops that they belong to."""
        for loop, client in self._clients.items():
            if loop is not None and loop.is_running():
                asyncio.run_coroutine_threadsafe(client.aclose(), loop)


def sync_client(**arguments: Any) -> httpx.Client:
    """Return a client that raises what the services of tokens and projects refuse.

    The SDK reads any refusal of theirs as a key or a project that is wrong, and keeps neither
    the status nor the headers: a service that is busy would be called a bad key.
    """
    client = careful(httpx.Client(**arguments))
    hooks = client.event_hooks
    client.event_hooks = {**hooks, "response": [*hooks["response"], _raise_refusal]}
    return client


def _raise_refusal(response: httpx.Response) -> None:
    if not response.is_success and response.request.url.path.startswith(_REFUSING):
        response.read()
        response.raise_for_status()


def trusted() -> ssl.SSLContext | bool:
    """Return what the SDK's own variable says of certificates."""
    value = os.environ.get(VERIFY, "").strip()
    if value.lower() == "false":
        return False
    if value.lower() in ("", "true"):
        return httpx.create_ssl_context()
    folder = Path(value).is_dir()
    try:
        return ssl.create_default_context(
            cafile=None if folder else value, capath=value if folder else None
        )
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"Cannot use {VERIFY}={value!r}: {error}.",
            next_step="Set it to a file or folder of certificates (PEM), or to 'true'.",
            variable=VERIFY,
        ) from error
