"""Arguments of `start_session` and `list_models` that are this backend's own."""

from __future__ import annotations

from typing import Final

from mellea_api._provider import authoring
from mellea_api.plugin import Target

__all__ = ["HANDED", "LISTING", "OPENING", "check_listing", "flag"]

HANDED: Final = (
    *("api_version", "organization", "max_retries", "num_retries", "mock_response"),
    *("project_id", "space_id", "region_name"),
    *("vertex_project", "vertex_location", "aws_region_name", "aws_profile_name"),
)
"""Settings that are handed to LiteLLM with each call."""
OPENING: Final = ("check",)
"""Settings that say how a session is opened."""
LISTING: Final = ("provider", "usable")
"""Settings that say which models are listed."""

_FLAGS: Final = {
    "check": "Use check=False to open a session without asking the server for the model.",
    "usable": "Use usable=True to list only what there are credentials for, or usable=False.",
}


def flag(target: Target, name: str, default: bool) -> bool:
    """Return a setting that is yes or no.

    Raises:
        ConfigurationError: If it is neither.
    """
    return authoring.flag(target, name, default, _FLAGS[name])


def check_listing(target: Target) -> None:
    """Refuse what is no setting: a misspelt filter would list everything.

    Raises:
        ConfigurationError: If there is one, or one of a wrong type.
    """
    flag(target, "usable", False)
    authoring.check_listing(target, *LISTING, also=(*OPENING, *HANDED))
