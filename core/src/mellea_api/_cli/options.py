"""`mellea-api options`: what a backend takes, and what becomes of what it is given."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from mellea_api._cli.output import Output, command
from mellea_api._cli.values import parse_assignments

if TYPE_CHECKING:
    from mellea_api._contract.reports import NormalizedOptions
    from mellea_api._options.listing import OptionListing


@click.command()
@click.argument("backend")
@click.argument("assignments", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--model", "-m", metavar="MODEL", help="The model; else the backend's default.")
@click.option("--base-url", metavar="URL", help="The server; what it takes may depend on it.")
@click.option(
    "--server",
    type=click.Choice(["official", "compatible"]),
    help="What the server is; else its host's name says so.",
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
    """Say what becomes of model options on BACKEND; without any, list all that it takes.

    A VALUE is JSON, or else text. Nobody is asked, and no SDK is needed.
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
        if output.as_json:
            output.data({**about, "report": report})
        else:
            _explain(output, report, verbose)
        return
    from mellea_api._options.listing import list_options

    listed = list_options(target, endpoint)
    if output.as_json:
        output.data({**about, "options": listed})
    else:
        _list(output, listed, verbose)


def _explain(output: Output, report: NormalizedOptions, verbose: bool) -> None:
    output.table(
        ("option", "outcome", "goes to", "value sent", "why", "source"),
        [
            (
                f"{decision.spelling}={_shown(decision.value)}",
                decision.outcome,
                decision.wire,
                _shown(decision.sent) if decision.wire else "",
                decision.reason,
                decision.source if verbose else "",
            )
            for decision in report.decisions
        ],
    )
    output.line()
    output.line("payload:")
    output.line(json.dumps(report.wire, indent=2, ensure_ascii=False))


def _list(output: Output, listed: Iterable[OptionListing], verbose: bool) -> None:
    from mellea_api._options.canonical import CANONICAL

    output.table(
        ("option", "type", "range", "sent as", "note", "also", "source"),
        [
            (
                option.name,
                option.type,
                _range(option),
                _place(option),
                _note(option),
                ", ".join(option.spellings) if verbose else "",
                option.source if verbose else "",
            )
            for option in listed
            if verbose or option.supported or option.name in CANONICAL
        ],
    )
    if not verbose:
        output.note("-v also lists what only this provider has and is not supported, with sources.")


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _range(option: OptionListing) -> str:
    parts = []
    if option.minimum is not None:
        parts.append(f"{'above' if option.exclusive_minimum else 'from'} {option.minimum}")
    if option.maximum is not None:
        parts.append(f"to {option.maximum}")
    if option.choices:
        parts.append(f"one of {', '.join(map(_shown, option.choices))}")
    if option.special:
        parts.append(f"or {', '.join(map(_shown, option.special))}")
    if option.max_items is not None:
        parts.append(f"at most {option.max_items} items")
    return " ".join(parts)


def _place(option: OptionListing) -> str:
    if not option.supported:
        return "not supported"
    return option.wire or "(see note)"


def _note(option: OptionListing) -> str:
    conditions = "; ".join(
        f"with {name} "
        + " or ".join("not given" if value is None else _shown(value) for value in values)
        for name, values in option.when.items()
    )
    return "; ".join(filter(None, (conditions, option.reason or option.help)))
