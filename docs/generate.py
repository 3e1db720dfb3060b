#!/usr/bin/env python3
"""Write what the pages take from the code: `python docs/generate.py`, or `--check` to only look.

Between `<!-- generated: NAME -->` and `<!-- generated: end -->` stands what the function of that
name here returns; a `python signature` block holds the signature of the object that it begins
with. A test fails where a page is not what this writes.

No plugin needs to be installed, let alone its SDK: what describes a backend imports no SDK, and
is taken from this tree.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import inspect
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from mellea_api import OptionRule, errors
from mellea_api.descriptor import BackendDescriptor
from mellea_api.options.canonical import CANONICAL, INTERNAL
from mellea_api.options.checks import THINKING_LEVELS
from mellea_api.options.convert import NOTHING

DOCS = Path(__file__).resolve().parent
SOURCES = (
    *(DOCS.parent / f"plugins/{name}/src" for name in ("ollama", "openai")),
    *(DOCS.parent / f"plugins/{name}/src" for name in ("watsonx", "hf", "litellm")),
    DOCS.parent / "examples/ngram/src",
)
# Last: what is installed counts where it is installed.
sys.path += [str(path) for path in SOURCES]

GENERATED = re.compile(
    r"(<!-- generated: ([\w.-]+) -->\n)(.*?)(<!-- generated: end -->)", re.DOTALL
)
SIGNATURE = re.compile(r"(```python signature\n)(.*?)(```)", re.DOTALL)
_WIDTH = 96
_SILENT = "; nothing is sent"
_NO_SUCH = "no such option there"
_MANY = object()


def render(text: str) -> str:
    """Return a page with all its generated parts as they should be."""
    text = GENERATED.sub(lambda m: f"{m[1]}\n{part(m[2])}\n\n{m[4]}", text)
    return SIGNATURE.sub(lambda m: f"{m[1]}{signature(name_of(m[2]))}\n{m[3]}", text)


def part(name: str) -> str:
    """Return a generated part: one of `PARTS`, or what the docstring of an object says."""
    return PARTS[name]() if name in PARTS else described(name)


def pages() -> list[Path]:
    """Return all pages."""
    return sorted(DOCS.rglob("*.md"))


# ------------------------------------------------------------------------------- signatures


def name_of(block: str) -> str:
    """Return the dotted name that a signature block is about, with what stands before it.

    >>> name_of("@property mellea_api.Target.server -> Server")
    'mellea_api.Target.server'
    >>> name_of("def describe_backend(name: str) -> BackendDescriptor")
    'mellea_api.hookspecs.describe_backend'
    """
    found = re.match(r"(?:@\w+\s+)?(def |async )?([\w.]+)", block.strip())
    assert found is not None, block
    return f"mellea_api.hookspecs.{found[2]}" if found[1] == "def " else found[2]


def find(dotted: str) -> Any:
    """Return the object of a dotted name; of a class, what stands in it."""
    module = dotted
    steps: list[str] = []
    while True:
        try:
            here: Any = importlib.import_module(module)
            break
        except ModuleNotFoundError:
            module, _, step = module.rpartition(".")
            steps.insert(0, step)
    for step in steps:
        here = inspect.getattr_static(here, step) if isinstance(here, type) else getattr(here, step)
    return here


def signature(dotted: str) -> str:
    """Return the signature of a function, class, method or property as it is documented."""
    what = find(dotted)
    if isinstance(what, property):
        assert what.fget is not None
        return f"@property {dotted} -> {inspect.signature(what.fget).return_annotation}"
    if isinstance(what, type) and issubclass(what, Exception):
        return f"{dotted}({', '.join(base.__name__ for base in what.__bases__)})"
    prefix, shown = "", dotted
    if dotted.startswith("mellea_api.hookspecs."):
        prefix, shown = "def ", dotted.rpartition(".")[2]
    elif isinstance(what, classmethod | staticmethod):
        what = what.__func__
    if inspect.iscoroutinefunction(what) or inspect.isasyncgenfunction(what):
        prefix = "async "
    if isinstance(what, type) and attrs.has(what):
        arguments, result = list(_fields(what)), ""
    else:
        found = inspect.signature(what)
        arguments = list(_parameters(found.parameters.values()))
        result = found.return_annotation
        result = "" if isinstance(what, type) or result is found.empty else f" -> {result}"
    line = f"{prefix}{shown}({', '.join(arguments)}){result}"
    if len(line) <= _WIDTH:
        return line
    inner = "".join(f"    {argument},\n" for argument in arguments)
    return f"{prefix}{shown}(\n{inner}){result}"


def _parameters(parameters: Iterable[inspect.Parameter]) -> Iterator[str]:
    named = False
    for parameter in parameters:
        if parameter.name in ("self", "cls"):
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not named:
            named = True
            yield "*"
        if parameter.kind is parameter.VAR_POSITIONAL:
            named = True
        text = str(parameter.replace(annotation=parameter.empty, default=parameter.empty))
        if parameter.annotation is not parameter.empty:
            text += f": {parameter.annotation}"
        if parameter.default is not parameter.empty:
            text += f" = {_value(parameter.default)}"
        yield text


def _fields(cls: type) -> Iterator[str]:
    named = False
    for found in attrs.fields(cls):
        if found.kw_only and not named:
            named = True
            yield "*"
        text = f"{found.name}: {found.type}"
        if isinstance(found.default, attrs.Factory):  # type: ignore[arg-type]
            text += f" = {_value(found.default.factory())}"
        elif found.default is not attrs.NOTHING:
            text += f" = {_value(found.default)}"
        yield text


def _value(value: Any) -> str:
    if value is NOTHING:
        return "NOTHING"
    return '"' + value + '"' if isinstance(value, str) else repr(value)


# ------------------------------------------------------------------------------- docstrings

_SECTION = re.compile(
    r"^(Args|Attributes|Returns|Yields|Raises):$\n((?:^(?: .*)?$\n?)*)", re.MULTILINE
)
_ITEM = re.compile(r"^    ([*\w]+): ((?:.*)(?:\n        .*)*)", re.MULTILINE)


def described(dotted: str) -> str:
    """Return an object's signature and what its docstring says, in Markdown."""
    text = inspect.getdoc(find(dotted)) or ""
    sections = {found[1]: found[2] for found in _SECTION.finditer(text)}
    body = _SECTION.split(text)[0].partition(">>>")[0].strip()
    # An indented example in a docstring is for those who read the source.
    body = re.sub(r"\n\n(?: {4}.*\n?|\n)+", "\n\n", f"{body}\n").strip()
    parts = [f"```python signature\n{signature(dotted)}\n```", body]
    for name in ("Args", "Attributes", "Raises"):
        items = [(item[1], _joined(item[2])) for item in _ITEM.finditer(sections.get(name, ""))]
        if items:
            title = "" if name == "Args" else f"{name}:\n\n"
            parts.append(title + "\n".join(f"- `{key}`: {says}" for key, says in items))
    ends = [name for name in ("Returns", "Yields") if name in sections]
    parts += [f"{name}: {_joined(sections[name])}" for name in ends]
    return "\n\n".join(parts)


