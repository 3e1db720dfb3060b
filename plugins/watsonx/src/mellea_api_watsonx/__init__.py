"""The watsonx.ai backend of mellea-api: IBM Cloud, and Cloud Pak for Data.

This module is what the entry point names: it is light, and holds the hooks. `options` says what
becomes of each option, `regions` which addresses there are, `models` is the catalogue, and `specs`
asks a region for its models; `sdk`, which logs in and makes sessions, and `failures` alone import
the SDK.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import evolve

from mellea_api import CredentialReport, MelleaAPIError, ModelInfo, SessionRequest
from mellea_api.plugin import (
    BackendDescriptor,
    CredentialField,
    CredentialFieldsRequest,
    CredentialRequest,
    ErrorRequest,
    ModelsRequest,
    Setting,
    hookimpl,
)
from mellea_api_watsonx.models import CATALOGUE
from mellea_api_watsonx.options import RULES
from mellea_api_watsonx.regions import OFFICIAL_HOSTS

if TYPE_CHECKING:
    from mellea import MelleaSession

__all__ = [
    "create_session",
    "credential_fields",
    "describe_backend",
    "list_models",
    "translate_error",
    "validate_credentials",
]


@hookimpl
def describe_backend(name: str) -> BackendDescriptor:
    """Describe watsonx.ai."""
    return BackendDescriptor(
        name=name,
        summary="IBM watsonx.ai, on IBM Cloud or Cloud Pak for Data",
        sdk=("ibm_watsonx_ai",),
        default_model=CATALOGUE[0].id,
        credentials=(
            CredentialField(
                name="api_key",
                variables=("WATSONX_API_KEY", "WATSONX_APIKEY"),
                help="Keys are made at https://cloud.ibm.com/iam/apikeys.",
            ),
            CredentialField(
                name="project_id",
                variables="WATSONX_PROJECT_ID",
                secret=False,
                help="It is on the Manage tab of the project, under General.",
            ),
            CredentialField(
                name="username",
                variables="WATSONX_USERNAME",
                secret=False,
                required="never",
                help="Cloud Pak for Data alone asks for it.",
            ),
        ),
        settings=(
            Setting(
                name="validate",
                type="boolean",
                default=True,
                help="validate=False opens a session without asking for the model.",
            ),
            Setting(
                name="max_retries",
                type="integer",
                default=0,
                help="How often the SDK asks again when the server is busy.",
            ),
        ),
        options=RULES,
        models=CATALOGUE,
        listing_needs="compatible",  # IBM Cloud lists them for everybody
        base_url_variables=("WATSONX_URL",),
        default_base_url="https://us-south.ml.cloud.ibm.com",
        official_hosts=OFFICIAL_HOSTS,
        model_identifier="watsonx_name",
        start_hint="Check the address (WATSONX_URL or base_url=), the network and its proxy "
        "(HTTPS_PROXY).",
        model_hint="`mellea-api models watsonx` shows the models of the region.",
    )


@hookimpl
def credential_fields(request: CredentialFieldsRequest) -> Sequence[CredentialField] | None:
    """Ask for the user's name where the server is Cloud Pak for Data."""
    if request.target.server == "official":
        return None
    return [
        evolve(field, required="always") if field.name == "username" else field
        for field in request.target.descriptor.credentials
    ]


@hookimpl
def validate_credentials(request: CredentialRequest) -> CredentialReport | None:
    """Try the key and the project, if that is asked for."""
    if not request.probe:
        return None
    from mellea_api_watsonx import sdk

    return sdk.validate_credentials(request)


@hookimpl
def list_models(request: ModelsRequest) -> Sequence[ModelInfo] | None:
    """List the models of the region, the catalogue if it is not to be asked."""
    if not request.live:
        return None
    from mellea_api_watsonx import sdk

    return sdk.list_models(request)


@hookimpl
def create_session(request: SessionRequest) -> MelleaSession:
    """Create a session, after seeing that the key, the project and the model are right."""
    from mellea_api_watsonx import sdk

    return sdk.create_session(request)


@hookimpl
def translate_error(request: ErrorRequest) -> MelleaAPIError | None:
    """Say what the watsonx.ai SDK raises in the library's terms."""
    from mellea_api_watsonx import failures

    return failures.translate_error(request)
