"""The models: the few that are shown unasked, and LiteLLM's own list of thousands to choose from.

`list_models("litellm")` lists what there are credentials for; `provider="anthropic"` what one
provider has, and `provider="*"` everything. `usable=True` leaves of these what there are
credentials for.
"""

from __future__ import annotations

from typing import Any, Final

from mellea_api import ConfigurationError, ModelInfo
from mellea_api.plugin import ModelsRequest
from mellea_api_litellm.needs import findings
from mellea_api_litellm.options import DEFAULT_MODEL
from mellea_api_litellm.routes import Route, listed, snapshot
from mellea_api_litellm.settings import check_listing, flag

__all__ = ["CATALOGUE", "choose"]

CATALOGUE: Final = (
    ModelInfo(
        id=DEFAULT_MODEL, description="Granite 4 on an Ollama server", size="3B", default=True
    ),
    ModelInfo(id="gpt-4o", description="OpenAI", context_length=128000),
    ModelInfo(id="anthropic/claude-sonnet-4-5", description="Anthropic", context_length=200000),
    ModelInfo(id="gemini/gemini-2.5-flash", description="Google", context_length=1048576),
    ModelInfo(id="watsonx/ibm/granite-3-3-8b-instruct", description="IBM watsonx.ai", size="8B"),
)


def choose(request: ModelsRequest) -> list[ModelInfo]:
    """List routes of LiteLLM's own list, without asking anybody.

    Args:
        request: Its setting `provider` names a provider, or is `*` for all. Those are listed for
            which there are credentials if no provider is named, or with the setting `usable`.

    Raises:
        ConfigurationError: If LiteLLM knows no such provider, or there is no such setting.
    """
    check_listing(request.target)
    wanted = _wanted(request.target.settings.get("provider"))
    chosen = [found for found in listed() if wanted in (None, "*", found.provider)]
    if flag(request.target, "usable", wanted is None):
        usable = _Usable(request, wanted)
        chosen = [found for found in chosen if usable(found.provider)]
    models = {found.model_id: _info(found.model_id, found.provider, found) for found in chosen}
    if wanted is None:
        models = {**{model.id: model for model in CATALOGUE if model.default}, **models}
    return list(models.values())


def _info(model_id: str, provider: str, found: Any) -> ModelInfo:
    return ModelInfo(
        id=model_id,
        description=provider,
        context_length=found.context_length,
        default=model_id == DEFAULT_MODEL,
    )


def _wanted(provider: Any) -> str | None:
    if provider is None:
        return None
    known = snapshot()["providers"]
    if isinstance(provider, str) and (provider == "*" or provider in known):
        return provider
    import difflib

    near = difflib.get_close_matches(str(provider), known, n=3)
    raise ConfigurationError(
        f"Cannot list the models of provider={provider!r}: LiteLLM knows no such provider.",
        next_step=f"Did you mean {' or '.join(near)}?"
        if near
        else "Use the part of a route before the slash, such as 'anthropic', or '*' for all.",
        backend="litellm",
    )


class _Usable:
    """Tells whether there are credentials for a provider; looks once for each.

    A key given as an argument is that of the provider who is named; without a name, nobody said
    whose it is.
    """

    def __init__(self, request: ModelsRequest, named: str | None) -> None:
        self._request = request
        self._named = named
        self._known: dict[str, bool] = {}

    def __call__(self, provider: str) -> bool:
        if provider not in self._known:
            self._known[provider] = self._look(provider)
        return self._known[provider]

    def _look(self, provider: str) -> bool:
        route = Route(model_id=f"{provider}/", provider=provider, model="")
        given = self._request.credentials if provider == self._named else {}
        found = findings(self._request.target, route, given)
        if found is None:
            return False
        there = any(finding.secret is not None for finding in found)
        return there and not any(finding.lacks for finding in found)
