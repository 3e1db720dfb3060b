"""What OpenAI and the servers that speak its protocol do with each option, as data.

For one option and endpoint the first rule that holds counts, so the sections stand from the
particular to the general: names that cannot be given, what some of OpenAI's own models refuse
(`families`), what every server takes, what only one kind of server takes, and the rest.

Mellea's OpenAIBackend passes on only the names in the signature of the SDK's `create`, and
drops others silently. Parameters that an older SDK may lack therefore go through `extra_body`,
which ends up in the same JSON; so does all that only compatible servers know. Before Mellea
0.8 the raw endpoint cannot be given an `extra_body`: it is passed twice, a TypeError.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from mellea_api._contract.descriptor import Server
from mellea_api.plugin import MELLEA_RULES, OptionRule, effort, unsaid, with_logprobs
from mellea_api_openai import conversions
from mellea_api_openai.families import EFFORT, FAMILY_RULES, levels

__all__ = ["RULES"]

_CHAT: Final = "openai 3.54.0, types/chat/completion_create_params.py"
_RAW: Final = "openai 3.54.0, types/completion_create_params.py"
_MELLEA: Final = "mellea 0.3.0 to 0.8.0, backends/openai.py"
_VLLM: Final = "docs.vllm.ai, OpenAI-compatible server, 0.26"
_LLAMA: Final = "llama.cpp, tools/server/README.md"

# ---------------------------------------------------------------------------------- helpers


def _in_body(names: str, **facts: Any) -> tuple[OptionRule, ...]:
    """Return the rules of parameters that travel in `extra_body`, at both endpoints."""
    facts = {"key": "extra_body.{}", **facts}
    return (
        *OptionRule.sent(names, endpoint="chat", **facts),
        *OptionRule.sent(names, endpoint="completion", mellea="0.8", **facts),
    )


def _compatible(source: str, *, raw: bool = True, **names_by_type: str) -> Iterator[OptionRule]:
    """Yield the rules of parameters that only compatible servers have: their names by type."""
    for kind, names in names_by_type.items():
        facts: dict[str, Any] = {"type": kind, "server": "compatible", "source": source}
        if raw:
            yield from _in_body(names, **facts)
        else:
            yield from OptionRule.sent(names, endpoint="chat", key="extra_body.{}", **facts)
        why = "OpenAI's own servers have no such parameter"
        yield from OptionRule.refused(names, why, server="official", source=_CHAT)


# ------------------------------------------------------------------ names that cannot be given

_RESERVED: Final = {
    "model": "the session's model_id= says it; MelleaRuntime.switch_model changes it",
    "messages": "Mellea makes them of the context",
    "prompt": "Mellea makes it of the action",
    "response_format": "give a pydantic model as format= of the call",
    "stream_options": "Mellea asks for the usage itself when it streams",
    "timeout": "give timeout= of start_session: a deadline for the whole call",
}

# ----------------------------------------------------------------- the common options

_MOST_LOGPROBS: Final[Mapping[Server, int]] = {"official": 5, "compatible": 20}

_COMMON: Final = (
    *OptionRule.sent("temperature top_p presence_penalty frequency_penalty", source=_CHAT),
    OptionRule(
        name="max_tokens",
        chat=("@@@max_new_tokens@@@", "max_completion_tokens"),
        completion=("@@@max_new_tokens@@@", "max_tokens"),
        source=f"{_MELLEA}; the chat endpoint's max_tokens is deprecated ({_CHAT})",
    ),
    *OptionRule.sent("stop", max_items=4, server="official", source=_CHAT),
    *OptionRule.sent("stop", server="compatible", source=_CHAT),
    *OptionRule.sent("seed", maximum=2**63 - 1, source=f"{_CHAT}; a signed integer of 64 bits"),
    *OptionRule.refused(
        "context_window", "the model or its server fixes it, before any request", source=_CHAT
    ),
    *MELLEA_RULES,
    # Reasoning, where no family has said more.
    *levels(("*gpt-oss*",), "low", "medium", "high", server="compatible"),
    OptionRule(name="thinking", chat=EFFORT, convert=effort, server="official", source=_CHAT),
    OptionRule(
        name="thinking",
        chat=EFFORT,
        convert=conversions.effort_and_template,
        server="compatible",
        source="mellea 0.8.0, backends/openai.py, _map_thinking_option",
    ),
    *OptionRule.refused("thinking", "the raw endpoint has no setting for reasoning", source=_RAW),
    OptionRule(
        name="tool_choice",
        chat="tool_choice",
        convert=conversions.tool_by_name,
        source=_CHAT,
    ),
    *OptionRule.refused("tool_choice", "the raw endpoint calls no tools", source=_RAW),
    # Log probabilities: a bool and a number at the chat endpoint, one number at the raw one.
    OptionRule(name="logprobs", chat="logprobs", source=_CHAT),
    OptionRule(
        name="logprobs",
        completion="logprobs",
        convert=conversions.counted_logprobs,
        requires={"top_logprobs": (None,)},
        reason="the raw endpoint is told how many: the likeliest one",
        source=_RAW,
    ),
    OptionRule(
        name="logprobs",
        completion="logprobs",
        convert=unsaid,
        reason="the raw endpoint is told by top_logprobs",
        source=_RAW,
    ),
    OptionRule(
        name="top_logprobs",
        chat="top_logprobs",
        convert=with_logprobs,
        requires={"logprobs": (None, True)},
        reason="with logprobs, which it needs",
        source=_CHAT,
    ),
    *(
        OptionRule(
            name="top_logprobs",
            completion="logprobs",
            convert=conversions.counted_top_logprobs,
            requires={"logprobs": (None, True)},
            maximum=most,
            server=server,
            reason="the raw endpoint's logprobs is the number itself",
            source=_RAW,
        )
        for server, most in _MOST_LOGPROBS.items()
    ),
    *OptionRule.refused("top_logprobs", "logprobs=False asks for none", source=_CHAT),
    # Sampling that OpenAI itself does not offer.
    *_compatible(f"{_VLLM}; {_LLAMA}", integer="top_k", number="min_p"),
    *_in_body(
        "repetition_penalty",
        server="compatible",
        convert=conversions.both_repetition_penalties,
        reason="under both names that servers have for it",
        source=f"{_VLLM}; {_LLAMA}",
    ),
    *OptionRule.refused(
        "repetition_penalty",
        "OpenAI's own penalties mean something else",
        server="official",
        source=_CHAT,
    ),
)

# ------------------------------------------------------------ parameters of one endpoint or both

_CHAT_ONLY: Final = {
    "text": "prompt_cache_key prompt_cache_retention safety_identifier service_tier",
    "texts": "modalities",
    "boolean": "parallel_tool_calls store",
    "object": "audio metadata moderation prediction prompt_cache_options web_search_options",
}

_NATIVE: Final = (
    *OptionRule.sent("logit_bias", type="object", source=_CHAT),
    *OptionRule.sent("user", type="text", source=_CHAT),
    *(
        rule
        for kind, names in _CHAT_ONLY.items()
        for rule in OptionRule.sent(
            names, endpoint="chat", key="extra_body.{}", type=kind, source=_CHAT
        )
    ),
    *OptionRule.sent(
        "verbosity",
        endpoint="chat",
        key="extra_body.{}",
        type="text",
        choices=("low", "medium", "high"),
        source=_CHAT,
    ),
    *OptionRule.refused(
        "function_call",
        "OpenAI replaced it: Mellea sends tools, so give tool_choice",
        source=_CHAT,
    ),
    OptionRule(name="best_of", completion="best_of", type="integer", minimum=1, source=_RAW),
    OptionRule(name="echo", completion="echo", type="boolean", source=_RAW),
    OptionRule(name="suffix", completion="suffix", type="text", source=_RAW),
)

# ---------------------------------------------------------------- parameters of other servers

_SERVERS: Final = (
    *_compatible(
        _VLLM,
        integer="min_tokens prompt_logprobs truncate_prompt_tokens priority",
        number="length_penalty",
        boolean="ignore_eos skip_special_tokens include_stop_str_in_output use_beam_search "
        "add_special_tokens",
        text="guided_regex guided_grammar cache_salt",
        texts="bad_words guided_choice",
        object="structured_outputs vllm_xargs",
        any="stop_token_ids allowed_token_ids guided_json",
    ),
    *_compatible(
        _VLLM,
        raw=False,
        text="chat_template",
        boolean="add_generation_prompt continue_final_message",
        object="chat_template_kwargs mm_processor_kwargs",
    ),
    *_compatible(
        _LLAMA,
        integer="repeat_last_n mirostat",
        number="typical_p mirostat_tau mirostat_eta dynatemp_range dynatemp_exponent "
        "xtc_probability xtc_threshold dry_multiplier top_n_sigma",
        boolean="cache_prompt",
        text="grammar",
        any="json_schema samplers",
    ),
    *_compatible("docs.sglang.ai, sampling parameters", text="regex ebnf"),
)

# -------------------------------------------------------------------------------- all the rest

_REST: Final = (
    *OptionRule.sent(
        "extra_headers extra_query",
        wire="",
        type="object",
        convert=conversions.without_credentials,
        reason="not a part of the JSON",
        source=_CHAT,
    ),
    *_in_body(
        "extra_body",
        key="extra_body",
        wire="",
        type="object",
        convert=conversions.free_body,
        reason="merged into the JSON",
        source=_MELLEA,
    ),
    *_in_body("*", key="extra_body", wire="", source=_MELLEA),
    *OptionRule.refused(
        "*", "before Mellea 0.8 the raw endpoint takes no further names", source=_MELLEA
    ),
)

RULES: Final[tuple[OptionRule, ...]] = (
    *(
        OptionRule(name=name, reserved=True, reason=reason, source=_MELLEA)
        for name, reason in _RESERVED.items()
    ),
    *FAMILY_RULES,
    *_COMMON,
    *_NATIVE,
    *_SERVERS,
    *_REST,
)
"""What becomes of each option; for one option and endpoint the first that holds counts."""
