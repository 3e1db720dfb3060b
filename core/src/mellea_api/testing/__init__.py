"""What plugin authors need to test their backends, with pytest and hypothesis.

Nothing is imported until it is asked for.
"""

from __future__ import annotations

from mellea_api._face import loader, names_of

# Type checkers take it for `typing.TYPE_CHECKING`; importing typing would cost more than the rest.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from mellea_api.testing.contract import BackendContract as BackendContract
    from mellea_api.testing.contract import (
        registry_without_extensions as registry_without_extensions,
    )
    from mellea_api.testing.hostile import HOSTILE as HOSTILE
    from mellea_api.testing.loopback import Asked as Asked
    from mellea_api.testing.loopback import LoopbackServer as LoopbackServer
    from mellea_api.testing.loopback import Reply as Reply
    from mellea_api.testing.loopback import openai_answer as openai_answer
    from mellea_api.testing.server import ServerContract as ServerContract
    from mellea_api.testing.strategies import invalid_values as invalid_values
    from mellea_api.testing.strategies import option_dicts as option_dicts
    from mellea_api.testing.strategies import spelled as spelled
    from mellea_api.testing.strategies import valid_values as valid_values

_HOMES = {
    "testing.contract": "BackendContract registry_without_extensions",
    "testing.hostile": "HOSTILE",
    "testing.loopback": "Asked LoopbackServer Reply openai_answer",
    "testing.server": "ServerContract",
    "testing.strategies": "invalid_values option_dicts spelled valid_values",
}
__all__ = names_of(_HOMES)
__getattr__ = loader(globals(), _HOMES)


def __dir__() -> list[str]:
    return __all__
