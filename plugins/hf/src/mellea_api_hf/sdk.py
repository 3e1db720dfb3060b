"""Sessions, model lists, credentials and errors: what asks huggingface_hub and transformers."""

from __future__ import annotations

import importlib.metadata
import inspect
import time
from typing import Any, Final

from mellea_api import (
    BackendUnavailableError,
    ConfigurationError,
    CredentialError,
    CredentialFinding,
    CredentialReport,
    CredentialRequest,
    ErrorRequest,
    MelleaAPIError,
    ModelInfo,
    ModelNotFoundError,
    ModelsRequest,
    PermissionDeniedError,
    PluginError,
    RequestRefusedError,
    Secret,
    SessionRequest,
    Target,
    translation,
)
from mellea_api.authoring import call_with_deadline, construct
from mellea_api_hf.token import VARIABLES, from_file

__all__ = ["create_session", "list_models", "translate_error", "validate_credentials"]

_OWN: Final = ("revision", "device", "dtype", "trust_remote_code", "share")
"""Settings that say how a model is loaded; the others are arguments of Mellea's backend."""
_LIST: Final = ("hub", "limit")
_TYPES: Final[dict[str, type | tuple[type, ...]]] = {
    "revision": str,
    "device": str,
    "dtype": str,
    "trust_remote_code": bool,
    "share": bool,
    "hub": (bool, str),
    "limit": int,
}
_MOST: Final = 50


def _setting(target: Target, name: str, default: Any) -> Any:
    value = target.settings.get(name, default)
    wanted = _TYPES[name]
    wrong_bool = isinstance(value, bool) and wanted in (int, str)
    if value is not None and (wrong_bool or not isinstance(value, wanted)):
        kinds = wanted if isinstance(wanted, tuple) else (wanted,)
        raise ConfigurationError(
            f"Cannot use {name}={value!r} for the {target.backend} backend.",
            next_step=f"Give a {' or a '.join(kind.__name__ for kind in kinds)}, or leave it out.",
            backend=target.backend,
        )
    return value


def _token(secret: Secret | None) -> str | None:
    """Return the token to send; None lets huggingface_hub read its file, and renew what it says."""
    return None if secret is None or from_file(secret) else secret.reveal()


# ------------------------------------------------------------------------------------- sessions


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
    from mellea_api_hf.weights import Recipe, load

    settings = {name: _setting(target, name, None) for name in _OWN}
    if "custom_config" in target.settings:
        return MelleaSession(construct(LocalHFBackend, target, *_OWN))
    _check_settings(LocalHFBackend, target)
    recipe = Recipe(
        model_id=target.model_id,
        revision=settings["revision"],
        device=settings["device"],
        dtype=settings["dtype"] or "auto",
        trust_remote_code=bool(settings["trust_remote_code"]),
        token=request.credentials.get("token"),
    )
    share = settings["share"] is not False
    weights = load(recipe, share=share)
    config = (weights.tokenizer, weights.model, weights.device)
    backend = construct(LocalHFBackend, target, *_OWN, custom_config=config)

    def translate(error: BaseException) -> MelleaAPIError | None:
        return translate_error(ErrorRequest(target=target, operation="call", error=error))

    backend.share(weights, lambda: load(recipe, share=share), request.policy, translate)
    return MelleaSession(backend)


def _check_settings(cls: Any, target: Target) -> None:
    """Refuse a wrong setting before a model is loaded."""

    def nothing(model_id: str, **_: Any) -> None:
        return None

    nothing.__signature__ = inspect.signature(cls)  # type: ignore[attr-defined]
    construct(nothing, target, *_OWN)


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


# ---------------------------------------------------------------------------------- model lists


def list_models(request: ModelsRequest) -> list[ModelInfo]:
    """List what is in the local cache, then the catalogue; or, with `hub`, what the Hub has.

    `hub=True` gives the models that are downloaded most, `hub="granite"` those whose names match,
    `limit` how many.

    Raises:
        ConfigurationError: If a setting is wrong.
    """
    target = request.target
    for name in target.settings:
        if name not in (*_LIST, *_OWN):
            raise ConfigurationError(
                f"Cannot list the models of the {target.backend} backend with {name}=.",
                next_step=f"It takes {', '.join(_LIST)}.",
                backend=target.backend,
            )
    hub, limit = _setting(target, "hub", False), _setting(target, "limit", _MOST)
    if hub:
        return _on_the_hub(request, hub, limit)
    cached = _in_the_cache(target)
    names = {model.id for model in cached}
    return [*cached, *(model for model in target.descriptor.models if model.id not in names)]


