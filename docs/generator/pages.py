"""The pages, and the parts of them that are generated."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from generator.backends import ROOT
from generator.options import (
    canonical_options,
    common,
    families,
    internal_options,
    litellm_needs,
    native,
    others,
    overview,
)
from generator.reference import commands, errors_table, json_fields, provider_errors
from generator.signatures import described, name_of, signature

__all__ = ["pages", "part", "render"]

_GENERATED: Final = re.compile(
    r"(<!-- generated: ([\w.-]+) -->\n)(.*?)(<!-- generated: end -->)", re.DOTALL
)
_SIGNATURE: Final = re.compile(r"(```python signature\n)(.*?)(```)", re.DOTALL)

_PARTS: Final[dict[str, Callable[[], str]]] = {
    "canonical": canonical_options,
    "check-json": lambda: json_fields("check"),
    "doctor-json": lambda: json_fields("doctor"),
    "internal": internal_options,
    "ollama-common": lambda: common("ollama"),
    "ollama-native": lambda: native("ollama"),
    "ollama-others": lambda: others("ollama"),
    "openai-official-common": lambda: common("openai", "official"),
    "openai-official-native": lambda: native("openai", "official"),
    "openai-official-others": lambda: others("openai", "official"),
    "openai-families": families,
    "openai-compatible-common": lambda: common("openai", "compatible", models=True),
    "openai-compatible-native": lambda: native("openai", "compatible"),
    "openai-compatible-others": lambda: others("openai", "compatible"),
    "watsonx-common": lambda: common("watsonx", models=True),
    "watsonx-native": lambda: native("watsonx"),
    "watsonx-others": lambda: others("watsonx"),
    "hf-common": lambda: common("hf", models=True),
    "hf-native": lambda: native("hf"),
    "hf-others": lambda: others("hf"),
    "litellm-others": lambda: others("litellm", reserved=True),
    "litellm-needs": litellm_needs,
    "ngram-common": lambda: common("ngram"),
    "overview": overview,
    "errors": errors_table,
    **{
        f"provider-errors-{backend}": functools.partial(provider_errors, backend)
        for backend in ("any", "ollama", "openai", "watsonx", "hf", "litellm")
    },
    "commands": commands,
}


def render(text: str) -> str:
    """Return a page with all its generated parts as they should be."""
    text = _GENERATED.sub(lambda m: f"{m[1]}\n{part(m[2])}\n\n{m[4]}", text)
    return _SIGNATURE.sub(lambda m: f"{m[1]}{signature(name_of(m[2]))}\n{m[3]}", text)


def part(name: str) -> str:
    """Return a generated part: one of `_PARTS`, or what the docstring of an object says."""
    return _PARTS[name]() if name in _PARTS else described(name)


def pages() -> list[Path]:
    """Return all pages."""
    return sorted((ROOT / "docs").rglob("*.md"))
