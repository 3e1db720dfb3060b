"""From what a plugin's `create_session` returned to the session that a program gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mellea_api._contract.errors import MelleaAPIError, PluginError
from mellea_api._contract.requests import ErrorRequest, SessionRequest
from mellea_api._options.pipeline import OptionPipeline
from mellea_api._secrecy.logs import logger
from mellea_api._secrecy.secrets import Secret
from mellea_api._sessions import _mellea, telemetry


def make_ready(
    session: Any,
    request: SessionRequest,
    *,
    wrong: Callable[[], PluginError],
    context: Any,
    pipeline: OptionPipeline,
    translate: Callable[[ErrorRequest], MelleaAPIError | None],
    credentials: Mapping[str, Secret],
) -> Any:
    """Adopt a session's backend, and give the session its context and run id.

    Args:
        session: What the plugin returned.
        request: What was asked for.
        wrong: Returns the error for what is no session of Mellea.
        context: Mellea's context for the session.
        pipeline: The path of its options, with its defaults.
        translate: Says an SDK's exception in our terms.
        credentials: What the session calls with.

    Returns:
        The session.

    Raises:
        PluginError: If it is no session of Mellea, or its backend cannot be adopted.
    """
    from mellea import MelleaSession

    # asyncio, which only a session needs
    from mellea_api._sessions.adoption import Adoption, adopt
    from mellea_api._sessions.calls import adopt_session

    target = request.target
    if not isinstance(session, MelleaSession):
        raise wrong()
    adoption = Adoption(
        pipeline,
        translate,
        timeout=request.timeout,
        run_id=request.run_id,
        secrets=credentials.values(),
    )
    adoption.user_options = dict(request.options)
    adopt(session.backend, adoption)
    _mellea.apply_context(session, context)
    adopt_session(session, request.run_id)
    if request.run_id is not None:
        telemetry.mark_spans()
    _mellea.finish_start(session, target.model_id, dict(request.session_arguments))
    logger.debug(
        "started a session: backend %s, model %s",
        target.backend,
        target.model_id,
        extra={"run_id": request.run_id},
    )
    return session
