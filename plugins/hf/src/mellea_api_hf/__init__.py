"""The Hugging Face backend of mellea-api: models inside the process, run by transformers.

This module is what the entry point names: it is light, and holds the hooks. `options` has the
option rules, `models` the catalogue; `token` finds the token. `sdk` makes sessions
(with `backend`, `weights`, `generation` and `stopping`), `hub` asks the Hub, and `failures`
translates errors: these alone import Mellea, transformers and huggingface_hub.
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
    Setting,
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


SETTINGS = (
    Setting(name="revision", help="A branch, tag or commit on the Hub; the newest if not given."),
    Setting(name="device", help="cpu, cuda, cuda:1 or mps; the best there is if not given."),
    Setting(name="dtype", help="The type of the weights, such as bfloat16; else the checkpoint's."),
    Setting(
        name="trust_remote_code",
        type="boolean",
        default=False,
        help="Whether code that comes with the model may run.",
    ),
    Setting(
        name="share",
        type="boolean",
        default=True,
        help="Whether sessions of the same model share its weights.",
    ),
    Setting(
        name="hub",
        type="boolean text",
        default=False,
        scope="models",
        help="True lists the most downloaded models of the Hub; a text, those whose names match.",
    ),
    Setting(name="limit", type="integer", default=50, scope="models", help="How many, with hub=."),
)


@hookimpl
def describe_backend(name: str) -> BackendDescriptor:
    """Describe transformers on this machine."""
    return BackendDescriptor(
        name=name,
        summary="Models inside the process, run by Hugging Face transformers",
        sdk=("huggingface_hub", "transformers", "torch"),
        default_model=CATALOGUE[0].id,
        credentials=(FIELD,),
        settings=SETTINGS,
        arguments_of="mellea_api_hf.backend:LocalHFBackend",
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
    from mellea_api_hf import sdk

    return sdk.validate_credentials(request)


@hookimpl
def list_models(request: ModelsRequest) -> Sequence[ModelInfo] | None:
    """List what is in the local cache, then the catalogue; with `hub=True` what the Hub has."""
    if not request.live:
        return None
    from mellea_api_hf import sdk

    return sdk.list_models(request)


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
