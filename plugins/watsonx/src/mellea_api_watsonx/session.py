"""The hooks, and Mellea's backend on one client for all event loops.

Mellea makes the SDK's client twice, each time two of them: four tokens, two projects and two
lists of models before the first prompt. Here one client serves every event loop, with one token,
one look at the project and one at the models.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import httpx
from ibm_watsonx_ai.foundation_models import ModelInference

from mellea_api import (
    CredentialReport,
    ModelInfo,
    ModelNotFoundError,
    SessionRequest,
)
from mellea_api.plugin import (
    CredentialRequest,
    ModelsRequest,
    careful,
    hookimpl,
    reading_answer,
    whole,
)
from mellea_api_watsonx import failures
from mellea_api_watsonx.connection import Client, address, connect, logger, trusted
from mellea_api_watsonx.options import EXTRA_PARAMETERS
from mellea_api_watsonx.regions import is_cloud

if TYPE_CHECKING:
    from mellea import MelleaSession

translate_error = hookimpl(failures.translate_error)


@hookimpl
async def create_session(request: SessionRequest) -> MelleaSession:
    """Log in, look at the project and the model, and build Mellea's session."""
    client = await asyncio.to_thread(connect, request)
    try:
        if request.setting("validate"):
            await _check_model(request.target.model_id, client)
        else:
            request.unchecked("validate=False")
        left_alone = request.for_program and "max_retries" not in request.target.settings
        retries = None if left_alone else request.setting("max_retries")
        return request.build(_backend_class(), client=client, max_retries=retries)
    except BaseException:
        client.httpx_client.close()
        raise


@hookimpl
async def validate_credentials(request: CredentialRequest) -> CredentialReport:
    """Log in, and enter the project, as a session does."""
    client = await asyncio.to_thread(connect, request)
    client.httpx_client.close()
    return request.accepted(f"{client.credentials.url} takes the key, and has the project.")


@hookimpl
async def list_models(request: ModelsRequest) -> list[ModelInfo]:
    """List the models that write text; IBM Cloud tells everybody, Cloud Pak for Data its users."""
    url, token = address(request), None
    if not is_cloud(url):
        client = await asyncio.to_thread(connect, request)
        token = client.token
        client.httpx_client.close()
    return [
        _info(spec)
        for spec in await _specs(url, token)
        if _writes(spec) and not _is_withdrawn(spec)
    ]


# ---------------------------------------------------------------------------------- the models

_API_VERSION: Final = "2025-02-11"
_MOST_PER_PAGE: Final = 200


async def _check_model(model_id: str, client: Client) -> None:
    """See that the region has the model; it costs nothing.

    Raises:
        ModelNotFoundError: If it does not.
    """
    url = client.credentials.url
    found = await _specs(url, None if is_cloud(url) else client.token)
    spec = next((spec for spec in found if spec["model_id"] == model_id), None)
    if spec is None:
        raise ModelNotFoundError(status=404, known=[s["model_id"] for s in found if _writes(s)])
    stages = _stages(spec)
    if named := sorted(stages.keys() & {"deprecated", "constricted"}):
        day = f" on {stages['withdrawn']}" if stages.get("withdrawn") else ""
        logger.warning(
            "watsonx.ai calls the model %s %s: choose another before it is withdrawn%s.",
            *(model_id, " and ".join(named), day),
        )


async def _specs(url: str, token: str | None) -> list[dict[str, Any]]:
    """Ask which models there are; IBM Cloud tells everybody, Cloud Pak for Data its users."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    page = {"version": _API_VERSION, "limit": str(_MOST_PER_PAGE)}
    found: dict[str, dict[str, Any]] = {}
    client = httpx.AsyncClient(verify=trusted(), headers=headers, timeout=None)
    async with careful(client) as http:
        while True:
            answer = await http.get(f"{url}/ml/v1/foundation_model_specs", params=page)
            answer.raise_for_status()
            with reading_answer():
                said = answer.json()
                models = {spec["model_id"]: spec for spec in said["resources"]}
                start = httpx.URL((said.get("next") or {}).get("href", "")).params.get("start")
            found |= models
            if not models or not start or start == page.get("start"):
                return [found[name] for name in sorted(found)]
            page["start"] = start


def _ids(found: Any) -> set[str]:
    """Return the ids of a list of things with an `id`."""
    things = found if isinstance(found, list) else []
    return {str(thing.get("id")) for thing in things if isinstance(thing, dict)}


def _writes(spec: Mapping[str, Any]) -> bool:
    functions = _ids(spec.get("functions"))
    return not functions or bool(functions & {"text_chat", "text_generation"})


def _info(spec: Mapping[str, Any]) -> ModelInfo:
    limits = spec.get("model_limits")
    length = limits.get("max_sequence_length") if isinstance(limits, dict) else None
    size = spec.get("number_params")
    about = spec.get("short_description") or spec.get("label") or ""
    return ModelInfo(
        id=spec["model_id"],
        description=" ".join(str(about).split()),
        size=size.upper() if isinstance(size, str) and size else None,
        context_length=length if isinstance(length, int) else None,
        shutdown=_stages(spec).get("withdrawn"),
    )


def _stages(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return on which day each stage of a model's life begins."""
    found = spec.get("lifecycle")
    stages = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    return {str(stage.get("id")): stage.get("start_date") for stage in stages}


def _is_withdrawn(spec: Mapping[str, Any]) -> bool:
    today = datetime.now(tz=UTC).date().isoformat()
    stages = _stages(spec)
    return "withdrawn" in stages and str(stages["withdrawn"] or "") <= today


# ---------------------------------------------------------------------------------- the session


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
    if not arguments.get("tools"):  # in a session that has some, for other calls
        params = {name: value for name, value in params.items() if "tool_choice" not in name}
    if "tool_choice" in params:
        arguments |= {"tool_choice": params.pop("tool_choice"), "tool_choice_option": None}
    elif "tool_choice_option" in params:
        arguments["tool_choice_option"] = params.pop("tool_choice_option")
    return {**arguments, "params": {**params, **extra}}


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
            client: Client,
            max_retries: int | None,  # else the SDK tries again ten times behind the caller's back
            delay_time: float | None = None,
        ) -> None:
            self._client = client
            self._retries = {"max_retries": max_retries, "delay_time": delay_time}
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
