"""Everything that the author of a backend or an extension needs: one import.

Errors, `Secret`, `NormalizedOptions` and `CredentialReport` come from `mellea_api`: users see them
too. Each name is loaded when it is first used, so that `TextBackend` alone imports Mellea.
"""

from __future__ import annotations

# Type checkers take it for `typing.TYPE_CHECKING`; importing typing would cost more than the rest.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from mellea_api._contract.descriptor import (
        BackendDescriptor,
        Converted,
        CredentialField,
        ModelInfo,
        OptionRule,
        Setting,
    )
    from mellea_api._contract.reports import OptionPatch
    from mellea_api._contract.requests import (
        CredentialQuery,
        CredentialRequest,
        ErrorRequest,
        ModelsRequest,
        OptionsRequest,
        SessionRequest,
        Target,
    )
    from mellea_api._openai_protocol.declaration import OpenAICompatible
    from mellea_api._options.shared_rules import (
        MELLEA_RULES,
        TEXT_RULES,
        effort,
        system_message,
        tools_as_json,
        unsaid,
        with_logprobs,
    )
    from mellea_api._provider.answers import reading_answer, whole
    from mellea_api._provider.http import careful
    from mellea_api._sessions.text_backend import Prompt, TextBackend
    from mellea_api.hookspecs import hookimpl


_HOMES = {
    "_contract.descriptor": (
        "BackendDescriptor Converted CredentialField ModelInfo OptionRule Setting"
    ),
    "_contract.reports": "OptionPatch",
    "_openai_protocol.declaration": "OpenAICompatible",
    "_contract.requests": (
        "CredentialQuery CredentialRequest ErrorRequest ModelsRequest OptionsRequest "
        "SessionRequest Target"
    ),
    "_options.shared_rules": (
        "MELLEA_RULES TEXT_RULES effort system_message tools_as_json unsaid with_logprobs"
    ),
    "_provider.answers": "reading_answer whole",
    "_provider.http": "careful",
    "_sessions.text_backend": "Prompt TextBackend",
    "hookspecs": "hookimpl",
}
__all__ = [
    "MELLEA_RULES",
    "TEXT_RULES",
    "BackendDescriptor",
    "Converted",
    "CredentialField",
    "CredentialQuery",
    "CredentialRequest",
    "ErrorRequest",
    "ModelInfo",
    "ModelsRequest",
    "OpenAICompatible",
    "OptionPatch",
    "OptionRule",
    "OptionsRequest",
    "Prompt",
    "SessionRequest",
    "Setting",
    "Target",
    "TextBackend",
    "careful",
    "effort",
    "hookimpl",
    "reading_answer",
    "system_message",
    "tools_as_json",
    "unsaid",
    "whole",
    "with_logprobs",
]


def __getattr__(name: str) -> Any:
    import importlib

    for module, names in _HOMES.items():
        if name in names.split():
            value = getattr(importlib.import_module(f"mellea_api.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
