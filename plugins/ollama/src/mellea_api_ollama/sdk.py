"""The module of this plugin that uses the Ollama SDK, and Mellea; `failures` reads its errors."""

from __future__ import annotations

import contextlib
import difflib
import functools
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import Any

from mellea_api import ModelInfo, ModelNotFoundError, Secret, SessionRequest
from mellea_api._provider.authoring import (
    UnreadableAnswerError,
    check_listing,
    construct,
    flag,
    run_with_deadline,
)
from mellea_api._secrecy.logs import logger
from mellea_api.plugin import ModelsRequest, Target, careful, reading_answer, whole
from mellea_api_ollama.loading import ollama
from mellea_api_ollama.options import LIFTED

__all__ = ["create_session", "list_models"]

_PATIENCE = 30.0
"""Seconds for the server's answer while a session is opened, where there is no timeout."""


def list_models(request: ModelsRequest) -> list[ModelInfo]:
    """Ask the server which models it has (`GET /api/tags`)."""
    target = request.target
    check_listing(target, also=("pull",))

    async def ask() -> ollama.ListResponse:
        async with _async_client(target, request.credential("api_key")) as client:
            found: ollama.ListResponse = await client.list()
            return found

    default = target.descriptor.default_model
    return [
        ModelInfo(
            id=model.model or "",
            description=_about(model.details),
            size=model.details.parameter_size if model.details else None,
            default=_full_name(model.model or "") == _full_name(default),
            source="live",
        )
        for model in run_with_deadline(ask, request.timeout).models
    ]


def _about(details: Any) -> str:
    known = (details.family, details.quantization_level) if details else ()
    return ", ".join(part for part in known if part)


def create_session(request: SessionRequest) -> Any:
    """Check server and model, then build Mellea's session.

    Raises:
        ModelNotFoundError: If the server does not have the model, and `pull` is not set.
        ConfigurationError: If `pull` is not a bool.
    """
    target = request.target
    hint = "Use pull=True to let a missing model be downloaded, else leave it out."
    pull = flag(target, "pull", False, hint)
    key = request.credential("api_key")
    _ensure_model(target, key, request.timeout or _PATIENCE, pull=pull)
    from mellea import MelleaSession

    # Mellea 0.8 would end a call after 300 s of its own accord; the core's deadline counts.
    backend = construct(_backend_class(), target, "pull", base_url=target.base_url, timeout=None)
    backend._key, backend._opened = request.credentials.get("api_key"), True
    return MelleaSession(backend)


def _ensure_model(target: Target, key: str | None, patience: float, *, pull: bool) -> None:
    async def ask() -> list[str] | None:
        """Return None if the model is there, else the names of those that are."""
        async with _async_client(target, key) as client:
            try:
                found = await client.show(target.model_id)
            except ollama.ResponseError as error:
                if error.status_code != 404:
                    raise
                return [model.model for model in (await client.list()).models if model.model]
            if found.details is None:  # the SDK requires nothing of what every Ollama says
                raise UnreadableAnswerError("it does not describe the model, as Ollama would")
            return None

    known = run_with_deadline(ask, patience)
    if known is None:
        return
    if pull:
        _pull(target, key)
        return
    near = difflib.get_close_matches(target.model_id, known, n=3, cutoff=0.4)
    listed = (*near, *sorted(set(known) - set(near)))
    there = f"It has {', '.join(listed[:8])}" if listed else "It has no models"
    raise ModelNotFoundError(
        f"The Ollama server does not have the model {target.model_id!r}. {there}.",
        next_step=target.descriptor.model_hint.format(model=target.model_id),
        backend=target.backend,
        model_id=target.model_id,
        base_url=target.base_url or target.descriptor.default_base_url,
        status=404,
        known=listed,
    )


def _pull(target: Target, key: str | None) -> None:
    """Download the model; the bar goes to standard error, the milestones to the log."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    logger.info("pulling %s from the Ollama library", target.model_id)
    began = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with (
        ollama.Client(target.base_url) as client,
        Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress,
    ):
        tasks: dict[str, Any] = {}
        status = None
        _prepare(client, key)
        for update in client.pull(target.model_id, stream=True):
            status = update.status
            name = update.digest or status or ""
            if name not in tasks:
                tasks[name] = progress.add_task(status or "pulling", total=update.total)
            progress.update(tasks[name], completed=update.completed or 0, total=update.total)
    if status != "success":
        raise ConnectionError(f"the download of {target.model_id} broke off at {status!r}")
    logger.info("pulled %s in %.0f s", target.model_id, time.monotonic() - began)


def _full_name(model_id: str) -> str:
    return model_id if ":" in model_id else f"{model_id}:latest"


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


def _async_client(target: Target, key: str | None = None) -> ollama.AsyncClient:
    client = _Client(target.base_url)
    _prepare(client, key)
    return client


def _prepare(client: Any, key: str | None) -> None:
    careful(client._client)  # the SDK has no other way to the client that it makes
    if key:
        client._client.headers["authorization"] = f"Bearer {key}"


@functools.cache
def _backend_class() -> Any:
    from mellea.backends.ollama import OllamaModelBackend as Original

    class OllamaModelBackend(Original):  # type: ignore[misc]
        """Mellea's backend, without the checks and the unasked pull in its constructor."""

        _key: Secret | None = None
        _opened = False

        def _check_ollama_server(self) -> bool:
            return True

        def _pull_ollama_model(self) -> bool:
            return True

        @property
        def _async_client(self) -> ollama.AsyncClient:
            client: ollama.AsyncClient = super()._async_client
            # Mellea makes a client per event loop, in different ways over its versions.
            # The constructor asks for one as well, and has no key yet.
            if type(client) is ollama.AsyncClient and self._opened:
                client.__class__ = _Client
                _prepare(client, self._key.reveal() if self._key else None)
            return client

    return OllamaModelBackend
