"""The hooks of this plugin, and Mellea's backend on a client that reads with care.

This module alone uses the Ollama SDK and Mellea; the core imports it for the first session, or for
the first question to a server.
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import re
import time
from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING, Any

import httpx

from mellea_api import (
    AnswerError,
    MelleaAPIError,
    ModelNotFoundError,
)
from mellea_api.plugin import (
    ErrorRequest,
    ModelInfo,
    ModelsRequest,
    SessionRequest,
    careful,
    hookimpl,
    reading_answer,
    whole,
)
from mellea_api_ollama.loading import ollama
from mellea_api_ollama.options import LIFTED

if TYPE_CHECKING:
    from mellea import MelleaSession

logger = logging.getLogger("mellea_api.ollama")

_DESCRIBING = {"capabilities", "details", "model_info", "modelfile", "remote_model", "template"}
_LONGEST = 2**18
"""Letters of a refusal that are read."""
_NOT_FOUND = re.compile(r"model.* not found")


@hookimpl
async def list_models(request: ModelsRequest) -> list[ModelInfo]:
    """Ask the server which models it has (`GET /api/tags`)."""
    async with _prepared(_Client(request.target.base_url), request) as client:
        return await _models(client)


async def _models(client: _Client) -> list[ModelInfo]:
    answer = await client._request(dict, "GET", "/api/tags")
    with reading_answer():
        return [_info(model) for model in answer["models"] or ()]


def _info(model: Mapping[str, Any]) -> ModelInfo:
    details = model.get("details") or {}
    known = (details.get("family"), details.get("quantization_level"))
    return ModelInfo(
        id=model.get("model") or model["name"],
        description=", ".join(part for part in known if part),
        size=details.get("parameter_size"),
    )


@hookimpl
async def create_session(request: SessionRequest) -> MelleaSession:
    """Check server and model, then build Mellea's session; `pull=True` gets a missing model."""
    missing = False
    async with _prepared(_Client(request.target.base_url), request) as client:
        try:
            # The SDK's own way insists on parts that models in the cloud do not have.
            asked = {"model": request.target.model_id}
            found = await client._request(dict, "POST", "/api/show", json=asked)
            if not found.keys() & _DESCRIBING:
                raise AnswerError("it does not describe the model, as Ollama would")
        except ollama.ResponseError as error:
            if error.status_code != 404:
                raise
            if not request.target.settings.get("pull", request.for_program):
                known = [model.id for model in await _models(client)]
                raise ModelNotFoundError(status=404, known=known) from error
            missing = True
    if missing:
        request.no_limit()
        await asyncio.to_thread(_pull, request)
    # Mellea 0.8 would end a call after 300 s of its own accord; the core's deadline counts.
    limit = {} if request.for_program and request.timeout is None else {"timeout": None}
    cls = _backend_class()
    return request.build(cls, also=cls.__bases__, request=request, **limit)


@hookimpl
def translate_error(request: ErrorRequest) -> MelleaAPIError | None:
    """Read the SDK's errors: the status first, the text last.

    `ollama.ResponseError` has the HTTP status, or -1 where the error came inside a stream.
    """
    # The SDK keeps the text and the status; what it came from has the headers.
    headers = next(
        (error.response.headers for error in request.chain if hasattr(error, "response")), None
    )
    for error in request.chain:
        if isinstance(error, ollama.ResponseError):
            status = error.status_code if error.status_code >= 300 else None
            said: Any = error.error  # of other servers than Ollama, an object
            gone = isinstance(said, str) and _NOT_FOUND.search(said, 0, 1000)
            kind = ModelNotFoundError if gone and status in (None, 404) else None
            return request.answered(status, said, headers, kind=kind)
        if isinstance(error, ollama.RequestError):
            return request.answered(400, error.error)
        if isinstance(error, httpx.ConnectError):
            # The SDK says in its place that Ollama should be started, whatever the matter is.
            return request.unreachable(error)
    return None


