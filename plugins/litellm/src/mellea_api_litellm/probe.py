"""What LiteLLM does with each option of a route, found out by asking LiteLLM itself.

LiteLLM says in tables which parameters a route supports, but what it then does is code: it
renames, clamps and drops, also what the tables call supported. So each parameter is sent through
that code with a few values, up to the body that would go to the provider, and what differs from
the body without it is what the parameter does. Nothing is sent.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, Final

LEVELS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")

_NO_PARAMETERS: Final = {"type": "object", "properties": {}}
_TOOL: Final = {
    "type": "function",
    "function": {"name": "zz_tool", "description": "zz", "parameters": _NO_PARAMETERS},
}
# Parameters, OpenAI's first, with values that show what LiteLLM does with them.
PROBED: Final[Mapping[str, tuple[Any, ...]]] = {
    "temperature": (0.37, 0, 1, 1.7, 2),
    "max_tokens": (173, 1),
    "max_completion_tokens": (173, 1),
    "top_p": (0.61, 0.01, 1),
    "stop": (["zz-1", "zz-2"],),
    "seed": (919, 0),
    "presence_penalty": (0.23, -1.5, 0, 2),
    "frequency_penalty": (0.29, -1.5, 0, 2),
    "logprobs": (True, False),
    "top_logprobs": (3,),
    "stream": (True, False),
    "tools": ([_TOOL],),
    "tool_choice": ("auto", "required", "none"),
    "parallel_tool_calls": (True, False),
    "user": ("zz-user",),
    "logit_bias": ({"50256": -100},),
    "service_tier": ("auto",),
    "store": (True,),
    "prompt_cache_key": ("zz-key",),
    "safety_identifier": ("zz-id",),
    "verbosity": ("low",),
    "reasoning_effort": LEVELS,
    # LiteLLM passes these on without knowing them; the last stands for all such names.
    "top_k": (7,),
    "repetition_penalty": (1.13,),
    "zz_unknown": (3,),
}

_WITH: Final = {
    "top_logprobs": {"logprobs": True},
    "tool_choice": {"tools": PROBED["tools"][0]},
    "parallel_tool_calls": {"tools": PROBED["tools"][0]},
}
# Without it LiteLLM makes no body.
_NEEDED: Final = {"watsonx_text": {"project_id": "zz"}}

_LOGIN: Final = frozenset({"github_copilot", "chatgpt"})
_TEXT: Final = "text-completion-openai"

Body = Callable[[Mapping[str, Any]], dict[str, Any]]


def answer(question: str) -> dict[str, Any]:
    """Return what LiteLLM says about a route, or its list of models.

    Args:
        question: A route; empty for the list.

    Returns:
        The attributes of a `routes.Route`. If there is no such route, only `near`, which are
        providers with similar names, and `why`, if LiteLLM says that. For the list, under each
        provider its models, with the facts of a `ModelInfo`.
    """
    # LiteLLM otherwise fetches its list of models and prices while it is being imported.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import litellm
    from litellm.llms.base_llm.chat.transformation import BaseLLMException

    from mellea_api_litellm.http import offline

    if question.startswith("aiohttp_openai/"):  # it alone does not use httpx
        return {"near": [], "why": "LiteLLM's client there follows redirects with the prompt"}
    with offline(), contextlib.redirect_stdout(io.StringIO()):
        if not question:
            return _list()
        found = provider_of(question)
        try:
            if found is not None:
                return _route(question, *found)
        except BaseLLMException as error:  # LiteLLM knows the provider's models
            return {"near": [], "why": str(error)}
        import difflib

        names = [str(getattr(name, "value", name)) for name in litellm.provider_list]
        prefix = question.partition("/")[0]
        near = difflib.get_close_matches(prefix, names, n=3, cutoff=0.75)
        return {"near": [name for name in near if name != prefix]}


def _route(model_id: str, provider: str, model: str) -> dict[str, Any]:
    import litellm
    from litellm.constants import DEFAULT_CHAT_COMPLETION_PARAM_VALUES
    from litellm.types.utils import all_litellm_params

    raw = provider == _TEXT
    raw |= provider == "openai" and model not in litellm.open_ai_chat_completion_models
    compatible = {"openai", "azure", _TEXT, *litellm.openai_compatible_providers}
    return {
        "provider": provider,
        "model": model,
        "places": places(provider, model, model_id),
        "raw_places": places(_TEXT, "zz-model") if raw else None,
        "merges": provider in compatible,
        "taken": sorted({*all_litellm_params, *DEFAULT_CHAT_COMPLETION_PARAM_VALUES}),
        "shutdown": _shutdown(model_id, provider, model),
    }


def _shutdown(model_id: str, provider: str, model: str) -> str | None:
    """Return the day on which the provider shuts a model down, if LiteLLM knows it."""
    import litellm

    for name in (model_id, f"{provider}/{model}", model):
        facts = litellm.model_cost.get(name, {})
        if facts.get("litellm_provider") == provider and facts.get("deprecation_date"):
            with contextlib.suppress(ValueError):
                return date.fromisoformat(str(facts["deprecation_date"])).isoformat()
    return None


def _list() -> dict[str, Any]:
    import litellm

    found: dict[str, dict[str, Any]] = {}
    for name, facts in litellm.model_cost.items():
        if facts.get("mode") in ("chat", "completion", "responses"):
            context = facts.get("max_input_tokens")
            for route in (name, f"{facts.get('litellm_provider')}/{name}"):
                if (split := provider_of(route)) is not None:
                    known = found.setdefault(split[0], {})
                    known[route] = {
                        "context_length": context if isinstance(context, int) else None,
                        "shutdown": facts.get("deprecation_date"),
                    }
                    break
    return found


def provider_of(model_id: str) -> tuple[str, str] | None:
    """Return a route's provider and its own name of the model, as LiteLLM takes it apart."""
    from litellm.litellm_core_utils.get_llm_provider_logic import get_llm_provider

    prefix, _, rest = model_id.partition("/")
    if prefix in _LOGIN and rest:
        return prefix, rest  # LiteLLM would open a login to answer
    try:
        model, provider, _, _ = get_llm_provider(model=model_id)
    except Exception:
        return None
    return (provider, model) if model and provider else None


