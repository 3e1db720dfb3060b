"""The OpenAI backend of mellea-api: OpenAI itself, and any server that speaks its protocol.

This module is what the entry point names: it is light, and holds the hooks. `options` says what
becomes of each option, `models` is the catalogue; `sdk`, `credentials` (which tries the key) and
`failures` alone import the SDK.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mellea_api import CredentialReport, MelleaAPIError, ModelInfo, SessionRequest
from mellea_api.plugin import (
    BackendDescriptor,
    CredentialField,
    CredentialForm,
    CredentialRequest,
    ErrorRequest,
    ModelsRequest,
    hookimpl,
)
from mellea_api_openai.models import CATALOGUE
from mellea_api_openai.options import RULES

if TYPE_CHECKING:
    from mellea import MelleaSession

__all__ = [
    "create_session",
    "describe_backend",
    "list_models",
    "translate_error",
    "validate_credentials",
]


@hookimpl
def describe_backend(name: str) -> BackendDescriptor:
    """Describe OpenAI and the servers that are compatible with it."""
    return BackendDescriptor(
        name=name,
        summary="OpenAI, and any server that speaks its protocol",
        sdk=("openai", "httpx"),
        default_model=CATALOGUE[0].id,
        credentials=(
            CredentialField(
                name="api_key",
                variables="OPENAI_API_KEY",
                required="official",
                help="Keys are made at https://platform.openai.com/api-keys.",
                form=CredentialForm(
                    # Beside keys, OpenAI takes the tokens of its own logins, which are JWTs.
                    pattern=r"(?!sk-ant-|sk-or-)(sk|sess|ek|rk)[-_].+|eyJ.+",
                    words="it is no key of OpenAI's: those begin with sk-, and neither with "
                    "sk-ant- (Anthropic's) nor with sk-or- (OpenRouter's)",
                    source="https://platform.openai.com/docs/api-reference/authentication (2025)",
                ),
            ),
            CredentialField(
                name="organization",
                variables="OPENAI_ORG_ID",
                secret=False,
                required="never",
                header=True,
            ),
            CredentialField(
                name="project",
                variables=("OPENAI_PROJECT", "OPENAI_PROJECT_ID"),
                secret=False,
                required="never",
                header=True,
            ),
        ),
        options=RULES,
        models=CATALOGUE,
        base_url_variables=("OPENAI_BASE_URL",),
        default_base_url="https://api.openai.com/v1",
        full_base_url=True,
        official_hosts=("api.openai.com", "*.api.openai.com"),
        model_identifier="openai_name",
        start_hint="Check the address (OPENAI_BASE_URL or base_url=), and that a server is there.",
        model_hint="`mellea-api models openai` shows the models that the server has.",
    )


@hookimpl
def validate_credentials(request: CredentialRequest) -> CredentialReport | None:
    """With `probe`, ask the server for its models with the key."""
    if not request.probe:
        return None
    from mellea_api_openai import credentials

    return credentials.probe(request)


@hookimpl
def list_models(request: ModelsRequest) -> Sequence[ModelInfo] | None:
    """List the models that the server has, its catalogue if it is not to be asked."""
    if not request.live:
        return None
    from mellea_api_openai import sdk

    return sdk.list_models(request)


@hookimpl
def create_session(request: SessionRequest) -> MelleaSession:
    """Create a session, after asking the server for the model."""
    from mellea_api_openai import sdk

    return sdk.create_session(request)


@hookimpl
def translate_error(request: ErrorRequest) -> MelleaAPIError | None:
    """Say what the OpenAI SDK raises in the library's terms."""
    from mellea_api_openai import failures

    return failures.translate_error(request)
