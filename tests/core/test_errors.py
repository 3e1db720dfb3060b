"""Every error pickles, copies, is of a standard type, and ends with what to do next."""

from __future__ import annotations

import copy
import pickle
import re
from typing import Any

import pytest

from mellea_api import OptionProblem, Secret
from mellea_api._contract import errors
from mellea_api._contract.errors import MelleaAPIError, OptionError, cannot_use

CLASSES = [
    found
    for found in vars(errors).values()
    if isinstance(found, type) and issubclass(found, MelleaAPIError)
]
STANDARD = {
    "BackendNotFoundError": LookupError,
    "PluginError": RuntimeError,
    "ConfigurationError": ValueError,
    "OptionError": ValueError,
    "SessionClosedError": RuntimeError,
    "ConcurrentUseError": RuntimeError,
    "ProviderError": RuntimeError,
    "CredentialError": PermissionError,
    "PermissionDeniedError": PermissionError,
    "ModelNotFoundError": LookupError,
    "BackendUnavailableError": ConnectionError,
    "RequestTimeoutError": TimeoutError,
    "RateLimitError": RuntimeError,
    "ContextLengthError": ValueError,
    "ContentRefusedError": RuntimeError,
    "RequestRefusedError": ValueError,
    "AnswerError": RuntimeError,
}
VALUES: dict[str, Any] = {
    "status": 418,
    "timeout": 1.5,
    "retry_after": 2.5,
    "known": ("a", "b"),
    "installed": ("a",),
    "variables": ("X_KEY",),
    "distributions": ("d",),
    "problems": (OptionProblem("stop[1]", "must be text"),),
}
of_every_class = pytest.mark.parametrize("kind", CLASSES)


def made(kind: type[MelleaAPIError]) -> MelleaAPIError:
    facts = {name: VALUES.get(name, f"a {name}") for name in kind.facts}
    return kind("Cannot do the thing: why.", next_step="Do that.", **facts)


def same(one: MelleaAPIError, other: MelleaAPIError) -> bool:
    return (
        type(one) is type(other)
        and str(one) == str(other)
        and one.args == other.args
        and vars(one) == vars(other)
    )


@of_every_class
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_error_pickles_with_its_facts(kind: type[MelleaAPIError], protocol: int) -> None:
    error = made(kind)
    again = pickle.loads(pickle.dumps(error, protocol))
    assert same(again, error)
    for name in kind.facts:
        assert getattr(again, name) == VALUES.get(name, f"a {name}")


@of_every_class
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_an_error_copies_with_its_facts(kind: type[MelleaAPIError], copied: Any) -> None:
    error = made(kind)
    assert same(copied(error), error)


@of_every_class
def test_an_error_ends_with_the_next_step(kind: type[MelleaAPIError]) -> None:
    error = made(kind)
    assert str(error) == "Cannot do the thing: why. Do that."
    assert error.args == (str(error),)
    assert (error.reason, error.next_step) == ("Cannot do the thing: why.", "Do that.")


@of_every_class
def test_an_error_is_of_a_standard_type(kind: type[MelleaAPIError]) -> None:
    if kind is not MelleaAPIError:
        assert issubclass(kind, STANDARD[kind.__name__])
    assert not issubclass(kind, KeyError)  # whose text is quoted
    # A service such as `m serve` answers 400 to a ValueError, which is its client's fault.
    if STANDARD.get(kind.__name__) is not ValueError:
        assert not issubclass(kind, ValueError)


@of_every_class
def test_facts_default_to_none_and_unknown_ones_are_refused(kind: type[MelleaAPIError]) -> None:
    error = kind("Why.", next_step="Do.")
    assert all(getattr(error, name) is None for name in kind.facts)
    with pytest.raises(TypeError, match="has no facts"):
        kind("Why.", next_step="Do.", no_such_fact=1)


@of_every_class
def test_every_fact_is_declared_with_its_type(kind: type[MelleaAPIError]) -> None:
    declared = {name for parent in kind.__mro__ for name in vars(parent).get("__annotations__", ())}
    assert set(kind.facts) <= declared
    for parent in kind.__mro__:
        assert set(getattr(parent, "facts", ())) - {"backend"} <= set(kind.facts) or not issubclass(
            parent, MelleaAPIError
        )


@of_every_class
def test_an_errors_text_and_facts_hold_no_living_secret(kind: type[MelleaAPIError]) -> None:
    secret = Secret("sk-very-secret-0123456789", source="argument")
    text = secret.reveal()
    facts = {name: text for name in kind.facts if name not in VALUES}
    error = kind(f"It said {text}.", next_step=f"Look at {text}.", **facts)
    for shown in (str(error), repr(error), repr(vars(error)), repr(pickle.dumps(error))):
        assert text not in shown
        assert "[secret]" in shown


def test_the_problems_of_options_hold_no_living_secret() -> None:
    secret = Secret("sk-very-secret-0123456789", source="argument")
    problem = OptionProblem(secret.reveal(), f"is not {secret.reveal()}")
    assert problem == (problem.path, problem.message) == ("[secret]", "is not [secret]")


def test_option_errors_can_be_told_problem_by_problem() -> None:
    error = OptionError("No.", next_step="Yes.", problems=VALUES["problems"])
    assert [(problem.path, problem.message) for problem in error.problems or ()] == [
        ("stop[1]", "must be text")
    ]


def test_an_error_about_a_variable_names_it_and_one_about_an_argument_does_not() -> None:
    assert cannot_use("MELLEA_SOMETHING", "x", "Do that.").variable == "MELLEA_SOMETHING"
    assert cannot_use("something", "x", "Do that.").variable is None


def test_the_tree_in_the_documentation_is_the_tree_of_the_classes() -> None:
    drawn: dict[str, str] = {}
    parents = {0: "MelleaAPIError"}
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"    ((?:│   |    )*)(?:├──|└──) (\w+)(?: \((\w+)\))?", line)
        if found:
            depth = len(found[1]) // 4 + 1
            drawn[found[2]] = parents[depth - 1]
            parents[depth] = found[2]
            if found[3]:
                assert STANDARD[found[2]].__name__ == found[3]
    real = {
        kind.__name__: next(
            parent.__name__ for parent in kind.__bases__ if issubclass(parent, MelleaAPIError)
        )
        for kind in CLASSES
        if kind is not MelleaAPIError
    }
    assert drawn == real
    assert set(STANDARD) == set(real)
