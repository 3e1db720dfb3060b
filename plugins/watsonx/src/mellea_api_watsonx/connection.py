"""The SDK's client, logged in, on HTTP clients that we make in place of the SDK's own."""

from __future__ import annotations

import asyncio
import copy
import logging
import os
import ssl
import weakref
from pathlib import Path
from typing import Any, Final

import httpx
from ibm_watsonx_ai import APIClient, Credentials, wml_client_error

from mellea_api import ConfigurationError, SessionRequest
from mellea_api.plugin import CredentialRequest, ModelsRequest, careful, reading_answer
from mellea_api_watsonx.regions import checked_url, is_cloud

logger = logging.getLogger("mellea_api.watsonx")
# The SDK makes it with its first error: it must be there before, for the core to mask its records.
logging.getLogger(wml_client_error.__name__)

_PATIENCE = 30.0
"""Seconds for each answer while logging in, if there is no timeout."""
_LONGEST_ANSWER = 1800.0
"""Seconds for an answer of the model if there is no timeout, as in the SDK."""

PROJECTS: Final = "/v2/projects/"
_REFUSING: Final = ("/identity/token", PROJECTS)
_VERIFY: Final = "WX_CLIENT_VERIFY_REQUESTS"


def address(request: SessionRequest | ModelsRequest | CredentialRequest) -> str:
    """Return the address to call: see `checked_url`."""
    return checked_url(request.target, APIClient.PLATFORM_URLS_MAP)


def connect(request: SessionRequest | ModelsRequest | CredentialRequest) -> Client:
    """Log in and enter the project; this blocks.

    Raises:
        ConfigurationError: If the address is not one of watsonx.ai.
        Exception: What the SDK raises.
    """
    url, timeout = address(request), request.timeout
    if not is_cloud(url):
        logger.info("%s is no region of IBM Cloud: taken for Cloud Pak for Data", url)
    http = _sync_client(timeout or _PATIENCE)
    try:
        with reading_answer():
            client = Client(
                Credentials(
                    url=url,
                    api_key=request.credential("api_key"),
                    username=request.credential("username"),
                ),
                httpx_client=http,
                async_httpx_client=_async_client(timeout or _LONGEST_ANSWER),
            )
            client.set.default_project(request.credential("project_id"))
    except BaseException:
        http.close()
        raise
    http.timeout = _limits(timeout or _LONGEST_ANSWER)
    weakref.finalize(client, http.close)  # Mellea before 0.8 closes nothing
    return client


class Client(APIClient):  # type: ignore[misc]
    """The SDK's client, logged in and in its project. Its token serves threads and event loops."""

    async def _aget_headers(self, **arguments: Any) -> Any:
        # The SDK's own renews the token under a lock that is bound to the first loop that waits.
        return await asyncio.to_thread(self._get_headers, **arguments)

    def for_this_loop(self) -> Client:
        """Return a copy that has the same token, and asynchronous connections of its own."""
        copied = copy.copy(self)
        copied._async_httpx_client = _async_client(self.httpx_client.timeout.read)
        return copied


def _limits(seconds: float | None) -> httpx.Timeout:
    return httpx.Timeout(seconds, connect=10.0)


class _AsyncClient(httpx.AsyncClient):
    """A client whose answers the SDK can close.

    Before it asks again, the SDK closes an answer as if it were a synchronous one.
    """

    async def send(self, request: httpx.Request, **arguments: Any) -> httpx.Response:
        """Send a request."""
        answer = await super().send(request, **arguments)
        if not arguments.get("stream"):
            answer.stream = httpx.ByteStream(answer.content)
        return answer


# With clients of its own the SDK stops checking certificates as soon as one check fails, for the
# whole process and without a word.


def _async_client(seconds: float | None) -> httpx.AsyncClient:
    return careful(_AsyncClient(verify=trusted(), timeout=_limits(seconds)))


def _sync_client(seconds: float) -> httpx.Client:
    """Return a client that raises what the services of tokens and projects refuse.

    The SDK takes any refusal of these for a wrong key or project, and keeps neither the status
    nor the headers: it would call the key wrong if the service is busy.
    """
    client = careful(httpx.Client(verify=trusted(), timeout=_limits(seconds)))
    hooks = client.event_hooks
    client.event_hooks = {**hooks, "response": [*hooks["response"], _raise_refusal]}
    return client


def _raise_refusal(response: httpx.Response) -> None:
    if not response.is_success and response.request.url.path.startswith(_REFUSING):
        response.read()
        response.raise_for_status()


def trusted() -> ssl.SSLContext | bool:
    """Return which certificates the SDK's own variable trusts."""
    value = os.environ.get(_VERIFY, "").strip()
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
            f"Cannot use {_VERIFY}={value!r}: {error}.",
            next_step="Set it to a file or folder of certificates (PEM), or to 'true'.",
            variable=_VERIFY,
        ) from error
