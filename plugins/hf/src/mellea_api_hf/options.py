"""What transformers does with each option: rules as data, and what rules cannot say.

An option ends in one of two places: an argument of `generate()`, or a variable of the chat
template. Mellea's own way there differs from line to line (0.3 to 0.6 give every plain name to
both, 0.8 drops what it does not know); `generation` replaces it, so that what these rules name
is what `generate()` gets.

`generate()` looks at a temperature, and at all else that shapes sampling, only where sampling is
on; many models' own configurations leave it off. So each of these options also sends `do_sample`.
"""

from __future__ import annotations

from typing import Any, Final

from mellea_api.plugin import MELLEA_RULES, Converted, OptionRule

TEMPLATE: Final = "chat_template_kwargs"
"""The key under which the chat template's variables travel."""

SAMPLING: Final = (
    *("temperature", "top_p", "top_k", "min_p", "typical_p", "top_h"),
    *("epsilon_cutoff", "eta_cutoff"),
)
"""The options that have an effect only where sampling is on."""

_GENERATE: Final = "transformers 4.57.6 and 5.17.0, generation/configuration_utils.py"
_ARGUMENTS: Final = "transformers 4.57.6 and 5.17.0, GenerationMixin.generate"
_TEMPLATE: Final = "transformers 4.57.6 and 5.17.0, apply_chat_template"
_MELLEA: Final = "mellea 0.3.0 to 0.8.0, backends/huggingface.py"
_GREEDY: Final = "temperature=0 takes the likeliest token anyway; nothing is sent"


def greedy(value: float) -> Converted:
    """Switch sampling off, which is what a temperature of 0 means."""
    return Converted(False)


def switch(value: bool | str) -> Converted:
    """Show the switch of a chat template, which is on or off, also where a level is given."""
    return Converted(value, value not in (False, "none"))


# ---------------------------------------------------------------------------------- helpers


def _arguments(names: str, **facts: Any) -> tuple[OptionRule, ...]:
    """Return the rules of arguments of `generate()`, the same at both endpoints."""
    return OptionRule.sent(names, **{"source": _GENERATE, **facts})


def _refused(names: str, reason: str, source: str = _GENERATE) -> tuple[OptionRule, ...]:
    return OptionRule.refused(names, reason, source=source)


def _sampling(names: str, also: str = "", **facts: Any) -> tuple[OptionRule, ...]:
    """Return the rules of options that act only where sampling is on."""
    unsaid = {"convert": Converted.unsaid, "requires": {"temperature": (0,)}, "reason": _GREEDY}
    reason = f"{also}with do_sample=True, without which it has no effect"
    return (
        *_arguments(names, **unsaid, **facts),
        *_arguments(names, convert=Converted.along({"do_sample": True}), reason=reason, **facts),
    )


# ------------------------------------------------------------------ names that cannot be given

_RESERVED: Final = {
    "the session's model_id= says it; MelleaRuntime.switch_model changes it": "model",
    "Mellea makes them of the context": "messages",
    "Mellea makes them of the prompt": "inputs input_ids",
    "it follows from the prompt": "attention_mask",
    "it is that of the model": "tokenizer",
    "give each option by its own name": "generation_config",
    "Mellea sets it where a call has a format=; give that a pydantic model": "logits_processor",
    "give stop, or max_time": "stopping_criteria",
    "give a pydantic model as format= of the call": "prefix_allowed_tokens_fn",
    "give stream=True": "streamer",
    "options hold no models": "assistant_model",
    "it is for training over several processes": "synced_gpus",
    "it would run code from the Hub": "custom_generate",
    "options hold no tensors": "negative_prompt_ids negative_prompt_attention_mask",
    "the model's own defaults are always used where an option is not given": "use_model_defaults",
    "Mellea reads the answer as a dict": "return_dict_in_generate",
    "Mellea does not return them": "output_attentions output_hidden_states",
    "give Mellea's ModelOption.LOGITS": "output_scores",
    "give Mellea's ModelOption.RAW_LOGITS": "output_logits",
    "Mellea always asks for the answer's turn": "add_generation_prompt",
    "it is what is installed": "transformers_version",
}
"""Names by the reason why they cannot be given."""


