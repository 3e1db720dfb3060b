"""A face: a module whose names are loaded when they are first used."""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing would cost more than the rest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


def names_of(homes: Mapping[str, str], *others: str) -> list[str]:
    """Return the names of a face, sorted: constants, then classes, then functions.

    Args:
        homes: The names, with spaces between them, by the module that has them.
        others: Names that the face has itself.
    """
    names = [*others, *" ".join(homes.values()).split()]
    return sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name))


def loader(face: dict[str, Any], homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a face.

    Args:
        face: The variables of the module.
        homes: The names, with spaces between them, by the module that has them.
    """

    def load(name: str) -> Any:
        import importlib

        for module, names in homes.items():
            if name in names.split():
                value = face[name] = getattr(importlib.import_module(f"mellea_api.{module}"), name)
                return value
        raise AttributeError(f"module {face['__name__']!r} has no attribute {name!r}")

    return load
