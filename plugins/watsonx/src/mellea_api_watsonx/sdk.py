"""The hooks that need the watsonx.ai SDK and Mellea.

Mellea makes the SDK's client twice, each time two of them: four tokens, two projects and two
lists of models before the first prompt. Here one client serves every event loop, with one
token, one look at the project and one at the models.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import logging
import weakref
from collections.abc import Sequence
from typing import Any

import httpx
from ibm_watsonx_ai import APIClient, Credentials, wml_client_error
from ibm_watsonx_ai.foundation_models import ModelInference

from mellea_api import CredentialReport, ModelInfo, SessionRequest
from mellea_api._credentials.judge import missing_error
from mellea_api._provider.authoring import call_with_deadline
from mellea_api._secrecy.logs import logger
from mellea_api._secrecy.secrets import redact
from mellea_api.plugin import (
    CredentialRequest,
    ModelsRequest,
    careful,
    reading_answer,
    whole,
)
from mellea_api_watsonx import specs
from mellea_api_watsonx.http import AsyncClient, sync_client, trusted
from mellea_api_watsonx.options import EXTRA_PARAMETERS
from mellea_api_watsonx.regions import checked_url, is_cloud

_PATIENCE = 30.0
"""Seconds for each answer while a session is opened, where there is no timeout."""
_LONGEST_ANSWER = 1800.0
"""Seconds for an answer of the model where there is no timeout, as in the SDK."""


# ------------------------------------------------------------------------------- the connection


class _Client(APIClient):  # type: ignore[misc]
    """The SDK's client, logged in and in its project. Its token serves threads and event loops."""

    async def _aget_headers(self, **arguments: Any) -> Any:
        # The SDK's own renews the token under a lock that is bound to the first loop that waits.
        return await asyncio.to_thread(self._get_headers, **arguments)

    def for_this_loop(self) -> _Client:
        """Return a copy that has the same token, and asynchronous connections of its own."""
        copied = copy.copy(self)
        copied._async_httpx_client = _async_client(self.httpx_client.timeout)
        return copied


def _async_client(timeout: Any) -> httpx.AsyncClient:
    # With clients of its own the SDK stops checking certificates as soon as one check fails, for
    # the whole process and without a word.
    return careful(AsyncClient(verify=trusted(), timeout=timeout))


def connect(request: SessionRequest | ModelsRequest | CredentialRequest) -> _Client:
    """Log in and enter the project.

    Raises:
        ConfigurationError: If the address is not one of watsonx.ai.
        CredentialError: If it is Cloud Pak for Data, and there is no user name.
    """
    target, timeout = request.target, request.timeout
    url = checked_url(target, APIClient.PLATFORM_URLS_MAP)
    if not is_cloud(url):
        logger.info("%s is no region of IBM Cloud: taken for Cloud Pak for Data", url)
        given = request.credentials
        lacking = [field for field in target.descriptor.credentials if field.name not in given]
        if lacking:
            raise missing_error(target, *lacking)
    account = Credentials(
        url=url, api_key=request.credential("api_key"), username=request.credential("username")
    )
    limit = httpx.Timeout(timeout or _LONGEST_ANSWER, connect=10.0)

    def log_in() -> _Client:
        http = sync_client(verify=trusted(), timeout=limit)
        try:
            with reading_answer():
                client = _Client(
                    account, httpx_client=http, async_httpx_client=_async_client(limit)
                )
                client.set.default_project(request.credential("project_id"))
        except BaseException:
            http.close()
            raise
        weakref.finalize(client, http.close)  # Mellea before 0.8 closes nothing
        return client

    return call_with_deadline(log_in, timeout or _PATIENCE)


class _Inference(ModelInference):  # type: ignore[misc]
    """The SDK's model: what Mellea has no argument for stands among the parameters."""

    async def achat(self, messages: Any, params: Any = None, **arguments: Any) -> Any:
        return await super().achat(messages, **_arguments(params, arguments))

    async def achat_stream(self, messages: Any, params: Any = None, **arguments: Any) -> Any:
        stream = await super().achat_stream(messages, **_arguments(params, arguments))
        return whole(stream, _is_last)

    def generate(self, prompt: Any = None, params: Any = None, **arguments: Any) -> Any:
        return super().generate(prompt, **_arguments(params, arguments))


def _is_last(event: Any) -> bool:
    return any(choice.get("finish_reason") for choice in event["choices"])


