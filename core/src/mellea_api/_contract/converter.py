"""Turn the values of `mellea_api._contract` into plain JSON data: `converter().unstructure(value)`.

An error becomes its facts, and a `Secret` becomes `"[secret]"`, like the user and password in an
address and a header among a backend's settings. It goes one way: no value is made from data.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from mellea_api._contract.address import shown_address
from mellea_api._contract.errors import MelleaAPIError
from mellea_api._contract.refusals import said
from mellea_api._contract.requests import Target
from mellea_api._secrecy.secrets import Secret

if TYPE_CHECKING:
    from cattrs import Converter


@functools.cache
def converter() -> Converter:
    """Return the converter; it is made at the first call."""
    from cattrs import Converter
    from cattrs.gen import make_dict_unstructure_fn, override

    made = Converter(
        unstruct_collection_overrides={tuple: list, set: list, frozenset: list},
        unstructure_fallback_factory=lambda _: _described,
    )
    made.register_unstructure_hook(Secret, str)
    made.register_unstructure_hook_func(_is_error, lambda error: made.unstructure(_facts(error)))
    address = override(unstruct_hook=lambda address: address and shown_address(address))
    settings = override(unstruct_hook=lambda settings: _without_headers(made.unstructure(settings)))
    made.register_unstructure_hook(
        Target, make_dict_unstructure_fn(Target, made, base_url=address, settings=settings)
    )
    return made


def _is_error(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, MelleaAPIError)


def _facts(error: MelleaAPIError) -> dict[str, Any]:
    facts = {name: getattr(error, name) for name in error.facts}
    if facts.get("problems"):
        facts["problems"] = [
            {"path": problem.path, "message": problem.message} for problem in facts["problems"]
        ]
    words = {"message": str(error), "reason": error.reason, "next_step": error.next_step}
    return {"type": type(error).__name__, **words, **facts}


def _without_headers(settings: dict[str, Any]) -> dict[str, Any]:
    """Mask the settings that are sent with each call, and may hold a key."""
    return {
        name: _masked(value) if name.endswith(("headers", "query")) else value
        for name, value in settings.items()
    }


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _masked(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_masked(item) for item in value]
    return "[secret]" if isinstance(value, str) else value


def _described(value: Any) -> Any:
    """Describe in words what JSON does not have, such as a function that is a tool."""
    if value is None or isinstance(value, str | int | float):
        return value
    try:
        return said(repr(value))
    except Exception:  # a half-made object
        return f"<{type(value).__name__}>"
