"""How a route is reached, and what its server has, where asking costs nothing."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Final

from mellea_api import CredentialError, ModelInfo, ModelNotFoundError, ProviderError
from mellea_api._provider import refusals as translation
from mellea_api._secrecy.logs import logger
from mellea_api.plugin import ErrorRequest, ModelsRequest, Target
from mellea_api_litellm.needs import Finding, findings, needs_of, spell
from mellea_api_litellm.routes import Route
from mellea_api_litellm.settings import check_listing

__all__ = ["Access", "access", "ask", "can_ask", "missing", "no_route", "server_models"]

_ASKED: Final = ("openai", "hosted_vllm", "litellm_proxy", "lm_studio", "llamafile")
"""Providers whose `GET /models` costs nothing and needs no more than an address and a key."""
_DEFAULTS: Final = {
    "openai": "https://api.openai.com/v1",
    "llamafile": "http://127.0.0.1:8080/v1",
    "ollama": "http://localhost:11434",
    "ollama_chat": "http://localhost:11434",
}


class Access:
    """How a route is reached.

    Args:
        route: The route.
        found: What was found for each of its needs; None if nobody knows its needs.

    Attributes:
        key: The key, if there is one.
        address: The server's address, if it is known.
    """

    def __init__(self, target: Target, route: Route, found: list[Finding] | None) -> None:
        self.route = route
        self.found = found
        self.key = None
        self.address = target.base_url
        for finding in found or ():
            if finding.secret is None:
                continue
            if finding.need.kind == "api_key":
                self.key = finding.secret
            elif finding.need.kind == "base_url":
                self.address = finding.secret.reveal()
        self.address = self.address or _DEFAULTS.get(route.provider)

    @property
    def lacking(self) -> list[Finding]:
        """What is needed and not there."""
        return [finding for finding in self.found or () if finding.lacks]


def access(target: Target, route: Route, credentials: Any) -> Access:
    """Find out how a route is reached."""
    reached = Access(target, route, findings(target, route, credentials))
    if reached.key is None:
        reached.key = credentials.get("api_key")
    return reached


def no_route(target: Target) -> ModelNotFoundError:
    """Return the error for a model id that LiteLLM would not know whom to ask about."""
    from mellea_api_litellm.routes import snapshot

    prefix = target.model_id.partition("/")[0]
    near = difflib.get_close_matches(prefix, snapshot()["providers"], n=3, cutoff=0.75)
    return ModelNotFoundError(
        f"LiteLLM has no route for the model {target.model_id!r}.",
        next_step="Write it as provider/model, such as ollama_chat/granite4:micro."
        + (f" Did you mean {' or '.join(near)}?" if near and near[0] != prefix else ""),
        backend=target.backend,
        model_id=target.model_id,
    )


def missing(target: Target, reached: Access) -> CredentialError:
    """Return the error for what a route needs and nothing was found for."""
    needs = needs_of(reached.route)
    lacking = [finding.need for finding in reached.lacking]
    names = ", ".join(need.variables[0] for need in lacking)
    steps = "; ".join(spell(need) for need in lacking)
    return CredentialError(
        f"Cannot use {target.model_id!r} through LiteLLM: the {reached.route.provider} route needs "
        f"{names} (looked at {', '.join(name for need in lacking for name in need.variables)}).",
        next_step=f"{steps[0].upper()}{steps[1:]}. {needs.help if needs else ''}".strip(),
        backend=target.backend,
        model_id=target.model_id,
        field=lacking[0].kind if lacking[0].kind == "api_key" else None,
        variables=tuple(name for need in lacking for name in need.variables),
    )


def can_ask(route: Route) -> bool:
    """Return whether a route's server lists its models for free."""
    return route.provider in _ASKED or route.provider in ("ollama", "ollama_chat")


