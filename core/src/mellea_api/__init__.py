"""A plugin-based registry of LLM backends for Mellea programs.

    import mellea_api

    session = mellea_api.start_session("ollama", model_options={"max_tokens": 100})
    print(session.chat("Hello!"))

This is what programs use; `mellea_api.plugin` is for who writes a backend or an extension, and
`mellea_api.testing` for who tests one. Importing this package imports little: each name is loaded
when it is first used.
"""

from __future__ import annotations

from mellea_api._face import loader, names_of

# Type checkers take it for `typing.TYPE_CHECKING`; importing typing would cost more than the rest.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from mellea_api._api.functions import build_session as build_session
    from mellea_api._api.functions import explain_options as explain_options
    from mellea_api._api.functions import list_all_models as list_all_models
    from mellea_api._api.functions import list_models as list_models
    from mellea_api._api.functions import session_request as session_request
    from mellea_api._api.functions import start_session as start_session
    from mellea_api._api.functions import validate_credentials as validate_credentials
    from mellea_api._contract.descriptor import ModelInfo as ModelInfo
    from mellea_api._contract.errors import AnswerError as AnswerError
    from mellea_api._contract.errors import BackendNotFoundError as BackendNotFoundError
    from mellea_api._contract.errors import BackendUnavailableError as BackendUnavailableError
    from mellea_api._contract.errors import ConcurrentUseError as ConcurrentUseError
    from mellea_api._contract.errors import ConfigurationError as ConfigurationError
    from mellea_api._contract.errors import ContentRefusedError as ContentRefusedError
    from mellea_api._contract.errors import ContextLengthError as ContextLengthError
    from mellea_api._contract.errors import CredentialError as CredentialError
    from mellea_api._contract.errors import MelleaAPIError as MelleaAPIError
    from mellea_api._contract.errors import ModelNotFoundError as ModelNotFoundError
    from mellea_api._contract.errors import OptionError as OptionError
    from mellea_api._contract.errors import OptionProblem as OptionProblem
    from mellea_api._contract.errors import PermissionDeniedError as PermissionDeniedError
    from mellea_api._contract.errors import PluginError as PluginError
    from mellea_api._contract.errors import ProviderError as ProviderError
    from mellea_api._contract.errors import RateLimitError as RateLimitError
    from mellea_api._contract.errors import RequestRefusedError as RequestRefusedError
    from mellea_api._contract.errors import RequestTimeoutError as RequestTimeoutError
    from mellea_api._contract.errors import SessionClosedError as SessionClosedError
    from mellea_api._contract.reports import CredentialFinding as CredentialFinding
    from mellea_api._contract.reports import CredentialReport as CredentialReport
    from mellea_api._contract.reports import ModelListing as ModelListing
    from mellea_api._contract.reports import NormalizedOptions as NormalizedOptions
    from mellea_api._contract.reports import OptionDecision as OptionDecision
    from mellea_api._contract.requests import SessionRequest as SessionRequest
    from mellea_api._diagnosis.doctor import diagnose as diagnose
    from mellea_api._diagnosis.readiness import check_readiness as check_readiness
    from mellea_api._registry.registry import Registry as Registry
    from mellea_api._registry.registry import refresh as refresh
    from mellea_api._registry.registry import shared_registry as shared_registry
    from mellea_api._secrecy.logs import current_run_id as current_run_id
    from mellea_api._secrecy.secrets import Secret as Secret
    from mellea_api._sessions._mellea.sampling import sampling_errors as sampling_errors
    from mellea_api._sessions.adoption import options_report as options_report
    from mellea_api._sessions.streaming import astream_chat as astream_chat
    from mellea_api._sessions.streaming import stream_chat as stream_chat
    from mellea_api.runtime import MelleaRuntime as MelleaRuntime

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
__all__ = names_of(_HOMES, "__version__")
__getattr__ = loader(globals(), _HOMES)


def __dir__() -> list[str]:
    return __all__
