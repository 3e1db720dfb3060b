"""The tables of errors, of the commands and of what they print."""

from __future__ import annotations

import inspect
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, Final

import click

from generator.backends import ROOT
from generator.markdown import code, table
from mellea_api._cli.app import app
from mellea_api._contract import errors

__all__ = ["commands", "errors_table", "json_fields", "provider_errors"]

_REFERENCE: Final = ROOT / "docs/reference"


def errors_table() -> str:
    """Every error, its standard type and its facts."""
    rows = []
    for name, cls in vars(errors).items():
        if not (isinstance(cls, type) and issubclass(cls, errors.MelleaAPIError)):
            continue
        parents = [code(base.__name__) for base in cls.__bases__]
        meaning = (cls.__doc__ or "").splitlines()[0]
        rows.append((code(name), ", ".join(parents), code(*cls.facts), meaning))
    return table(("error", "is a", "attributes, beside `reason` and `next_step`", ""), rows)


def provider_errors(backend: str) -> str:
    """Each answer of a backend's provider in `provider-errors.toml`, and the error it becomes."""
    rows = tomllib.loads((_REFERENCE / "provider-errors.toml").read_text("utf-8"))["row"]
    found = [row for row in rows if row["backend"] == backend]
    return table(("what is the matter", "answer", "error"), map(_provider_error, found))


def _provider_error(row: dict[str, Any]) -> list[str]:
    place = "in a stream" if row.get("stream") else str(row.get("status", row.get("fault", "-")))
    if row.get("raw"):
        place += ", raw"
    said = " ".join(re.findall(r'"(?:code|type|finish_reason)":"(\w+)"', row["body"])[:1])
    headers = "; ".join(f"{name}: {value}" for name, value in row.get("headers", {}).items())
    answer = "; ".join(filter(None, [place, code(said) if said else "", headers and code(headers)]))
    error = "no error" if row["error"] == "none" else code(row["error"])
    if "retry_after" in row:
        error += f", `retry_after` {row['retry_after']:g}"
    return [f"[{row['when']}]({row['source']})", answer, error]


def commands() -> str:
    """Each command: how it is called, what it says of itself, and its options."""
    parts = []
    for name, command in _every_command(app.commands):
        context = click.Context(command, info_name=name)
        usage = " ".join(["mellea-api", name, *command.collect_usage_pieces(context)])
        rows = [
            (code(*found.opts, *found.secondary_opts), _values(found), found.help or "")
            for found in command.params
            if isinstance(found, click.Option)
        ]
        says = inspect.cleandoc(command.help or "")
        options = table(("option", "value", ""), rows) if rows else ""
        parts.append(f"## {name}\n\n```text help\n{usage}\n```\n\n{says}\n\n{options}".rstrip())
    return "\n\n".join(parts)


def _every_command(commands: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield each command by its name; of a group, its commands after it."""
    for name, command in commands.items():
        yield name, command
        within = getattr(command, "commands", {})
        yield from _every_command({f"{name} {inner}": found for inner, found in within.items()})


def _values(option: Any) -> str:
    choices = getattr(option.type, "choices", None)
    text = code(*choices) if choices else (option.metavar or "")
    default = option.default
    plain = isinstance(default, str | float) and not option.is_flag
    return f"{text}, else `{default}`" if plain else text


def json_fields(command: str) -> str:
    """What a command prints with --json, field by field: its JSON Schema as a table."""
    schema = json.loads((_REFERENCE / f"{command}.schema.json").read_text("utf-8"))
    return table(("field", "value", ""), _json_rows(schema, schema["$defs"], ""))


def _json_rows(
    schema: dict[str, Any], known: dict[str, Any], path: str
) -> Iterator[tuple[str, str, str]]:
    for name, found in schema.get("properties", {}).items():
        here = f"{path}{name}"
        item = found.get("items", found)
        item = next((one for one in found.get("oneOf", ()) if "$ref" in one), item)
        within = known[item["$ref"].rpartition("/")[2]] if "$ref" in item else item
        kinds = found.get("type", "object" if "$ref" in item else "")
        value = code(*found["enum"]) if "enum" in found else _kinds(kinds)
        if any(one == {"type": "null"} for one in found.get("oneOf", ())):
            value += " or null"
        yield f"`{here}`", value, found.get("description", "")
        yield from _json_rows(within, known, f"{here}[]." if kinds == "array" else f"{here}.")


def _kinds(kinds: str | list[str]) -> str:
    return " or ".join([kinds] if isinstance(kinds, str) else kinds)
