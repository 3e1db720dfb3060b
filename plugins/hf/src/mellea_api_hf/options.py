"""What transformers does with each option: rules as data, and what rules cannot say.

An option ends in one of two places: an argument of `generate()`, or a variable of the chat
template. Mellea's own way there differs from line to line (0.3 to 0.6 give every plain name to
both, 0.8 drops what it does not know); `generation` replaces it, so that what these rules name
is what `generate()` gets.

`generate()` looks at a temperature, and at all else that shapes sampling, only where sampling is
on; many models' own configurations leave it off. So `normalize` says `do_sample` whenever one of
these options is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from attrs import evolve

from mellea_api import NormalizedOptions
from mellea_api._contract.descriptor import Converted
from mellea_api._options.mellea import ONE_ANSWER, RAW_STREAM, STREAM_TIMEOUT
from mellea_api._options.plan import apply_rules
from mellea_api.plugin import Native, OptionRule, OptionsRequest

__all__ = ["RULES", "SAMPLING", "TEMPLATE", "greedy", "normalize"]

TEMPLATE: Final = "chat_template_kwargs"
"""The key under which the chat template's variables travel."""

SAMPLING: Final = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "typical_p",
    "top_h",
    "epsilon_cutoff",
    "eta_cutoff",
)
"""The options that have an effect only where sampling is on."""

_GENERATE: Final = "transformers 4.57.6 and 5.17.0, generation/configuration_utils.py"
_ARGUMENTS: Final = "transformers 4.57.6 and 5.17.0, GenerationMixin.generate"
_TEMPLATE: Final = "transformers 4.57.6 and 5.17.0, apply_chat_template"
_MELLEA: Final = "mellea 0.3.0 to 0.8.0, backends/huggingface.py"
_GREEDY: Final = "temperature=0 takes the likeliest token anyway; nothing is sent"


def greedy(value: float) -> Converted:
    """Switch sampling off, which is what a temperature of 0 means."""
    return Converted(False, reason="always the likeliest token")


def normalize(request: OptionsRequest) -> NormalizedOptions:
    """Render options by the rules, and say whether sampling is on.

    Args:
        request: Canonical options.

    Raises:
        OptionError: If an option cannot be used; lists all problems.
    """
    rendered = apply_rules(request)
    if not any(rendered.options.get(name) is not None for name in SAMPLING):
        return rendered
    return evolve(
        rendered,
        options={**rendered.options, "do_sample": True},
        wire={**rendered.wire, "do_sample": True},
    )


# ---------------------------------------------------------------------------------- helpers


def _argument(name: str, native: str = "", **facts: Any) -> OptionRule:
    """Return the rule of an argument of `generate()`, the same at both endpoints."""
    place = native or name
    return OptionRule(name=name, chat=place, completion=place, **{"source": _GENERATE, **facts})


def _mellea(name: str, key: str, wire: str, **facts: Any) -> OptionRule:
    """Return the rule of an option that Mellea itself reads, at both endpoints."""
    place = Native(key=key, wire=wire)
    return OptionRule(name=name, chat=place, completion=place, **{"source": _MELLEA, **facts})


def _refused(name: str, reason: str, source: str = _GENERATE, **facts: Any) -> OptionRule:
    return OptionRule(name=name, reason=reason, source=source, **facts)


def _variable(name: str, **facts: Any) -> OptionRule:
    """Return the rule of a variable of the chat template."""
    place = Native(key=f"{TEMPLATE}.{name}", wire=f"{TEMPLATE}.{name}")
    return OptionRule(name=name, chat=place, source=_TEMPLATE, **facts)


def _sampling(name: str, also: str = "", **facts: Any) -> Iterator[OptionRule]:
    """Yield the rules of an option that acts only where sampling is on."""
    yield _argument(
        name,
        convert="unsaid",
        requires={"temperature": (0,)},
        reason=_GREEDY,
        **facts,
    )
    reason = "; ".join(filter(None, (also, "with do_sample=True, without which it has no effect")))
    yield _argument(name, reason=reason, **facts)


# ------------------------------------------------------------------ names that cannot be given

