"""The models: the few that are shown unasked, and LiteLLM's own list to choose from."""

from __future__ import annotations

from typing import Final

from mellea_api import ConfigurationError
from mellea_api.plugin import ModelInfo, ModelsRequest, hookimpl
from mellea_api_litellm.credentials import is_usable
from mellea_api_litellm.routes import listed
from mellea_api_litellm.servers import server_models

CATALOGUE: Final = (
    ModelInfo(
        id="ollama_chat/granite4:micro",
        description="Granite 4 on an Ollama server",
        size="3B",
        default=True,
    ),
    ModelInfo(id="gpt-5.4-mini", description="OpenAI", context_length=400000),
    ModelInfo(id="anthropic/claude-sonnet-4-6", description="Anthropic", context_length=1000000),
    ModelInfo(id="gemini/gemini-3.8-flash", description="Google", context_length=1048576),
    ModelInfo(id="watsonx/ibm/granite-3-3-8b-instruct", description="IBM watsonx.ai", size="8B"),
)


@hookimpl
async def list_models(request: ModelsRequest) -> list[ModelInfo]:
    """List what a server at `base_url` has, else routes of LiteLLM's own list.

    Args:
        request: Its setting `provider` names one provider. Without it those are listed for which
            there are credentials in the environment, after the default model.

    Raises:
        ConfigurationError: If LiteLLM knows no such provider.
    """
    if request.live and request.target.base_url:
        models = await server_models(request)
        if models is not None:
            return models
    request.no_limit()  # if LiteLLM has to be imported for that
    wanted = request.setting("provider")
    known = listed()
    if wanted is not None and wanted not in known:
        raise ConfigurationError(
            f"Cannot list the models of provider={wanted!r}: LiteLLM lists none of such a "
            "provider.",
            next_step="Use the part of a route before the slash, such as 'anthropic'.",
        )
    shown = [wanted] if wanted is not None else [name for name in known if is_usable(name)]
    default = CATALOGUE[0]
    found = {default.id: default} if wanted is None else {}
    for provider in shown:
        for model_id, facts in known[provider].items():
            chosen = model_id == default.id
            model = ModelInfo(id=model_id, description=provider, default=chosen, **facts)
            found.setdefault(model_id, model)
    return list(found.values())
