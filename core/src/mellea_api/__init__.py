"""A plugin-based registry of LLM backends for Mellea programs.

    import mellea_api

    session = mellea_api.start_session("ollama", model_options={"max_tokens": 100})
    print(session.chat("Hello!"))

This is what programs use; `mellea_api.plugin` is for who writes a backend or an extension, and
`mellea_api.testing` for who tests one. Importing this package imports nothing else: each name is
loaded when it is first used.
"""

from __future__ import annotations

# Type checkers take it for `typing.TYPE_CHECKING`; importing typing would cost more than the rest.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from mellea_api._api.functions import (
        build_session,
        explain_options,
        list_all_models,
        list_models,
        session_request,
        start_session,
        validate_credentials,
    )
    from mellea_api._contract.descriptor import ModelInfo
    from mellea_api._contract.errors import (
        AnswerError,
        BackendNotFoundError,
        BackendUnavailableError,
        ConcurrentUseError,
        ConfigurationError,
        ContentRefusedError,
        ContextLengthError,
        CredentialError,
        MelleaAPIError,
        ModelNotFoundError,
        OptionError,
        OptionProblem,
        PermissionDeniedError,
        PluginError,
        ProviderError,
        RateLimitError,
        RequestRefusedError,
        RequestTimeoutError,
        SessionClosedError,
    )
    from mellea_api._contract.reports import (
        CredentialFinding,
        CredentialReport,
        ModelListing,
        NormalizedOptions,
        OptionDecision,
    )
    from mellea_api._contract.requests import SessionRequest
    from mellea_api._diagnosis.doctor import diagnose
    from mellea_api._diagnosis.readiness import check_readiness
    from mellea_api._registry.registry import Registry, refresh, shared_registry
    from mellea_api._secrecy.logs import current_run_id
    from mellea_api._secrecy.secrets import Secret
    from mellea_api._sessions._mellea.sampling import sampling_errors
    from mellea_api._sessions.adoption import options_report
    from mellea_api._sessions.streaming import astream_chat, stream_chat
    from mellea_api.runtime import MelleaRuntime

__version__ = "0.1.0"

_HOMES = {
    "_api.functions": (
        "build_session explain_options list_all_models list_models session_request "
        "start_session validate_credentials"
    ),
    "_contract.descriptor": "ModelInfo",
    "_contract.errors": (
        "AnswerError BackendNotFoundError BackendUnavailableError ConcurrentUseError "
        "ConfigurationError ContentRefusedError ContextLengthError CredentialError "
        "MelleaAPIError ModelNotFoundError OptionError OptionProblem PermissionDeniedError "
        "PluginError ProviderError RateLimitError RequestRefusedError RequestTimeoutError "
        "SessionClosedError"
    ),
    "_contract.reports": (
        "CredentialFinding CredentialReport ModelListing NormalizedOptions OptionDecision"
    ),
    "_contract.requests": "SessionRequest",
    "_diagnosis.doctor": "diagnose",
    "_diagnosis.readiness": "check_readiness",
    "_registry.registry": "Registry refresh shared_registry",
    "_secrecy.logs": "current_run_id",
    "_secrecy.secrets": "Secret",
    "_sessions._mellea.sampling": "sampling_errors",
    "_sessions.adoption": "options_report",
    "_sessions.streaming": "astream_chat stream_chat",
    "runtime": "MelleaRuntime",
}
__all__ = [
    "AnswerError",
    "BackendNotFoundError",
    "BackendUnavailableError",
    "ConcurrentUseError",
    "ConfigurationError",
    "ContentRefusedError",
    "ContextLengthError",
    "CredentialError",
    "CredentialFinding",
    "CredentialReport",
    "MelleaAPIError",
    "MelleaRuntime",
    "ModelInfo",
    "ModelListing",
    "ModelNotFoundError",
    "NormalizedOptions",
    "OptionDecision",
    "OptionError",
    "OptionProblem",
    "PermissionDeniedError",
    "PluginError",
    "ProviderError",
    "RateLimitError",
    "Registry",
    "RequestRefusedError",
    "RequestTimeoutError",
    "Secret",
    "SessionClosedError",
    "SessionRequest",
    "__version__",
    "astream_chat",
    "build_session",
    "check_readiness",
    "current_run_id",
    "diagnose",
    "explain_options",
    "list_all_models",
    "list_models",
    "options_report",
    "refresh",
    "sampling_errors",
    "session_request",
    "shared_registry",
    "start_session",
    "stream_chat",
    "validate_credentials",
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
