"""Values of a command line: `name=value` pairs, and seconds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import click


def seconds(text: Any) -> float:
    """Return a number of seconds above 0.

    Raises:
        click.BadParameter: If it is no such number, or beyond any clock.
    """
    from mellea_api._api.arguments import LONGEST

    if not 0 < float(text) <= LONGEST:
        raise click.BadParameter(f"{text} is not a number of seconds above 0, a year at most.")
    return float(text)


def timeout_option(help: str, default: float | None = 10.0) -> Callable[[Any], Any]:
    """Return the option `--timeout SECONDS`.

    Args:
        help: What the time is for: a sentence.
        default: The time if none is given; None for no limit.
    """
    return click.option(
        "--timeout", type=seconds, default=default, show_default=True, metavar="SECONDS", help=help
    )


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Read `name=value` pairs; a value is JSON if it can be parsed, else text.

    Args:
        assignments: The pairs.

    Raises:
        click.UsageError: If one has no name or no `=`, or a name is given twice.

    >>> parse_assignments(["temperature=0.5", "stop=END", "tools=[]", 'system=""'])
    {'temperature': 0.5, 'stop': 'END', 'tools': [], 'system': ''}
    """
    found: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        name = name.strip()
        if not equals or not name:
            raise click.UsageError(f"{assignment!r} is not NAME=VALUE.")
        if name in found:
            raise click.UsageError(f"The option {name!r} is given twice.")
        try:
            found[name] = json.loads(text)
        except (ValueError, RecursionError):
            found[name] = text
    return found
