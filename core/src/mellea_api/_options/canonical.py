"""The common options: one name, one type and one range each, however they are spelt.

Ranges here are the widest that make sense anywhere; a backend's rule may narrow them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import frozen


@frozen(kw_only=True)
class CanonicalOption:
    """One common option.

    Args:
        name: Its canonical name.
        type: What its value must be: a name in `mellea_api._options.checks.CHECKS`.
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
        name="temperature",
        type="number",
        minimum=0,
        maximum=2,
        help="Randomness of sampling; 0 always takes the likeliest token.",
    ),
    CanonicalOption(
        name="max_tokens",
        type="integer",
        minimum=1,
        help="Most tokens to generate.",
        spellings=(
            "@@@max_new_tokens@@@",
            "max_new_tokens",
            "max_completion_tokens",
            "max_output_tokens",
            "num_predict",
        ),
    ),
    CanonicalOption(
        name="top_p",
        type="number",
        minimum=0,
        maximum=1,
        exclusive_minimum=True,
        help="Sample from the likeliest tokens whose probabilities add up to this.",
    ),
    CanonicalOption(
        name="stop",
        type="texts",
        help="Texts at which generation ends; they are not part of the answer.",
        spellings=("@@@stop_sequences@@@", "stop_sequences", "stop_strings"),
    ),
    CanonicalOption(
        name="top_k",
        type="integer",
        minimum=1,
        help="Sample from this many of the likeliest tokens.",
    ),
    CanonicalOption(
        name="min_p",
        type="number",
        minimum=0,
        maximum=1,
        help="Leave out tokens less likely than this share of the likeliest one.",
    ),
    CanonicalOption(
        name="seed",
        type="integer",
        minimum=0,
        help="Start of the random numbers: the same seed gives the same answer.",
        spellings=("@@@seed@@@", "random_seed"),
    ),
    CanonicalOption(
        name="presence_penalty",
        type="number",
        minimum=-2,
        maximum=2,
        help="Above 0: less of what was said at all. 0 is neutral.",
    ),
    CanonicalOption(
        name="frequency_penalty",
        type="number",
        minimum=-2,
        maximum=2,
        help="Above 0: less of what was said often. 0 is neutral.",
    ),
    CanonicalOption(
        name="repetition_penalty",
        type="number",
        minimum=0,
        exclusive_minimum=True,
        help="Factor against tokens that were seen; 1 is neutral.",
        spellings=("repeat_penalty",),
    ),
    CanonicalOption(
        name="system_prompt",
        type="text",
        help="Instruction that stands before the conversation.",
        spellings=("@@@system_prompt@@@", "system"),
    ),
    CanonicalOption(
        name="context_window",
        type="integer",
        minimum=1,
        help="Tokens that the model can see at once, prompt and answer together.",
        spellings=("@@@context_window@@@", "num_ctx", "n_ctx"),
    ),
    CanonicalOption(
        name="thinking",
        type="thinking",
        help="Whether, or how hard, the model reasons before it answers.",
        spellings=("@@@thinking@@@", "think", "reasoning_effort"),
    ),
    CanonicalOption(
        name="stream",
        type="boolean",
        help="Whether the answer arrives piece by piece.",
        spellings=("@@@stream@@@",),
    ),
    CanonicalOption(
        name="stream_timeout",
        type="seconds",
        help="Seconds to wait for each piece of a streamed answer.",
        spellings=("@@@stream_timeout@@@",),
    ),
    CanonicalOption(
        name="tools",
        type="tools",
        help="Tools that the model may ask to be called.",
        spellings=("@@@tools@@@", "functions"),
    ),
    CanonicalOption(
        name="tool_choice",
        type="tool_choice",
        help="Whether, and which, tool must be called.",
    ),
    CanonicalOption(
        name="logprobs",
        type="boolean",
        help="Whether to return the log probability of each token.",
    ),
    CanonicalOption(
        name="top_logprobs",
        type="integer",
        minimum=0,
        maximum=20,
        help="How many of the likeliest tokens to return with their log probabilities.",
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
