"""Questions to a route's server that cost nothing: which models it has, and if it takes the key."""

from __future__ import annotations

from typing import Any, Final

from attrs import evolve

from mellea_api import CredentialReport, ModelInfo, ModelNotFoundError
from mellea_api.plugin import CredentialRequest, ModelsRequest, SessionRequest
from mellea_api_litellm.routes import Route

_OLLAMA: Final = ("ollama", "ollama_chat")
# Providers whose list of models costs nothing, and needs no more than an address and a key.
_ASKED: Final = ("openai", "hosted_vllm", "litellm_proxy", "lm_studio", "llamafile", *_OLLAMA)
_DEFAULTS: Final = {
    "openai": "https://api.openai.com/v1",
    "llamafile": "http://127.0.0.1:8080/v1",
    **dict.fromkeys(_OLLAMA, "http://localhost:11434"),
}


async def model_names(request: Any, provider: str) -> list[str] | None:
    """Return the models that a server lists; None if it cannot be asked for free."""
    stated = request.target.base_url or request.credential("base_url")
    address = str(stated or _DEFAULTS.get(provider, ""))
    if not address or provider not in _ASKED:
        return None
    ollama = provider in _OLLAMA
    path, names, name = ("api/tags", "models", "name") if ollama else ("models", "data", "id")
    key = request.credential("api_key")

    import httpx

    from mellea_api.plugin import careful, reading_answer

    headers = {"authorization": f"Bearer {key}"} if key else {}
    async with careful(httpx.AsyncClient()) as client:
        answer = await client.get(f"{address.rstrip('/')}/{path}", headers=headers)
    answer.raise_for_status()
    with reading_answer():
        return [str(model[name]) for model in answer.json()[names]]


async def server_models(request: ModelsRequest) -> list[ModelInfo] | None:
    """List what the server at `base_url` has, as routes; None if it cannot be asked for free.

    The setting `provider` says what it is, and whose key it gets. Without it, it is taken for a
    server that speaks OpenAI's protocol, and gets no key but one that was given as an argument.
    """
    provider = request.setting("provider") or "openai"
    key = request.credentials.get("api_key")
    if request.setting("provider") is None and key is not None and key.source != "argument":
        # It was found for the default model's route, which need not be on this server.
        request = evolve(request, credentials={})
    names = await model_names(request, provider)
    if names is None:
        return None
    return [ModelInfo(id=f"{provider}/{name}", source="live") for name in sorted(names)]


async def probe(request: CredentialRequest, route: Route) -> CredentialReport:
    """Ask the server with the credentials, if that is free."""
    import httpx

    provider = route.provider
    try:
        names = await model_names(request, provider)
    except httpx.HTTPStatusError as error:
        # A key of OpenAI's that is restricted may be let generate, and not list.
        if "api.model.read" not in error.response.text:
            raise
        return request.unchecked("The key is known, and it is not allowed to list models.")
    if names is None:
        return request.unchecked(f"No question to {provider} is known that costs nothing.")
    takes = "takes the key" if "api_key" in request.credentials else "needs no key to list models"
    return request.accepted(f"The server of the {provider} route {takes}.")


async def check_model(request: SessionRequest, route: Route) -> None:
    """See that the server is there, takes the key, and has the model.

    Raises:
        ModelNotFoundError: If it does not have the model.
    """
    import httpx

    model = route.model
    try:
        known = await model_names(request, route.provider)
    except httpx.HTTPStatusError as error:
        if error.response.status_code not in (400, 403, 404, 405):
            raise
        # A key may be allowed to generate and not to list; a server may lack the route.
        request.unchecked(f"its server answers {error.response.status_code}")
        return
    if known is None:
        request.unchecked(f"{route.provider} cannot be asked for free")
    elif model not in known and f"{model}:latest" not in known:
        if len(known) == 1 and route.provider not in _OLLAMA:
            # Servers of one model, such as llama.cpp's, answer to any name.
            request.unchecked(f"its server lists {known[0]} alone, and may answer with that")
            return
        raise ModelNotFoundError(status=404, known=known)


def model_hint(route: Route) -> str:
    """Return what to do if a route's server does not have its model."""
    if route.provider in _OLLAMA:
        return f"Get it with `ollama pull {route.model}`.".replace("{", "{{").replace("}", "}}")
    return "Use one that it has; check=False opens a session without asking for the model."
