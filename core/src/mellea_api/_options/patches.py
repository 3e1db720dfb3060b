"""How extensions change the options of a call, with a note for the report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from attrs import evolve

from mellea_api._contract.errors import OptionProblem, PluginError
from mellea_api._contract.reports import OptionPatch
from mellea_api._contract.requests import OptionsRequest, Origin
from mellea_api._options.checks import CHECKS, same, shown
from mellea_api._options.plan import option_error, spelled

_ACTIONS: Final = ("set", "cap", "remove", "forbid")


def apply_patches(
    request: OptionsRequest, answers: Iterable[Sequence[OptionPatch] | None]
) -> OptionsRequest:
    """Apply the patches of all extensions, in the order of their answers.

    Args:
        request: Canonical options.
        answers: Each extension's patches.

    Raises:
        OptionError: If a patch forbids an option that was given.
        PluginError: If an extension returns anything but patches.
    """
    values = dict(request.options)
    origins = dict(request.origins)
    forbidden: list[OptionProblem] = []
    for answer in answers:
        for patch in answer or ():
            _check(patch)
            given = values.get(patch.name)
            spelling = spelled(origins.get(patch.name), patch.name)
            if patch.action == "forbid":
                if given is not None:
                    forbidden.append(OptionProblem(spelling, f"is forbidden: {patch.reason}"))
                continue
            wanted = _wanted(patch, given)
            if same(wanted, given):
                continue
            before = "not given" if given is None else f"was {shown(given)}"
            note = f"{before}; {patch.action} by an extension: {patch.reason}"
            values[patch.name] = wanted
            origins[patch.name] = Origin(spelling, "extension", note)
    if forbidden:
        raise option_error(request.target.backend, forbidden)
    return evolve(
        request,
        options={name: value for name, value in values.items() if value is not None},
        origins=origins,
    )


def _wanted(patch: OptionPatch, given: Any) -> Any:
    if patch.action == "remove":
        return None
    if patch.action == "cap":
        # A negative number means "no limit" to a backend that takes one (Ollama's -1). What is
        # no number is capped too: nobody knows what a backend would make of it.
        number = _number(given)
        return given if number is not None and 0 <= number <= patch.value else patch.value
    return patch.value


def _number(value: Any) -> float | None:
    for kind in ("number", "integer"):
        try:
            found: float = CHECKS[kind](value)
        except ValueError:
            continue
        return found
    return None


def _check(patch: Any) -> None:
    wrong = f"{shown(patch)}, which is no OptionPatch with a reason"
    if isinstance(patch, OptionPatch) and patch.action in _ACTIONS:
        words: tuple[Any, Any] = (patch.name, patch.reason)
        if patch.action == "cap" and _number(patch.value) is None:
            wrong = f"{shown(patch)}, which caps at no number"
        elif all(isinstance(word, str) and word.strip() for word in words):
            return
    raise PluginError(
        f"An extension's review_options returned {wrong}.",
        next_step="Fix or uninstall the extension; `mellea-api backends` lists those installed.",
    )
