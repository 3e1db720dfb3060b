"""The hooks of this plugin, and Mellea's backend on a client that reads with care.

This module alone uses the Ollama SDK and Mellea; the core imports it for the first session, or for
the first question to a server.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import re
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import httpx

from mellea_api import AnswerError, MelleaAPIError, ModelNotFoundError
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

_NOT_FOUND = re.compile(r"model.* not found")


@hookimpl
async def list_models(request: ModelsRequest) -> list[ModelInfo]:
    """Ask the server which models it has (`GET /api/tags`)."""
    async with _prepared(_Client(request.target.base_url), request) as client:
        found = await client.list()
    return [
        ModelInfo(
            id=model.model or "",
            description=_about(model.details),
            size=model.details.parameter_size if model.details else None,
        )
        for model in found.models
    ]


def _about(details: Any) -> str:
    known = (details.family, details.quantization_level) if details else ()
    return ", ".join(part for part in known if part)


@hookimpl
async def create_session(request: SessionRequest) -> MelleaSession:
    """Check server and model, then build Mellea's session; `pull=True` gets a missing model."""
    missing = False
    async with _prepared(_Client(request.target.base_url), request) as client:
        try:
            found = await client.show(request.target.model_id)
            if found.details is None:  # the SDK requires nothing of what every Ollama says
                raise AnswerError("it does not describe the model, as Ollama would")
        except ollama.ResponseError as error:
            if error.status_code != 404:
                raise
            if not request.setting("pull"):
                known = [model.model for model in (await client.list()).models if model.model]
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
            gone = status in (None, 404) and _NOT_FOUND.search(error.error, 0, 1000)
            return request.answered(
                status, error.error, headers, kind=ModelNotFoundError if gone else None
            )
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
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
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
                tasks[name] = progress.add_task(status or "pulling", total=update.total)
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

    async def _request(self, *args: Any, stream: bool = False, **kwargs: Any) -> Any:
        # The one way of the SDK to its server; all that it streams here is a model's answer.
        with reading_answer(), _causes_kept():
            answer: Any = await super()._request(*args, stream=stream, **kwargs)
        return whole(_parts(answer), lambda part: bool(part.done)) if stream else answer


@contextlib.contextmanager
def _causes_kept() -> Iterator[None]:
    """Keep what the SDK's errors came from, which has the answer's headers, and what was wrong.

    The SDK raises them `from None`, so that the next `raise` in a program's own `except` would
    put that program's error in the place of what they came from.
    """
    try:
        yield
    except Exception as error:
        error.__cause__ = error.__cause__ or error.__context__
        raise


async def _parts(answer: AsyncGenerator[Any]) -> AsyncGenerator[Any]:
    with _causes_kept():
        async with contextlib.aclosing(answer) as parts:
            async for part in parts:
                yield part


def _lift(options: Any) -> tuple[Any, dict[str, Any]]:
    if not isinstance(options, Mapping) or LIFTED.isdisjoint(options):
        return options, {}
    lifted = {name: value for name, value in options.items() if name in LIFTED}
    return {name: value for name, value in options.items() if name not in LIFTED}, lifted


def _prepared(client: Any, request: SessionRequest | ModelsRequest) -> Any:
    """Return a client of the SDK that reads with care, with the request's key."""
    careful(client._client)  # the SDK has no other way to the client that it makes
    if key := request.credential("api_key"):
        client._client.headers["authorization"] = f"Bearer {key}"
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
