"""What the model does with each option: rules as data.

A rule says where an option goes, at the chat endpoint and at the raw one. What this backend is
sent is what `Sampling` takes, and there each option has its common name, so that most rules are
one line. Types and ranges are those of the common options; a rule would only narrow them.
"""

from __future__ import annotations

from typing import Final

from mellea_api.plugin import TEXT_RULES, OptionRule

__all__ = ["RULES"]

_MODEL: Final = "mellea_api_ngram.sampling.Sampling"

RULES: Final[tuple[OptionRule, ...]] = (
    *OptionRule.sent(
        "temperature max_tokens top_p stop top_k min_p seed presence_penalty frequency_penalty "
        "repetition_penalty",
        source=_MODEL,
    ),
    *TEXT_RULES,  # what the base class does: the system prompt, and streaming
    *OptionRule.refused(
        "context_window",
        "how far the model looks back is a matter of the model; choose another one",
        source=_MODEL,
    ),
    *OptionRule.refused("thinking", "the model counts, it does not think", source=_MODEL),
    *OptionRule.refused("tools", "the model knows of no tools", source=_MODEL),
    # Names that nobody knows, given through `extra`.
    *OptionRule.refused("*", "the model has no other options", source=_MODEL),
)
"""What becomes of every option; for one option and endpoint, the first rule that holds."""
