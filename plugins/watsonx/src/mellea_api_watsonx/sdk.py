"""The module of this plugin that uses the watsonx.ai SDK, and Mellea; `failures` reads its errors.

Mellea makes the SDK's client twice, each time two of them: four tokens, two projects and two
lists of models before the first prompt. Here one connection serves every event loop, with one
token, one look at the project and one at the models.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
from ibm_watsonx_ai import APIClient, Credentials, wml_client_error
from ibm_watsonx_ai.foundation_models import ModelInference

from mellea_api import ModelInfo, Secret, SessionRequest
from mellea_api._credentials.judge import missing_error
from mellea_api._provider.authoring import (
    UnreadableAnswerError,
    call_with_deadline,
    check_listing,
    construct,
    flag,
    model_not_checked,
)
from mellea_api._secrecy.logs import logger
from mellea_api._secrecy.secrets import redact
from mellea_api.plugin import ModelsRequest, Target, whole
from mellea_api_watsonx import specs
from mellea_api_watsonx.http import AsyncClient, PerLoop, sync_client, trusted
from mellea_api_watsonx.options import EXTRA_PARAMETERS
from mellea_api_watsonx.regions import checked_url, is_cloud

__all__ = ["connect", "create_session", "list_models"]

_PATIENCE = 30.0
"""Seconds for each answer while a session is opened, where there is no timeout."""
_LONGEST_ANSWER = 1800.0
"""Seconds for an answer of the model where there is no timeout, as in the SDK."""


# ------------------------------------------------------------------------------- the connection


class _Client(APIClient):  # type: ignore[misc]
    """The SDK's client, which renews its token on any loop."""

    async def _aget_headers(self, **arguments: Any) -> Any:
        # The SDK's own renews it under a lock that is bound to the first loop that waits for it.
        return await asyncio.to_thread(self._get_headers, **arguments)


class _Connection:
    """The SDK's client, logged in and in its project; safe to share between threads and loops.

    Args:
        url: The address, checked.
        given: Credentials by field name.
        timeout: Seconds between two signs of life of an answer.
    """

    def __init__(self, url: str, given: Mapping[str, Secret], timeout: float | None) -> None:
        self.url = url
        self.project_id = given["project_id"].reveal()
        username = given.get("username")
        # With clients of its own the SDK goes on without checking certificates as soon as that
        # check fails, for the whole process and without a word.
        http: dict[str, Any] = {
            "verify": trusted(),
            "timeout": httpx.Timeout(timeout or _LONGEST_ANSWER, connect=10.0),
        }
        self._sync, self._async = sync_client(**http), AsyncClient(**http)
        weakref.finalize(self, self._sync.close)  # Mellea before 0.8 closes nothing
        try:
            self.client = _Client(
                Credentials(
                    url=url,
                    api_key=given["api_key"].reveal(),
                    username=username.reveal() if username else None,
                ),
                httpx_client=self._sync,
                async_httpx_client=self._async,
            )
            self.client.set.default_project(self.project_id)
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            self.close()
            raise UnreadableAnswerError(
                f"the SDK stumbled over it: {type(error).__name__}: {error}"
            ) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connections."""
        self._sync.close()
        self._async.close()


def connect(target: Target, given: Mapping[str, Secret], timeout: float | None) -> _Connection:
    """Log in and enter the project.

    Raises:
        ConfigurationError: If the address is no address of watsonx.ai.
        CredentialError: If it is Cloud Pak for Data, and there is no user name.
    """
    url = checked_url(target, APIClient.PLATFORM_URLS_MAP)
    if not is_cloud(url):
        logger.info("%s is no region of IBM Cloud: taken for Cloud Pak for Data", url)
        lacking = [field for field in target.descriptor.credentials if field.name not in given]
        if lacking:
            raise missing_error(target, *lacking)
    return call_with_deadline(lambda: _Connection(url, given, timeout), timeout or _PATIENCE)


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
    """Ask the region which models write text; IBM Cloud tells everybody."""
    target = request.target
    check_listing(target, also=("validate", "max_retries"))
    url = checked_url(target, APIClient.PLATFORM_URLS_MAP)
    token = None
    if not is_cloud(url):
        connection = connect(target, request.credentials, request.timeout)
        token = connection.client.token
        connection.close()
    return specs.models(target, url, token, request.timeout)


# ---------------------------------------------------------------------------------- the session


def create_session(request: SessionRequest) -> Any:
    """Log in, look at the project and the model, and build Mellea's session.

    Raises:
        ModelNotFoundError: If the region does not have the model.
        CredentialError: If the key is rejected, or the project is not there.
        PermissionDeniedError: If the key may not use the project.
        BackendUnavailableError: If watsonx.ai cannot be reached.
        ConfigurationError: If the address or `validate` cannot be used.
    """
    target = request.target
    hint = "Use validate=False to open a session without asking for the model."
    validate = flag(target, "validate", True, hint)
    connection = connect(target, request.credentials, request.timeout)
    try:
        if validate:
            token = None if is_cloud(connection.url) else connection.client.token
            specs.check_model(target, connection.url, token, request.timeout or _PATIENCE)
        else:
            model_not_checked(request, "validate=False")
        from mellea import MelleaSession

        return MelleaSession(construct(_backend_class(), target, "validate", connection=connection))
    except BaseException:
        connection.close()
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
            connection: _Connection,
            max_retries: int = 0,  # the SDK would try again ten times behind the caller's back
            delay_time: float | None = None,
            retry_status_codes: Sequence[int] | None = None,
        ) -> None:
            self._connection = connection
            # Mellea's constructor asks for the model; the locks within belong to one loop.
            self._models = PerLoop(
                lambda: _Inference(
                    model_id=model_id,
                    api_client=connection.client,
                    validate=False,
                    max_retries=max_retries,
                    delay_time=delay_time,
                    retry_status_codes=retry_status_codes,
                )
            )
            # The key stays with the connection: what Mellea would do with it is not done.
            super().__init__(
                model_id,
                formatter,
                connection.url,
                api_key="",
                project_id=connection.project_id,
            )

        @property
        def _model(self) -> ModelInference:
            getattr(self, "_raise_if_closed", lambda: None)()
            return self._models.here()

        def filter_chat_completions_kwargs(self, model_options: dict[str, Any]) -> dict[str, Any]:
            # All that comes here has been through the rules; Mellea would drop half of it.
            return {
                name: value for name, value in model_options.items() if not name.startswith("@@@")
            }

        def release(self) -> None:
            """Close the connection; the core calls it where Mellea has no `close`."""
            self._connection.close()

        if hasattr(Original, "close"):  # Mellea 0.3's cleanup would close what others still use

            def close(self) -> None:
                super().close()
                self._connection.close()

            async def aclose(self) -> None:
                await super().aclose()
                self._connection.close()

    return WatsonxAIBackend


# ------------------------------------------------------------------------------------- the logs


class _Redacting(logging.Filter):
    """The SDK logs what it raises, and so what a server repeats of what it was sent."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), None
        return True


logging.getLogger(wml_client_error.__name__).addFilter(_Redacting())
