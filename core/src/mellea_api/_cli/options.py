"""`mellea-api options`: the options of a backend, and how it would send those that are given."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from mellea_api._cli.output import Columns, Output, command
from mellea_api._cli.values import parse_assignments

if TYPE_CHECKING:
    from mellea_api._options.limits import Limits
    from mellea_api._options.listing import OptionListing


@click.command()
@click.argument("backend")
@click.argument("assignments", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--model", "-m", metavar="MODEL", help="The model; else the backend's default.")
@click.option("--base-url", metavar="URL", help="The server; options may depend on it.")
@click.option(
    "--server",
    metavar="NAME",
    help="What the server is: official, compatible or a dialect; else its host's name says so.",
)
@click.option(
    "--endpoint",
    type=click.Choice(["chat", "completion"]),
    default="chat",
    show_default=True,
    help="completion is the raw endpoint.",
)
@click.option("--verbose", "-v", is_flag=True, help="Show sources, and other spellings.")
@command
def options(
    output: Output,
    backend: str,
    assignments: Sequence[str],
    model: str | None,
    base_url: str | None,
    server: Any,
    endpoint: Any,
    verbose: bool,
) -> None:
    """Show how BACKEND would send model options; without any, list its options.

    A VALUE is JSON, or else text. No server is asked, and no SDK is needed.
    """
    from mellea_api._options.canonical import CANONICAL
    from mellea_api._options.listing import list_options
    from mellea_api._registry.registry import shared_registry

    given = parse_assignments(assignments)
    found = shared_registry().backend(backend)
    target = found.target(model, base_url, server=server)
    about = {
        "backend": target.backend,
        "model_id": target.model_id,
        "server": target.server,
        "endpoint": endpoint,
    }
    if given:
        report = found.explain(given, target, endpoint)
        columns = _DECISIONS | {"source": "source"} if verbose else _DECISIONS
        output.show({**about, "report": report}, (report.decisions, columns))
        payload = json.dumps(report.wire, indent=2, ensure_ascii=False)
        output.line(f"\npayload:\n{payload}")
        return
    listed = list_options(target, endpoint)
    rows = [one for one in listed if verbose or one.supported or one.rule.name in CANONICAL]
    options = [option.as_data() for option in listed]
    output.show({**about, "options": options}, (rows, _OPTIONS | _MORE if verbose else _OPTIONS))
    if not verbose:
        output.remark(
            "-v also lists this provider's own options that are not supported, and sources."
        )


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _range(limits: Limits) -> str:
    low, high = limits.minimum, limits.maximum
    parts = (
        "" if low is None else f"{'above' if limits.exclusive_minimum else 'from'} {low}",
        "" if high is None else f"to {high}",
        f"one of {', '.join(map(_shown, limits.choices))}" if limits.choices else "",
        f"or {', '.join(map(_shown, limits.special))}" if limits.special else "",
        "" if limits.max_items is None else f"at most {limits.max_items} items",
    )
    return " ".join(filter(None, parts))


def _note(option: OptionListing) -> str:
    conditions = "; ".join(
        f"with {name} "
        + " or ".join("not given" if value is None else _shown(value) for value in values)
        for name, values in option.rule.requires.items()
    )
    return "; ".join(filter(None, (conditions, option.rule.reason or option.help)))


_DECISIONS: Final[Columns] = {
    "option": lambda decision: f"{decision.spelling}={_shown(decision.value)}",
    "outcome": "outcome",
    "goes to": "wire",
    "value sent": lambda decision: _shown(decision.sent) if decision.wire else "",
    "why": "reason",
}
_OPTIONS: Final[Columns] = {
    "option": lambda option: option.rule.name,
    "type": lambda option: option.limits.type,
    "range": lambda option: _range(option.limits),
    "sent as": lambda option: (
        option.wire or ("(see note)" if option.supported else "not supported")
    ),
    "note": _note,
}
_MORE: Final[Columns] = {
    "also": lambda option: ", ".join(option.spellings),
    "source": lambda option: option.rule.source,
}