# ----------------------------------------------------------------------- the common options

_COMMON: Final = (
    *_arguments(
        "temperature=do_sample",
        convert=greedy,
        requires={"temperature": (0,)},
        reason="always the likeliest token",
    ),
    *_sampling("temperature"),
    *OptionRule.sent(
        "max_tokens", key="@@@max_new_tokens@@@", wire="max_new_tokens", source=_MELLEA
    ),
    *_sampling("top_p min_p"),
    *OptionRule.sent(
        "stop",
        key="@@@stop_sequences@@@",
        wire="stop_strings",
        reason="looked for in the answer alone, and no part of it",
        source=_MELLEA,
    ),
    *_sampling("top_k", special=(0,)),  # 0: all tokens
    # What Mellea calls `set_seed` with goes to numpy too, which holds 32 bits.
    *OptionRule.sent("seed", key="@@@seed@@@", maximum=2**32 - 1, source=_MELLEA),
    *_refused(
        "presence_penalty frequency_penalty",
        "transformers has none; repetition_penalty is another thing",
    ),
    *_arguments("repetition_penalty"),
    *_refused("context_window", "the model's configuration fixes it"),
    OptionRule(
        name="thinking",
        chat=("@@@thinking@@@", f"{TEMPLATE}.enable_thinking"),
        convert=switch,
        reason="a variable of the model's chat template, whichever of its names that has; a level "
        "goes to its reasoning_effort too, if it has that",
        source="mellea 0.8.0, backends/huggingface.py, _filter_for_chat_template",
    ),
    *_refused("thinking", "the raw endpoint has no chat template", _MELLEA),
    OptionRule(
        name="stream",
        chat=("@@@stream@@@", ""),
        reason="the text is handed on as it is generated",
        source=_MELLEA,
    ),
    *MELLEA_RULES,
    *_refused("tool_choice", "the model decides whether it calls a tool", _TEMPLATE),
    *_refused(
        "logprobs top_logprobs",
        "Mellea does not return them; ModelOption.LOGITS gives the scores",
        _MELLEA,
    ),
    *OptionRule.sent(
        "@@@logits@@@ @@@raw_logits@@@",
        wire="",
        mellea="0.7",
        type="boolean",
        source="mellea 0.7.0",
    ),
    *_refused(
        "@@@logits@@@ @@@raw_logits@@@", "Mellea 0.7 or newer returns scores", "mellea 0.7.0"
    ),
)


# ------------------------------------------------------------- further arguments of generate()

_NEWER: Final = "transformers 5 has it, and an older one refuses it"

_UNSUPPORTED: Final = {
    "it counts the prompt too; give max_tokens": "max_length",
    "it counts the prompt too; give min_new_tokens": "min_length",
    "it changes the prompt, and Mellea would cut the answer at the wrong place": "token_healing",
    "it is an object that options cannot hold": "watermarking_config compile_config "
    "continuous_batching_config",
    "Mellea does not return the cache": "return_legacy_cache",
    "it is for encoder-decoder models": "decoder_start_token_id",
    "it needs an assistant model, which options cannot hold": "is_assistant use_mtp "
    "speculation_type num_assistant_tokens num_assistant_tokens_schedule "
    "assistant_confidence_threshold assistant_early_exit assistant_ensemble_weight "
    "assistant_lookbehind target_lookbehind",
    "transformers 5 no longer has it, and 4.57 loads code from the Hub for it": "penalty_alpha "
    "dola_layers low_memory num_beam_groups diversity_penalty constraints force_words_ids",
}
"""Arguments by the reason why they are not supported."""

