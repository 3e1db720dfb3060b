"""Write values of `mellea_api._contract` as JSON, without their secrets.

An error becomes its facts; a value that JSON does not have is described in words. Nothing is read
back from JSON.
"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

from mellea_api._secrecy.secrets import Secret, one_line, redact

if TYPE_CHECKING:
    from cattrs import Converter


def to_json(value: Any, *, indent: int | None = None, ascii_only: bool = True) -> str:
    """Return a value as JSON text."""
    plain = _converter().unstructure(value)
    return redact(json.dumps(plain, indent=indent, ensure_ascii=ascii_only))


@functools.cache
def _converter() -> Converter:
    from cattrs import Converter

    made = Converter(
        unstruct_collection_overrides={tuple: list, set: list, frozenset: list},
        unstructure_fallback_factory=lambda _: _described,
    )
    made.register_unstructure_hook(Secret, str)
    made.register_unstructure_hook_func(
        lambda kind: hasattr(kind, "facts"), lambda error: made.unstructure(_facts(error))
    )
    return made


def _facts(error: Any) -> dict[str, Any]:
    facts = {name: getattr(error, name) for name in error.facts}
    if facts.get("problems"):
        facts["problems"] = [problem._asdict() for problem in facts["problems"]]
    words = {"message": str(error), "reason": error.reason, "next_step": error.next_step}
    return {"type": type(error).__name__, **words, **facts}


def _described(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value
    try:
        return one_line(repr(value))
    except Exception:  # a half-made object
        return f"<{type(value).__name__}>"
