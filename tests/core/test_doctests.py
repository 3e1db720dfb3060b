"""The examples in the documentation of functions are true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import mellea_api

MODULES = sorted(found.name for found in pkgutil.walk_packages(mellea_api.__path__, "mellea_api."))


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_the_examples_of_a_module_are_true(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    from mellea_api._options import rules

    assert any(found.examples for found in finder.find(rules))
