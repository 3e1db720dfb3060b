"""The hooks that need Mellea, transformers or huggingface_hub.

The core imports this module for the first session, or for the first question to the Hub.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.metadata
import os
from typing import TYPE_CHECKING

from huggingface_hub.utils import validate_repo_id

from mellea_api import CredentialReport, ModelInfo, PluginError, SessionRequest
from mellea_api.plugin import CredentialRequest, ModelsRequest, hookimpl
from mellea_api_hf import failures, hub

if TYPE_CHECKING:
    from mellea import MelleaSession

translate_error = hookimpl(failures.translate_error)


def _token(request: SessionRequest | ModelsRequest | CredentialRequest) -> str | None:
    """Return the token to send; None lets huggingface_hub read its own file.

    It renews the tokens in that file that expire.
    """
    secret = request.credentials.get("token")
    from_file = secret is not None and secret.source.startswith("token file")
    return None if from_file else request.credential("token")


@hookimpl
async def list_models(request: ModelsRequest) -> list[ModelInfo]:
    """List the local cache and the catalogue; with the setting `hub`, what the Hub has."""
    words = request.setting("hub")
    if not words:
        return hub.cached_models(request.target.descriptor.models)
    words = "" if words is True else words
    return await hub.search(words, request.setting("limit"), _token(request))


@hookimpl
async def validate_credentials(request: CredentialRequest) -> CredentialReport:
    """Ask the Hub whether the model is open to the token; of a folder, whether it knows the token.

    Raises:
        Exception: The Hub's refusal, or that it does not answer.
    """
    model, given = request.target.model_id, "token" in request.credentials
    sent = _token(request) if given else False
    if await asyncio.to_thread(os.path.isdir, model):
        if not given:
            return request.unchecked(f"{model} is a folder here, which needs no token.")
        await hub.confirm("whoami-v2", sent)
        return request.accepted(f"The token is good; {model} is a folder here, and needs none.")
    validate_repo_id(model)
    await hub.confirm(f"models/{model}/auth-check", sent)
    good = f"The token is good, and opens {model}." if given else f"{model} needs no token."
    return request.accepted(good)


@hookimpl
def create_session(request: SessionRequest) -> MelleaSession:
    """Load the model, unless it is in memory, and build Mellea's session."""
    target = request.target
    check_versions(target.mellea_version)
    from mellea_api_hf.backend import LocalHFBackend
    from mellea_api_hf.weights import PATIENCE, Recipe, load

    if "custom_config" in target.settings:
        return request.build(LocalHFBackend, also=LocalHFBackend.__bases__, request=request)
    recipe = Recipe(
        model_id=target.model_id,
        revision=request.setting("revision"),
        device=request.setting("device"),
        dtype=request.setting("dtype") or "auto",
        trust_remote_code=request.setting("trust_remote_code"),
        token=_token(request),
        patience=request.timeout or PATIENCE,
    )

    return request.build(
        LocalHFBackend,
        also=LocalHFBackend.__bases__,
        load=functools.partial(load, recipe, share=request.setting("share")),
        request=request,
    )


def check_versions(mellea: str) -> None:
    """Check that Mellea and transformers go together: 0.3 to 0.6 crash on transformers 5.

    Raises:
        PluginError: If they do not.
    """
    installed = importlib.metadata.version("transformers")
    numbers = [int(part) for part in mellea.split(".")[:2] if part.isdigit()]
    if numbers < [0, 7] and int(installed.partition(".")[0]) >= 5:
        raise PluginError(
            f"Cannot use the hf backend: Mellea {mellea} does not run on transformers "
            f"{installed}, only on one below 5.",
            next_step=f'Run `pip install "mellea[hf]=={mellea}" "transformers>=4.53.2,<5"`, or '
            'upgrade Mellea: `pip install --upgrade "mellea[hf]"`.',
        )
