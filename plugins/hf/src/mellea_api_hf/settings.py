"""Arguments of `start_session` and `list_models` that are this backend's own."""

from __future__ import annotations

from typing import Any, Final

from mellea_api import ConfigurationError
from mellea_api.plugin import Target

__all__ = ["LISTING", "LOADING", "setting"]

LOADING: Final = ("revision", "device", "dtype", "trust_remote_code", "share")
"""Settings that say how a model is loaded; the others are arguments of Mellea's backend."""
LISTING: Final = ("hub", "limit")
"""Settings that say which models are listed."""

_TYPES: Final[dict[str, type | tuple[type, ...]]] = {
    "revision": str,
    "device": str,
    "dtype": str,
    "trust_remote_code": bool,
    "share": bool,
    "hub": (bool, str),
    "limit": int,
}


def setting(target: Target, name: str, default: Any) -> Any:
    """Return a setting.

    Raises:
        ConfigurationError: If it is of a wrong type.
    """
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
