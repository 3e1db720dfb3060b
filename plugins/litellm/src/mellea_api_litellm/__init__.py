"""The LiteLLM backend of mellea-api: any model that LiteLLM has a route for.

This module is what the entry point names: it is light, and holds the hooks. `routes` knows what
follows from a model id, `needs` which credentials, `options` what becomes of each option by the
`effects` that were seen, `settings` what else `start_session` takes, and `models` lists routes;
`credentials` tries the key, `failures` reads errors; `sdk` alone imports Mellea, and with `probe`
(what LiteLLM does with parameters) and `http` (the clients that it works with) LiteLLM.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mellea_api import (
    CredentialReport,
    MelleaAPIError,
    ModelInfo,
    NormalizedOptions,
    SessionRequest,
)
from mellea_api.plugin import (
    BackendDescriptor,
    CredentialField,
    CredentialFieldsRequest,
    CredentialRequest,
    ErrorRequest,
    ModelsRequest,
    OptionRule,
    OptionsRequest,
    RulesRequest,
    hookimpl,
)
from mellea_api_litellm.models import CATALOGUE
from mellea_api_litellm.needs import key_field
from mellea_api_litellm.options import RULES
from mellea_api_litellm.routes import Route, find

if TYPE_CHECKING:
    from mellea import MelleaSession

__all__ = [
    "create_session",
    "credential_fields",
    "describe_backend",
    "list_models",
    "normalize_options",
    "option_rules",
    "translate_error",
    "validate_credentials",
]


@hookimpl
def describe_backend(name: str) -> BackendDescriptor:
    """Describe LiteLLM."""
    return BackendDescriptor(
        name=name,
        summary="Any model that LiteLLM has a route for: provider/model",
        sdk=("litellm", "LiteLLM"),
        default_model=CATALOGUE[0].id,
        credentials=(
            # Which variables, and whether it is needed, follows from the route: see `needs`.
            CredentialField(
                name="api_key",
                required="never",
                help="The provider's own variable works too; the route says which.",
            ),
        ),
        options=RULES,
        models=CATALOGUE,
        list_variables=("*_API_KEY", "*_API_KEY_FILE", "*_API_BASE", "*_BASE_URL"),
        default_base_url="",  # the route's own
        full_base_url=True,
        start_hint="Check the address (base_url=), and that a server is there.",
        model_hint="A model id is a route, provider/model; `mellea-api models litellm` shows "
        "those that there are credentials for.",
    )


@hookimpl
def credential_fields(request: CredentialFieldsRequest) -> Sequence[CredentialField] | None:
    """Answer with the key of the route, or of the provider whose models are asked for."""
    provider = request.target.settings.get("provider")
    if isinstance(provider, str):
        return (key_field(Route(model_id=f"{provider}/", provider=provider, model="")),)
    route = find(request.target.model_id)
    return None if route is None else (key_field(route),)


@hookimpl
def validate_credentials(request: CredentialRequest) -> CredentialReport | None:
    """Report on what the route needs."""
    from mellea_api_litellm import credentials

    return credentials.report(request)


@hookimpl
def list_models(request: ModelsRequest) -> Sequence[ModelInfo] | None:
    """List what there are credentials for, or what a server at `base_url` has."""
    from mellea_api_litellm import models

    if request.live and request.target.base_url:
        from mellea_api_litellm import check

        return check.server_models(request)
    return models.choose(request)


@hookimpl
def option_rules(request: RulesRequest) -> Sequence[OptionRule] | None:
    """Answer with the rules of the route."""
    from mellea_api_litellm import options

    return options.rules_of(request.target)


@hookimpl
def normalize_options(request: OptionsRequest) -> NormalizedOptions | None:
    """Read the rules, and look at what is passed on unchecked."""
    from mellea_api_litellm import normalize

    return normalize.normalize(request)


@hookimpl
def create_session(request: SessionRequest) -> MelleaSession:
    """Create a session, after asking the installed LiteLLM about the route."""
    from mellea_api_litellm import sdk

    return sdk.create_session(request)


@hookimpl
def translate_error(request: ErrorRequest) -> MelleaAPIError | None:
    """Say what LiteLLM raises in the library's terms."""
    from mellea_api_litellm import failures

    return failures.translate_error(request)
