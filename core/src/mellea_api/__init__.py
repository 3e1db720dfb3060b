"""A plugin-based registry of LLM backends for Mellea programs.

    import mellea_api

    session = mellea_api.start_session("ollama", model_options={"max_tokens": 100})
    print(session.chat("Hello!"))

Importing this package imports nothing else: each name is loaded when it is first used.
"""

from __future__ import annotations

# Type checkers take it for `typing.TYPE_CHECKING`; importing typing would cost more than the rest.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from mellea_api.api import (
        build_session,
        explain_options,
        list_all_models,
        list_models,
        session_request,
        start_session,
        validate_credentials,
    )
    from mellea_api.descriptor import (
        CONTRACT_VERSION,
        BackendDescriptor,
        CredentialField,
        CredentialForm,
        ModelInfo,
        Native,
        OptionRule,
    )
    from mellea_api.diagnosis.doctor import diagnose
    from mellea_api.diagnosis.readiness import check_readiness
    from mellea_api.errors import (
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
    from mellea_api.hookspecs import hookimpl
    from mellea_api.registry import Registry
    from mellea_api.registry.shared import refresh, shared_registry
    from mellea_api.reports import (
        CredentialFinding,
        CredentialReport,
        ModelListing,
        NormalizedOptions,
        OptionDecision,
        OptionPatch,
    )
    from mellea_api.requests import (
        CredentialFieldsRequest,
        CredentialQuery,
        CredentialRequest,
        ErrorRequest,
        ModelsRequest,
        OptionsRequest,
        Origin,
        RulesRequest,
        SessionRequest,
        Target,
    )
    from mellea_api.secrets import Secret
    from mellea_api.sessions.adoption import options_report, sampling_errors

__version__ = "0.1.0"

_MODULES = {
    "sessions.adoption": ("options_report", "sampling_errors"),
    "api": (
        "build_session",
        "explain_options",
        "list_all_models",
        "list_models",
        "session_request",
        "start_session",
        "validate_credentials",
    ),
    "descriptor": (
        "CONTRACT_VERSION",
        "BackendDescriptor",
        "CredentialField",
        "CredentialForm",
        "ModelInfo",
        "Native",
        "OptionRule",
    ),
    "diagnosis.doctor": ("diagnose",),
    "diagnosis.readiness": ("check_readiness",),
    "errors": (
        "AnswerError",
        "BackendNotFoundError",
        "BackendUnavailableError",
        "ConcurrentUseError",
        "ConfigurationError",
        "ContentRefusedError",
        "ContextLengthError",
        "CredentialError",
        "MelleaAPIError",
        "ModelNotFoundError",
        "OptionError",
        "OptionProblem",
        "PermissionDeniedError",
        "PluginError",
        "ProviderError",
        "RateLimitError",
        "RequestRefusedError",
        "RequestTimeoutError",
        "SessionClosedError",
    ),
    "hookspecs": ("hookimpl",),
    "registry": ("Registry",),
    "registry.shared": ("refresh", "shared_registry"),
    "reports": (
        "CredentialFinding",
        "CredentialReport",
        "ModelListing",
        "NormalizedOptions",
        "OptionDecision",
        "OptionPatch",
    ),
    "requests": (
        "CredentialFieldsRequest",
        "CredentialQuery",
        "CredentialRequest",
        "ErrorRequest",
        "ModelsRequest",
        "OptionsRequest",
        "Origin",
        "RulesRequest",
        "SessionRequest",
        "Target",
    ),
    "secrets": ("Secret",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "CONTRACT_VERSION",
    "AnswerError",
    "BackendDescriptor",
    "BackendNotFoundError",
    "BackendUnavailableError",
    "ConcurrentUseError",
    "ConfigurationError",
    "ContentRefusedError",
    "ContextLengthError",
    "CredentialError",
    "CredentialField",
    "CredentialFieldsRequest",
    "CredentialFinding",
    "CredentialForm",
    "CredentialQuery",
    "CredentialReport",
    "CredentialRequest",
    "ErrorRequest",
    "MelleaAPIError",
    "ModelInfo",
    "ModelListing",
    "ModelNotFoundError",
    "ModelsRequest",
    "Native",
    "NormalizedOptions",
    "OptionDecision",
    "OptionError",
    "OptionPatch",
    "OptionProblem",
    "OptionRule",
    "OptionsRequest",
    "Origin",
    "PermissionDeniedError",
    "PluginError",
    "ProviderError",
    "RateLimitError",
    "Registry",
    "RequestRefusedError",
    "RequestTimeoutError",
    "RulesRequest",
    "Secret",
    "SessionClosedError",
    "SessionRequest",
    "Target",
    "__version__",
    "build_session",
    "check_readiness",
    "diagnose",
    "explain_options",
    "hookimpl",
    "list_all_models",
    "list_models",
    "options_report",
    "refresh",
    "sampling_errors",
    "session_request",
    "shared_registry",
    "start_session",
    "validate_credentials",
]


def __getattr__(name: str) -> Any:
    import importlib

    module = _HOME.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