_NATIVE: Final = (
    *_arguments(
        "do_sample",
        type="boolean",
        choices=(False,),
        requires={"temperature": (0,)},
        reason="temperature=0 says so too",
    ),
    # By itself, it is the user's to say.
    *_arguments("do_sample", type="boolean", requires=dict.fromkeys(SAMPLING, (None,))),
    *_arguments(
        "do_sample",
        type="boolean",
        choices=(True,),
        reason="an option that shapes sampling says so too",
    ),
    *_sampling("typical_p", type="number", minimum=0, maximum=1, exclusive_minimum=True),
    *(
        rule
        for name in ("epsilon_cutoff", "eta_cutoff")
        for rule in _arguments(
            name,
            convert=Converted.unsaid,
            type="number",
            requires={name: (0, 1)},
            reason="0 and 1 cut nothing off; nothing is sent",
        )
    ),
    *_sampling("epsilon_cutoff eta_cutoff", type="number", minimum=0, maximum=1),
    *_sampling("top_h", f"{_NEWER}; ", type="number", minimum=0, maximum=1, exclusive_minimum=True),
    *_arguments("num_beams", type="integer", minimum=1, requires={"stream": (None, False)}),
    *_arguments(
        "num_beams",
        type="integer",
        choices=(1,),
        reason="transformers cannot stream a search over beams",
    ),
    *_arguments("num_return_sequences", type="integer", choices=(1,)),
    *_arguments(
        "min_new_tokens no_repeat_ngram_size encoder_no_repeat_ngram_size",
        type="integer",
        minimum=0,
    ),
    *_arguments(
        "prompt_lookup_num_tokens max_matching_ngram_size prefill_chunk_size",
        type="integer",
        minimum=1,
    ),
    *_arguments("encoder_repetition_penalty", type="number", minimum=0, exclusive_minimum=True),
    *OptionRule.refused(
        "length_penalty early_stopping",
        "it counts only in a search over beams: give num_beams",
        requires={"num_beams": (None, 1)},
        source=_GENERATE,
    ),
    *_arguments("length_penalty", type="number"),
    *_arguments("guidance_scale", type="number", minimum=1),
    *_arguments("max_time", type="seconds"),
    *_arguments("early_stopping", choices=(True, False, "never")),
    *_arguments(
        "use_cache renormalize_logits remove_invalid_values disable_compile", type="boolean"
    ),
    *_arguments("cache_implementation", type="text"),
    *_arguments("cache_config", type="object"),
    *_arguments("max_cache_len", type="integer", minimum=1, reason=_NEWER),
    *_arguments(
        "bad_words_ids begin_suppress_tokens bos_token_id eos_token_id "
        "exponential_decay_length_penalty forced_bos_token_id forced_eos_token_id pad_token_id "
        "sequence_bias suppress_tokens"
    ),
    # Variables of the chat template.
    OptionRule(
        name="guardian_config",
        chat=f"{TEMPLATE}.guardian_config",
        type="object",
        source=_TEMPLATE,
    ),
    OptionRule(name="documents", chat=f"{TEMPLATE}.documents", source=_TEMPLATE),
    OptionRule(name=TEMPLATE, chat=TEMPLATE, type="object", source=_TEMPLATE),
    *_refused(
        f"guardian_config documents {TEMPLATE}",
        "the raw endpoint has no chat template",
        _TEMPLATE,
    ),
)

RULES: Final[tuple[OptionRule, ...]] = (
    *(
        rule
        for reason, names in _RESERVED.items()
        for rule in OptionRule.refused(names, reason, reserved=True, source=_ARGUMENTS)
    ),
    *_COMMON,
    *_NATIVE,
    *(rule for reason, names in _UNSUPPORTED.items() for rule in _refused(names, reason)),
    *OptionRule.sent(
        "*",
        key="",
        wire="",
        reason="an argument of generate(), which refuses one that it does not know",
        source=_ARGUMENTS,
    ),
)
"""What becomes of every option; for one option and endpoint, the first rule that holds."""
