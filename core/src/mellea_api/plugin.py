"""Everything that the author of a backend or an extension needs: one import.

Errors, `Secret`, `NormalizedOptions` and `CredentialReport` come from `mellea_api`: users see them
too. Each name is loaded when it is first used, so that `TextBackend` alone imports Mellea.
"""

from __future__ import annotations

from mellea_api._face import loader, names_of

# Type checkers take it for `typing.TYPE_CHECKING`; importing typing would cost more than the rest.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from mellea_api._contract.descriptor import BackendDescriptor as BackendDescriptor
    from mellea_api._contract.descriptor import CredentialField as CredentialField
    from mellea_api._contract.descriptor import ModelInfo as ModelInfo
    from mellea_api._contract.descriptor import Retirement as Retirement
    from mellea_api._contract.descriptor import Setting as Setting
    from mellea_api._contract.option_rule import Converted as Converted
    from mellea_api._contract.option_rule import OptionRule as OptionRule
    from mellea_api._contract.refusals import ErrorRequest as ErrorRequest
    from mellea_api._contract.reports import OptionPatch as OptionPatch
    from mellea_api._contract.requests import CredentialQuery as CredentialQuery
    from mellea_api._contract.requests import CredentialRequest as CredentialRequest
    from mellea_api._contract.requests import ModelsRequest as ModelsRequest
    from mellea_api._contract.requests import OptionsRequest as OptionsRequest
    from mellea_api._contract.requests import SessionRequest as SessionRequest
    from mellea_api._contract.requests import Target as Target
    from mellea_api._openai_protocol.declaration import OpenAICompatible as OpenAICompatible
    from mellea_api._openai_protocol.errors import engine_error as engine_error
    from mellea_api._openai_protocol.session import engine_session as engine_session
    from mellea_api._options.shared_rules import MELLEA_RULES as MELLEA_RULES
    from mellea_api._options.shared_rules import TEXT_RULES as TEXT_RULES
    from mellea_api._options.shared_rules import system_message as system_message
    from mellea_api._options.shared_rules import tools_as_json as tools_as_json
    from mellea_api._provider.answers import reading_answer as reading_answer
    from mellea_api._provider.answers import whole as whole
    from mellea_api._provider.apart import ask_apart as ask_apart
    from mellea_api._provider.http import careful as careful
    from mellea_api._sessions.text_backend import Prompt as Prompt
    from mellea_api._sessions.text_backend import TextBackend as TextBackend
    from mellea_api.hookspecs import hookimpl as hookimpl

_HOMES = {
    "_contract.descriptor": "BackendDescriptor CredentialField ModelInfo Retirement Setting",
    "_contract.option_rule": "Converted OptionRule",
    "_contract.refusals": "ErrorRequest",
    "_contract.reports": "OptionPatch",
    "_openai_protocol.declaration": "OpenAICompatible",
    "_openai_protocol.errors": "engine_error",
    "_openai_protocol.session": "engine_session",
    "_contract.requests": (
        "CredentialQuery CredentialRequest ModelsRequest OptionsRequest SessionRequest Target"
    ),
    "_options.shared_rules": "MELLEA_RULES TEXT_RULES system_message tools_as_json",
    "_provider.answers": "reading_answer whole",
    "_provider.apart": "ask_apart",
    "_provider.http": "careful",
    "_sessions.text_backend": "Prompt TextBackend",
    "hookspecs": "hookimpl",
}
__all__ = names_of(_HOMES)
__getattr__ = loader(globals(), _HOMES)


def __dir__() -> list[str]:
    return __all__
