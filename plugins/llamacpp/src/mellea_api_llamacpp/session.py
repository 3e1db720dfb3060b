"""The hooks of this plugin; the core imports this module when it first needs one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mellea_api import ConfigurationError, MelleaAPIError
from mellea_api.plugin import (
    ErrorRequest,
    ModelInfo,
    ModelsRequest,
    SessionRequest,
    engine_error,
    engine_session,
    hookimpl,
)
from mellea_api_llamacpp import engine, models

if TYPE_CHECKING:
    from mellea import MelleaSession


@hookimpl
def list_models(request: ModelsRequest) -> list[ModelInfo]:
    """List the models whose files are on this machine."""
    return models.on_this_machine()


@hookimpl
async def create_session(request: SessionRequest) -> MelleaSession:
    """Load the model, or take the one that is loaded, and build Mellea's session on it."""
    for name in ("context_window", "parallel", "threads"):
        value = request.setting(name)
        if value is not None and value < 1:
            raise ConfigurationError(f"Cannot use {name}={value}.", next_step="Give 1 or more.")
    request.no_limit()  # a model may have to be downloaded
    path = await asyncio.to_thread(models.find, request.target.model_id)
    found = await asyncio.to_thread(
        engine.held,
        path,
        request.setting("context_window"),
        parallel=request.setting("parallel"),
        threads=request.setting("threads") or engine.cores(),
        gpu_layers=request.setting("gpu_layers"),
    )
    try:
        return await engine_session(request, found)
    finally:
        await asyncio.to_thread(found.leave)


@hookimpl
def translate_error(request: ErrorRequest) -> MelleaAPIError | None:
    """Read the SDK's errors, as of any server that speaks its protocol."""
    return engine_error(request)