_RESERVED: Final = {
    "model": "the session's model_id= says it; MelleaRuntime.switch_model changes it",
    "messages": "Mellea makes them of the context",
    "inputs": "Mellea makes them of the prompt",
    "input_ids": "Mellea makes them of the prompt",
    "attention_mask": "it follows from the prompt",
    "tokenizer": "it is that of the model",
    "generation_config": "give each option by its own name",
    "logits_processor": "Mellea sets it where a call has a format=; give that a pydantic model",
    "stopping_criteria": "give stop, or max_time",
    "prefix_allowed_tokens_fn": "give a pydantic model as format= of the call",
    "streamer": "give stream=True",
    "assistant_model": "options hold no models",
    "synced_gpus": "it is for training over several processes",
    "custom_generate": "it would run code from the Hub",
    "negative_prompt_ids": "options hold no tensors",
    "negative_prompt_attention_mask": "options hold no tensors",
    "use_model_defaults": "the model's own defaults are always used where an option is not given",
    "return_dict_in_generate": "Mellea reads the answer as a dict",
    "output_attentions": "Mellea does not return them",
    "output_hidden_states": "Mellea does not return them",
    "output_scores": "give Mellea's ModelOption.LOGITS",
    "output_logits": "give Mellea's ModelOption.RAW_LOGITS",
    "add_generation_prompt": "Mellea always asks for the answer's turn",
    "transformers_version": "it is what is installed",
}


def _reserved() -> Iterator[OptionRule]:
    for name, reason in _RESERVED.items():
        yield OptionRule(name=name, reserved=True, reason=reason, source=_ARGUMENTS)


# ----------------------------------------------------------------------- the common options


def _canonical() -> Iterator[OptionRule]:
    """Yield the rules of the common options, in the order of `canonical.CANONICAL`."""
    yield _argument(
        "temperature",
        "do_sample",
        convert="mellea_api_hf.options:greedy",
        requires={"temperature": (0,)},
        reason="always the likeliest token",
    )
    yield _argument("temperature", reason="with do_sample=True, without which it has no effect")
    yield _mellea("max_tokens", "@@@max_new_tokens@@@", "max_new_tokens")
    yield from _sampling("top_p")
    yield _mellea(
        "stop",
        "@@@stop_sequences@@@",
        "stop_strings",
        reason="looked for in the answer alone, and no part of it",
    )
    yield from _sampling("top_k", special=(0,))  # 0: all tokens
    yield from _sampling("min_p")
    # What Mellea calls `set_seed` with goes to numpy too, which holds 32 bits.
    yield _mellea("seed", "@@@seed@@@", "seed", maximum=2**32 - 1)
    yield _refused("presence_penalty", "transformers has none; repetition_penalty is another thing")
    yield _refused(
        "frequency_penalty", "transformers has none; repetition_penalty is another thing"
    )
    yield _argument("repetition_penalty")
    yield OptionRule(
        name="system_prompt",
        chat=Native(key="@@@system_prompt@@@", wire="messages"),
        convert="system_message",
        source=_MELLEA,
    )
    yield _refused("system_prompt", "the raw endpoint has no messages", _MELLEA)
    yield _refused("context_window", "the model's configuration fixes it")
    yield OptionRule(
        name="thinking",
        chat=Native(key="@@@thinking@@@", wire=f"{TEMPLATE}.enable_thinking"),
        reason="a variable of the model's chat template, whichever of its names that has",
        source="mellea 0.8.0, backends/huggingface.py, _filter_for_chat_template",
    )
    yield _refused("thinking", "the raw endpoint has no chat template", _MELLEA)
    yield OptionRule(
        name="stream",
        chat=Native(key="@@@stream@@@", wire=""),
        reason="the text is handed on as it is generated",
        source=_MELLEA,
    )
    yield from RAW_STREAM
    yield from STREAM_TIMEOUT
    yield OptionRule(
        name="tools",
        chat=Native(key="@@@tools@@@", wire=f"{TEMPLATE}.tools"),
        convert="tools_as_json",
        source=_MELLEA,
    )
    yield _refused("tools", "the raw endpoint calls no tools", _MELLEA)
    yield _refused("tool_choice", "the model decides whether it calls a tool", _TEMPLATE)
    for name in ("logprobs", "top_logprobs"):
        yield _refused(
            name, "Mellea does not return them; ModelOption.LOGITS gives the scores", _MELLEA
        )
    yield ONE_ANSWER
    for name in ("@@@logits@@@", "@@@raw_logits@@@"):
        yield _mellea(name, name, "", mellea="0.7", type="boolean", source="mellea 0.7.0")
        yield _refused(name, "Mellea 0.7 or newer returns scores", "mellea 0.7.0")


# ------------------------------------------------------------- further arguments of generate()

_ASSISTED: Final = "it needs an assistant model, which options cannot hold"
_GONE: Final = "transformers 5 no longer has it, and 4.57 loads code from the Hub for it"
_NEWER: Final = "transformers 5 has it, and an older one refuses it"
_ENCODER: Final = "it is for encoder-decoder models"

