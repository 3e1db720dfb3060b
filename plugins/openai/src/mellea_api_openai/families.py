"""Which of OpenAI's own models refuse which options, as data.

Holds on OpenAI's own servers only: what a compatible server does with a model of the same name
is that server's business. Models that are in no family here (newer ones) take every option,
and the provider then says what it thinks of it. A model that OpenAI has shut down has no rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from mellea_api.plugin import Converted, OptionRule

_CHAT: Final = "openai 3.54.0, types/chat/completion_create_params.py"
_GUIDE: Final = "developers.openai.com/api/docs/guides/reasoning, November 2026"
_NEWEST: Final = "developers.openai.com/api/docs/guides/deployment-checklist, November 2026"
_EFFORTS: Final = (
    f"{_GUIDE}; pydantic-ai's profiles and mnfst/modelparams.dev#236 (tried); "
    "`max` is only in the Responses API: BerriAI/litellm-docs#1173"
)
_STOP: Final = f"{_CHAT}; huggingface/smolagents#1662, #1868 and #1893 (tried)"
_TOOLS_TRIED: Final = f"{_NEWEST}; openai/openai-openapi#541 and BerriAI/litellm#34569 (tried)"
_PARALLEL: Final = "langchain-ai/langchain#29704 and defog-ai/defog#171 (tried)"
_VERBOSITY: Final = f"{_CHAT}; google-deepmind/concordia#164 (tried)"
_SEARCHING: Final = "vercel/ai#5609 and ChatGPTNextWeb/NextChat#6569 (tried); litellm, gpt-5-search"

# ----------------------------------------------------------------------------- the families
# Globs; no two families have a model in common.

_SEARCH: Final = ("gpt-5-search-*",)
_PLAIN: Final = (
    *("gpt-4.*", "ft:gpt-4*", "gpt-4o", "gpt-4o-20*", "gpt-4o-mini", "gpt-4o-mini-20*"),
    *("gpt-audio*", "gpt-3.5-turbo-instruct*", "davinci-002", "babbage-002"),
)
_O3: Final = ("o3", "o3-20*", "o3-pro*", "o3-deep*")
_GPT_5: Final = ("gpt-5", "gpt-5-20*", "gpt-5-mini*", "gpt-5-nano*")
_INSTANT: Final = ("chat-latest*",)
_CODEX_AND_PRO: Final = (  # most of them answer only in the Responses API
    *("gpt-5-codex*", "gpt-5.?-codex*", "computer-use-*"),
    *("gpt-5-pro*", "gpt-5.?-pro*"),
)
_GPT_5_1: Final = ("gpt-5.1", "gpt-5.1-20*", "gpt-5.1-mini*")
_GPT_5_2: Final = ("gpt-5.2", "gpt-5.2-20*", "gpt-5.3", "gpt-5.3-20*")
_GPT_5_4: Final = ("gpt-5.4", "gpt-5.4-20*", "gpt-5.4-mini*", "gpt-5.4-nano*")
_GPT_5_5: Final = ("gpt-5.5", "gpt-5.5-20*")
_GPT_6: Final = (
    *("gpt-5.6", "gpt-5.6-20*", "gpt-5.6-sol*", "gpt-5.6-terra*", "gpt-5.6-luna*"),
    *("gpt-6-sol*", "gpt-6-luna*", "gpt-6.1-terra*"),
)
_ASTRA: Final = ("gpt-6-astra*", "gpt-6.2-astra*", "gpt-6.1-sol*", "gpt-6.2-sol*")

_ALWAYS: Final = _O3 + _GPT_5 + _INSTANT + _CODEX_AND_PRO + _ASTRA
_WHEN_ASKED: Final = _GPT_5_1 + _GPT_5_2 + _GPT_5_4
_UNLESS_TOLD: Final = _GPT_5_5 + _GPT_6
_REASONING: Final = _ALWAYS + _WHEN_ASKED + _UNLESS_TOLD

FAMILIES: Final[tuple[str, ...]] = _SEARCH + _PLAIN + _REASONING
"""Every glob above: a test holds them against the models that the SDK names."""

_VERBOSE: Final = ("extra_body.verbosity", "verbosity")
_OFF: Final = (False, "none")
_ON: Final = (True, "minimal", "low", "medium", "high", "xhigh")
_EFFORT: Final = ("@@@thinking@@@", "reasoning_effort")

# ---------------------------------------------------------------------------------- helpers


def _levels(models: tuple[str, ...], accepted: str) -> tuple[OptionRule, ...]:
    return OptionRule.levels(accepted, models=models, server="official", source=_EFFORTS)


def _unsaid(
    name: str, values: tuple[Any, ...], models: tuple[str, ...], why: str, **says: Any
) -> OptionRule:
    """Say that these values ask for what the models do anyway."""
    says = {"chat": name, "requires": {name: values}, "server": "official", **says}
    reason = f"{why}; nothing is sent"
    return OptionRule(
        name=name, convert=Converted.unsaid, models=models, reason=reason, source=_GUIDE, **says
    )


def _refused(
    names: str, models: tuple[str, ...], why: str, source: str = _GUIDE, **says: Any
) -> tuple[OptionRule, ...]:
    return OptionRule.refused(names, why, models=models, server="official", source=source, **says)


# ------------------------------------------------------------------------------------ rules

_RAW: Final = "the models of the raw endpoint do not reason"
_THINKING: Final = (
    _unsaid("thinking", _OFF, (), _RAW, chat=None, completion=_EFFORT),
    _unsaid("thinking", _OFF, _PLAIN + _SEARCH, "the model does not reason", chat=_EFFORT),
    *_refused("thinking", _PLAIN + _SEARCH, "the model does not reason"),
    *_levels(_O3, "low medium high"),
    *_levels(_GPT_5, "minimal low medium high"),
    *_levels(_INSTANT, "medium"),
    *_levels(_GPT_5_1, "none low medium high"),
    *_levels(_GPT_5_2 + _GPT_5_4 + _UNLESS_TOLD, "none low medium high xhigh"),
    *_levels(_CODEX_AND_PRO + _ASTRA, "low medium high xhigh"),
)

_ALWAYS_REASONS: Final = "the model always reasons, and reasoning models do not take this"
_ONLY_OFF: Final = "the model takes this only while it does not reason: give thinking=False too"


def _sampling() -> Iterator[OptionRule]:
    """Yield the rules of what models take only while they do not reason."""
    names = "temperature top_p logprobs top_logprobs"
    for models, thinking, why, source in (
        (_ALWAYS, None, _ALWAYS_REASONS, _GUIDE),
        (_WHEN_ASKED, _ON, _ONLY_OFF, _NEWEST),
        (_UNLESS_TOLD, (None, *_ON), _ONLY_OFF, _NEWEST),
    ):
        when = {"thinking": thinking} if thinking else {}
        for name, value in {"temperature": 1, "top_p": 1, "logprobs": False}.items():
            neutral = f"{value} asks for nothing else than what the model does"
            yield _unsaid(name, (value,), models, neutral, requires={name: (value,), **when})
        yield from _refused(names, models, why, source, requires=when)


_NEVER: Final = "this model calls tools only through the Responses API, which Mellea does not use"
_UNREASONED: Final = "at the chat endpoint this model takes tools only with thinking=False"
_TOOLS: Final = "tools tool_choice"
_PENALTIES: Final = ("presence_penalty", "frequency_penalty")

FAMILY_RULES: Final[tuple[OptionRule, ...]] = (
    *_THINKING,
    *_sampling(),
    *(_unsaid(name, (0,), _REASONING + _SEARCH, "0 is neutral") for name in _PENALTIES),
    *_refused(
        "presence_penalty frequency_penalty logit_bias",
        _REASONING,
        "reasoning models do not take this",
    ),
    *_refused("stop", _REASONING, "the model refuses stop sequences", _STOP),
    # The other models, and these while they do not reason, take tools as all servers do.
    *_refused(_TOOLS, _GPT_5_4 + _GPT_5_5, _UNREASONED, _TOOLS_TRIED, requires={"thinking": _ON}),
    *_refused(_TOOLS, _GPT_6, _UNREASONED, _TOOLS_TRIED, requires={"thinking": (None, *_ON)}),
    *_refused(_TOOLS, _ASTRA, _NEVER, _NEWEST),
    *_refused(_TOOLS, _SEARCH, "search models do not take this", _SEARCHING),
    *_refused("parallel_tool_calls", _O3, "the o models do not take this", _PARALLEL),
    _unsaid(
        "verbosity",
        ("medium",),
        _PLAIN + _SEARCH + _O3,
        "medium is the only one",
        chat=_VERBOSE,
        type="text",
    ),
    *_refused("verbosity", _PLAIN + _SEARCH + _O3, "the model knows only 'medium'", _VERBOSITY),
    *_refused(
        "temperature top_p seed stop logprobs top_logprobs logit_bias parallel_tool_calls "
        "presence_penalty frequency_penalty",
        _SEARCH,
        "search models do not take this",
        _SEARCHING,
    ),
)
"""What OpenAI's own models refuse; stands before the rules that hold for all servers."""
