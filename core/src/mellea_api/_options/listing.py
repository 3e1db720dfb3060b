"""What a model takes: its plan, as a list for people and programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from mellea_api._contract.option_rule import Endpoint, OptionRule
from mellea_api._contract.requests import Target
from mellea_api._options.canonical import CANONICAL
from mellea_api._options.limits import Limits
from mellea_api._options.plan import Plan, plan_for


@attrs.frozen
class OptionListing:
    """One option, and what one model behind one server does with it.

    Args:
        rule: The rule that counts.
        spellings: Other names under which the option is taken here.
        wire: Its place in the provider's JSON; empty if nothing is sent, or not in one place.
            None if it is not supported.
    """

    rule: OptionRule
    spellings: tuple[str, ...]
    wire: str | None

    @property
    def limits(self) -> Limits:
        """What its value must be."""
        return Limits.of(self.rule)

    @property
    def supported(self) -> bool:
        """Whether it is sent."""
        return self.wire is not None

    @property
    def help(self) -> str:
        """What a common option does: a sentence."""
        common = CANONICAL.get(self.rule.name)
        return common.help if common else ""

    def as_data(self) -> dict[str, Any]:
        """Return the listing as JSON has it."""
        rule = self.rule
        return {
            "name": rule.name,
            "supported": self.supported,
            **attrs.asdict(self.limits, filter=lambda field, _: field.name != "why"),
            "spellings": self.spellings,
            "wire": self.wire or "",
            "when": rule.requires,
            "help": self.help,
            "reason": rule.reason,
            "source": rule.source,
        }


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
    always = False
    for entry in plan.entries.get(name, ()):
        if not entry.rule.reserved:
            yield OptionListing(entry.rule, spellings, entry.native and entry.native.wire)
        always = not entry.rule.requires
        if always:
            break
    # No rule holds, or only under conditions on other options.
    if name in CANONICAL and not always:
        reason = plan.unmet.get(name) or ("otherwise not sent" if name in plan.entries else "")
        reason = reason or f"{plan.what} has no such option"
        yield OptionListing(OptionRule(name=name, reason=reason), spellings, None)
