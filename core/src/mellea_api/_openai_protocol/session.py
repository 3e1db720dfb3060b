"""The hooks of every `OpenAICompatible`: they ask the server, and build Mellea's session.

This module, `clients` and `errors` import the OpenAI SDK; the core imports them when it first
asks a server.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin

import openai

from mellea_api._contract.descriptor import ModelInfo
from mellea_api._contract.errors import AnswerError, MelleaAPIError, ModelNotFoundError
from mellea_api._contract.refusals import ErrorRequest
from mellea_api._contract.reports import CredentialReport
from mellea_api._contract.requests import (
    CredentialRequest,
    ModelsRequest,
    SessionRequest,
    Target,
)
from mellea_api._openai_protocol import clients, errors
from mellea_api._secrecy.logs import logger
from mellea_api._secrecy.secrets import one_line, shown_address
from mellea_api.hookspecs import hookimpl

if TYPE_CHECKING:
    from mellea import MelleaSession


_NO_ROUTE: Final = (404, 405, 501)
"""What servers answer that do not list models."""


@hookimpl
async def list_models(request: ModelsRequest) -> list[ModelInfo]:
    """Ask the server which models it has (`GET /models`)."""
    async with clients.client(clients.arguments(request)) as client:
        found = await _models(client)
        days = {model["id"]: model.get("shutdown_date") for model in found}  # which OpenAI says
        return [ModelInfo(id=name, shutdown=days[name], source="live") for name in sorted(days)]


@hookimpl
async def create_session(request: SessionRequest) -> MelleaSession:
    """Ask the server for the model, which costs nothing, then build Mellea's session."""
    arguments = clients.arguments(request)
    if request.setting("check"):
        await _check_model(request, arguments)
    else:
        request.unchecked("check=False")
    return await _built(request, arguments)


async def engine_session(request: SessionRequest, engine: clients.Engine) -> MelleaSession:
    """Build Mellea's session on an engine in this process that speaks OpenAI's protocol.

    For the `create_session` of an `OpenAICompatible` that starts what it asks. No proxy is used.

    Args:
        request: The request of the hook.
        engine: Has an `address`, a `key`, and three methods. `hold()` and `leave()` count the
            backends that use it: `leave` is called when one is closed, or collected as garbage.
            `check()` raises if the engine cannot be used any more.
    """
    arguments = {"api_key": engine.key, "base_url": engine.address, "engine": engine}
    return await _built(request, arguments)


async def _built(request: SessionRequest, arguments: dict[str, Any]) -> MelleaSession:
    if not request.for_program or "max_retries" in request.target.settings:
        # Without this the SDK tries again twice, and waits for up to a minute.
        arguments["max_retries"] = request.setting("max_retries")
    # From Mellea 0.6 on its constructor asks the server for a version, and blocks.
    cls = clients.backend_class()
    return await asyncio.to_thread(
        request.build, cls, also=(*cls.__bases__, openai.OpenAI), **arguments
    )


@hookimpl
async def validate_credentials(request: CredentialRequest) -> CredentialReport:
    """Ask for something that needs the key: the probe path, or the list of models.

    The key works if the server refuses the same question without it.
    """
    target = request.target
    where = f"The server at {shown_address(target.address or '')}"
    try:
        await _probe(request)
    except openai.PermissionDeniedError as error:
        # A key that is restricted may be allowed to generate, and not to list (OpenAI's words).
        if "api.model.read" not in error.message:
            raise
        return request.unchecked(
            "The key is known, and may not list models; whether it may generate was not tried: "
            f"{one_line(error.message)}"
        )
    if not request.credential("api_key"):
        return request.accepted(f"{where} needs no key to list its models.")
    if not (_is_the_providers(target) and target.descriptor.listing_needs == "always"):
        try:
            await _probe(request, api_key=clients.NO_KEY)
        except (openai.AuthenticationError, openai.PermissionDeniedError):
            pass
        else:
            return request.unchecked(f"{where} answers, with this key and with any other.")
    return request.accepted(f"{where} takes the key.")


@hookimpl
def translate_error(request: ErrorRequest) -> MelleaAPIError | None:
    """Read the SDK's errors."""
    return errors.engine_error(request)


def _is_the_providers(target: Target) -> bool:
    """Return whether the server is one of a provider who has hosts of its own."""
    return target.server == "official" and bool(target.descriptor.official_hosts)


async def _probe(request: CredentialRequest, **further: Any) -> None:
    path = getattr(request.target.descriptor, "probe_path", None)
    async with clients.client({**clients.arguments(request), **further}) as client:
        if path is None:
            await _models(client)
        else:
            address = urljoin(f"{str(client.base_url).rstrip('/')}/", path)
            await client.get(address, cast_to=object)


async def _check_model(request: SessionRequest, arguments: dict[str, Any]) -> None:
    """Check that the server is there, accepts the key, and has the model."""
    target, official = request.target, _is_the_providers(request.target)
    try:
        async with clients.client(arguments) as client:
            try:
                found: Any = await client.models.retrieve(target.model_id)
                if isinstance(getattr(found, "id", None), str):
                    return
                if official:
                    raise AnswerError(f"it is no model: {found}")
            except openai.APIStatusError as error:
                if official or error.status_code not in _NO_ROUTE:
                    raise
                logger.debug("no answer for one model, asking for all: %s", one_line(error.message))
            known = [model["id"] for model in await _models(client)]
    except openai.APIStatusError as error:
        if error.code == "model_not_found" or error.status_code not in (*_NO_ROUTE, 400, 403):
            raise
        # A key may be allowed to generate and not to list; a server may lack the route.
        request.unchecked(one_line(error.message))
        return
    if target.model_id in known:
        return
    if len(known) > 1:
        hint = "Use one of them, or check=False if the server takes other names too."
        raise ModelNotFoundError(status=404, known=known, next_step=hint)
    # Servers of one model, such as llama.cpp, answer to any name.
    logger.warning(
        "The server at %s lists %s, and was asked for %r; it may answer with its own model.",
        shown_address(target.address or ""),
        known[0] if known else "no models",
        target.model_id,
    )


async def _models(client: openai.AsyncOpenAI) -> list[dict[str, Any]]:
    # As raw JSON: the SDK fails on a malformed list of models, and fills in what is missing.
    answer = await client.models.with_raw_response.list()
    found = answer.http_response.json()
    if isinstance(found, dict) and found.keys() & {"data", "models"}:
        found = found.get("data") or found.get("models") or []  # null, where there are none
    if not isinstance(found, list):
        raise AnswerError(f"it is no list of models: {answer.http_response.text}")
    models = [model if isinstance(model, dict) else {"id": model} for model in found]
    for model in models:
        model["id"] = model.get("id") or model.get("name") or model.get("model")
        if not isinstance(model["id"], str):
            raise AnswerError(f"it lists a model without a name: {model}")
    return models
