"""What plugin authors need to test their backends, with pytest and hypothesis.

Nothing is imported until it is asked for.
"""

from __future__ import annotations

# Type checkers take it for `typing.TYPE_CHECKING`; importing typing would cost more than the rest.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from mellea_api.testing.contract import BackendContract, registry_without_extensions
    from mellea_api.testing.loopback import Asked, LoopbackServer, Reply, openai_answer
    from mellea_api.testing.server import ServerContract
    from mellea_api.testing.strategies import invalid_values, option_dicts, spelled, valid_values


_HOMES = {
    "testing.contract": "BackendContract registry_without_extensions",
    "testing.loopback": "Asked LoopbackServer Reply openai_answer",
    "testing.server": "ServerContract",
    "testing.strategies": "invalid_values option_dicts spelled valid_values",
}
__all__ = [
    "Asked",
    "BackendContract",
    "LoopbackServer",
    "Reply",
    "ServerContract",
    "invalid_values",
    "openai_answer",
    "option_dicts",
    "registry_without_extensions",
    "spelled",
    "valid_values",
]


def __getattr__(name: str) -> Any:
    import importlib

    for module, names in _HOMES.items():
        if name in names.split():
            value = getattr(importlib.import_module(f"mellea_api.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