def _in_the_cache(target: Target) -> list[ModelInfo]:
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        found = scan_cache_dir()
    except CacheNotFound:  # nothing was ever downloaded
        return []
    about = {model.id: model for model in target.descriptor.models}
    models = []
    for repo in sorted(found.repos, key=lambda repo: repo.repo_id):
        files = {file.file_name for revision in repo.revisions for file in revision.files}
        if repo.repo_type != "model" or not any(
            name.endswith((".safetensors", ".bin")) for name in files
        ):
            continue
        known = about.get(repo.repo_id)
        models.append(
            ModelInfo(
                id=repo.repo_id,
                description=f"{repo.size_on_disk_str} on disk",
                size=known.size if known else None,
                context_length=known.context_length if known else None,
                default=repo.repo_id == target.descriptor.default_model,
                source="cached",
                age=max(0.0, time.time() - repo.last_modified),
            )
        )
    return models


def _on_the_hub(request: ModelsRequest, hub: bool | str, limit: int) -> list[ModelInfo]:
    from huggingface_hub import HfApi

    token = request.credentials.get("token")

    def ask() -> list[Any]:
        return list(
            HfApi(token=_token(token)).list_models(
                filter="text-generation",
                search=hub if isinstance(hub, str) else None,
                sort="downloads",
                limit=limit,
            )
        )

    return [
        ModelInfo(
            id=model.id,
            description=f"{model.downloads or 0:,} downloads"
            + (", gated" if getattr(model, "gated", None) else ""),
            default=model.id == request.target.descriptor.default_model,
            source="live",
        )
        for model in call_with_deadline(ask, request.timeout)
    ]


# ---------------------------------------------------------------------------------- credentials


def validate_credentials(request: CredentialRequest) -> CredentialReport:
    """Ask the Hub who the token belongs to, and whether the model may be downloaded."""
    from huggingface_hub import HfApi

    target = request.target
    token = request.credentials.get("token")
    api = HfApi(token=_token(token) if token else False)

    def report(status: Any, message: str) -> CredentialReport:
        finding = CredentialFinding(
            name="token",
            status=("present" if status == "not-needed" else status) if token else "not-needed",
            source=token.source if token else "",
            hint=token.hint if token else "",
        )
        return CredentialReport(
            backend=target.backend, status=status, fields=[finding], message=message
        )

    def ask() -> str:
        name = str(api.whoami()["name"]) if token else ""
        api.auth_check(target.model_id)
        return name

    try:
        name = call_with_deadline(ask, request.timeout)
    except Exception as error:
        typed = translate_error(
            ErrorRequest(
                target=target, operation="credentials", error=error, timeout=request.timeout
            )
        ) or translation.by_kind(
            ErrorRequest(
                target=target, operation="credentials", error=error, timeout=request.timeout
            )
        )
        if typed is None:
            raise
        if isinstance(typed, CredentialError):
            return report("rejected" if token else "missing", str(typed))
        if isinstance(typed, PermissionDeniedError):
            return report("forbidden", str(typed))
        if isinstance(typed, ModelNotFoundError):
            return report("unchecked", str(typed))
        return report("unreachable", str(typed))
    if token:
        return report("present", f"The token of {name} is good, and opens {target.model_id}.")
    return report("not-needed", f"{target.model_id} needs no token.")


# --------------------------------------------------------------------------------------- errors


def translate_error(request: ErrorRequest) -> MelleaAPIError | None:
    """Say what huggingface_hub, transformers and torch raise in the library's terms."""
    found = list(translation.chain(request.error))
    for error in found:
        if isinstance(error, MelleaAPIError):
            return error
    for error in found:
        typed = _of_the_hub(request, error)
        if typed is not None:
            return typed
    for error in found:
        typed = _of_the_model(request, error)
        if typed is not None:
            return typed
    return None


def _facts(target: Target, status: int | None = None) -> dict[str, Any]:
    return {"backend": target.backend, "model_id": target.model_id, "status": status}


