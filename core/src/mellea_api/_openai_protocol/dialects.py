"""What servers of OpenAI's protocol do with each option, as data, by dialect.

- `openai`: OpenAI's own schema.
- `vllm`, `llama.cpp`: what these servers add to it.
- `strict`: what OpenAI's schema had in 2024, and nothing else. Servers refuse unknown names
  (Groq, Mistral) or ignore them, so that too little does less harm than too much.
- `any`: an unknown server. All that the caller asks for is sent.

For one option and endpoint the first rule that holds counts. A declaration's own rules come
before these.

Mellea's OpenAIBackend passes on only the names in the signature of the SDK's `create`, and drops
others silently. Parameters that an older SDK may lack therefore go through `extra_body`, which
ends up in the same JSON. Before Mellea 0.8 the raw endpoint cannot be given an `extra_body`: it
is passed twice, a TypeError.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from mellea_api._contract.option_rule import Converted, OptionRule
from mellea_api._openai_protocol import conversions
from mellea_api._options.shared_rules import MELLEA_RULES

DIALECTS: Final = ("openai", "vllm", "llama.cpp", "strict", "any")
"""The names that `server=` may have, beside `official` and `compatible`."""

_CHAT: Final = "openai 3.54.0, types/chat/completion_create_params.py"
_RAW: Final = "openai 3.54.0, types/completion_create_params.py"
_MELLEA: Final = "mellea 0.3.0 to 0.8.0, backends/openai.py"
_VLLM: Final = "docs.vllm.ai, OpenAI-compatible server, 0.26"
_LLAMA: Final = "llama.cpp, tools/server/README.md"
_SGLANG: Final = "docs.sglang.ai, sampling parameters"
_NOT_OPENAI: Final = "OpenAI's own servers have no such parameter"
_NOT_HERE: Final = "the server's dialect has no such parameter at this endpoint"
_LOCAL: Final = frozenset({"vllm", "llama.cpp", "any"})
_EFFORT: Final = ("@@@thinking@@@", "reasoning_effort")
_TEMPLATE: Final = "chat_template_kwargs.enable_thinking"
_LEVEL: Final = "chat_template_kwargs.reasoning_effort"


def _both(names: str, **facts: Any) -> tuple[OptionRule, ...]:
    return OptionRule.sent(names, **{"source": _CHAT, **facts})


def _body(names: str, *, raw: bool = True, **facts: Any) -> tuple[OptionRule, ...]:
    """Return the rules of parameters that travel in `extra_body`, if `raw` at both endpoints."""
    facts = {"key": "extra_body.{}", **facts}
    sent = OptionRule.sent(names, endpoint="chat", **facts)
    further = OptionRule.sent(names, endpoint="completion", mellea="0.8", **facts) if raw else ()
    return (*sent, *further)


def _only(
    servers: str, source: str, *, raw: bool = True, also: str = "", **names: str
) -> Iterable[OptionRule]:
    """Yield the rules of parameters, by type, that only some servers have.

    Args:
        servers: The dialects that have them.
        source: Where that was read.
        raw: Whether the raw endpoint has them too.
        also: Further dialects that have them, by rules of their own.
        names: The parameters, under their type.
    """
    for kind, parameters in names.items():
        for server in servers.split():
            yield from _body(parameters, raw=raw, type=kind, server=server, source=source)
        yield from OptionRule.refused(parameters, _NOT_OPENAI, server="openai", source=_CHAT)
        # Not for the servers that have it: there the reason is that Mellea is too old.
        lacking = ("strict", *sorted(_LOCAL - {*servers.split(), *also.split()}))
        for one in lacking if raw else (None,):
            yield from OptionRule.refused(parameters, _NOT_HERE, server=one, source=source)


def thinking(how: str, server: str | None = None, **facts: Any) -> tuple[OptionRule, ...]:
    """Return the rules of reasoning at the chat endpoint.

    Args:
        how: `effort` (`reasoning_effort`), `template` (the chat template's `enable_thinking`,
            which is on or off), `both`, or `no` for servers that have neither.
        server: The server on which that is so; None for all.
        **facts: All else that the rules say.
    """
    facts = {"name": "thinking", "server": server, "source": _CHAT, **facts}
    if how == "effort":
        return (OptionRule(chat=_EFFORT, convert=Converted.effort, **facts),)
    if how == "template":
        chat = (f"extra_body.{_TEMPLATE}", _TEMPLATE)
        switch = {**facts, "source": f"{_VLLM}; {_LLAMA}"}
        return (
            OptionRule(chat=chat, requires={"thinking": (True, False)}, **switch),
            OptionRule(
                reason="the server switches thinking on or off, and has no levels", **switch
            ),
        )
    if how == "both":
        source = "mellea 0.8.0, backends/openai.py, _map_thinking_option"
        convert = conversions.effort_and_template
        return (OptionRule(chat=_EFFORT, convert=convert, **{**facts, "source": source}),)
    return (OptionRule(reason=_NOT_HERE, **facts),)


_TOOLS_ALONE: Final = f"{_CHAT}; openai/swarm#30 and camel-ai/camel#3706 (tried)"
_RESERVED: Final = {
    "model": "the session's model_id= says it; MelleaRuntime.switch_model changes it",
    "messages": "Mellea makes them of the context",
    "prompt": "Mellea makes it of the action",
    "response_format": "give a pydantic model as format= of the call",
    "stream_options": "Mellea asks for the usage itself when it streams",
    "timeout": "give timeout= of start_session: a deadline for the whole call",
}
_MOST_LOGPROBS: Final[Mapping[str | None, int]] = {"openai": 5, None: 20}
_LIMIT: Final = "@@@max_new_tokens@@@"
_OLD_LIMIT: Final = ("extra_body.max_tokens", "max_tokens")
"""Mellea renames its own option to the newer name, so the older one goes another way."""

_COMMON: Final = (
    *(
        OptionRule(name=name, reserved=True, reason=reason, source=_MELLEA)
        for name, reason in _RESERVED.items()
    ),
    *_both("temperature top_p"),
    *(
        OptionRule(
            name="max_tokens",
            chat=(_LIMIT, "max_completion_tokens"),
            server=server,
            source=f"{_MELLEA}; the chat endpoint's max_tokens is deprecated ({_CHAT})",
        )
        for server in ("openai", "any")
    ),
    OptionRule(
        name="max_tokens",
        chat=_OLD_LIMIT,
        source="pi#8018, eca#231, khoj#1236: servers refuse or ignore the newer name",
    ),
    OptionRule(name="max_tokens", completion=(_LIMIT, "max_tokens"), source=_RAW),
    *_both("stop", max_items=4, server="openai"),
    *_both("stop"),
    *_both("seed", maximum=2**63 - 1, source=f"{_CHAT}; a signed integer of 64 bits"),
    *_both("presence_penalty frequency_penalty"),
    *OptionRule.refused(
        "context_window", "the model or its server fixes it, before any request", source=_CHAT
    ),
    *MELLEA_RULES,
    *OptionRule.levels("low medium high", models="*gpt-oss*", server="any", source=_CHAT),
    *OptionRule.levels(
        "low medium high",
        models="*gpt-oss*",
        server="vllm",
        source="vllm-project/vllm#24292",
    ),
    *OptionRule.levels(
        "low medium high",
        chat=(f"extra_body.{_LEVEL}", _LEVEL),
        models="*gpt-oss*",
        server="llama.cpp",
        source="ggml-org/llama.cpp#15130 and co-l/openfox#256 (tried)",
    ),
    *thinking("effort", "openai"),
    *thinking("both", "any"),
    *thinking("template", "vllm"),
    *thinking("template", "llama.cpp"),
    *thinking("no", "strict"),
    *OptionRule.refused("thinking", "the raw endpoint has no setting for reasoning", source=_RAW),
    *(
        OptionRule(
            name=name,
            reason="servers refuse it without tools: give tools too",
            requires={"tools": (None,)},
            source=_TOOLS_ALONE,
        )
        for name in ("tool_choice", "parallel_tool_calls")
    ),
    OptionRule(
        name="tool_choice", chat="tool_choice", convert=conversions.tool_by_name, source=_CHAT
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
        convert=Converted.unsaid,
        reason="the raw endpoint is told by top_logprobs",
        source=_RAW,
    ),
    OptionRule(
        name="top_logprobs",
        chat="top_logprobs",
        convert=Converted.along({"logprobs": True}),
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
    *_only("vllm llama.cpp any", f"{_VLLM}; {_LLAMA}", number="min_p"),
    *(
        rule
        for server, source in (
            ("vllm", f"{_VLLM}; 0 and -1 are off"),
            ("llama.cpp", f"{_LLAMA}; 0 or less is off"),
            ("any", f"{_VLLM}; {_LLAMA}; 0 and -1 are off"),
        )
        for rule in _body("top_k", server=server, special=(0, -1), source=source)
    ),
    *_only("any", f"{_VLLM}; {_LLAMA}", also="vllm llama.cpp", integer="top_k"),
    *_body("repetition_penalty", server="vllm", source=_VLLM),
    *_body("repetition_penalty=repeat_penalty", server="llama.cpp", source=_LLAMA),
    *_body(
        "repetition_penalty",
        server="any",
        convert=conversions.both_repetition_penalties,
        reason="under both names that servers have for it",
        source=f"{_VLLM}; {_LLAMA}",
    ),
    *OptionRule.refused(
        "repetition_penalty",
        "OpenAI's own penalties mean something else",
        server="openai",
        source=_CHAT,
    ),
    *OptionRule.refused("repetition_penalty", _NOT_HERE, server="strict", source=_CHAT),
    *_both("logit_bias", type="object"),
    *_both("user", type="text"),
    *_body("parallel_tool_calls", raw=False, type="boolean", source=_CHAT),
    OptionRule(name="best_of", completion="best_of", type="integer", minimum=1, source=_RAW),
    OptionRule(name="echo", completion="echo", type="boolean", source=_RAW),
    OptionRule(name="suffix", completion="suffix", type="text", source=_RAW),
)

_ADDED: Final = (
    *_only(
        "vllm any",
        _VLLM,
        integer="min_tokens prompt_logprobs truncate_prompt_tokens priority",
        number="length_penalty",
        boolean="ignore_eos skip_special_tokens include_stop_str_in_output use_beam_search "
        "add_special_tokens",
        text="cache_salt",
        texts="bad_words",
        object="structured_outputs vllm_xargs",
        any="stop_token_ids allowed_token_ids",
    ),
    # vLLM ignores these since 0.12 (vllm#53975).
    *_only(
        "any", _VLLM, text="guided_regex guided_grammar", texts="guided_choice", any="guided_json"
    ),
    *_only("vllm llama.cpp any", _VLLM, raw=False, object="chat_template_kwargs"),
    *_only(
        "vllm any",
        _VLLM,
        raw=False,
        text="chat_template",
        boolean="add_generation_prompt continue_final_message",
        object="mm_processor_kwargs",
    ),
    *_only(
        "llama.cpp any",
        _LLAMA,
        integer="repeat_last_n mirostat",
        number="typical_p mirostat_tau mirostat_eta dynatemp_range dynatemp_exponent "
        "xtc_probability xtc_threshold dry_multiplier top_n_sigma",
        boolean="cache_prompt",
        text="grammar",
        any="json_schema samplers",
    ),
    *_only("any", _SGLANG, text="regex ebnf"),
)

_REST: Final = (
    *OptionRule.sent(
        "extra_headers extra_query",
        wire="",
        type="object",
        convert=conversions.without_credentials,
        reason="not a part of the JSON",
        source=_CHAT,
    ),
    *_body(
        "extra_body",
        key="extra_body",
        wire="",
        type="object",
        convert=conversions.free_body,
        reason="merged into the JSON",
        source=_MELLEA,
    ),
    *_body("*", key="extra_body", wire="", source=_MELLEA),
    *OptionRule.refused(
        "*", "before Mellea 0.8 the raw endpoint takes no further names", source=_MELLEA
    ),
)

RULES: Final = (*_COMMON, *_ADDED, *_REST)
"""The rules of all dialects, from the particular to the general."""
