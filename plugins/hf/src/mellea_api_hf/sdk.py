"""The hooks that need Mellea, transformers or huggingface_hub."""

from __future__ import annotations

import functools
import importlib.metadata
import os
from typing import Any

from huggingface_hub.utils import validate_repo_id

from mellea_api import CredentialReport, MelleaAPIError, ModelInfo, PluginError, SessionRequest
from mellea_api._provider.authoring import run_with_deadline
from mellea_api.plugin import CredentialRequest, ErrorRequest, ModelsRequest, Target
from mellea_api_hf import hub
from mellea_api_hf.failures import translate_error
from mellea_api_hf.token import to_send


def list_models(request: ModelsRequest) -> list[ModelInfo]:
    """List the local cache and the catalogue; with the setting `hub`, what the Hub has."""
    words = request.setting("hub")
    if not words:
        return hub.cached_models(request.target)
    words = "" if words is True else words
    token = to_send(request.credentials.get("token"))
    return run_with_deadline(
        lambda: hub.search(request.target, words, request.setting("limit"), token),
        request.timeout,
    )


def validate_credentials(request: CredentialRequest) -> CredentialReport:
    """Ask the Hub whether the model is open to the token; of a folder, whether it knows the token.

    Raises:
        Exception: The Hub's refusal, or that it does not answer.
    """
    model, token = request.target.model_id, request.credentials.get("token")
    sent = to_send(token) if token else False
    if os.path.isdir(model):
        if token is None:
            return request.unchecked(f"{model} is a folder here, which needs no token.")
        run_with_deadline(lambda: hub.check_token(sent), request.timeout)
        return request.accepted(f"The token is good; {model} is a folder here, and needs none.")
    validate_repo_id(model)
    run_with_deadline(lambda: hub.check_access(model, sent), request.timeout)
    good = f"The token is good, and opens {model}." if token else f"{model} needs no token."
    return request.accepted(good)


def create_session(request: SessionRequest) -> Any:
    """Load the model, unless it is in memory, and build Mellea's session.

    Raises:
        PluginError: If Mellea and transformers do not go together, or transformers is missing.
        ModelNotFoundError: If neither the Hub nor this machine has the model.
        CredentialError: If the model is gated and there is no token, or the Hub rejects it.
        PermissionDeniedError: If the model is gated and the token's owner has no access.
    """
    target = request.target
    check_versions(target)
    try:
        from mellea_api_hf.backend import LocalHFBackend
    except ImportError as error:
        raise _missing(error) from error
    from mellea_api_hf.weights import PATIENCE, Recipe, load

    if "custom_config" in target.settings:
        return request.build(LocalHFBackend)
    recipe = Recipe(
        model_id=target.model_id,
        revision=request.setting("revision"),
        device=request.setting("device"),
        dtype=request.setting("dtype") or "auto",
        trust_remote_code=request.setting("trust_remote_code"),
        token=request.credentials.get("token"),
        patience=request.timeout or PATIENCE,
    )
    reload = functools.partial(load, recipe, share=request.setting("share"))
    weights = reload()
    session = request.build(
        LocalHFBackend, custom_config=(weights.tokenizer, weights.model, weights.device)
    )

    def translate(error: BaseException) -> MelleaAPIError | None:
        return translate_error(ErrorRequest(target=target, operation="call", error=error))

    session.backend.share(weights, reload, request.policy, translate)
    return session


def check_versions(target: Target) -> None:
    """See that Mellea and transformers go together: 0.3 to 0.6 crash on transformers 5.

    Raises:
        PluginError: If they do not, or transformers is not installed.
    """
    try:
        installed = importlib.metadata.version("transformers")
    except importlib.metadata.PackageNotFoundError as error:
        raise _missing(error) from error
    mellea = target.mellea_version or importlib.metadata.version("mellea")
    numbers = [int(part) for part in mellea.split(".")[:2] if part.isdigit()]
    if numbers < [0, 7] and int(installed.partition(".")[0]) >= 5:
        raise PluginError(
            f"Cannot use the hf backend: Mellea {mellea} does not run on transformers "
            f"{installed}, only on one below 5.",
            next_step=f'Run `pip install "mellea[hf]=={mellea}" "transformers>=4.53.2,<5"`, or '
            'upgrade Mellea: `pip install --upgrade "mellea[hf]"`.',
        )


def _missing(error: Exception) -> PluginError:
    return PluginError(
        f"Cannot use the hf backend: what it runs on is not installed ({error}).",
        next_step='Run `pip install "mellea[hf]"`.',
    )
