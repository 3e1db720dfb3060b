"""The HTTP clients that the SDK is given in place of its own."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any, Final

import httpx

from mellea_api import ConfigurationError
from mellea_api.plugin import careful

TOKENS: Final = "/identity/token"
PROJECTS: Final = "/v2/projects/"
_REFUSING: Final = (TOKENS, PROJECTS)
VERIFY: Final = "WX_CLIENT_VERIFY_REQUESTS"


class AsyncClient(httpx.AsyncClient):
    """A client whose answers the SDK can close.

    Before it asks again, the SDK closes an answer as if it were a synchronous one.
    """

    async def send(self, request: httpx.Request, **arguments: Any) -> httpx.Response:
        """Send a request."""
        answer = await super().send(request, **arguments)
        if not arguments.get("stream"):
            answer.stream = httpx.ByteStream(answer.content)
        return answer


def sync_client(**arguments: Any) -> httpx.Client:
    """Return a client that raises what the services of tokens and projects refuse.

    The SDK takes any refusal of these for a wrong key or project, and keeps neither the status
    nor the headers: it would call the key wrong if the service is busy.
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
    """Return which certificates the SDK's own variable trusts."""
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
