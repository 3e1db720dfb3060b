"""What rules cannot say about a call's options: which names may be passed on unchecked."""

from __future__ import annotations

from mellea_api import NormalizedOptions, OptionProblem
from mellea_api._options.plan import apply_rules, option_error, spelled
from mellea_api._options.rules import EXTRA
from mellea_api.plugin import OptionsRequest
from mellea_api_litellm.routes import find, snapshot

__all__ = ["normalize"]


def normalize(request: OptionsRequest) -> NormalizedOptions:
    """Render options by the rules of their target.

    Args:
        request: Canonical options.

    Raises:
        OptionError: If an option cannot be sent as it was given.
    """
    target = request.target
    route = find(target.model_id)
    merges = route is not None and route.merges
    problems = [
        OptionProblem(spelled(request.origins.get(name), name), why)
        for name in request.options
        if name.startswith(EXTRA) and (why := _refusal(name.removeprefix(EXTRA), merges))
    ]
    if problems:
        raise option_error(target.backend, problems)
    return apply_rules(request)


def _refusal(name: str, merges: bool) -> str:
    """Return why a name cannot be passed on unchecked, or nothing.

    Beside the options LiteLLM takes it for an argument of its own; one that it knows as OpenAI's
    it would translate, or drop.
    """
    if name in ("api_key", "api_base", "base_url"):
        return "cannot be passed on: give it to start_session"
    if merges:
        return ""
    if name in snapshot()["own"]:
        return "cannot be passed on: LiteLLM takes it for an argument of its own"
    if name in snapshot()["parameters"]:
        return "cannot be passed on unchecked: LiteLLM would translate or drop it; give it directly"
    return ""
