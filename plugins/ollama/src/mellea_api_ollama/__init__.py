"""The Ollama backend of mellea-api: local models; a key only where a server asks for one.

This module is what the entry point names: it is light, and holds the hooks. `options` says what
Ollama does with each option, `models` is the catalogue; `sdk`, `credentials` (which tries the
server) and `failures` alone import the SDK, by way of `loading`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mellea_api import CredentialReport, MelleaAPIError, ModelInfo, SessionRequest
from mellea_api.plugin import (
    BackendDescriptor,
    CredentialField,
    CredentialRequest,
    ErrorRequest,
    ModelsRequest,
    hookimpl,
)
from mellea_api_ollama.models import CATALOGUE
from mellea_api_ollama.options import RULES

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
    """Describe Ollama."""
    return BackendDescriptor(
        name=name,
        summary="Local models on an Ollama server",
        default_model=CATALOGUE[0].id,
        credentials=(
            # The SDK sends it by itself, so it is ours to keep out of errors and logs.
            CredentialField(
                name="api_key",
                variables="OLLAMA_API_KEY",
                required="never",
                help="ollama.com asks for one (https://ollama.com/settings/keys), or a gateway.",
            ),
        ),
        options=RULES,
        models=CATALOGUE,
        list_variables=("OLLAMA_API_KEY",),  # the client sends it, if there is one
        base_url_variables=("OLLAMA_HOST",),
        default_base_url="http://127.0.0.1:11434",
        model_identifier="ollama_name",
        start_hint="Start it with `ollama serve`, or point OLLAMA_HOST at a running one.",
        model_hint="Get it with `ollama pull {model}`, or pass pull=True.",
    )


@hookimpl
def validate_credentials(request: CredentialRequest) -> CredentialReport | None:
    """With `probe`, see whether the server is there, and takes the key if there is one."""
    if not request.probe:
        return None
    from mellea_api_ollama import credentials

    return credentials.probe(request)


@hookimpl
def list_models(request: ModelsRequest) -> Sequence[ModelInfo] | None:
    """List the models that the server has, its catalogue if it is not to be asked."""
    if not request.live:
        return None
    from mellea_api_ollama import sdk

    return sdk.list_models(request)


@hookimpl
def create_session(request: SessionRequest) -> MelleaSession:
    """Create a session; a model that is missing is pulled only with `pull=True`."""
    from mellea_api_ollama import sdk

    return sdk.create_session(request)


@hookimpl
def translate_error(request: ErrorRequest) -> MelleaAPIError | None:
    """Say what the Ollama SDK raises in the library's terms."""
    from mellea_api_ollama import failures

    return failures.translate_error(request)
