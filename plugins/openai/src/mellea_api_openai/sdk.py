"""The module of this plugin that uses the OpenAI SDK, and Mellea; `failures` reads its errors."""

from __future__ import annotations

import contextlib
import difflib
import functools
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import openai
from openai.resources.chat.completions import AsyncCompletions

from mellea_api import ModelInfo, ModelNotFoundError, SessionRequest
from mellea_api._provider import refusals as translation
from mellea_api._provider.authoring import (
    UnreadableAnswerError,
    call_with_deadline,
    check_listing,
    construct,
    flag,
    model_not_checked,
    run_with_deadline,
)
from mellea_api._secrecy.logs import logger
from mellea_api.plugin import ModelsRequest, careful, whole

__all__ = ["NO_KEY", "create_session", "list_models"]

_PATIENCE = 30.0
"""Seconds for the server's answer while a session is opened, where there is no timeout."""
NO_KEY = "no-key-needed"
"""What a compatible server without keys is sent, since the SDK insists on some key."""


def _client_arguments(request: ModelsRequest | SessionRequest) -> dict[str, Any]:
    return {
        "api_key": request.credential("api_key") or NO_KEY,
        # Given in any case: an empty OPENAI_BASE_URL is an address to the SDK.
        "base_url": request.target.base_url or request.target.descriptor.default_base_url,
        "organization": request.credential("organization"),
        "project": request.credential("project"),
    }


def _client(**arguments: Any) -> openai.AsyncOpenAI:
    client = _nobody_for_blank(openai.AsyncOpenAI(**arguments, max_retries=0))
    careful(client._client)  # the SDK has no other way to the client that it makes
    return client


def _nobody_for_blank(client: openai.AsyncOpenAI) -> openai.AsyncOpenAI:
    """Take out what is blank: where nothing is given, the SDK sends what the variable holds."""
    client.organization = (client.organization or "").strip() or None
    client.project = (client.project or "").strip() or None
    return client


def list_models(request: ModelsRequest) -> list[ModelInfo]:
    """Ask the server which models it has (`GET /models`)."""
    target = request.target
    check_listing(target, also=("check", "max_retries"))

    async def ask() -> list[str]:
        async with _client(**_client_arguments(request)) as client:
            return await _names(client)

    about = {model.id: model for model in target.descriptor.models}
    return [
        ModelInfo(
            id=name,
            description=about[name].description if name in about else "",
            size=about[name].size if name in about else None,
            context_length=about[name].context_length if name in about else None,
            default=name == target.descriptor.default_model,
            source="live",
        )
        for name in sorted(run_with_deadline(ask, request.timeout))
    ]


async def _names(client: openai.AsyncOpenAI) -> list[str]:
    # As it came: the SDK stumbles over a list of models that is none, and fills in what lacks.
    answer = await client.models.with_raw_response.list()
    found = answer.http_response.json()
    models = found.get("data") if isinstance(found, dict) else None
    if not isinstance(models, list) or not all(_is_model(model) for model in models):
        raise UnreadableAnswerError(f"{answer.http_response.text[:60]!r} is no list of models")
    return [model["id"] for model in models]


def _is_model(found: Any) -> bool:
    return isinstance(found, dict) and isinstance(found.get("id"), str)


def create_session(request: SessionRequest) -> Any:
    """Ask the server for the model, then build Mellea's session.

    Raises:
        ModelNotFoundError: If OpenAI does not have the model.
        CredentialError: If the key is rejected.
        BackendUnavailableError: If the server cannot be reached.
        ConfigurationError: If `check` is not a bool.
    """
    target = request.target
    hint = "Use check=False to open a session without asking the server for the model."
    check = flag(target, "check", True, hint)
    arguments = _client_arguments(request)
    if check:
        _check_model(request, arguments, request.timeout or _PATIENCE)
    else:
        model_not_checked(request, "check=False")
    from mellea import MelleaSession

    def build() -> Any:
        # The SDK would try again twice behind the caller's back, and wait for up to a minute.
        also = (openai.OpenAI,)
        return construct(_backend_class(), target, "check", also=also, max_retries=0, **arguments)

    # From 0.6 on its constructor asks the server for a version, with a timeout per read only.
    return MelleaSession(call_with_deadline(build, request.timeout or _PATIENCE))


