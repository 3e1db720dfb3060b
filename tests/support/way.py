"""Ways into generation: what a program of Mellea can do that ends in a call to the provider.

A way is a function that takes a `Stage` and goes it, giving the stage's options wherever Mellea
takes some; it declares what must then be seen on the wire.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any, Final

import attrs
import pytest
from support.stage import BackendName, Stage

CALL: Final = 7
"""The limit that every call asks for."""
DEFAULT: Final = 11
"""The limit of the session, for what takes no options of a call."""


@attrs.frozen
class Way:
    """One way.

    Args:
        name: What it is called in reports.
        go: Goes it.
        limits: How many requests it makes, by the limit that each must carry.
        only: The one backend that has it, and why; None for all.
        raw: Whether it uses raw completions.
        chat: Whether it needs a conversation's context.
        text: What the provider answers.
        temperatures: Those that its requests carry.
    """

    name: str
    go: Callable[[Stage], Any]
    limits: Mapping[int, int]
    only: tuple[BackendName, str] | None
    raw: bool
    chat: bool
    text: str
    temperatures: frozenset[float]


WAYS: Final[list[Way]] = []


def way(
    *,
    limits: Mapping[int, int] | None = None,
    only: tuple[BackendName, str] | None = None,
    raw: bool = False,
    chat: bool = False,
    text: str = "4",
    temperatures: tuple[float, ...] = (0.5,),
) -> Callable[[Callable[[Stage], Any]], Callable[[Stage], Any]]:
    """Registers a way; see `Way`. Without limits, it makes one request with the call's."""

    def register(go: Callable[[Stage], Any]) -> Callable[[Stage], Any]:
        found = Way(
            go.__name__, go, limits or {CALL: 1}, only, raw, chat, text, frozenset(temperatures)
        )
        WAYS.append(found)
        return go

    return register


def newer(module: str, name: str = "") -> Any:
    """A module or attribute that not every Mellea has; skips, and says so, where it is missing."""
    lacks = f"Mellea {version('mellea')} has no {module} {name}".rstrip()
    try:
        with warnings.catch_warnings():
            # What Mellea's own modules have to change is not what is tested.
            warnings.simplefilter("ignore", DeprecationWarning)
            found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and f"{module}.".startswith(("mellea.", "cli.")) and error.name in module:
            pytest.skip(lacks)
        pytest.skip(f"{module} needs {error.name}, which is not installed")
    except ImportError as error:
        pytest.skip(f"{module} cannot be imported here: {error}")
    if name and not hasattr(found, name):
        pytest.skip(lacks)
    return getattr(found, name) if name else found


class FailsFirst:
    """A validation that fails the first time, so that a strategy has to repair."""

    def __init__(self, before: Callable[[], Any] = lambda: None) -> None:
        self.times = 0
        self._before = before

    def __call__(self, context: Any) -> Any:
        from mellea.core import ValidationResult

        self.times += 1
        self._before()
        return ValidationResult(self.times > 1, reason="not yet")


def failing_first(before: Callable[[], Any] = lambda: None) -> Any:
    """A requirement with such a validation.

    Args:
        before: Called each time the requirement is validated.
    """
    from mellea.core import Requirement

    return Requirement("is right", validation_fn=FailsFirst(before))


def judged() -> Any:
    """A requirement that the model judges."""
    from mellea.core import Requirement

    return Requirement("The answer is short.")


def rejecting(budget: int = 2) -> Any:
    """The strategy that most programs use."""
    from mellea.stdlib.sampling import RejectionSamplingStrategy

    return RejectionSamplingStrategy(loop_budget=budget)


def as_tool(function: Callable[..., Any]) -> Any:
    """A function as a tool; up to 0.3 that is the function itself."""
    from mellea.backends import tools

    return tools.MelleaTool.from_callable(function) if hasattr(tools, "MelleaTool") else function


def adder() -> Any:
    """A tool."""

    def add(a: int, b: int) -> int:
        """Add two numbers.

        Args:
            a: One of them.
            b: The other.
        """
        return a + b

    return as_tool(add)