def _of_the_hub(request: ErrorRequest, error: BaseException) -> MelleaAPIError | None:
    from huggingface_hub import errors

    target = request.target
    model = target.model_id
    if isinstance(error, errors.GatedRepoError):
        return _gated(target, _status(error))
    if isinstance(error, errors.RevisionNotFoundError):
        return ModelNotFoundError(
            f"The model {model!r} has no revision {target.settings.get('revision')!r} on the Hub.",
            next_step=f"See https://huggingface.co/{model}/tree/main for those it has.",
            **_facts(target, 404),
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return ModelNotFoundError(
            f"The Hub has no model {model!r}, or it is private and the token does not open it.",
            next_step=f"{target.descriptor.model_hint.format(model=model)} For a private one, set "
            "HF_TOKEN.",
            **_facts(target, _status(error)),
        )
    if isinstance(error, errors.HFValidationError):
        return ModelNotFoundError(
            f"{model!r} is neither a folder here nor an id that the Hub can have.",
            next_step="Give an id such as meta-llama/Llama-3.2-3B-Instruct, or a folder.",
            **_facts(target),
        )
    if isinstance(error, errors.OfflineModeIsEnabled):
        return _offline(target)
    if isinstance(error, errors.HfHubHTTPError):
        status = _status(error)
        if status == 401:
            return CredentialError(
                f"The Hub rejected the token: {translation.said(error)}.",
                next_step=f"Check {VARIABLES[0]}. {target.descriptor.credentials[0].help}",
                field="token",
                variables=VARIABLES,
                **_facts(target, 401),
            )
        if status is not None:
            return translation.by_status(request, status, str(error))
    return None


def _status(error: Any) -> int | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _gated(target: Target, status: int | None) -> MelleaAPIError:
    page = f"https://huggingface.co/{target.model_id}"
    # 401: nobody knows who asks; 403: it is known, and not let in.
    if status == 401:
        return CredentialError(
            f"The model {target.model_id!r} is gated: the Hub gives it only to those who were "
            "let in, and was given no token, or none that it knows.",
            next_step=f"Ask for access at {page}, then set {VARIABLES[0]}, or pass token=. "
            f"{target.descriptor.credentials[0].help}",
            field="token",
            variables=VARIABLES,
            **_facts(target, status),
        )
    return PermissionDeniedError(
        f"The model {target.model_id!r} is gated, and the token's owner was not let in.",
        next_step=f"Ask for access at {page}, or use another model.",
        **_facts(target, status),
    )


def _offline(target: Target) -> MelleaAPIError:
    return BackendUnavailableError(
        f"Cannot ask the Hub about {target.model_id!r}: HF_HUB_OFFLINE is set.",
        next_step="Unset it, or use a model of the local cache (`mellea-api models hf`).",
        **_facts(target),
    )


_NO_MODEL: Final = (
    "does not appear to have",
    "nrecognized model",
    "not a valid",
    "backend tokenizer",
)
"""Parts of what transformers says of a folder, or a repository, without a model."""


def _of_the_model(request: ErrorRequest, error: BaseException) -> MelleaAPIError | None:
    from huggingface_hub import constants

    target = request.target
    kind, text = type(error).__name__, str(error)
    if kind in ("OutOfMemoryError", "MemoryError"):
        return BackendUnavailableError(
            f"The memory does not hold the model {target.model_id!r}: {translation.said(text)}.",
            next_step="Use a smaller model, or clean up the sessions that hold others.",
            **_facts(target),
        )
    if request.operation == "call" and isinstance(error, ValueError):
        if "model_kwargs" in text:
            return RequestRefusedError(
                f"generate() refused the options: {translation.said(text)}.",
                next_step=f"`mellea-api options {target.backend}` shows what it takes.",
                **_facts(target),
            )
        if "chat_template" in text or "chat template" in text:
            return RequestRefusedError(
                f"The model {target.model_id!r} cannot chat: {translation.said(text)}.",
                next_step="Use a model that was made for conversations (often -Instruct).",
                **_facts(target),
            )
    if request.operation != "session":
        return None
    if isinstance(error, OSError | ValueError):
        if constants.HF_HUB_OFFLINE and "cache" in text:
            return _offline(target)
        if "connect to" in text or "couldn't connect" in text:
            return translation.unreachable(request, text)
        if any(sign in text for sign in _NO_MODEL):
            return ModelNotFoundError(
                f"{target.model_id!r} holds no model that transformers can load: "
                f"{translation.said(text)}.",
                next_step="It needs a config.json, a tokenizer and weights, as save_pretrained() "
                "writes them.",
                **_facts(target),
            )
        if "does not recognize this architecture" in text or "trust_remote_code" in text:
            return RequestRefusedError(
                f"transformers cannot load the model {target.model_id!r}: "
                f"{translation.said(text)}.",
                next_step="Upgrade transformers; where the model brings its own code and you "
                "trust it, pass trust_remote_code=True.",
                **_facts(target),
            )
    return None