def _joined(text: str) -> str:
    return " ".join(text.split())


# ----------------------------------------------------------------------------------- tables


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    escaped = ([cell.replace("|", r"\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in escaped)


def code(*names: object) -> str:
    """Return names as code, with commas between them."""
    return ", ".join(f"`{name}`" for name in names)


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def _bounds(of: Any) -> str:
    """Say the range of a canonical option, or how a rule narrows it."""
    parts = []
    low, high = of.minimum, of.maximum
    if low is not None and high is not None:
        parts.append(f"{'above ' if of.exclusive_minimum else ''}{_number(low)} to {_number(high)}")
    elif low is not None:
        parts.append(f"{'above' if of.exclusive_minimum else 'at least'} {_number(low)}")
    elif high is not None:
        parts.append(f"at most {_number(high)}")
    if getattr(of, "special", ()):
        parts.append(f"also {code(*of.special)}")
    if getattr(of, "choices", ()):
        parts.append(f"one of {code(*map(_value, of.choices))}")
    if getattr(of, "max_items", None):
        parts.append(f"at most {of.max_items} items")
    return "; ".join(parts)


def _spelling(name: str) -> str:
    return f"ModelOption.{name.strip('@').upper()}" if name.startswith("@@@") else name


def canonical_table() -> str:
    """The common options."""
    rows = (
        (code(o.name), o.type, _bounds(o), code(*map(_spelling, o.spellings)), o.help)
        for o in CANONICAL.values()
    )
    return table(("option", "type", "range", "other spellings", "what it does"), rows)


def internal_table() -> str:
    """What Mellea itself sends."""
    return table(("option", "why"), ((code(name), why) for name, why in INTERNAL.items()))


def descriptor(backend: str) -> BackendDescriptor:
    """Return what a backend says of itself."""
    plugin = importlib.import_module(f"mellea_api_{backend}")
    found: BackendDescriptor = plugin.describe_backend(backend)
    return found


def routes() -> list[str]:
    """Return the routes of LiteLLM that are shown: those in the plugin's catalogue."""
    return [model.id for model in descriptor("litellm").models]


def rules_of(backend: str) -> Sequence[OptionRule]:
    """Return the rules of a backend, or of one of LiteLLM's routes: `litellm:gpt-4o`."""
    name, _, route = backend.partition(":")
    if not route:
        return descriptor(name).options
    from mellea_api_litellm.options import rules_for
    from mellea_api_litellm.routes import find as find_route

    found = find_route(route)
    assert found is not None, route
    return rules_for(found)


def fate(rule: OptionRule, endpoint: str) -> tuple[str, str]:
    """Say what a rule does at an endpoint in a word or two, and where the value goes."""
    native = rule.chat if endpoint == "chat" else rule.completion
    if native is None:
        return "not supported", ""
    if rule.convert and (rule.convert == "unsaid" or rule.reason.endswith(_SILENT)):
        return "converted to nothing", ""
    wire = native.wire
    if rule.convert:
        return "converted", wire
    return "renamed" if wire and wire.rpartition(".")[2] != rule.name else "kept", wire


def outcome(rule: OptionRule, endpoint: str) -> str:
    """Say what a rule does at an endpoint, in one phrase."""
    does, wire = fate(rule, endpoint)
    if does == "not supported":
        return f"{does}: {rule.reason}"
    if does == "converted to nothing":
        return f"{does}: {rule.reason.removesuffix(_SILENT)}"
    text = does + (f": `{wire}`" if wire else "")
    needs = f"Mellea {rule.mellea} or newer" if rule.mellea else ""
    return "; ".join(filter(None, (text, _bounds(rule), needs, rule.reason)))


def _when(rule: OptionRule) -> str:
    conditions = []
    for name, values in rule.requires.items():
        known = " or ".join(f"`{value!r}`" for value in values if value is not None)
        if None in values:
            known = f"{known} or not given" if known else "not given"
        conditions.append(known if name == rule.name else f"with `{name}` {known}")
    if rule.models:
        conditions.insert(0, f"models {code(*rule.models)}")
    if rule.not_models:
        conditions.insert(0, f"not models {code(*rule.not_models)}")
    return f"{', '.join(conditions)}: " if conditions else ""


def cell(rules: Iterable[OptionRule], endpoint: str) -> str:
    """Say what becomes of one option: the rules that speak of an endpoint, the first that holds."""
    said = [_when(rule) + outcome(rule, endpoint) for rule in _that_count(rules, endpoint)]
    return "<br>".join(dict.fromkeys(said)) or f"not supported: {_NO_SUCH}"


def _that_count(rules: Iterable[OptionRule], endpoint: str) -> Iterator[OptionRule]:
    """Yield the rules that speak of an endpoint, until there is no case left."""
    spoken: dict[str, set[Any]] = {}
    for rule in rules:
        speaks = (rule.chat if endpoint == "chat" else rule.completion) or not rule.supported
        if not speaks:
            continue
        if len(rule.requires) == 1:
            ((name, values),) = rule.requires.items()
            if {*values} <= spoken.get(name, set()):
                continue  # an earlier one speaks of these values on every model
        yield rule
        if rule.models or rule.not_models or (rule.mellea and rule.supported):
            continue
        if not rule.requires:
            break
        if len(rule.requires) == 1:
            ((name, values),) = rule.requires.items()
            spoken.setdefault(name, set()).update(values)
            if spoken[name] >= _cases(name, rule.name):
                break


def _cases(name: str, of: str) -> set[Any]:
    """Return the values that a condition on an option can meet; one that no set holds, if many."""
    given = {"thinking": {True, False, *THINKING_LEVELS}, "boolean": {True, False}}
    values = given.get(CANONICAL[name].type, {_MANY}) if name in CANONICAL else {_MANY}
    return values if name == of else {*values, None}


@attrs.frozen
class Line:
    """One line of a cell: what a rule does with an option; no rule, no such option."""

    option: str
    endpoint: str
    rule: OptionRule | None
    earlier: tuple[OptionRule, ...] = ()


def lines(rules: Iterable[OptionRule], server: str | None = None) -> Iterator[Line]:
    """Yield every line of the tables of some rules; a test proves each on the backend's engine."""
    found = _by_name(rules, server, models=True)
    for name in dict.fromkeys((*CANONICAL, *found)):
        for endpoint in ("chat", "completion"):
            count = list(_that_count(found.get(name, ()), endpoint))
            for number, rule in enumerate(count or [None]):
                if name != "*":
                    yield Line(name, endpoint, rule, tuple(count[:number]))


def _rules(backend: str, server: str | None, *, models: bool = False) -> dict[str, list[Any]]:
    """Return the rules by option's name; those for some models only where asked for."""
    return _by_name(rules_of(backend), server, models=models)


def _by_name(
    rules: Iterable[OptionRule], server: str | None, *, models: bool
) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for rule in rules:
        if (server is None or rule.server in (None, server)) and (models or not rule.models):
            found.setdefault(rule.name, []).append(rule)
    return found


def _canonical(backend: str, server: str | None = None, *, models: bool = False) -> str:
    rules = _rules(backend, server, models=models)
    rows = (
        (code(name), cell(rules.get(name, ()), "chat"), cell(rules.get(name, ()), "completion"))
        for name in CANONICAL
    )
    return table(("option", "chat endpoint", "raw endpoint"), rows)


def _native(backend: str, server: str | None = None) -> str:
    """The options that only this backend has: those that it takes."""
    rows = [
        (
            code(name),
            next((rule.type or "any" for rule in rules if rule.supported), "any"),
            cell(rules, "chat"),
            cell(rules, "completion"),
        )
        for name, rules in _rules(backend, server).items()
        if name not in CANONICAL and name != "*" and any(rule.supported for rule in rules)
    ]
    return table(("option", "type", "chat endpoint", "raw endpoint"), rows)


def _others(backend: str, server: str | None = None, *, reserved: bool = False) -> str:
    """The native names that cannot be given, or (unless `reserved`) that are not supported."""
    rows = []
    for name, rules in _rules(backend, server).items():
        if name in CANONICAL or any(rule.supported for rule in rules):
            continue
        if reserved and not rules[0].reserved:
            continue
        kind = "cannot be given" if rules[0].reserved else "not supported"
        rows.append((code(_spelling(name)), kind, rules[0].reason))
    return table(("option", "", "why"), rows)


def overview() -> str:
    """Every common option on every backend at the chat endpoint, and below it the reasons."""
    columns = [
        ("ollama", "ollama", None),
        ("openai, official", "openai", "official"),
        ("openai, compatible", "openai", "compatible"),
        ("watsonx", "watsonx", None),
        ("hf", "hf", None),
        *((f"litellm, `{route}`", f"litellm:{route}", None) for route in routes()),
        ("ngram", "ngram", None),
    ]
    known = [_rules(backend, server) for _, backend, server in columns]
    notes: dict[str, int] = {}
    rows = [
        [code(name), *(_short(rules.get(name, ()), notes) for rules in known)] for name in CANONICAL
    ]
    reasons = "\n".join(f"{number}. {note}" for note, number in notes.items())
    return f"{table(('option', *(title for title, _, _ in columns)), rows)}\n\n{reasons}"


def _short(rules: Iterable[OptionRule], notes: dict[str, int]) -> str:
    """Say what becomes of one option in a few words, with the numbers of the reasons."""
    reasons: dict[str, list[str]] = {}
    values: dict[str, list[str]] = {}  # conditions that are all there is to say
    for rule in _that_count(rules, "chat"):
        does, wire = fate(rule, "chat")
        does = f"{does} `{wire}`" if does == "renamed" else does
        needs = f"Mellea {rule.mellea} or newer" if rule.mellea and rule.supported else ""
        why = "; ".join(filter(None, (needs, rule.reason.removesuffix(_SILENT))))
        reasons.setdefault(does, [])
        if why:
            reasons[does].append(_when(rule) + why)
        elif rule.requires:
            values.setdefault(does, []).append(_when(rule).removesuffix(": "))
    if not reasons:
        reasons["not supported"] = [_NO_SUCH]
    for does, said in values.items():
        reasons[does].append(f"only {', '.join(said)}")
    parts = []
    for does, said in reasons.items():
        numbers = [str(notes.setdefault(why, len(notes) + 1)) for why in dict.fromkeys(said)]
        parts.append(does + (f" ({', '.join(numbers)})" if numbers else ""))
    return "<br>".join(parts)


def by_route(head: str, make: Callable[[str], str]) -> str:
    """One table for each of the routes of LiteLLM that are shown."""
    return "\n\n".join(f"{head} `{route}`\n\n{make(f'litellm:{route}')}" for route in routes())


def litellm_needs() -> str:
    """The variables that LiteLLM's better known routes read."""
    from mellea_api_litellm.needs import needs_of
    from mellea_api_litellm.routes import Route

    rows = []
    for provider in _PROVIDERS:
        needs = needs_of(Route(model_id=f"{provider}/", provider=provider, model=""))
        assert needs is not None, provider
        wanted = [
            " or ".join(code(name) for name in need.variables)
            + ("" if need.required else " (if need be)")
            for need in needs.parts
        ]
        rows.append((f"`{provider}/…`", "<br>".join(wanted) or "none", needs.elsewhere))
    return table(("route", "variables", "else"), rows)


_PROVIDERS = (
    *("openai", "anthropic", "azure", "bedrock", "cohere", "databricks", "deepseek", "gemini"),
    *("github_copilot", "groq", "hosted_vllm", "litellm_proxy", "lm_studio", "mistral"),
    *("ollama_chat", "openrouter", "together_ai", "vertex_ai", "watsonx", "xai"),
)


def families() -> str:
    """What OpenAI's models do not take, by families that have the same rules."""
    rules = [rule for rule in descriptor("openai").options if rule.models]
    rules = [rule for rule in rules if rule.server == "official"]
    members: dict[tuple[int, ...], list[str]] = {}
    for glob in dict.fromkeys(glob for rule in rules for glob in rule.models):
        key = tuple(n for n, rule in enumerate(rules) if glob in rule.models)
        members.setdefault(key, []).append(glob)
    parts = []
    for key, globs in members.items():
        by_name: dict[str, list[OptionRule]] = {}
        for number in key:
            by_name.setdefault(rules[number].name, []).append(
                attrs.evolve(rules[number], models=())
            )
        order = sorted(by_name, key=[*CANONICAL, *by_name].index)
        rows = ((code(name), cell(by_name[name], "chat")) for name in order)
        parts.append(f"{code(*globs)}:\n\n{table(('option', 'chat endpoint'), rows)}")
    return "\n\n".join(parts)


def errors_table() -> str:
    """Every error, its standard type and its facts."""
    rows = []
    for name in errors.__all__:
        cls = getattr(errors, name)
        if not (isinstance(cls, type) and issubclass(cls, errors.MelleaAPIError)):
            continue
        parents = [code(base.__name__) for base in cls.__bases__]
        meaning = (cls.__doc__ or "").splitlines()[0]
        rows.append((code(name), ", ".join(parents), code(*cls.facts), meaning))
    return table(("error", "is a", "attributes, beside `reason` and `next_step`", ""), rows)


def provider_errors(backend: str) -> str:
    """Each answer of a backend's provider in `provider-errors.toml`, and the error it becomes."""
    rows = tomllib.loads((DOCS / "reference/provider-errors.toml").read_text("utf-8"))["row"]
    found = [row for row in rows if row["backend"] == backend]
    through = any("litellm" in row for row in found)
    head = ("what is the matter", "answer", "error", *(["through LiteLLM"] if through else []))
    return table(head, (_provider_error(row, through) for row in found))


def _provider_error(row: dict[str, Any], through: bool) -> list[str]:
    place = "in a stream" if row.get("stream") else str(row.get("status", row.get("fault", "-")))
    if row.get("raw"):
        place += ", raw"
    said = " ".join(re.findall(r'"(?:code|type|finish_reason)":"(\w+)"', row["body"])[:1])
    headers = "; ".join(f"{name}: {value}" for name, value in row.get("headers", {}).items())
    answer = "; ".join(filter(None, [place, code(said) if said else "", headers and code(headers)]))
    error = "no error" if row["error"] == "none" else code(row["error"])
    if "retry_after" in row:
        error += f", `retry_after` {row['retry_after']:g}"
    more = "the same"
    if "litellm" in row:
        named = "no error" if row["litellm"] == "none" else code(row["litellm"])
        more = f"{named}: {row['litellm_why']}"
    return [f"[{row['when']}]({row['source']})", answer, error, *([more] if through else [])]


def commands() -> str:
    """Each command: how it is called, what it says of itself, and its options."""
    import click

    from mellea_api.cli.app import app

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


def _every_command(commands: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield each command by its name; of a group, its commands after it."""
    for name, command in commands.items():
        yield name, command
        within = getattr(command, "commands", {})
        yield from _every_command({f"{name} {inner}": found for inner, found in within.items()})


def json_fields(command: str) -> str:
    """What a command prints with --json, field by field: its JSON Schema as a table."""
    import json

    schema = json.loads((DOCS / f"reference/{command}.schema.json").read_text("utf-8"))
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


def _values(option: Any) -> str:
    choices = getattr(option.type, "choices", None)
    text = code(*choices) if choices else (option.metavar or "")
    default = option.default
    plain = isinstance(default, str | float) and not option.is_flag
    return f"{text}, else `{default}`" if plain else text


PARTS: dict[str, Callable[[], str]] = {
    "canonical": canonical_table,
    "check-json": lambda: json_fields("check"),
    "doctor-json": lambda: json_fields("doctor"),
    "internal": internal_table,
    "ollama-common": lambda: _canonical("ollama"),
    "ollama-native": lambda: _native("ollama"),
    "ollama-others": lambda: _others("ollama"),
    "openai-official-common": lambda: _canonical("openai", "official"),
    "openai-official-native": lambda: _native("openai", "official"),
    "openai-official-others": lambda: _others("openai", "official"),
    "openai-families": families,
    "openai-compatible-common": lambda: _canonical("openai", "compatible", models=True),
    "openai-compatible-native": lambda: _native("openai", "compatible"),
    "openai-compatible-others": lambda: _others("openai", "compatible"),
    "watsonx-common": lambda: _canonical("watsonx", models=True),
    "watsonx-native": lambda: _native("watsonx"),
    "watsonx-others": lambda: _others("watsonx"),
    "hf-common": lambda: _canonical("hf", models=True),
    "hf-native": lambda: _native("hf"),
    "hf-others": lambda: _others("hf"),
    "litellm-common": lambda: by_route("###", _canonical),
    "litellm-native": lambda: by_route("On", _native),
    "litellm-others": lambda: _others("litellm", reserved=True),
    "litellm-needs": litellm_needs,
    "ngram-common": lambda: _canonical("ngram"),
    "overview": overview,
    "errors": errors_table,
    **{
        f"provider-errors-{backend}": functools.partial(provider_errors, backend)
        for backend in ("any", "ollama", "openai", "watsonx", "hf", "litellm")
    },
    "commands": commands,
}


def main() -> int:
    """Write the pages, or say which are out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if due")
    check = parser.parse_args().check
    stale = [page for page in pages() if render(page.read_text("utf-8")) != page.read_text("utf-8")]
    for page in stale:
        print(f"{'out of date' if check else 'written'}: {page.relative_to(DOCS.parent)}")
        if not check:
            page.write_text(render(page.read_text("utf-8")), "utf-8")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
