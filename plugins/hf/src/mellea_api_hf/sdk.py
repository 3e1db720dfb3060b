"""Sessions: what asks Mellea and transformers for them."""

from __future__ import annotations

import importlib.metadata
import inspect
from typing import Any

from mellea_api import MelleaAPIError, PluginError, SessionRequest
from mellea_api._provider.authoring import construct
from mellea_api.plugin import ErrorRequest, Target
from mellea_api_hf.failures import translate_error
from mellea_api_hf.settings import LOADING, setting

__all__ = ["check_versions", "create_session"]


def create_session(request: SessionRequest) -> Any:
    """Load the model, unless it is in memory, and build Mellea's session.

    Raises:
        PluginError: If Mellea and transformers do not go together, or transformers is missing.
        ModelNotFoundError: If neither the Hub nor this machine has the model.
        CredentialError: If the model is gated and there is no token, or the Hub rejects it.
        PermissionDeniedError: If the model is gated and the token's owner was not let in.
        ConfigurationError: If a setting is wrong.
    """
    target = request.target
    check_versions(target)
    from mellea import MelleaSession

    try:
        from mellea_api_hf.backend import LocalHFBackend
    except ImportError as error:
        raise _missing(target, error) from error
    from mellea_api_hf.weights import PATIENCE, Recipe, load

    settings = {name: setting(target, name, None) for name in LOADING}
    if "custom_config" in target.settings:
        return MelleaSession(construct(LocalHFBackend, target, *LOADING))
    _check_settings(LocalHFBackend, target)
    recipe = Recipe(
        model_id=target.model_id,
        revision=settings["revision"],
        device=settings["device"],
        dtype=settings["dtype"] or "auto",
        trust_remote_code=bool(settings["trust_remote_code"]),
        token=request.credentials.get("token"),
        patience=request.timeout or PATIENCE,
    )
    share = settings["share"] is not False
    weights = load(recipe, share=share)
    config = (weights.tokenizer, weights.model, weights.device)
    backend = construct(LocalHFBackend, target, *LOADING, custom_config=config)

    def translate(error: BaseException) -> MelleaAPIError | None:
        return translate_error(ErrorRequest(target=target, operation="call", error=error))

    backend.share(weights, lambda: load(recipe, share=share), request.policy, translate)
    return MelleaSession(backend)


def _check_settings(cls: Any, target: Target) -> None:
    """Refuse a wrong setting before a model is loaded."""

    def nothing(model_id: str, **_: Any) -> None:
        return None

    nothing.__signature__ = inspect.signature(cls)  # type: ignore[attr-defined]
    construct(nothing, target, *LOADING)


def check_versions(target: Target) -> None:
    """See that Mellea and transformers go together: 0.3 to 0.6 crash on transformers 5.

    Raises:
        PluginError: If they do not, or transformers is not installed.
    """
    try:
        installed = importlib.metadata.version("transformers")
    except importlib.metadata.PackageNotFoundError as error:
        raise _missing(target, error) from error
    mellea = target.mellea_version or importlib.metadata.version("mellea")
    numbers = [int(part) for part in mellea.split(".")[:2] if part.isdigit()]
    if numbers < [0, 7] and int(installed.partition(".")[0]) >= 5:
        raise PluginError(
            f"Cannot use the hf backend: Mellea {mellea} does not run on transformers "
            f"{installed}, only on one below 5.",
            next_step=f'Run `pip install "mellea[hf]=={mellea}" "transformers>=4.53.2,<5"`, or '
            'upgrade Mellea: `pip install --upgrade "mellea[hf]"`.',
            backend=target.backend,
            plugin="hf",
        )


def _missing(target: Target, error: Exception) -> PluginError:
    return PluginError(
        f"Cannot use the hf backend: what it runs on is not installed ({error}).",
        next_step='Run `pip install "mellea[hf]"`.',
        backend=target.backend,
        plugin="hf",
    )
