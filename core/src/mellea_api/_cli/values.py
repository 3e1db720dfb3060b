"""Values of a command line: `name=value` pairs, and seconds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import click


class _Seconds(click.FloatRange):
    """Refuses "nan" and times beyond any clock, which click's range takes."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        from mellea_api._api.arguments import LONGEST

        found = super().convert(value, param, ctx)
        if not found <= LONGEST:
            self.fail(f"{value} is not a number of seconds up to a year.", param, ctx)
        return found


def timeout_option(help: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the option `--timeout SECONDS`, above 0 and by default 10.

    Args:
        help: What the time is for: a sentence.
    """
    return click.option(
        "--timeout",
        type=_Seconds(0, min_open=True),
        default=10.0,
        show_default=True,
        metavar="SECONDS",
        help=help,
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
        found[name] = _value(text)
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
