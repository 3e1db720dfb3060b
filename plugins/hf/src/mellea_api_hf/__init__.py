"""The Hugging Face backend of mellea-api: models inside the process, run by transformers.

This module is what the entry point names: it is light, and holds the hooks. `options` says what
transformers does with each option, `models` is the catalogue, `settings` and `token` need no
library; `sdk` makes sessions (with `backend`, `weights` and `generation`), `hub` lists models,
`credentials` tries the token, `failures` says errors: these alone import Mellea and what is below.
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
    CredentialRequest,
    ErrorRequest,
    ModelsRequest,
    OptionsRequest,
    hookimpl,
)
from mellea_api_hf.models import CATALOGUE
from mellea_api_hf.options import RULES, normalize
from mellea_api_hf.token import FIELD

if TYPE_CHECKING:
    from mellea import MelleaSession

__all__ = [
    "create_session",
    "describe_backend",
    "list_models",
    "normalize_options",
    "translate_error",
    "validate_credentials",
]


@hookimpl
def describe_backend(name: str) -> BackendDescriptor:
    """Describe transformers on this machine."""
    return BackendDescriptor(
        name=name,
        summary="Models inside the process, run by Hugging Face transformers",
        sdk=("huggingface_hub", "transformers", "torch"),
        default_model=CATALOGUE[0].id,
        credentials=(FIELD,),
        options=RULES,
        models=CATALOGUE,
        list_variables=("HF_ENDPOINT",),
        model_identifier="hf_model_name",
        start_hint="Check the network, HF_ENDPOINT and HF_HUB_OFFLINE; what is in the local cache "
        "works offline.",
        model_hint="Check the id at https://huggingface.co/{model}, or give a folder on disk.",
    )


@hookimpl
def validate_credentials(request: CredentialRequest) -> CredentialReport | None:
    """With `probe`, ask the Hub whether the model is open to the token."""
    if not request.probe:
        return None
    from mellea_api_hf import credentials

    return credentials.probe(request)


@hookimpl
def list_models(request: ModelsRequest) -> Sequence[ModelInfo] | None:
    """List what is in the local cache, then the catalogue; with `hub=True` what the Hub has."""
    if not request.live:
        return None
    from mellea_api_hf import hub

    return hub.list_models(request)


@hookimpl
def create_session(request: SessionRequest) -> MelleaSession:
    """Create a session; its model is loaded once in a process, and downloaded if need be."""
    from mellea_api_hf import sdk

    return sdk.create_session(request)


@hookimpl
def normalize_options(request: OptionsRequest) -> NormalizedOptions:
    """Say options as `generate()` takes them."""
    return normalize(request)


@hookimpl
def translate_error(request: ErrorRequest) -> MelleaAPIError | None:
    """Say what huggingface_hub and transformers raise in the library's terms."""
    from mellea_api_hf import failures

    return failures.translate_error(request)
