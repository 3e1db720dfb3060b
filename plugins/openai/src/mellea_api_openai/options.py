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
from mellea_api._options.mellea import ONE_ANSWER, RAW_STREAM, STREAM_TIMEOUT
from mellea_api.plugin import Native, OptionRule
from mellea_api_openai.families import EFFORT, FAMILY_RULES, convert, levels

__all__ = ["RULES"]

_CHAT: Final = "openai 3.54.0, types/chat/completion_create_params.py"
_RAW: Final = "openai 3.54.0, types/completion_create_params.py"
_MELLEA: Final = "mellea 0.3.0 to 0.8.0, backends/openai.py"
_VLLM: Final = "docs.vllm.ai, OpenAI-compatible server, 0.26"
_LLAMA: Final = "llama.cpp, tools/server/README.md"

# ---------------------------------------------------------------------------------- helpers


def _both(name: str, **rest: Any) -> OptionRule:
    """A parameter that both endpoints have under its own name."""
    return OptionRule(name=name, chat=name, completion=name, **{"source": _CHAT, **rest})


def _reserved(name: str, reason: str) -> OptionRule:
    return OptionRule(name=name, reserved=True, reason=reason, source=_MELLEA)


def _refused(name: str, reason: str, source: str = _CHAT, **rest: Any) -> OptionRule:
    return OptionRule(name=name, reason=reason, source=source, **rest)


def _body(name: str, *, raw: bool = True, **rest: Any) -> Iterator[OptionRule]:
    """A parameter that travels in `extra_body`; `raw` if the raw endpoint has it too."""
    native = Native(key=f"extra_body.{name}", wire=name)
    yield OptionRule(name=name, chat=native, **rest)
    if raw:
        yield OptionRule(name=name, completion=native, mellea="0.8", **rest)


def _chat_only(**names_by_type: str) -> Iterator[OptionRule]:
    """Parameters of OpenAI's chat endpoint: their names, under their type."""
    for kind, names in names_by_type.items():
        for name in names.split():
            yield from _body(name, raw=False, type=kind, source=_CHAT)


def _compatible(source: str, *, raw: bool = True, **names_by_type: str) -> Iterator[OptionRule]:
    """Parameters that only compatible servers have: their names, under their type."""
    for kind, names in names_by_type.items():
        for name in names.split():
            yield from _body(name, raw=raw, type=kind, server="compatible", source=source)
            yield _refused(name, "OpenAI's own servers have no such parameter", server="official")


# ------------------------------------------------------------------ names that cannot be given

_RESERVED: Final = (
    _reserved("model", "the session's model_id= says it; MelleaRuntime.switch_model changes it"),
    _reserved("messages", "Mellea makes them of the context"),
    _reserved("prompt", "Mellea makes it of the action"),
    _reserved("response_format", "give a pydantic model as format= of the call"),
    _reserved("stream_options", "Mellea asks for the usage itself when it streams"),
    _reserved("timeout", "give timeout= of start_session: a deadline for the whole call"),
)

# ----------------------------------------------------------------- the common options

_MOST_LOGPROBS: Final[Mapping[Server, int]] = {"official": 5, "compatible": 20}