def ask(target: Target, reached: Access, seconds: float) -> list[str] | None:
    """Ask a server for its models, which is free; None where that is not possible.

    Raises:
        ProviderError: If it refuses, or is not there.
    """
    if not reached.address or not can_ask(reached.route):
        return None
    from mellea_api._provider.authoring import UnreadableAnswerError, run_with_deadline

    ollama = reached.route.provider in ("ollama", "ollama_chat")
    url = reached.address.rstrip("/") + ("/api/tags" if ollama else "/models")
    key = reached.key.reveal() if reached.key is not None else ""

    async def get() -> Any:
        import httpx

        from mellea_api.plugin import careful

        headers = {"authorization": f"Bearer {key}"} if key else {}
        async with careful(httpx.AsyncClient()) as client:
            return await client.get(url, headers=headers)

    try:
        answer = run_with_deadline(get, seconds)
    except Exception as error:
        raise _failure(target, reached, error, seconds) from None
    text = answer.text
    if not answer.is_success:
        raise refused(target, reached, answer.status_code, text, answer.headers)
    try:
        found = answer.json()
    except ValueError:
        found = None
    names = found.get("models" if ollama else "data") if isinstance(found, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, dict) for name in names):
        raise _failure(
            target, reached, UnreadableAnswerError(f"{text[:60]!r} is no list of models"), seconds
        )
    return [str(name.get("name" if ollama else "id", "")) for name in names]


def _failure(target: Target, reached: Access, error: Exception, seconds: float) -> Exception:
    request = ErrorRequest(
        target=_named(target, reached), operation="session", error=error, timeout=seconds
    )
    typed = translation.by_kind(request)
    return error if typed is None else translation.caused(typed, error)


def refused(
    target: Target,
    reached: Access,
    status: int,
    text: str,
    headers: Mapping[str, str] | None = None,
) -> ProviderError:
    """Return the error for a server's refusal."""
    error = RuntimeError(f"HTTP {status}")
    request = ErrorRequest(target=_named(target, reached), operation="session", error=error)
    return translation.by_status(request, status, text, headers)


def _named(target: Target, reached: Access) -> Target:
    """Return a target that names the address and the variables of its route, for messages."""
    from mellea_api_litellm.failures import named

    return named(target, reached.route, reached.address)


def server_models(request: ModelsRequest) -> list[ModelInfo]:
    """List what the server at `base_url` has, as routes.

    The setting `provider` says what it is; without it, a server that speaks OpenAI's protocol.
    """
    check_listing(request.target)
    provider = request.target.settings.get("provider") or "openai"
    route = Route(model_id=f"{provider}/", provider=provider, model="")
    # What the core found is the key of the model's route, which nobody named here.
    named = "provider" in request.target.settings
    found = {
        name: secret
        for name, secret in request.credentials.items()
        if named or secret.source == "argument"
    }
    reached = access(request.target, route, found)
    names = ask(request.target, reached, request.timeout)
    if names is None:
        from mellea_api_litellm.models import choose

        return choose(request)
    return [ModelInfo(id=f"{provider}/{name}", source="live") for name in sorted(names)]


def check_model(target: Target, reached: Access, seconds: float) -> str:
    """See that the server is there, takes the key, and has the model; it costs nothing.

    Returns:
        Why that could not be seen; empty if it was.

    Raises:
        ProviderError: If not.
    """
    try:
        known = ask(target, reached, seconds)
    except ProviderError as error:
        if error.status in (400, 403, 404, 405):
            # A key may be allowed to generate and not to list; a server may lack the route.
            return error.reason
        raise
    model = reached.route.model
    if known is None:
        return f"{reached.route.provider} cannot be asked for free"
    if model in known or f"{model}:latest" in known:
        return ""
    if len(known) == 1 and reached.route.provider not in ("ollama", "ollama_chat"):
        # Servers of one model (llama.cpp, say) answer to any name.
        logger.warning(
            "The server at %s lists %s, and was asked for %r; it may answer with its own model.",
            reached.address,
            known[0],
            model,
        )
        return ""
    near = difflib.get_close_matches(model, known, n=3, cutoff=0.4)
    there = (*near, *sorted(set(known) - set(near)))
    ollama = reached.route.provider in ("ollama", "ollama_chat")
    raise ModelNotFoundError(
        f"The server at {reached.address} does not have the model {model!r}. It has "
        f"{', '.join(there[:8]) or 'none'}.",
        next_step=f"Get it with `ollama pull {model}`."
        if ollama
        else "Use one of them, or check=False if the server takes other names too.",
        backend=target.backend,
        model_id=target.model_id,
        base_url=reached.address,
        status=404,
        known=there,
    )
