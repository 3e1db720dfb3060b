"""Finding, checking and holding backends.

`discovery` reads installed metadata and imports nothing; `registry` is the immutable value that
holds what was found, and `shared` the one that the functions of `mellea_api` share. What follows
is imported when a backend is first asked for: `loading` imports one plugin, guarded, and checks
it against the contract; `hooks` asks the hooks of one backend, and `credentials` those about its
credentials; `backend` is one loaded backend with all it can be asked.
"""

from typing import TYPE_CHECKING, Any

from mellea_api._registry.discovery import PluginRecord, Settings
from mellea_api._registry.registry import Registry

if TYPE_CHECKING:
    from mellea_api._registry.backend import Backend

__all__ = ["Backend", "PluginRecord", "Registry", "Settings"]


def __getattr__(name: str) -> Any:
    if name != "Backend":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mellea_api._registry.backend import Backend

    return Backend
