"""What a user calls an option, and what two dicts of options mean together."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Final, Literal, get_args

from attrs import field, frozen

from mellea_api._contract.errors import OptionProblem
from mellea_api._contract.requests import Origin, Policy, Target
from mellea_api._options.canonical import INTERNAL, MERGED
from mellea_api._options.limits import same, shown, shown_error
from mellea_api._options.plan import Plan, Recipe, plan_for
from mellea_api._options.rules import EXTRA, own

Unknown = Literal["error", "pass"]

_POLICIES: Final[tuple[Policy, ...]] = get_args(Policy)
_POLICY: Final = (
    "is an argument of a session; among the options of one call it must be one of "
    f"{', '.join(_POLICIES)}"
)
_CREDENTIAL: Final = (
    "is a credential, and reports show options: give {name}= to start_session, or set its variable"
)
_OF_MELLEA: Final = (
    "is a name of Mellea's own, which no provider knows; give it beside the other options"
)
_LONGEST_NAME: Final = 60


@frozen
class Given:
    """Options by canonical name, as one dict of a user gives them; None unsets a default.

    Args:
        values: Values by canonical name.
        origins: Where each came from.
        problems: What is wrong: an unknown name, or one option given under two names with
            different values.
        recipes: The pipeline's notes on how calls of each shape are rendered over these
            options.
    """

    values: dict[str, Any] = field(factory=dict)
    origins: dict[str, Origin] = field(factory=dict)
    problems: tuple[OptionProblem, ...] = ()
    recipes: dict[tuple[Any, ...], Recipe | None] = field(
        factory=dict, init=False, eq=False, repr=False
    )


def canonicalise(
    options: Mapping[str, Any],
    plan: Plan,
    *,
    source: Literal["default", "call"] = "call",
    unknown: Unknown = "error",
) -> Given:
    """Bring every spelling of an option to its canonical name.

    Args:
        options: As a user gives them. `extra` may hold a dict of names that are passed on
            unchecked, `unsupported` the policy for one call.
        plan: Knows the spellings.
        source: Whether these are the session's defaults or a call's options.
        unknown: What to do with a name that means nothing here.
    """
    groups: dict[str, list[tuple[str, Any]]] = {}
    problems: list[OptionProblem] = []
    for key, value in _items("model_options", options, problems):
        if not isinstance(key, str):
            problems.append(OptionProblem(shown(key), "is not text, and names of options are"))
        elif key == "unsupported":
            if source == "default" or not isinstance(value, str) or value not in _POLICIES:
                problems.append(OptionProblem(key, f"{_POLICY}, not {shown(value)}"))
        elif key == "extra":
            for name, item in _items(key, {} if value is None else value, problems):
                path = f"extra[{name!r}]"
                if name in plan.secrets:
                    problems.append(OptionProblem(path, _CREDENTIAL.format(name=name)))
                elif name.startswith("@@@"):
                    problems.append(OptionProblem(path, _OF_MELLEA))
                else:
                    groups.setdefault(EXTRA + name, []).append((path, item))
        elif key in plan.spellings:
            groups.setdefault(plan.spellings[key], []).append((key, value))
        elif key in plan.secrets:
            problems.append(OptionProblem(key, _CREDENTIAL.format(name=key)))
        elif key in INTERNAL or key.startswith("@@@"):
            groups.setdefault(key, []).append((key, value))
        elif unknown == "pass":
            name = EXTRA + key if plan.passes else key
            groups.setdefault(name, []).append((key, value))
        else:
            path = key if key.isprintable() and 0 < len(key) <= _LONGEST_NAME else shown(key)
            problems.append(OptionProblem(path, f"is not known{_nearest(key, plan)}"))
    values: dict[str, Any] = {}
    origins: dict[str, Origin] = {}
    for name, given in groups.items():
        try:
            spelling, value, note = (*given[0], "") if len(given) == 1 else _settle(name, given)
        except ValueError as error:
            problems.append(OptionProblem(given[0][0], str(error)))
        else:
            values[name] = own(value)
            origins[name] = Origin(spelling, source, note)
    return Given(values, origins, tuple(problems))


def _items(path: str, given: Any, problems: list[OptionProblem]) -> list[tuple[Any, Any]]:
    """Return the names and values of a user's dict, and add what is wrong to the problems."""
    try:
        items = list(given.items()) if isinstance(given, Mapping) else None
    except Exception as error:  # a mapping of any make
        problems.append(OptionProblem(path, f"cannot be read: {shown_error(error)}"))
        return []
    named = path != "extra" or all(isinstance(name, str) and name for name, _ in items or ())
    if items is None or not named:
        problems.append(OptionProblem(path, f"must be a dict of options, not {shown(given)}"))
        return []
    return items


def _settle(name: str, given: list[tuple[str, Any]]) -> tuple[str, Any, str]:
    """Choose between several spellings of one option; return spelling, value and a note."""
    real = [item for item in given if item[1] is not None] or given
    # Mellea's own code adds its key beside a user's spelling, and means its own.
    of_mellea = next((item for item in real if item[0].startswith("@@@")), None)
    spelling, value = of_mellea or real[0]
    others = [item for item in real if item[0] != spelling]
    differing = [item for item in others if not _equal(name, item[1], value)]
    if differing and of_mellea is None:
        raise ValueError(
            f"is given as {shown(value)}, and under its other name "
            f"{differing[0][0]!r} as {shown(differing[0][1])}; give it once"
        )
    note = "; ".join(f"wins over {key!r} = {shown(item)}" for key, item in differing)
    return spelling, value, note


def _equal(name: str, one: Any, other: Any) -> bool:
    if name == "stop":
        one, other = (
            [item] if isinstance(item, str) else list(item) if isinstance(item, tuple) else item
            for item in (one, other)
        )
    return same(one, other)


def _nearest(key: str, plan: Plan) -> str:
    known = plan.known()
    near = difflib.get_close_matches(key.lower(), known, n=1, cutoff=0.7)
    if not near:
        return "; `extra={...}` inside the options passes names on unchecked"
    canonical = plan.spellings.get(near[0], near[0])
    also = f" (here: {canonical})" if canonical != near[0] else ""
    return f": did you mean {near[0]!r}{also}?"


def merge(defaults: Given, call: Given) -> Given:
    """Merge a session's defaults with a call's options: the call wins, and None unsets.

    Options that hold others, such as `extra_body`, are merged key by key, as Mellea does.

    Args:
        defaults: The session's options.
        call: The call's options.
    """
    values = {**defaults.values, **call.values}
    for name in MERGED.intersection(defaults.values, call.values):
        below, above = defaults.values[name], call.values[name]
        if isinstance(below, Mapping) and isinstance(above, Mapping):
            values[name] = {**below, **above}
    origins = {**defaults.origins, **call.origins}
    values = {name: value for name, value in values.items() if value is not None}
    return Given(values, origins, defaults.problems + call.problems)


def overlay(under: Mapping[str, Any], over: Mapping[str, Any], target: Target) -> dict[str, Any]:
    """Lay one dict of options over another, option by option, whatever the spellings.

    Args:
        under: Options as a user spells them.
        over: Options that win over them.
        target: Whose spellings count.

    Returns:
        One dict that means the same as the two together.
    """
    spellings = plan_for(target, "chat").spellings
    taken = {spellings.get(key, key) for key in over}
    merged = {key: value for key, value in under.items() if spellings.get(key, key) not in taken}
    merged.update(over)
    for name in {"extra", *MERGED}:
        below, above = under.get(name), over.get(name)
        if isinstance(below, Mapping) and isinstance(above, Mapping):
            merged[name] = {**below, **above}
    return merged
