"""The common options: one name, one type and one range each, however they are spelt.

Ranges here are the widest that make sense anywhere; a backend's rule may narrow them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import frozen


@frozen
class CanonicalOption:
    """One common option.

    Args:
        name: Its canonical name.
        type: What its value must be: a name in `mellea_api._options.limits.CHECKS`.
        help: What it does, with its unit: for people.
        minimum: Least value, inclusive unless `exclusive_minimum`.
        maximum: Greatest value, inclusive.
        exclusive_minimum: Whether `minimum` itself is not allowed.
        spellings: Other names under which it is taken; `@@@…@@@` names are Mellea's own
            (`mellea.backends.ModelOption`).
    """

    name: str
    type: str
    help: str
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: bool = False
    spellings: tuple[str, ...] = ()


_OPTIONS: Final = (
    CanonicalOption(
        "temperature",
        "number",
        "Randomness of sampling; 0 always takes the likeliest token.",
        minimum=0,
        maximum=2,
    ),
    CanonicalOption(
        "max_tokens",
        "integer",
        "Most tokens to generate.",
        minimum=1,
        spellings=(
            "@@@max_new_tokens@@@",
            "max_new_tokens",
            "max_completion_tokens",
            "max_output_tokens",
            "num_predict",
        ),
    ),
    CanonicalOption(
        "top_p",
        "number",
        "Sample from the likeliest tokens whose probabilities add up to this.",
        minimum=0,
        maximum=1,
        exclusive_minimum=True,
    ),
    CanonicalOption(
        "stop",
        "texts",
        "Texts at which generation ends; they are not part of the answer.",
        spellings=("@@@stop_sequences@@@", "stop_sequences", "stop_strings"),
    ),
    CanonicalOption(
        "top_k", "integer", "Sample from this many of the likeliest tokens.", minimum=1
    ),
    CanonicalOption(
        "min_p",
        "number",
        "Leave out tokens less likely than this share of the likeliest one.",
        minimum=0,
        maximum=1,
    ),
    CanonicalOption(
        "seed",
        "integer",
        "Start of the random numbers: the same seed gives the same answer.",
        minimum=0,
        spellings=("@@@seed@@@", "random_seed"),
    ),
    CanonicalOption(
        "presence_penalty",
        "number",
        "Above 0: less of what was said at all. 0 is neutral.",
        minimum=-2,
        maximum=2,
    ),
    CanonicalOption(
        "frequency_penalty",
        "number",
        "Above 0: less of what was said often. 0 is neutral.",
        minimum=-2,
        maximum=2,
    ),
    CanonicalOption(
        "repetition_penalty",
        "number",
        "Factor against tokens that were seen; 1 is neutral.",
        minimum=0,
        exclusive_minimum=True,
        spellings=("repeat_penalty",),
    ),
    CanonicalOption(
        "system_prompt",
        "text",
        "Instruction that stands before the conversation.",
        spellings=("@@@system_prompt@@@", "system"),
    ),
    CanonicalOption(
        "context_window",
        "integer",
        "Tokens that the model can see at once, prompt and answer together.",
        minimum=1,
        spellings=("@@@context_window@@@", "num_ctx", "n_ctx"),
    ),
    CanonicalOption(
        "thinking",
        "thinking",
        "Whether, or how hard, the model reasons before it answers.",
        spellings=("@@@thinking@@@", "think", "reasoning_effort"),
    ),
    CanonicalOption(
        "stream",
        "boolean",
        "Whether the answer arrives piece by piece.",
        spellings=("@@@stream@@@",),
    ),
    CanonicalOption(
        "stream_timeout",
        "seconds",
        "Seconds to wait for each piece of a streamed answer.",
        spellings=("@@@stream_timeout@@@",),
    ),
    CanonicalOption(
        "tools",
        "tools",
        "Tools that the model may ask to be called.",
        spellings=("@@@tools@@@", "functions"),
    ),
    CanonicalOption("tool_choice", "tool_choice", "Whether, and which, tool must be called."),
    CanonicalOption("logprobs", "boolean", "Whether to return the log probability of each token."),
    CanonicalOption(
        "top_logprobs",
        "integer",
        "How many of the likeliest tokens to return with their log probabilities.",
        minimum=0,
        maximum=20,
    ),
)

CANONICAL: Final[Mapping[str, CanonicalOption]] = {option.name: option for option in _OPTIONS}
"""Every common option by its canonical name, in the order in which tables show them."""

SPELLINGS: Final[Mapping[str, str]] = {
    spelling: option.name for option in _OPTIONS for spelling in (option.name, *option.spellings)
}
"""The canonical name of every spelling that is understood on every backend."""

INTERNAL: Final[Mapping[str, str]] = {
    "guardian_config": "Mellea's Guardian requirement sends it to transformers",
    "documents": "Mellea's Guardian requirement sends it to transformers",
    "n": "Mellea's budget forcing asks for one answer, and Mellea reads only one",
}
"""Options that Mellea's own code sends beside the user's, and why; known on every backend."""

MERGED: Final = frozenset({"extra_body", "extra_headers", "extra_query"})
"""Options that hold others: those of a session and of a call are merged key by key."""