def _check_model(request: SessionRequest, arguments: dict[str, Any], patience: float) -> None:
    """See that the server is there, takes the key, and has the model; it costs nothing."""
    target = request.target

    async def ask() -> list[str] | None:
        """Return None if the model is there or nobody can say, else the names of those there."""
        async with _client(**arguments) as client:
            try:
                found: Any = await client.models.retrieve(target.model_id)
                if isinstance(getattr(found, "id", None), str):
                    return None
                if target.server == "official":
                    raise UnreadableAnswerError(f"{str(found)[:60]!r} is no model")
            except openai.NotFoundError as error:
                if target.server == "official":
                    raise
                said = translation.said(error.message)
                logger.debug("no answer for one model, asking for all: %s", said)
            return await _names(client)

    try:
        known = run_with_deadline(ask, patience)
    except (openai.PermissionDeniedError, openai.NotFoundError, openai.BadRequestError) as error:
        if isinstance(error, openai.NotFoundError) and error.code == "model_not_found":
            raise
        # A key may be allowed to generate and not to list; a server may lack the route.
        model_not_checked(request, translation.said(error.message))
        return
    if known is None or target.model_id in known:
        return
    if len(known) > 1:
        near = difflib.get_close_matches(target.model_id, known, n=3, cutoff=0.4)
        listed = (*near, *sorted(set(known) - set(near)))
        raise ModelNotFoundError(
            f"The server at {target.base_url} does not have the model {target.model_id!r}. It "
            f"has {', '.join(listed[:8])}.",
            next_step="Use one of them, or check=False if the server takes other names too.",
            backend=target.backend,
            model_id=target.model_id,
            base_url=target.base_url,
            status=404,
            known=listed,
        )
    # Servers of one model (llama.cpp, say) answer to any name.
    logger.warning(
        "The server at %s lists %s, and was asked for %r; it may answer with its own model.",
        target.base_url,
        known[0] if known else "no models",
        target.model_id,
    )


class _Completions(AsyncCompletions):
    """Sees to it that a stream has an end, and that an error with a good status is one."""

    async def create(self, *args: Any, **kwargs: Any) -> Any:
        answer = await super().create(*args, **kwargs)
        if hasattr(answer, "__aiter__"):
            return whole(_with_roles(answer), _is_last)
        error = getattr(answer, "error", None)
        if isinstance(error, Mapping) and not getattr(answer, "choices", None):
            # OpenRouter's, where it had already begun to answer; as the SDK raises it in a stream.
            nothing: Any = None
            raise openai.APIError(str(error.get("message") or error), nothing, body=error)
        choices = getattr(answer, "choices", None)
        for choice in choices if isinstance(choices, list) else ():
            _give_role(getattr(choice, "message", None))
        return answer


async def _with_roles(chunks: Any) -> AsyncGenerator[Any]:
    begun: set[int] = set()
    async with chunks:
        async for chunk in chunks:
            for choice in chunk.choices or ():
                if choice.index not in begun:
                    begun.add(choice.index)
                    _give_role(choice.delta)
            yield chunk


def _give_role(message: Any) -> None:
    """Say whose words they are where a server leaves that out: Mellea stumbles over it."""
    if message is not None and getattr(message, "role", None) is None:
        with contextlib.suppress(AttributeError, ValueError):  # it may be anything
            message.role = "assistant"


def _is_last(chunk: Any) -> bool:
    return any(choice.finish_reason for choice in chunk.choices or ())


@functools.cache
def _backend_class() -> Any:
    from mellea.backends.openai import OpenAIBackend as Original

    class OpenAIBackend(Original):  # type: ignore[misc, unused-ignore]
        """Mellea's backend with careful clients; it makes one for each event loop."""

        @property
        def _async_client(self) -> openai.AsyncOpenAI:
            client: openai.AsyncOpenAI = super()._async_client
            completions = client.chat.completions
            if type(completions) is AsyncCompletions:
                completions.__class__ = _Completions
                careful(_nobody_for_blank(client)._client)
            return client

    return OpenAIBackend
