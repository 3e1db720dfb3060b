"""OpenAI's own parameters, as data; those of the protocol are the core's.

They travel in `extra_body`, since an older SDK may lack them, and Mellea drops names that the
SDK's `create` does not have.
"""

from __future__ import annotations

from typing import Final

from mellea_api.plugin import OptionRule

_CHAT: Final = "openai 3.54.0, types/chat/completion_create_params.py"
_BY_TYPE: Final = {
    "text": "prompt_cache_key prompt_cache_retention safety_identifier service_tier",
    "texts": "modalities",
    "boolean": "store",
    "object": "audio metadata moderation prediction prompt_cache_options web_search_options",
}

OPENAI_RULES: Final[tuple[OptionRule, ...]] = (
    *(
        rule
        for kind, names in _BY_TYPE.items()
        for rule in OptionRule.sent(
            names, key="extra_body.{}", endpoint="chat", type=kind, source=_CHAT
        )
    ),
    OptionRule(
        name="verbosity",
        chat=("extra_body.verbosity", "verbosity"),
        type="text",
        choices=("low", "medium", "high"),
        source=_CHAT,
    ),
    *OptionRule.refused(
        "function_call",
        "OpenAI replaced it: Mellea sends tools, so give tool_choice",
        source=_CHAT,
    ),
)
"""What becomes of each option that only OpenAI has; at the chat endpoint alone."""