_COMMON: Final = (
    _both("temperature"),
    OptionRule(
        name="max_tokens",
        chat=Native(key="@@@max_new_tokens@@@", wire="max_completion_tokens"),
        completion=Native(key="@@@max_new_tokens@@@", wire="max_tokens"),
        source=f"{_MELLEA}; the chat endpoint's max_tokens is deprecated ({_CHAT})",
    ),
    _both("top_p"),
    _both("stop", max_items=4, server="official"),
    _both("stop", server="compatible"),
    _both("seed", maximum=2**63 - 1, source=f"{_CHAT}; a signed integer of 64 bits"),
    _both("presence_penalty"),
    _both("frequency_penalty"),
    OptionRule(
        name="system_prompt",
        chat=Native(key="@@@system_prompt@@@", wire="messages"),
        convert="system_message",
        source=_MELLEA,
    ),
    _refused("system_prompt", "the raw endpoint has no messages", _RAW),
    _refused("context_window", "the model or its server fixes it, before any request"),
    # Streaming: Mellea awaits one whole `Completion` from the raw endpoint.
    OptionRule(name="stream", chat=Native(key="@@@stream@@@", wire="stream"), source=_MELLEA),
    *RAW_STREAM,
    *STREAM_TIMEOUT,
    # Reasoning, where no family has said more.
    *levels(("*gpt-oss*",), "low", "medium", "high", server="compatible"),
    OptionRule(name="thinking", chat=EFFORT, convert="effort", server="official", source=_CHAT),
    OptionRule(
        name="thinking",
        chat=EFFORT,
        convert=convert("effort_and_template"),
        server="compatible",
        source="mellea 0.8.0, backends/openai.py, _map_thinking_option",
    ),
    _refused("thinking", "the raw endpoint has no setting for reasoning", _RAW),
    # Tools: the raw endpoint has none.
    OptionRule(
        name="tools",
        chat=Native(key="@@@tools@@@", wire="tools"),
        convert="tools_as_json",
        source=_MELLEA,
    ),
    OptionRule(
        name="tool_choice", chat="tool_choice", convert=convert("tool_by_name"), source=_CHAT
    ),
    _refused("tools", "the raw endpoint calls no tools", _RAW),
    _refused("tool_choice", "the raw endpoint calls no tools", _RAW),
    # Log probabilities: a bool and a number at the chat endpoint, one number at the raw one.
    OptionRule(name="logprobs", chat="logprobs", source=_CHAT),
    OptionRule(
        name="logprobs",
        completion="logprobs",
        convert=convert("counted_logprobs"),
        requires={"top_logprobs": (None,)},
        reason="the raw endpoint is told how many: the likeliest one",
        source=_RAW,
    ),
    OptionRule(
        name="logprobs",
        completion="logprobs",
        convert="unsaid",
        reason="the raw endpoint is told by top_logprobs",
        source=_RAW,
    ),
    OptionRule(
        name="top_logprobs",
        chat="top_logprobs",
        convert="with_logprobs",
        requires={"logprobs": (None, True)},
        reason="with logprobs, which it needs",
        source=_CHAT,
    ),
    *(
        OptionRule(
            name="top_logprobs",
            completion="logprobs",
            convert=convert("counted_top_logprobs"),
            requires={"logprobs": (None, True)},
            maximum=most,
            server=server,
            reason="the raw endpoint's logprobs is the number itself",
            source=_RAW,
        )
        for server, most in _MOST_LOGPROBS.items()
    ),
    _refused("top_logprobs", "logprobs=False asks for none"),
    # Sampling that OpenAI itself does not offer.
    *_compatible(f"{_VLLM}; {_LLAMA}", integer="top_k", number="min_p"),
    *_body(
        "repetition_penalty",
        server="compatible",
        convert=convert("both_repetition_penalties"),
        reason="under both names that servers have for it",
        source=f"{_VLLM}; {_LLAMA}",
    ),
    _refused("repetition_penalty", "OpenAI's own penalties mean something else", server="official"),
    ONE_ANSWER,
)

# ------------------------------------------------------------ parameters of one endpoint or both

_NATIVE: Final = (
    _both("logit_bias", type="object"),
    _both("user", type="text"),
    *_chat_only(
        text="prompt_cache_key prompt_cache_retention safety_identifier service_tier",
        texts="modalities",
        boolean="parallel_tool_calls store",
        object="audio metadata moderation prediction prompt_cache_options web_search_options",
    ),
    *_body("verbosity", raw=False, type="text", choices=("low", "medium", "high"), source=_CHAT),
    _refused("function_call", "OpenAI replaced it: Mellea sends tools, so give tool_choice"),
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

_BODY: Final = Native(key="extra_body", wire="")
_BODIES: Final[Any] = ({"chat": _BODY}, {"completion": _BODY, "mellea": "0.8"})

_REST: Final = (
    *(
        OptionRule(
            name=name,
            chat=Native(key=name, wire=""),
            completion=Native(key=name, wire=""),
            type="object",
            convert=convert("without_credentials"),
            reason="not a part of the JSON",
            source=_CHAT,
        )
        for name in ("extra_headers", "extra_query")
    ),
    *(
        OptionRule(
            name="extra_body",
            type="object",
            convert=convert("free_body"),
            reason="merged into the JSON",
            source=_MELLEA,
            **where,
        )
        for where in _BODIES
    ),
    *(OptionRule(name="*", source=_MELLEA, **where) for where in _BODIES),
    _refused("*", "before Mellea 0.8 the raw endpoint takes no further names", _MELLEA),
)

RULES: Final[tuple[OptionRule, ...]] = (
    *_RESERVED,
    *FAMILY_RULES,
    *_COMMON,
    *_NATIVE,
    *_SERVERS,
    *_REST,
)
"""What becomes of each option; for one option and endpoint the first that holds counts."""