def places(provider: str, model: str, model_id: str = "") -> dict[str, Any]:
    """Return where each parameter of a route goes in the provider's JSON.

    Args:
        provider: LiteLLM's name of the provider.
        model: The provider's name of the model.
        model_id: The whole route, by which Mellea looks up what to call `max_tokens`.

    Returns:
        By parameter: a dotted place; or, where the value is not simply put there, what became
        of each value that was tried, as `{value in JSON: {place: value sent}}`. A parameter that
        has no effect at all is not in it.
    """
    body = _body_of(provider, model)
    known: dict[str, Any] = {}
    for name, values in PROBED.items():
        if effect := _effect(body, name, values, _WITH.get(name, {})):
            known[name] = effect
    known["limit"] = _limit_name(model_id or f"{provider}/{model}")
    return known


def _limit_name(model_id: str) -> str:
    """Return what Mellea's backend will call `max_tokens`."""
    from litellm import get_supported_openai_params

    names = get_supported_openai_params(model_id) or ()
    old = "max_completion_tokens" not in names and "max_tokens" in names
    return "max_tokens" if old else "max_completion_tokens"


def _effect(body: Body, name: str, values: tuple[Any, ...], beside: Mapping[str, Any]) -> Any:
    before = _leaves(body(beside))
    again = _leaves(body(beside))  # some providers' bodies hold a new id each time
    changing = {place for place, sent in again.items() if before.get(place, _LEAF) != sent}
    effects: dict[str, dict[str, Any]] = {}
    for value in values:
        try:
            after = _leaves(body({**beside, name: value}))
        except Exception as error:
            effects[json.dumps(value)] = {"!": type(error).__name__}
            continue
        effects[json.dumps(value)] = {
            place: sent
            for place, sent in after.items()
            if place not in changing and before.get(place, _LEAF) != sent
        }
        if len(effects) > 1 and not effects[json.dumps(value)]:
            # Where the provider's body has that value anyway, it is not lost.
            usual = next(iter(effects[json.dumps(values[0])]), "")
            if usual in after and after[usual] == value:
                effects[json.dumps(value)] = {usual: value}
    if not any(effects.values()):
        return None
    where = {tuple(effect) for effect in effects.values()}
    kept = all(list(effect.values()) == [json.loads(value)] for value, effect in effects.items())
    return where.pop()[0] if kept and len(where) == 1 else effects


_LEAF: Final = object()


def _leaves(body: Any, path: str = "") -> dict[str, Any]:
    """Return what stands at the end of each dotted path; lists and empty dicts are ends."""
    if not isinstance(body, dict) or not body or path.rpartition(".")[2] in _WHOLE:
        return {path: body}
    found: dict[str, Any] = {}
    for name, value in body.items():
        found |= _leaves(value, f"{path}.{name}" if path else str(name))
    return found


_WHOLE: Final = frozenset({"logit_bias", "tool_choice"})


def _body_of(provider: str, model: str) -> Body:
    """Return the function from parameters to the provider's body.

    Where LiteLLM cannot make a body without credentials, or makes it elsewhere, its last dict of
    parameters stands for the body.
    """
    import litellm
    from litellm.types.utils import LlmProviders

    config: Any = None
    with contextlib.suppress(ValueError):
        config = litellm.ProviderConfigManager.get_provider_chat_config(
            model=model, provider=LlmProviders(provider)
        )
    gemini = _gemini_body(provider, config)

    def body(given: Mapping[str, Any]) -> dict[str, Any]:
        # A copy: LiteLLM changes the tools that it is given.
        arguments: dict[str, Any] = json.loads(json.dumps(given))
        messages = [{"role": "user", "content": "hi"}]
        optional: dict[str, Any] = litellm.get_optional_params(
            model=model,
            custom_llm_provider=provider,
            drop_params=True,
            messages=messages,
            **arguments,
        )
        if config is not None:
            with contextlib.suppress(Exception):
                make = gemini or functools.partial(config.transform_request, headers={})
                parameters = {**json.loads(json.dumps(optional)), **_NEEDED.get(provider, {})}
                made = make(
                    model=model, messages=messages, optional_params=parameters, litellm_params={}
                )
                if isinstance(made, dict):
                    optional = made
        return _plain(optional)

    return body


def _gemini_body(provider: str, config: Any) -> Callable[..., Any] | None:
    """Return what makes the body for Gemini, which is no method of its configuration.

    It leaves out every parameter that Gemini's `generationConfig` does not have.
    """
    import litellm

    if not isinstance(config, litellm.VertexGeminiConfig):
        return None
    from litellm.llms.vertex_ai.gemini import transformation

    make = getattr(transformation, "transform_request_body", None)
    make = make or transformation._transform_request_body
    return functools.partial(make, custom_llm_provider=provider, cached_content=None)


def _plain(body: dict[str, Any]) -> dict[str, Any]:
    """Return a body as JSON, an `extra_body` merged into it, as the OpenAI SDK merges it."""
    plain: dict[str, Any] = json.loads(json.dumps(body, default=str))
    extra = plain.pop("extra_body", None)
    for name in ("messages", "model", "contents", "prompt"):
        plain.pop(name, None)
    return {**plain, **extra} if isinstance(extra, dict) else plain