_UNSUPPORTED: Final = {
    "max_length": "it counts the prompt too; give max_tokens",
    "min_length": "it counts the prompt too; give min_new_tokens",
    "token_healing": "it changes the prompt, and Mellea would cut the answer at the wrong place",
    "watermarking_config": "it is an object that options cannot hold",
    "compile_config": "it is an object that options cannot hold",
    "continuous_batching_config": "it is an object that options cannot hold",
    "return_legacy_cache": "Mellea does not return the cache",
    "decoder_start_token_id": _ENCODER,
    "is_assistant": _ASSISTED,
    "use_mtp": _ASSISTED,
    "speculation_type": _ASSISTED,
    "num_assistant_tokens": _ASSISTED,
    "num_assistant_tokens_schedule": _ASSISTED,
    "assistant_confidence_threshold": _ASSISTED,
    "assistant_early_exit": _ASSISTED,
    "assistant_ensemble_weight": _ASSISTED,
    "assistant_lookbehind": _ASSISTED,
    "target_lookbehind": _ASSISTED,
    "penalty_alpha": _GONE,
    "dola_layers": _GONE,
    "low_memory": _GONE,
    "num_beam_groups": _GONE,
    "diversity_penalty": _GONE,
    "constraints": _GONE,
    "force_words_ids": _GONE,
}


def _native() -> Iterator[OptionRule]:
    """Yield the rules of what transformers alone has."""
    yield _argument(
        "do_sample",
        type="boolean",
        choices=(False,),
        requires={"temperature": (0,)},
        reason="temperature=0 says so too",
    )
    yield _argument(
        "do_sample", type="boolean", requires=dict.fromkeys(SAMPLING, (None,))
    )  # by itself, it is the user's to say
    yield _argument(
        "do_sample",
        type="boolean",
        choices=(True,),
        reason="an option that shapes sampling says so too",
    )
    yield from _sampling("typical_p", type="number", minimum=0, maximum=1, exclusive_minimum=True)
    yield from _sampling("epsilon_cutoff", type="number", minimum=0, maximum=1)
    yield from _sampling("eta_cutoff", type="number", minimum=0, maximum=1)
    yield from _sampling(
        "top_h", _NEWER, type="number", minimum=0, maximum=1, exclusive_minimum=True
    )
    yield _argument("num_beams", type="integer", minimum=1, requires={"stream": (None, False)})
    yield _argument(
        "num_beams",
        type="integer",
        choices=(1,),
        reason="transformers cannot stream a search over beams",
    )
    yield _argument("num_return_sequences", type="integer", choices=(1,))
    for name in ("min_new_tokens", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size"):
        yield _argument(name, type="integer", minimum=0)
    for name in ("prompt_lookup_num_tokens", "max_matching_ngram_size", "prefill_chunk_size"):
        yield _argument(name, type="integer", minimum=1)
    yield _argument("encoder_repetition_penalty", type="number", minimum=0, exclusive_minimum=True)
    yield _argument("length_penalty", type="number")
    yield _argument("guidance_scale", type="number", minimum=1)
    yield _argument("max_time", type="seconds")
    yield _argument("early_stopping", choices=(True, False, "never"))
    for name in ("use_cache", "renormalize_logits", "remove_invalid_values", "disable_compile"):
        yield _argument(name, type="boolean")
    yield _argument("cache_implementation", type="text")
    yield _argument("cache_config", type="object")
    yield _argument("max_cache_len", type="integer", minimum=1, reason=_NEWER)
    for name in (
        "bad_words_ids",
        "begin_suppress_tokens",
        "bos_token_id",
        "eos_token_id",
        "exponential_decay_length_penalty",
        "forced_bos_token_id",
        "forced_eos_token_id",
        "pad_token_id",
        "sequence_bias",
        "suppress_tokens",
    ):
        yield _argument(name)
    for name, reason in _UNSUPPORTED.items():
        yield _refused(name, reason)


def _template() -> Iterator[OptionRule]:
    """Yield the rules of the chat template's variables."""
    yield _variable("guardian_config", type="object")
    yield _variable("documents")
    yield OptionRule(name=TEMPLATE, chat=TEMPLATE, type="object", source=_TEMPLATE)
    for name in ("guardian_config", "documents", TEMPLATE):
        yield _refused(name, "the raw endpoint has no chat template", _TEMPLATE)


RULES: Final[tuple[OptionRule, ...]] = (
    *_reserved(),
    *_canonical(),
    *_native(),
    *_template(),
    OptionRule(
        name="*",
        chat=Native(key="", wire=""),
        completion=Native(key="", wire=""),
        reason="an argument of generate(), which refuses one that it does not know",
        source=_ARGUMENTS,
    ),
)
"""What becomes of every option; for one option and endpoint, the first rule that holds."""
