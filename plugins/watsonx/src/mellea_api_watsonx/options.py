"""What watsonx.ai does with each option, as data.

Its chat endpoint takes OpenAI's names at the top of the body, its text generation endpoint
names of its own inside `parameters`. Mellea's WatsonxAIBackend drops what is not in the SDK's
TextChatParameters without a word; this plugin's subclass of it (see `session`) does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mellea_api.plugin import MELLEA_RULES, Converted, OptionRule

_SDK: Final = "ibm-watsonx-ai 1.8.1, foundation_models/schema/_api.py"
_CHAT: Final = f"{_SDK}, TextChatParameters"
_RAW: Final = f"{_SDK}, TextGenParameters"
_CALL: Final = "ibm-watsonx-ai 1.8.1, foundation_models/inference/model_inference.py"
_RANGES: Final = "IBM/watsonx-ai-java-sdk, BaseChatParameters"
_RAW_RANGES: Final = "www.ibm.com/docs/en/watsonx/saas, model parameters for prompting"
_NODE: Final = "IBM/watsonx-ai-node-sdk 1.7, TextChatParams"
_MELLEA: Final = "mellea 0.3.0 to 0.8.0, backends/watsonx.py"
_GRANITE: Final = f"{_CHAT}, its example of chat_template_kwargs; vllm-project/vllm#14202"
_MODELS: Final = "www.ibm.com/docs/en/watsonx/saas, supported foundation models, November 2026"
_GPT_OSS: Final = f"{_CHAT}; BerriAI/litellm#16083"

EXTRA_PARAMETERS: Final = "extra_parameters"
"""The key under which names that are passed on unchecked travel through Mellea."""

# ------------------------------------------------------------------------------ conversions


def _template(value: bool | str) -> Converted:
    """Switch reasoning in the chat template, as Granite 3 has it."""
    on = value is not False and value != "none"
    return Converted(on, reason="the chat template switches it")


def _greedy(value: float) -> Converted:
    """Take the likeliest token, which the text generation endpoint has another name for."""
    return Converted("greedy", reason="a temperature of 0 is greedy decoding")


_SAMPLED: Final[Mapping[str, Any]] = {
    "convert": Converted.along({"decoding_method": "sample"}, "parameters.{}"),
    "reason": "with decoding_method='sample', without which it has no effect",
}
"""Of what the text generation endpoint ignores unless sampling is on."""


def _stop_left_out(value: list[str]) -> Converted:
    """Leave the stop sequence out of the answer, as every other backend does."""
    if not value:
        return Converted.nothing("an empty list: nothing is sent")
    return Converted(
        value,
        options={"include_stop_sequence": False},
        wires={"parameters.include_stop_sequence": False},
        reason="with include_stop_sequence=False, since it would be part of the answer",
    )


def _tool_by_name(value: Any) -> Converted:
    """Put a word into `tool_choice_option`, and a tool into `tool_choice`."""
    if isinstance(value, str):
        if value in ("auto", "none", "required"):
            return Converted(value)
        value = {"type": "function", "function": {"name": value}}
    chosen = {"tool_choice": value}
    return Converted.nothing(options=chosen, wires=chosen)


# ---------------------------------------------------------------------------------- helpers


def _chat(names: str, **facts: Any) -> tuple[OptionRule, ...]:
    """Return the rules of parameters of the chat endpoint."""
    return OptionRule.sent(names, endpoint="chat", **{"source": _CHAT, **facts})


def _raw(names: str, **facts: Any) -> tuple[OptionRule, ...]:
    """Return the rules of parameters of the text generation endpoint."""
    facts = {"wire": "parameters.{}", "source": _RAW, **facts}
    return OptionRule.sent(names, endpoint="completion", **facts)


# ------------------------------------------------------------------ names that cannot be given

_RESERVED: Final = {
    "model_id": "the session's model_id= says it; MelleaRuntime.switch_model changes it",
    "messages": "Mellea makes them of the context",
    "prompt": "Mellea makes it of the action",
    "input": "Mellea makes it of the action",
    "project_id": "give project_id= of start_session, or WATSONX_PROJECT_ID",
    "space_id": "the session works in a project: give project_id= of start_session",
    "response_format": "give a pydantic model as format= of the call",
    "params": "give the options themselves",
}

# ------------------------------------------------------------------------------------ reasoning

_OFF: Final = (False, "none")
_GRANITE_3: Final = ("*granite-3-2*", "*granite-3-3*", "*granite-3.2*", "*granite-3.3*")
# Of models that are named here alone: newer ones of these families reason (granite 4.2, Mistral
# Small 4).
_PLAIN: Final = (
    *("ibm/granite-4-micro*", "ibm/granite-4-h-*", "ibm/granite-4-0*", "ibm/granite-4-1*"),
    *("ibm/granite-3-2b*", "ibm/granite-3-8b*", "ibm/granite-13b*", "ibm/granite-8b*"),
    *("meta-llama/llama-2*", "meta-llama/llama-3*", "meta-llama/llama-4*"),
    *("meta-llama/llama-guard*", "google/flan*", "mistralai/mistral-small-3*"),
    *("mistralai/mistral-medium-2505", "mistralai/mistral-large*", "mistralai/mixtral*"),
)
_TEMPLATE: Final = "chat_template_kwargs.thinking"
_EFFORT: Final = "reasoning_effort"


def _thinking(models: tuple[str, ...] = (), **says: Any) -> OptionRule:
    return OptionRule(name="thinking", models=models, **{"source": _CHAT, **says})


_THINKING: Final = (
    _thinking(
        completion=(_TEMPLATE, f"parameters.{_TEMPLATE}"),
        convert=Converted.unsaid,
        requires={"thinking": _OFF},
        reason="text generation switches no reasoning on; nothing is sent",
        source=_RAW,
    ),
    _thinking(
        _PLAIN,
        chat=_TEMPLATE,
        convert=Converted.unsaid,
        requires={"thinking": _OFF},
        reason="the model does not reason; nothing is sent",
        source=_MODELS,
    ),
    _thinking(_PLAIN, reason="the model does not reason", source=_MODELS),
    _thinking(
        _GRANITE_3,
        chat=_TEMPLATE,
        convert=_template,
        requires={"thinking": (True, *_OFF)},
        source=_GRANITE,
    ),
    _thinking(
        _GRANITE_3,
        reason="at the chat endpoint this model takes thinking=True or False, and no levels",
        source=_GRANITE,
    ),
    *OptionRule.levels("low medium high", chat=_EFFORT, models="*gpt-oss*", source=_GPT_OSS),
    # Of models that nothing more is known about: the two settings that the endpoint has.
    _thinking(chat=_EFFORT, requires={"thinking": ("low", "medium", "high")}),
    _thinking(chat=_TEMPLATE, convert=_template, requires={"thinking": (True, *_OFF)}),
    _thinking(
        reason="the chat endpoint's levels are low, medium, high; text generation has no setting"
    ),
)

# ----------------------------------------------------------------------------- common options

_GREEDY: Final = "decoding_method='greedy' takes the likeliest token, whatever this is"


def _sampling(name: str, **facts: Any) -> tuple[OptionRule, ...]:
    """Return the rules of a setting that has an effect in sampling alone."""
    return (
        *_raw(
            name,
            convert=Converted.unsaid,
            requires={"temperature": (0,)},
            reason="a temperature of 0 takes the likeliest token anyway; nothing is sent",
            **facts,
        ),
        *OptionRule.refused(name, _GREEDY, requires={"decoding_method": ("greedy",)}, source=_RAW),
        *_raw(name, **_SAMPLED, **facts),
    )


_COMMON: Final = (
    *_chat("temperature", source=f"{_CHAT}; 0 to 2: {_RANGES}"),
    *_raw(
        "temperature=decoding_method",
        convert=_greedy,
        requires={"temperature": (0,)},
        source=_RAW_RANGES,
    ),
    *OptionRule.refused(
        "temperature", _GREEDY, requires={"decoding_method": ("greedy",)}, source=_RAW
    ),
    *_raw("temperature", **_SAMPLED, source=f"{_RAW}; 0 to 2: {_RAW_RANGES}"),
    *_chat(
        "max_tokens=max_completion_tokens",
        special=(0,),
        source=f"{_CHAT}; 0 is the model's own limit, and max_tokens is deprecated: {_NODE}",
    ),
    *_raw("max_tokens=max_new_tokens"),
    *_chat("top_p", source=f"{_CHAT}; {_RANGES}"),
    *_sampling("top_p"),
    *_chat("stop", max_items=4, source=f"{_CHAT}; at most 4: {_RANGES}"),
    *_raw(
        "stop=stop_sequences",
        convert=_stop_left_out,
        requires={"include_stop_sequence": (None,)},
        max_items=6,
        source=f"{_RAW}; at most 6: {_RAW_RANGES}",
    ),
    *_raw("stop=stop_sequences", max_items=6, source=f"{_RAW}; at most 6: {_RAW_RANGES}"),
    *_sampling("top_k", maximum=100, source=f"{_RAW}; 1 to 100: {_RAW_RANGES}"),
    *OptionRule.refused("top_k", "the chat endpoint has no such parameter", source=_CHAT),
    *OptionRule.refused("min_p", "watsonx.ai has no such parameter", source=_SDK),
    *_chat("seed logprobs"),
    *_raw("seed=random_seed", minimum=1, source=f"{_RAW}; at least 1: {_RAW_RANGES}"),
    *_chat("presence_penalty frequency_penalty", source=f"{_CHAT}; -2 to 2: {_RANGES}"),
    *OptionRule.refused(
        "presence_penalty frequency_penalty",
        "text generation has repetition_penalty alone, which is another thing: its neutral "
        "value is 1",
        source=_RAW,
    ),
    *_chat("repetition_penalty", minimum=1, maximum=2, source=f"{_CHAT}; 1 to 2: {_NODE}"),
    *_raw("repetition_penalty", minimum=1, maximum=2, source=f"{_RAW}; 1 to 2: {_RAW_RANGES}"),
    *OptionRule.refused("context_window", "the model fixes it, before any request", source=_SDK),
    *_THINKING,
    OptionRule(
        name="stream",
        chat=("@@@stream@@@", ""),
        reason="another address is called; the body is the same",
        source=_MELLEA,
    ),
    *MELLEA_RULES,
    *OptionRule.refused(
        "tool_choice",
        "it goes with tools alone: give tools too",
        requires={"tools": (None,)},
        source=_CALL,
    ),
    *_chat(
        "tool_choice=tool_choice_option",
        convert=_tool_by_name,
        reason="a tool by name goes to tool_choice, a word to tool_choice_option",
        source=_CALL,
    ),
    *OptionRule.refused("tool_choice", "the text generation endpoint calls no tools", source=_RAW),
    *_chat(
        "top_logprobs",
        convert=Converted.along({"logprobs": True}),
        requires={"logprobs": (None, True)},
        reason="with logprobs, which it needs",
        source=f"{_CHAT}; {_RANGES}",
    ),
    *OptionRule.refused(
        "top_logprobs",
        "logprobs=False asks for none",
        requires={"logprobs": (False,)},
        source=_SDK,
    ),
    *OptionRule.refused(
        "logprobs top_logprobs",
        "text generation has return_options={'token_logprobs': True, …}",
        source=_RAW,
    ),
)

# --------------------------------------------------------------- parameters of watsonx.ai alone

_NATIVE: Final = (
    *_chat("guided_choice", type="texts"),
    *_chat("guided_regex guided_grammar", type="text"),
    *_chat("logit_bias guided_json chat_template_kwargs crypto", type="object"),
    *_chat("include_reasoning", type="boolean"),
    *_chat("length_penalty", type="number"),
    *_raw("include_stop_sequence", type="boolean"),
    *_raw("length_penalty return_options prompt_variables", type="object"),
    OptionRule(
        name="time_limit",
        chat="time_limit",
        completion=("time_limit", "parameters.time_limit"),
        type="integer",
        minimum=1,
        source=f"{_CHAT}; {_RAW}; in milliseconds: {_RANGES}",
    ),
    *_raw("decoding_method", type="text", choices=("greedy", "sample")),
    *_raw("min_new_tokens truncate_input_tokens", type="integer", minimum=0),
    *OptionRule.refused("crypto", "Mellea passes it on to the chat endpoint alone", source=_CALL),
    *OptionRule.refused("context", "only a deployed prompt template has it", source=_CALL),
    *OptionRule.refused(
        "guardrails guardrails_hap_params guardrails_pii_params async_mode concurrency_limit "
        "guardrails_granite_guardian_params validate_prompt_variables",
        "Mellea's call of the SDK does not pass it on",
        source=_CALL,
    ),
    OptionRule(
        name="*",
        chat=(EXTRA_PARAMETERS, ""),
        completion=(EXTRA_PARAMETERS, "parameters"),
        source=_CALL,
    ),
)

RULES: Final[tuple[OptionRule, ...]] = (
    *(
        OptionRule(name=name, reserved=True, reason=reason, source=_CALL)
        for name, reason in _RESERVED.items()
    ),
    *_COMMON,
    *_NATIVE,
)
"""What becomes of each option; for one option and endpoint the first that holds counts."""
