"""The LiteLLM backend of mellea-api: any model that LiteLLM has a route for.

This module is light: it describes the backend, and what follows from the route. `routes` has what
LiteLLM says about a route, which `probe` finds out; `options` makes rules of that;
`credentials` has what a route needs, `models` lists routes, `servers` asks a route's server, and
`failures` reads LiteLLM's errors. `session` alone imports Mellea, and with `http` LiteLLM.
"""

from __future__ import annotations

from typing import Final

from attrs import evolve

from mellea_api.plugin import (
    BackendDescriptor,
    CredentialField,
    Retirement,
    Setting,
    Target,
    hookimpl,
)
from mellea_api_litellm import credentials, models, options
from mellea_api_litellm.credentials import validate_credentials as validate_credentials
from mellea_api_litellm.failures import translate_error as translate_error
from mellea_api_litellm.models import list_models as list_models
from mellea_api_litellm.options import normalize_options as normalize_options
from mellea_api_litellm.routes import find, litellm_version
from mellea_api_litellm.servers import model_hint

_HANDED: Final = (
    *("api_version", "organization", "max_retries", "num_retries", "mock_response"),
    *("project_id", "space_id", "region_name", "vertex_project", "vertex_location"),
    *("aws_region_name", "aws_profile_name"),
)

LITELLM = BackendDescriptor(
    name="litellm",
    summary="Any model that LiteLLM has a route for: provider/model",
    implementation="mellea_api_litellm.session",
    sdk=("litellm", "LiteLLM", "openai", "httpx"),
    tested={"litellm": "1.110.2"},
    contract_version=2,
    default_model=models.CATALOGUE[0].id,
    # Which variables, and whether it is needed, follows from the route.
    credentials=CredentialField(
        name="api_key",
        required="never",
        help="The provider's own variable works too; the route says which.",
    ),
    settings=(
        Setting(
            name="provider",
            scope="models",
            help="Whose models are listed: the part of a route before the slash.",
        ),
        Setting(
            name="check",
            type="boolean",
            default=True,
            help="With check=False a session opens without asking the server for the model.",
        ),
        *(
            Setting(name=name, type="any", help="LiteLLM gets it with each call.")
            for name in _HANDED
        ),
    ),
    options=options.RULES,
    models=models.CATALOGUE,
    listing_needs="never",
    list_variables=("*_API_KEY", "*_API_KEY_FILE", "*_API_BASE", "*_BASE_URL"),
    base_url="",  # the route's own
    codes={"token_quota_reached": 429, "model_no_support_for_function": 400},  # watsonx.ai's
    full_base_url=True,
    official_hosts=("api.openai.com", "*.api.openai.com"),
    start_hint="Check the address (base_url=), and that a server is there.",
    model_hint="A model id is a route, provider/model; `mellea-api models litellm` shows those "
    "that there are credentials for.",
)


@hookimpl
def describe_backend(target: Target | None) -> BackendDescriptor:
    """Describe the backend, or a route: its rules, and the credentials that it needs."""
    if target is None:
        return LITELLM
    provider = target.settings.get("provider")
    if provider is not None:  # a list of one provider's models
        fields = credentials.provider_fields(provider)[:1]
        return evolve(target.descriptor, credentials=fields)
    route = find(target.model_id)
    if route is None:
        return LITELLM
    day, source = route.shutdown, f"the model list of LiteLLM {litellm_version()}"
    return evolve(
        target.descriptor,
        options=options.rules_for(route, compatible=target.server == "compatible"),
        credentials=credentials.fields_of(target, route),
        model_hint=model_hint(route),
        retirements=(Retirement(models=route.model_id, day=day, source=source),) if day else (),
    )
