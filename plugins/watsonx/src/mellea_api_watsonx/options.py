"""What watsonx.ai does with each option, as data.

Its chat endpoint takes OpenAI's names at the top of the body, its text generation endpoint
names of its own inside `parameters`. Mellea's WatsonxAIBackend drops what is not in the SDK's
TextChatParameters without a word; this plugin's subclass of it (see `sdk`) does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from mellea_api._options.mellea import ONE_ANSWER, RAW_STREAM, STREAM_TIMEOUT
from mellea_api.plugin import Native, OptionRule

__all__ = ["EXTRA_PARAMETERS", "RULES"]

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

# ---------------------------------------------------------------------------------- helpers


def _convert(name: str) -> str:
    return f"mellea_api_watsonx.conversions:{name}"


def _inside(name: str) -> Native:
    """Return the place of a parameter of the text generation endpoint."""
    return Native(key=name, wire=f"parameters.{name}")


def _chat(name: str, **rest: Any) -> OptionRule:
    """A parameter of the chat endpoint under its own name."""
    return OptionRule(name=name, chat=name, **{"source": _CHAT, **rest})


def _raw(name: str, native: str = "", **rest: Any) -> OptionRule:
    """A parameter of the text generation endpoint."""
    return OptionRule(name=name, completion=_inside(native or name), **{"source": _RAW, **rest})


def _refused(name: str, reason: str, source: str = _SDK, **rest: Any) -> OptionRule:
    return OptionRule(name=name, reason=reason, source=source, **rest)


def _reserved(name: str, reason: str, source: str = _MELLEA) -> OptionRule:
    return OptionRule(name=name, reserved=True, reason=reason, source=source)


def _typed(make: Any, **names_by_type: str) -> Iterator[OptionRule]:
    """Yield parameters that are passed on: their names, under their type."""
    for kind, names in names_by_type.items():
        for name in names.split():
            yield make(name, type=kind)


# ------------------------------------------------------------------ names that cannot be given

_RESERVED: Final = (
    _reserved("model_id", "the session's model_id= says it; MelleaRuntime.switch_model changes it"),
    _reserved("messages", "Mellea makes them of the context"),
    _reserved("prompt", "Mellea makes it of the action"),
    _reserved("input", "Mellea makes it of the action"),
    _reserved("project_id", "give project_id= of start_session, or WATSONX_PROJECT_ID"),
    _reserved("space_id", "the session works in a project: give project_id= of start_session"),
    _reserved("response_format", "give a pydantic model as format= of the call"),
    _reserved("params", "give the options themselves", _CALL),
)

# ------------------------------------------------------------------------------------ reasoning

_OFF: Final = (False, "none")
_LEVELS: Final = ("low", "medium", "high")
_GRANITE_3: Final = ("*granite-3-2*", "*granite-3-3*", "*granite-3.2*", "*granite-3.3*")
_PLAIN: Final = (
    *("ibm/granite-4*", "ibm/granite-3-2b*", "ibm/granite-3-8b*", "ibm/granite-13b*"),
    *("ibm/granite-8b*", "meta-llama/*", "google/flan*"),
    *("mistralai/mistral-*", "mistralai/mixtral*"),
)
_GPT: Final = ("*gpt-oss*",)
_TEMPLATE: Final = "chat_template_kwargs.thinking"
_EFFORT: Final = "reasoning_effort"


def _thinking(models: tuple[str, ...] = (), **says: Any) -> OptionRule:
    return OptionRule(name="thinking", models=models, **{"source": _CHAT, **says})


_THINKING: Final = (
    _thinking(
        completion=_inside(_TEMPLATE),
        convert="unsaid",
        requires={"thinking": _OFF},
        reason="text generation switches no reasoning on; nothing is sent",
        source=_RAW,
    ),
    _thinking(
        _PLAIN,
        chat=_TEMPLATE,
        convert="unsaid",
        requires={"thinking": _OFF},
        reason="the model does not reason; nothing is sent",
        source=_MODELS,
    ),
    _thinking(_PLAIN, reason="the model does not reason", source=_MODELS),
    _thinking(
        _GRANITE_3,
        chat=_TEMPLATE,
        convert=_convert("template"),
        requires={"thinking": (True, *_OFF)},
        source=_GRANITE,
    ),
    _thinking(
        _GRANITE_3,
        reason="at the chat endpoint this model takes thinking=True or False, and no levels",
        source=_GRANITE,
    ),
    _thinking(
        _GPT,
        chat=_EFFORT,
        convert="effort",
        requires={"thinking": (True, *_LEVELS)},
        source=_GPT_OSS,
    ),
    _thinking(
        _GPT,
        requires={"thinking": _OFF},
        reason="the model always reasons; thinking='low' is the least it can do",
        source=_GPT_OSS,
    ),
    _thinking(
        _GPT,
        reason="at the chat endpoint this model's levels are low, medium, high",
        source=_GPT_OSS,
    ),
    # Of models that nothing more is known about: the two settings that the endpoint has.
    _thinking(chat=_EFFORT, convert="effort", requires={"thinking": _LEVELS}),
    _thinking(chat=_TEMPLATE, convert=_convert("template"), requires={"thinking": (True, *_OFF)}),
    _thinking(
        reason="the chat endpoint's levels are low, medium, high; text generation has no setting"
    ),
)

# ----------------------------------------------------------------------------- common options

_GREEDY: Final = "decoding_method='greedy' takes the likeliest token, whatever this is"


def _sampling(name: str, native: str = "", **rest: Any) -> Iterator[OptionRule]:
    """Yield the rules of a setting that has an effect in sampling alone."""
    yield _raw(
        name,
        convert="unsaid",
        requires={"temperature": (0,)},
        reason="a temperature of 0 takes the likeliest token anyway; nothing is sent",
        **rest,
    )
    yield _refused(name, _GREEDY, requires={"decoding_method": ("greedy",)}, source=_RAW)
    yield _raw(name, native, convert=_convert("sampled"), **rest)


_COMMON: Final = (
    _chat("temperature", source=f"{_CHAT}; 0 to 2: {_RANGES}"),
    _raw(
        "temperature",
        "decoding_method",
        convert=_convert("greedy"),
        requires={"temperature": (0,)},
        source=_RAW_RANGES,
    ),
    _refused("temperature", _GREEDY, requires={"decoding_method": ("greedy",)}, source=_RAW),
    _raw("temperature", convert=_convert("sampled"), source=f"{_RAW}; 0 to 2: {_RAW_RANGES}"),
    OptionRule(
        name="max_tokens",
        chat="max_completion_tokens",
        special=(0,),
        source=f"{_CHAT}; 0 is the model's own limit, and max_tokens is deprecated: {_NODE}",
    ),
    _raw("max_tokens", "max_new_tokens"),
    _chat("top_p", source=f"{_CHAT}; {_RANGES}"),
    *_sampling("top_p"),
    _chat("stop", max_items=4, source=f"{_CHAT}; at most 4: {_RANGES}"),
    _raw(
        "stop",
        "stop_sequences",
        convert=_convert("stop_left_out"),
        requires={"include_stop_sequence": (None,)},
        max_items=6,
        source=f"{_RAW}; at most 6: {_RAW_RANGES}",
    ),
    _raw("stop", "stop_sequences", max_items=6, source=f"{_RAW}; at most 6: {_RAW_RANGES}"),
    *_sampling("top_k", maximum=100, source=f"{_RAW}; 1 to 100: {_RAW_RANGES}"),
    _refused("top_k", "the chat endpoint has no such parameter", _CHAT),
    _refused("min_p", "watsonx.ai has no such parameter"),
    _chat("seed"),
    _raw("seed", "random_seed", minimum=1, source=f"{_RAW}; at least 1: {_RAW_RANGES}"),
    _chat("presence_penalty", source=f"{_CHAT}; -2 to 2: {_RANGES}"),
    _chat("frequency_penalty", source=f"{_CHAT}; -2 to 2: {_RANGES}"),
    *(
        _refused(
            name,
            "text generation has repetition_penalty alone, which is another thing: its neutral "
            "value is 1",
            _RAW,
        )
        for name in ("presence_penalty", "frequency_penalty")
    ),
    _chat("repetition_penalty", minimum=1, maximum=2, source=f"{_CHAT}; 1 to 2: {_NODE}"),
    _raw("repetition_penalty", minimum=1, maximum=2, source=f"{_RAW}; 1 to 2: {_RAW_RANGES}"),
    OptionRule(
        name="system_prompt",
        chat=Native(key="@@@system_prompt@@@", wire="messages"),
        convert="system_message",
        source=_MELLEA,
    ),
    _refused("system_prompt", "the text generation endpoint has no messages", _RAW),
    _refused("context_window", "the model fixes it, before any request"),
    *_THINKING,
    OptionRule(
        name="stream",
        chat=Native(key="@@@stream@@@", wire=""),
        reason="another address is called; the body is the same",
        source=_MELLEA,
    ),
    *RAW_STREAM,
    *STREAM_TIMEOUT,
    OptionRule(
        name="tools",
        chat=Native(key="@@@tools@@@", wire="tools"),
        convert="tools_as_json",
        source=_MELLEA,
    ),
    OptionRule(
        name="tool_choice",
        chat="tool_choice_option",
        convert=_convert("tool_by_name"),
        reason="a tool by name goes to tool_choice, a word to tool_choice_option",
        source=_CALL,
    ),
    _refused("tools", "the text generation endpoint calls no tools", _RAW),
    _refused("tool_choice", "the text generation endpoint calls no tools", _RAW),
    _chat("logprobs"),
    _chat(
        "top_logprobs",
        convert="with_logprobs",
        requires={"logprobs": (None, True)},
        reason="with logprobs, which it needs",
        source=f"{_CHAT}; {_RANGES}",
    ),
    _refused("top_logprobs", "logprobs=False asks for none", requires={"logprobs": (False,)}),
    *(
        _refused(name, "text generation has return_options={'token_logprobs': True, …}", _RAW)
        for name in ("logprobs", "top_logprobs")
    ),
    ONE_ANSWER,
)

# --------------------------------------------------------------- parameters of watsonx.ai alone

_NATIVE: Final = (
    *_typed(
        _chat,
        texts="guided_choice",
        text="guided_regex guided_grammar",
        object="logit_bias guided_json chat_template_kwargs crypto",
        boolean="include_reasoning",
        number="length_penalty",
    ),
    *_typed(
        _raw,
        boolean="include_stop_sequence",
        object="length_penalty return_options prompt_variables",
    ),
    OptionRule(
        name="time_limit",
        chat="time_limit",
        completion=_inside("time_limit"),
        type="integer",
        minimum=1,
        source=f"{_CHAT}; {_RAW}; in milliseconds: {_RANGES}",
    ),
    _raw("decoding_method", type="text", choices=("greedy", "sample")),
    _raw("min_new_tokens", type="integer", minimum=0),
    _raw("truncate_input_tokens", type="integer", minimum=0),
    _refused("crypto", "Mellea passes it on to the chat endpoint alone", _CALL),
    _refused("context", "only a deployed prompt template has it", _CALL),
    *(
        _refused(name, "Mellea's call of the SDK does not pass it on", _CALL)
        for name in (
            *("guardrails", "guardrails_hap_params", "guardrails_pii_params"),
            *("guardrails_granite_guardian_params", "concurrency_limit", "async_mode"),
            "validate_prompt_variables",
        )
    ),
    OptionRule(
        name="*",
        chat=Native(key=EXTRA_PARAMETERS, wire=""),
        completion=Native(key=EXTRA_PARAMETERS, wire="parameters"),
        source=_CALL,
    ),
)

RULES: Final[tuple[OptionRule, ...]] = (*_RESERVED, *_COMMON, *_NATIVE)
"""What becomes of each option; for one option and endpoint the first that holds counts."""
