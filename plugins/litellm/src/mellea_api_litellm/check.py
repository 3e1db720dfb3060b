"""Whether a route can be used: its credentials, and the server where asking costs nothing."""

from __future__ import annotations

import difflib
from typing import Any, Final

from mellea_api import (
    CredentialError,
    CredentialFinding,
    CredentialReport,
    CredentialRequest,
    ModelInfo,
    ModelNotFoundError,
    ModelsRequest,
    Target,
    translation,
)
from mellea_api.errors import MelleaAPIError, ProviderError
from mellea_api.logs import logger
from mellea_api.requests import ErrorRequest
from mellea_api_litellm.needs import Finding, findings, needs_of, spell
from mellea_api_litellm.routes import Route, find
from mellea_api_litellm.settings import check_listing

__all__ = ["Access", "access", "ask", "missing", "no_route", "report", "server_models"]

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
    needs = needs_of(route)
    found = None if needs is None else findings(target, needs, credentials)
    reached = Access(target, route, found)
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


def report(request: CredentialRequest) -> CredentialReport:
    """Report on the credentials of a route."""
    target = request.target
    route = find(target.model_id)
    if route is None:
        return CredentialReport(
            backend=target.backend, status="unchecked", message=str(no_route(target))
        )
    reached = access(target, route, request.credentials)
    fields = [_finding(found) for found in reached.found or ()]
    if reached.found is None:
        why = f"What {route.provider} needs is not known; LiteLLM finds it, or says so when called."
        return CredentialReport(backend=target.backend, status="unchecked", message=why)
    if reached.lacking:
        return CredentialReport(
            backend=target.backend,
            status="missing",
            fields=fields,
            message=str(missing(target, reached)),
        )
    if request.probe and reached.address and _can_ask(route):
        return _probed(request, reached, fields)
    needs = needs_of(route)
    there = any(found.secret is not None for found in reached.found)
    if needs is not None and needs.elsewhere and not there:
        why = f"Nothing is in the environment, but {needs.elsewhere}."
        return CredentialReport(
            backend=target.backend, status="unchecked", fields=fields, message=why
        )
    required = any(found.need.required for found in reached.found)
    status: Any = "present" if required or reached.key is not None else "not-needed"
    return CredentialReport(
        backend=target.backend,
        status=status,
        fields=fields,
        message=f"All that {route.provider} needs is there; it was not tried."
        if status == "present"
        else f"{route.provider} needs no credentials.",
    )


def _finding(found: Finding) -> CredentialFinding:
    name = found.need.variables[0] if found.need.kind == "other" else found.need.kind
    if found.secret is None:
        status: Any = "missing" if found.need.required else "not-needed"
        return CredentialFinding(name=name, status=status)
    return CredentialFinding(
        name=name,
        status="present",
        source=found.secret.source,
        shadowed=found.shadowed,
        hint=found.secret.hint if found.need.kind == "api_key" else "",
    )


def _probed(
    request: CredentialRequest, reached: Access, fields: list[CredentialFinding]
) -> CredentialReport:
    target = request.target
    status: Any = "present"
    message = f"The server at {reached.address} takes them."
    try:
        ask(target, reached, request.timeout)
    except MelleaAPIError as error:
        code = getattr(error, "status", None)
        status = {401: "rejected", 403: "forbidden"}.get(code or 0, "unreachable")
        message = str(error)
    return CredentialReport(backend=target.backend, status=status, fields=fields, message=message)


def _can_ask(route: Route) -> bool:
    return route.provider in _ASKED or route.provider in ("ollama", "ollama_chat")


def ask(target: Target, reached: Access, seconds: float) -> list[str] | None:
    """Ask a server for its models, which is free; None where that is not possible.

    Raises:
        ProviderError: If it refuses, or is not there.
    """
    if not reached.address or not _can_ask(reached.route):
        return None
    from mellea_api.authoring import UnreadableAnswerError, run_with_deadline

    ollama = reached.route.provider in ("ollama", "ollama_chat")
    url = reached.address.rstrip("/") + ("/api/tags" if ollama else "/models")
    key = reached.key.reveal() if reached.key is not None else ""

    async def get() -> tuple[int, Any, str]:
        import httpx

        headers = {"authorization": f"Bearer {key}"} if key else {}
        async with httpx.AsyncClient() as client:
            answer = await client.get(url, headers=headers)
        try:
            return answer.status_code, answer.json(), answer.text
        except ValueError:
            return answer.status_code, None, answer.text

    try:
        status, found, text = run_with_deadline(get, seconds)
    except Exception as error:
        raise _failure(target, reached, error, seconds) from None
    if status >= 400:
        raise refused(target, reached, status, text)
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


def refused(target: Target, reached: Access, status: int, text: str) -> ProviderError:
    """Return the error for a server's refusal."""
    error = RuntimeError(f"HTTP {status}")
    request = ErrorRequest(target=_named(target, reached), operation="session", error=error)
    return translation.by_status(request, status, text)


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
    reached = access(request.target, route, request.credentials)
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
