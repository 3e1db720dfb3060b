"""Model options as they are written on a command line: `name=value`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import click

__all__ = ["parse_assignments"]


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Read `name=value` pairs; a value is JSON where it can be read as such, else text.

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