def _arguments(params: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    params = dict(params or {})
    extra = params.pop(EXTRA_PARAMETERS, {})
    if "tool_choice" in params:
        arguments |= {"tool_choice": params.pop("tool_choice"), "tool_choice_option": None}
    elif "tool_choice_option" in params:
        arguments["tool_choice_option"] = params.pop("tool_choice_option")
    return {**arguments, "params": {**params, **extra}}


# ---------------------------------------------------------------------------------- the models


def list_models(request: ModelsRequest) -> list[ModelInfo]:
    """List the models of the region that write text; IBM Cloud tells everybody."""
    target = request.target
    url = checked_url(target, APIClient.PLATFORM_URLS_MAP)
    token = None
    if not is_cloud(url):
        client = connect(request)
        token = client.token
        client.httpx_client.close()
    return specs.models(target, url, token, request.timeout)


# ----------------------------------------------------------------------------- the credentials


def validate_credentials(request: CredentialRequest) -> CredentialReport:
    """Log in, and enter the project, as a session does."""
    client = connect(request)
    client.httpx_client.close()
    return request.accepted(f"{client.credentials.url} takes the key, and has the project.")


# ---------------------------------------------------------------------------------- the session


def create_session(request: SessionRequest) -> Any:
    """Log in, look at the project and the model, and build Mellea's session.

    Raises:
        ModelNotFoundError: If the region does not have the model.
        CredentialError: If the key is rejected, or the project is not there.
        PermissionDeniedError: If the key may not use the project.
        BackendUnavailableError: If watsonx.ai cannot be reached.
        ConfigurationError: If the address cannot be used.
    """
    client = connect(request)
    try:
        if request.setting("validate"):
            url = client.credentials.url
            token = None if is_cloud(url) else client.token
            specs.check_model(request.target, url, token, request.timeout or _PATIENCE)
        else:
            request.unchecked("validate=False")
        retries = request.setting("max_retries")
        return request.build(_backend_class(), client=client, max_retries=retries)
    except BaseException:
        client.httpx_client.close()
        raise


@functools.cache
def _backend_class() -> Any:
    from mellea.backends.watsonx import WatsonxAIBackend as Original

    class WatsonxAIBackend(Original):  # type: ignore[misc]
        """Mellea's backend on one connection, with every parameter of the endpoint."""

        def __init__(
            self,
            model_id: str,
            formatter: Any = None,
            *,
            client: _Client,
            max_retries: int,  # else the SDK tries again ten times behind the caller's back
            delay_time: float | None = None,
            retry_status_codes: Sequence[int] | None = None,
        ) -> None:
            self._client = client
            self._retries = {
                "max_retries": max_retries,
                "delay_time": delay_time,
                "retry_status_codes": retry_status_codes,
            }
            # The key stays with the client: Mellea would log in once more.
            super().__init__(
                model_id,
                formatter,
                client.credentials.url,
                api_key="",
                project_id=client.default_project_id,
            )
            self._client_cache.aclose = _aclose

        @property
        def _model(self) -> ModelInference:
            """The model of the running loop: httpx binds connections to a loop, asyncio locks."""
            getattr(self, "_raise_if_closed", lambda: None)()
            loop = asyncio._get_running_loop()
            model = self._client_cache.get(loop)
            if model is None:
                model = _Inference(
                    model_id=self._model_id,
                    api_client=self._client.for_this_loop(),
                    validate=False,
                    **self._retries,
                )
                self._client_cache.put(loop, model)
            return model

        def filter_chat_completions_kwargs(self, model_options: dict[str, Any]) -> dict[str, Any]:
            # All options have been through the rules; Mellea would drop half of them.
            return {
                name: value for name, value in model_options.items() if not name.startswith("@@@")
            }

        def release(self) -> None:
            """Close the connections; the core calls it where Mellea has no `close`."""
            self._client_cache.clear()
            self._client.httpx_client.close()

        if hasattr(Original, "close"):  # Mellea 0.3's cleanup would close what others still use

            def close(self) -> None:
                super().close()
                self._client.httpx_client.close()

            async def aclose(self) -> None:
                await super().aclose()
                self._client.httpx_client.close()

    return WatsonxAIBackend


async def _aclose(model: Any) -> None:
    # Mellea's own would close the synchronous client too, which all loops share.
    await model._client.async_httpx_client.aclose()


# ------------------------------------------------------------------------------------- the logs


class _Redacting(logging.Filter):
    """The SDK logs what it raises, and so what a server repeats of what it was sent."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), None
        return True


logging.getLogger(wml_client_error.__name__).addFilter(_Redacting())
