"""What is wrong with a credential as it stands, said without asking anybody and without showing it.

Each rule is about a mistake that is really made; all are about the value alone, so that a report
offline and a session before its first connection say the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from attrs import evolve

from mellea_api._contract.descriptor import CredentialField
from mellea_api._contract.requests import Target
from mellea_api._secrecy.veil import environment

# `docker run --env-file` and Kubernetes' `--from-env-file` take quotes for a part of the value.
_QUOTES: Final = ("'", '"', "`", "\N{LEFT DOUBLE QUOTATION MARK}", "\N{LEFT SINGLE QUOTATION MARK}")
_SCHEME: Final = re.compile(r"(?i)(authorization:\s*)?(bearer|basic|token)\s")
_UNREPLACED: Final = re.compile(r"\$\w+|\$\{[^}]*\}|%\w+%|\{\{.*\}\}|<.*>|\$\(.*\)", re.DOTALL)

_STANDS_FOR_ONE: Final = frozenset(
    {"your", "insert", "enter", "paste", "put", "replace", "changeme", "change", "placeholder"}
    | {"todo", "none", "null", "undefined", "nil", "here", "example"}
)
_BESIDE: Final = frozenset(
    {"my", "the", "a", "an", "me", "with", "in", "this", "own", "actual", "real", "api", "access"}
    | {"secret", "key", "keys", "apikey", "token", "value", "password", "please"}
    | {"openai", "watsonx", "ibm", "huggingface", "hugging", "face", "ollama", "litellm"}
)
_PREFIXES: Final = frozenset({"sk", "hf", "proj"})


def problem(
    field: CredentialField,
    target: Target,
    value: str,
    environ: Mapping[str, str] | None = None,
) -> str | None:
    """Return what is wrong with a value, as words that follow "cannot be used:"; None if nothing.

    Args:
        field: The credential field.
        target: Backend and server: what is no key of the provider's may be one of another server.
        value: The value, without white space around it.
        environ: The environment; None for the process's own.
    """
    environ = environment(environ)
    if field.verbatim or not value:
        return None
    return (
        _packaging(field, value)
        or _characters(field, value)
        or (_placeholder(value) if field.secret and target.server == "official" else None)
        or _form(field, target, value, environ)
    )


def _packaging(field: CredentialField, value: str) -> str | None:
    """Say what came along with the value."""
    if len(value) > 1 and value[0] in _QUOTES:
        return "it stands in quotes, which are taken for a part of it"
    if field.secret and _SCHEME.match(value):
        return (
            f"it begins with {_SCHEME.match(value)[2]!r}, "  # type: ignore[index]
            "which belongs to the header and not to the value"
        )
    for variable in field.variables:
        if re.match(rf"(export\s+)?{re.escape(variable)}\s*=", value):
            return f"it begins with {variable}=, the name of its variable"
    if _UNREPLACED.fullmatch(value):
        return "it is a placeholder that nothing has replaced"
    return None


def _characters(field: CredentialField, value: str) -> str | None:
    for position, letter in enumerate(value, 1):
        if letter in "\r\n":
            return f"there is a line break in it (after {position - 1} characters)"
        if not letter.isprintable() and letter.isascii():
            return f"there is a control character in it (at {position})"
        if not (field.secret or field.header):
            continue
        if letter.isspace():
            return f"there is white space in it (at {position})"
        # httpx, below every SDK here, sends headers in ASCII; HTTP itself ends at Latin-1.
        if not letter.isascii():
            return f"there is a character in it that no HTTP header takes (at {position})"
    return None


def _placeholder(value: str) -> str | None:
    """Say that a value stands for another; a local server may well be given such a thing."""
    words = re.split(r"[\W_]+", value.lower())
    words = [word for word in words if word and word not in _PREFIXES]
    marks = [word for word in words if word in _STANDS_FOR_ONE or set(word) == {"x"}]
    if not words or (marks and all(word in marks or word in _BESIDE for word in words)):
        return "it is a placeholder, and no credential"
    return None


def _form(
    field: CredentialField, target: Target, value: str, environ: Mapping[str, str]
) -> str | None:
    form = field.form
    if form is None or any(environ.get(variable) for variable in form.unless):
        return None
    # A gateway that was said to be as good as the provider's own server has keys of its own.
    if evolve(target, stated_server=None).server != "official":
        return None
    return None if re.fullmatch(form.pattern, value, re.DOTALL) else form.words
