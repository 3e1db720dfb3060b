"""What an object says of itself: its signature and its docstring, in Markdown."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

import attrs

from mellea_api._contract.option_rule import NOTHING

__all__ = ["described", "find", "name_of", "signature", "value_text"]

_WIDTH: Final = 96
_SECTION: Final = re.compile(
    r"^(Args|Attributes|Returns|Yields|Raises):$\n((?:^(?: .*)?$\n?)*)", re.MULTILINE
)
_ITEM: Final = re.compile(r"^    ([*\w]+): ((?:.*)(?:\n        .*)*)", re.MULTILINE)


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
        if parameter.name in ("self", "cls") and parameter.annotation is parameter.empty:
            continue  # what a method is called on; elsewhere `cls` is an argument like others
        if parameter.kind is parameter.KEYWORD_ONLY and not named:
            named = True
            yield "*"
        if parameter.kind is parameter.VAR_POSITIONAL:
            named = True
        text = str(parameter.replace(annotation=parameter.empty, default=parameter.empty))
        if parameter.annotation is not parameter.empty:
            text += f": {parameter.annotation}"
        if parameter.default is not parameter.empty:
            text += f" = {value_text(parameter.default)}"
        yield text


def _fields(cls: type) -> Iterator[str]:
    named = False
    for found in attrs.fields(cls):
        if found.name.startswith("_") or not found.init:
            continue  # the core's own business
        if found.kw_only and not named:
            named = True
            yield "*"
        text = f"{found.name}: {found.type}"
        if isinstance(found.default, attrs.Factory):  # type: ignore[arg-type]
            text += f" = {value_text(found.default.factory())}"
        elif found.default is not attrs.NOTHING:
            text += f" = {value_text(found.default)}"
        yield text


def value_text(value: Any) -> str:
    """Return a value as it is written in code."""
    if value is NOTHING:
        return "NOTHING"
    return '"' + value + '"' if isinstance(value, str) else repr(value)


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
