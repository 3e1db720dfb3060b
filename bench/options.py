"""Normalizing the four common options, in one process: this library, litellm and any-llm."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else its import asks the network

import importlib_metadata
from any_llm.providers.ollama.ollama import OllamaProvider
from any_llm.providers.openai import OpenaiProvider
from any_llm.types.completion import CompletionParams
from litellm.utils import get_optional_params
from measure import in_turns, ratio, section

import mellea_api

OPTIONS = {"temperature": 0.7, "max_tokens": 100, "top_p": 0.9, "stop": ["END"]}
MESSAGES = [{"role": "user", "content": "Hello!"}]
UNREAD, READ = "a call's options", "a call's options and their report"
ANY_LLM, LITELLM = "any-llm's conversion", "litellm's `get_optional_params`"
ANY_LLM_PARAMS = "any-llm's checks and conversion"
PROVIDERS = {
    "ollama": ("granite4:micro", "ollama_chat", OllamaProvider),
    "openai": ("gpt-4o", "openai", OpenaiProvider),
}


def contenders(backend: str) -> dict[str, Callable[[], object]]:
    model, litellm_name, provider = PROVIDERS[backend]
    found = mellea_api.shared_registry().backend(backend)
    pipeline = found.pipeline(found.target(model))
    convert = provider._convert_completion_params
    params = CompletionParams(model_id=model, messages=MESSAGES, **OPTIONS)
    return {
        UNREAD: lambda: pipeline.render(OPTIONS, "chat").options,
        READ: lambda: pipeline.render(OPTIONS, "chat").report,
        ANY_LLM: lambda: convert(params),
        ANY_LLM_PARAMS: lambda: convert(
            CompletionParams(model_id=model, messages=MESSAGES, **OPTIONS)
        ),
        LITELLM: lambda: get_optional_params(
            model=model, custom_llm_provider=litellm_name, **OPTIONS
        ),
    }


def measure() -> list[dict[str, Any]]:
    """Measures each backend in one run."""
    sections = []
    for backend in PROVIDERS:
        samples = in_turns(contenders(backend), rounds=20, turns=50, calls=10)
        ratios = [
            ratio(samples, ours, theirs)
            for ours in (UNREAD, READ)
            for theirs in (ANY_LLM, ANY_LLM_PARAMS, LITELLM)
        ]
        sections.append(
            section(
                f"Normalizing `temperature`, `max_tokens`, `top_p` and `stop` for {backend}",
                "Every call renders its options; the report of what became of each is made when "
                "somebody reads it, and no other library has one. This library checks types and "
                "ranges, any-llm types while it builds its parameters, litellm neither.",
                ratios,
            )
        )
    sections.append(again())
    return sections


def again() -> dict[str, Any]:
    """Discovers and explains where everything is imported already."""
    discover, group = "`Registry.discover()`", "`importlib_metadata.entry_points()`"
    explain, litellm = "`explain_options`", LITELLM
    samples = in_turns(
        {
            discover: mellea_api.Registry.discover,
            group: importlib_metadata.entry_points,
            explain: lambda: mellea_api.explain_options("openai", OPTIONS),
            litellm: contenders("openai")[LITELLM],
        },
        rounds=20,
        turns=10,
    )
    return section(
        "Finding plugins, and explaining options, again in the same process",
        "",
        [ratio(samples, discover, group), ratio(samples, explain, litellm)],
    )


if __name__ == "__main__":
    json.dump(measure(), sys.stdout)
