"""`mellea-api options`: the options of a backend, and how it would send those that are given."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

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
    from mellea_api._registry.shared import shared_registry

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
        output.show({**about, "report": report}, (report.decisions, _decision_columns(verbose)))
        if not output.as_json:
            output.line()
            output.line("payload:")
            output.line(json.dumps(report.wire, indent=2, ensure_ascii=False))
        return
    from mellea_api._options.canonical import CANONICAL
    from mellea_api._options.listing import list_options

    listed = list_options(target, endpoint)
    rows = [
        option for option in listed if verbose or option.supported or option.rule.name in CANONICAL
    ]
    options = [option.as_data() for option in listed]
    output.show({**about, "options": options}, (rows, _option_columns(verbose)))
    if not (verbose or output.as_json):
        output.note(
            "-v also lists this provider's own options that are not supported, and sources."
        )


def _decision_columns(verbose: bool) -> Columns:
    columns: Columns = {
        "option": lambda decision: f"{decision.spelling}={_shown(decision.value)}",
        "outcome": "outcome",
        "goes to": "wire",
        "value sent": lambda decision: _shown(decision.sent) if decision.wire else "",
        "why": "reason",
    }
    return {**columns, "source": "source"} if verbose else columns


def _option_columns(verbose: bool) -> Columns:
    columns: Columns = {
        "option": lambda option: option.rule.name,
        "type": lambda option: option.limits.type,
        "range": lambda option: _range(option.limits),
        "sent as": lambda option: (
            option.wire or ("(see note)" if option.supported else "not supported")
        ),
        "note": _note,
    }
    also: Columns = {
        "also": lambda option: ", ".join(option.spellings),
        "source": lambda option: option.rule.source,
    }
    return {**columns, **also} if verbose else columns


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _range(limits: Limits) -> str:
    parts = []
    if limits.minimum is not None:
        parts.append(f"{'above' if limits.exclusive_minimum else 'from'} {limits.minimum}")
    if limits.maximum is not None:
        parts.append(f"to {limits.maximum}")
    if limits.choices:
        parts.append(f"one of {', '.join(map(_shown, limits.choices))}")
    if limits.special:
        parts.append(f"or {', '.join(map(_shown, limits.special))}")
    if limits.max_items is not None:
        parts.append(f"at most {limits.max_items} items")
    return " ".join(parts)


def _note(option: OptionListing) -> str:
    conditions = "; ".join(
        f"with {name} "
        + " or ".join("not given" if value is None else _shown(value) for value in values)
        for name, values in option.rule.requires.items()
    )
    return "; ".join(filter(None, (conditions, option.rule.reason or option.help)))
