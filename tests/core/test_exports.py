"""What `mellea_api` exports is what it says, once in each of its lists."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import mellea_api

SOURCE = ast.parse(Path(inspect.getsourcefile(mellea_api) or "").read_text())
MODULES = sorted(
    found.name
    for found in pkgutil.walk_packages(mellea_api.__path__, "mellea_api.")
    if not found.name.endswith("__main__")
)


def for_type_checkers() -> dict[str, str]:
    """The names that type checkers see, each with its module."""
    (block,) = (
        node
        for node in SOURCE.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    return {
        alias.name: (node.module or "")
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.module != "typing"
        for alias in node.names
    }


def test_all_is_sorted_and_says_nothing_twice() -> None:
    def order(name: str) -> tuple[bool, bool, str]:
        return (not name.isupper(), not name[0].isupper(), name)

    assert mellea_api.__all__ == sorted(set(mellea_api.__all__), key=order)


def test_type_checkers_see_what_programs_get() -> None:
    at_run_time = {name: f"mellea_api.{module}" for name, module in mellea_api._HOME.items()}
    assert for_type_checkers() == at_run_time
    assert sorted(mellea_api.__all__) == sorted([*at_run_time, "__version__"])


@pytest.mark.parametrize("name", mellea_api.__all__)
def test_every_name_can_be_had_and_is_in_all_of_its_module(name: str) -> None:
    value = getattr(mellea_api, name)
    if name in mellea_api._HOME:
        home = importlib.import_module(f"mellea_api.{mellea_api._HOME[name]}")
        assert getattr(home, name) is value
        assert name in home.__all__


def test_dir_lists_all() -> None:
    assert dir(mellea_api) == sorted(mellea_api.__all__)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'mellea_api' has no attribute 'start_sesion'"):
        mellea_api.start_sesion  # noqa: B018 - the look-up is the test


@pytest.mark.parametrize("name", MODULES)
def test_all_of_every_module_is_sorted_and_there(name: str) -> None:
    module = importlib.import_module(name)
    if name == "mellea_api.testing" or name.endswith(".options"):
        return  # packages that hold only modules

    def order(name: str) -> tuple[bool, bool, str]:
        return (not name.isupper(), not name[0].isupper(), name)

    assert module.__all__ == sorted(set(module.__all__), key=order)
    for exported in module.__all__:
        assert hasattr(module, exported)
