"""Write values of `mellea_api._contract` as JSON, without their secrets.

An error becomes its facts, and what JSON does not have is described in words. It goes one way: no
value is made from JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mellea_api._secrecy.secrets import Secret, one_line, redact


def to_json(value: Any, *, indent: int | None = None, ascii_only: bool = True) -> str:
    """Return a value as JSON text."""
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only, default=_plain)
    return redact(text)


def _plain(value: Any) -> Any:
    # Known by their marks: the classes need not be imported.
    fields = getattr(type(value), "__attrs_attrs__", None)
    if fields is not None:
        return {one.name: getattr(value, one.name) for one in fields if one.init}
    if hasattr(type(value), "facts"):
        words = {"message": str(value), "reason": value.reason, "next_step": value.next_step}
        facts = {name: getattr(value, name) for name in value.facts}
        return {"type": type(value).__name__, **words, **facts}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return list(value)
    if isinstance(value, Secret):
        return str(value)
    try:
        return one_line(repr(value))
    except Exception:  # a half-made object
        return f"<{type(value).__name__}>"
