"""What a model takes: its plan, as a list for people and programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import field, frozen

from mellea_api._contract.descriptor import Endpoint, OptionRule
from mellea_api._contract.requests import Target
from mellea_api._options.canonical import CANONICAL
from mellea_api._options.plan import Plan, plan_for


@frozen(kw_only=True)
class OptionListing:
    """One option, and what one model behind one server does with it.

    Args:
        name: Its canonical name, or native name for one that only this backend has.
        supported: Whether it is sent.
        type: What its value must be: a name in `mellea_api._options.checks.CHECKS`.
        minimum: Least value, inclusive unless `exclusive_minimum`.
        maximum: Greatest value, inclusive.
        exclusive_minimum: Whether `minimum` itself is not allowed.
        max_items: Greatest number of items of a list.
        choices: The only values allowed; empty for no such limit.
        special: Values allowed beside the range.
        spellings: Other names under which it is taken here.
        wire: Its place in the provider's JSON; empty if nothing is sent, or not in one place.
        when: Values that other options must have for this to hold, by name; None among the
            values stands for "not given".
        help: What it does: a sentence, for common options.
        reason: Why it is not supported, or what the conversion does.
        source: Where the rule was read.
    """

    name: str
    supported: bool
    type: str = "any"
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: bool = False
    max_items: int | None = None
    choices: tuple[Any, ...] = ()
    special: tuple[Any, ...] = ()
    spellings: tuple[str, ...] = ()
    wire: str = ""
    when: Mapping[str, tuple[Any, ...]] = field(factory=dict)
    help: str = ""
    reason: str = ""
    source: str = ""


def list_options(target: Target, endpoint: Endpoint = "chat") -> list[OptionListing]:
    """List the options of a model: the common ones first, then those that only this backend has.

    An option whose treatment depends on other options is in the list once for each case.

    Args:
        target: Backend, model and server.
        endpoint: `chat` or `completion`.
    """
    plan = plan_for(target, endpoint)
    native = sorted(
        {rule.name for rule in plan.rules if rule.name != "*" and rule.name not in CANONICAL}
    )
    return [listed for name in (*CANONICAL, *native) for listed in _cases(plan, name)]


def _cases(plan: Plan, name: str) -> Iterator[OptionListing]:
    spellings = tuple(
        spelling
        for spelling, meant in plan.spellings.items()
        if meant == name and spelling != name and not spelling.startswith("@@@")
    )
    cases = plan.cases(name)
    for rule, wire in cases:
        if not rule.reserved:
            yield _listing(rule, wire, spellings)
    # Nothing holds, or only under conditions on other options.
    if name in CANONICAL and not any(not rule.requires for rule, _ in cases):
        reason = plan.unmet(name) or ("otherwise not sent" if cases else "")
        yield _listing(
            OptionRule(name=name, reason=reason or f"{plan.what} has no such option"),
            None,
            spellings,
        )


def _listing(rule: OptionRule, wire: str | None, spellings: tuple[str, ...]) -> OptionListing:
    common = CANONICAL.get(rule.name)
    minimum, exclusive, maximum = rule.minimum, rule.exclusive_minimum, rule.maximum
    if common is not None and minimum is None:
        minimum, exclusive = common.minimum, common.exclusive_minimum
    if common is not None and maximum is None:
        maximum = common.maximum
    return OptionListing(
        name=rule.name,
        supported=wire is not None,
        type=rule.type or (common.type if common else "any"),
        minimum=minimum,
        maximum=maximum,
        exclusive_minimum=exclusive,
        max_items=rule.max_items,
        choices=rule.choices,
        special=rule.special,
        spellings=spellings,
        wire=wire or "",
        when=rule.requires,
        help=common.help if common else "",
        reason=rule.reason,
        source=rule.source,
    )
