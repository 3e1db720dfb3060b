"""Finding, checking and holding backends.

`discovery` reads installed metadata and imports nothing; `loading` imports one plugin, guarded,
and checks it against the contract; `backend` is one loaded backend with all it can be asked;
`registry` is the immutable value that ties them together.
"""

from mellea_api.registry.backend import Backend
from mellea_api.registry.discovery import PluginRecord, Settings
from mellea_api.registry.registry import Registry

__all__ = ["Backend", "PluginRecord", "Registry", "Settings"]