def _pull(request: SessionRequest) -> None:
    """Download the model; the bar goes to standard error, the milestones to the log."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    model_id = request.target.model_id
    logger.info("pulling %s from the Ollama library", model_id)
    began = time.monotonic()
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn())
    with (
        _prepared(ollama.Client(request.target.base_url), request) as client,
        Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress,
    ):
        tasks: dict[str, Any] = {}
        status = None
        for update in client.pull(model_id, stream=True):
            status = update.status
            name = update.digest or status or ""
            if name not in tasks:
                shown = status if status and status.isprintable() else "pulling"
                tasks[name] = progress.add_task(shown, total=update.total)
            progress.update(tasks[name], completed=update.completed or 0, total=update.total)
    if status != "success":
        raise ConnectionError(f"the download of {model_id} broke off at {status!r}")
    logger.info("pulled %s in %.0f s", model_id, time.monotonic() - began)


class _Client(ollama.AsyncClient):
    """Puts what Mellea can only name inside `options` where it belongs, and reads with care."""

    async def chat(self, *args: Any, options: Any = None, **kwargs: Any) -> Any:
        options, lifted = _lift(options)
        return await super().chat(*args, options=options, **{**kwargs, **lifted})

    async def generate(self, *args: Any, options: Any = None, **kwargs: Any) -> Any:
        options, lifted = _lift(options)
        return await super().generate(*args, options=options, **{**kwargs, **lifted})

    async def _request_raw(self, *args: Any, **kwargs: Any) -> httpx.Response:
        response: httpx.Response = await self._client.request(*args, **kwargs)
        _raise_refusal(response)
        return response

    async def _request(self, cls: Any, *args: Any, stream: bool = False, **kwargs: Any) -> Any:
        # All questions of the SDK come by here. It loses an error that comes with a good status.
        if stream:
            return whole(self._pieces(cls, args, kwargs), lambda part: bool(part.done))
        with reading_answer():
            answer = (await self._request_raw(*args, **kwargs)).json()
            if answer.get("done", True) is False:
                raise AnswerError("it is not the whole answer")
            return _part(cls, answer)

    async def _pieces(self, cls: Any, args: Any, kwargs: Any) -> AsyncGenerator[Any]:
        async with self._client.stream(*args, **kwargs) as response:
            if not response.is_success:
                await response.aread()
                _raise_refusal(response)
            async for line in response.aiter_lines():
                if line.strip():
                    yield _part(cls, json.loads(line))


def _part(cls: Any, answer: Any) -> Any:
    if error := answer.get("error"):
        said = error.get("message") if isinstance(error, dict) else error
        raise ollama.ResponseError(str(said or error))
    if isinstance(message := answer.get("message"), dict):
        message["role"] = "assistant"  # whatever name the server has for it, or none
        for call in message.get("tool_calls") or ():
            function = call["function"]
            if not isinstance(function.get("arguments"), dict):  # text, as OpenAI has it, or none
                function["arguments"] = json.loads(function.get("arguments") or "{}")
    return cls(**answer)


def _raise_refusal(response: httpx.Response) -> None:
    try:
        response.raise_for_status()
    except httpx.HTTPStatusError as error:
        # The SDK parses it, and writes it anew each time that somebody reads the error.
        raise ollama.ResponseError(response.text[:_LONGEST], response.status_code) from error


def _lift(options: Any) -> tuple[Any, dict[str, Any]]:
    if not isinstance(options, Mapping) or LIFTED.isdisjoint(options):
        return options, {}
    lifted = {name: value for name, value in options.items() if name in LIFTED}
    return {name: value for name, value in options.items() if name not in LIFTED}, lifted


def _prepared(client: Any, request: SessionRequest | ModelsRequest) -> Any:
    """Return a client of the SDK that reads with care, with the request's key."""
    http = careful(client._client)  # the SDK has no other way to the client that it makes
    http.base_url = re.sub("/(api|v1)/*$", "/", str(http.base_url))  # the SDK adds /api itself
    address = request.target.address or ""
    url = httpx.URL(address if "//" in address else f"//{address}")
    if url.username:  # the SDK drops them
        http.auth = (url.username, url.password)
    if key := request.credential("api_key"):
        http.headers["authorization"] = f"Bearer {key}"
    return client


@functools.cache
def _backend_class() -> Any:
    from mellea.backends.ollama import OllamaModelBackend as Original

    class OllamaModelBackend(Original):  # type: ignore[misc]
        """Mellea's backend, without the checks and the unasked pull in its constructor."""

        _request: SessionRequest | None = None

        def __init__(self, model_id: str, *, request: SessionRequest, **arguments: Any) -> None:
            super().__init__(model_id, **arguments)
            self._request = request

        def _check_ollama_server(self) -> bool:
            return True

        def _pull_ollama_model(self) -> bool:
            return True

        @property
        def _async_client(self) -> ollama.AsyncClient:
            client: ollama.AsyncClient = super()._async_client
            # Mellea makes a client per event loop, in different ways over its versions.
            # The constructor asks for one as well, which must stay the SDK's own.
            if type(client) is ollama.AsyncClient and self._request is not None:
                client.__class__ = _Client
                _prepared(client, self._request)
            return client

    return OllamaModelBackend
