"""The tables of options."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import attrs

from generator.backends import descriptor, rules_of, use_sources
from generator.markdown import code, table
from generator.rules import NO_SUCH, SILENT, bounds, by_name, cell, fate, that_count, when
from mellea_api._options.canonical import CANONICAL, INTERNAL
from mellea_api.plugin import OptionRule

__all__ = [
    "canonical_options",
    "common",
    "families",
    "internal_options",
    "litellm_needs",
    "native",
    "others",
    "overview",
]

# LiteLLM's better known routes.
_PROVIDERS: Final = (
    *("openai", "anthropic", "azure", "bedrock", "cohere", "databricks", "deepseek", "gemini"),
    *("github_copilot", "groq", "hosted_vllm", "litellm_proxy", "lm_studio", "mistral"),
    *("ollama_chat", "openrouter", "together_ai", "vertex_ai", "watsonx", "xai"),
)


def canonical_options() -> str:
    """The common options."""
    rows = (
        (code(o.name), o.type, bounds(o), code(*map(_spelling, o.spellings)), o.help)
        for o in CANONICAL.values()
    )
    return table(("option", "type", "range", "other spellings", "what it does"), rows)


def internal_options() -> str:
    """What Mellea itself sends."""
    return table(("option", "why"), ((code(name), why) for name, why in INTERNAL.items()))


def _spelling(name: str) -> str:
    return f"ModelOption.{name.strip('@').upper()}" if name.startswith("@@@") else name


def _rules(
    backend: str, server: str | None, *, models: bool = False
) -> dict[str, list[OptionRule]]:
    return by_name(rules_of(backend), server, models=models)


def common(backend: str, server: str | None = None, *, models: bool = False) -> str:
    """What becomes of the common options on a backend."""
    rules = _rules(backend, server, models=models)
    rows = (
        (code(name), cell(rules.get(name, ()), "chat"), cell(rules.get(name, ()), "completion"))
        for name in CANONICAL
    )
    return table(("option", "chat endpoint", "raw endpoint"), rows)


def native(backend: str, server: str | None = None) -> str:
    """The options that only this backend has: those that it takes."""
    rows = [
        (
            code(name),
            next((rule.type or "any" for rule in rules if rule.supported), "any"),
            cell(rules, "chat"),
            cell(rules, "completion"),
        )
        for name, rules in _rules(backend, server).items()
        if name not in CANONICAL and name != "*" and any(rule.supported for rule in rules)
    ]
    return table(("option", "type", "chat endpoint", "raw endpoint"), rows)


def others(backend: str, server: str | None = None, *, reserved: bool = False) -> str:
    """The native names that cannot be given, or (unless `reserved`) that are not supported."""
    rows = []
    for name, rules in _rules(backend, server).items():
        if name in CANONICAL or any(rule.supported for rule in rules):
            continue
        if reserved and not rules[0].reserved:
            continue
        kind = "cannot be given" if rules[0].reserved else "not supported"
        rows.append((code(_spelling(name)), kind, rules[0].reason))
    return table(("option", "", "why"), rows)


def overview() -> str:
    """Every common option on every backend but litellm, at the chat endpoint, and the reasons."""
    columns = [
        ("ollama", "ollama", None),
        ("openai, official", "openai", "official"),
        ("openai, compatible", "openai", "compatible"),
        ("watsonx", "watsonx", None),
        ("hf", "hf", None),
        ("ngram", "ngram", None),
    ]
    known = [_rules(backend, server) for _, backend, server in columns]
    notes: dict[str, int] = {}
    rows = [
        [code(name), *(_short(rules.get(name, ()), notes) for rules in known)] for name in CANONICAL
    ]
    reasons = "\n".join(f"{number}. {note}" for note, number in notes.items())
    return f"{table(('option', *(title for title, _, _ in columns)), rows)}\n\n{reasons}"


def _short(rules: Iterable[OptionRule], notes: dict[str, int]) -> str:
    """Say what becomes of one option in a few words, with the numbers of the reasons."""
    reasons: dict[str, list[str]] = {}
    values: dict[str, list[str]] = {}  # conditions that are all there is to say
    for rule in that_count(rules, "chat"):
        does, wire = fate(rule, "chat")
        does = f"{does} `{wire}`" if does == "renamed" else does
        needs = f"Mellea {rule.mellea} or newer" if rule.mellea and rule.supported else ""
        why = "; ".join(filter(None, (needs, rule.reason.removesuffix(SILENT))))
        reasons.setdefault(does, [])
        if why:
            reasons[does].append(when(rule) + why)
        elif rule.requires:
            values.setdefault(does, []).append(when(rule).removesuffix(": "))
    if not reasons:
        reasons["not supported"] = [NO_SUCH]
    for does, said in values.items():
        reasons[does].append(f"only {', '.join(said)}")
    parts = []
    for does, said in reasons.items():
        numbers = [str(notes.setdefault(why, len(notes) + 1)) for why in dict.fromkeys(said)]
        parts.append(does + (f" ({', '.join(numbers)})" if numbers else ""))
    return "<br>".join(parts)


def families() -> str:
    """What OpenAI's models do not take, by families that have the same rules."""
    rules = [rule for rule in descriptor("openai").options if rule.models]
    rules = [rule for rule in rules if rule.server == "official"]
    members: dict[tuple[int, ...], list[str]] = {}
    for glob in dict.fromkeys(glob for rule in rules for glob in rule.models):
        key = tuple(n for n, rule in enumerate(rules) if glob in rule.models)
        members.setdefault(key, []).append(glob)
    parts = []
    for key, globs in members.items():
        by_name: dict[str, list[OptionRule]] = {}
        for number in key:
            by_name.setdefault(rules[number].name, []).append(
                attrs.evolve(rules[number], models=())
            )
        order = sorted(by_name, key=[*CANONICAL, *by_name].index)
        rows = ((code(name), cell(by_name[name], "chat")) for name in order)
        parts.append(f"{code(*globs)}:\n\n{table(('option', 'chat endpoint'), rows)}")
    return "\n\n".join(parts)


def litellm_needs() -> str:
    """The variables that LiteLLM's better known routes read."""
    use_sources()
    from mellea_api_litellm.credentials import ELSEWHERE, provider_fields

    rows = []
    for provider in _PROVIDERS:
        wanted = [
            " or ".join(code(name) for name in field.variables)
            + (" (if need be)" if field.required == "never" else "")
            for field in provider_fields(provider)
            if field.variables
        ]
        rows.append((f"`{provider}/…`", "<br>".join(wanted) or "none", ELSEWHERE.get(provider, "")))
    return table(("route", "variables", "else"), rows)
