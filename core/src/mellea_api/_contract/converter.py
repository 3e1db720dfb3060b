"""Values to plain JSON data and back: one configured cattrs converter.

    from mellea_api._contract.converter import converter

    data = converter().unstructure(descriptor)
    same = converter().structure(data, BackendDescriptor)

It knows the values of `mellea_api._contract`.
Unknown keys are refused, and nothing is coerced: text is no number. Two things go one way only:
an error of this library becomes its facts, and a `Secret` becomes `"[secret]"`,
as does the user and password in an address, and a header among a backend's settings.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mellea_api._contract.address import shown_address
from mellea_api._contract.errors import MelleaAPIError
from mellea_api._contract.requests import Target
from mellea_api._secrecy.secrets import Secret, redact

if TYPE_CHECKING:
    from cattrs import Converter


@functools.cache
def converter() -> Converter:
    """Return the converter; made when it is first asked for."""
    from cattrs import Converter
    from cattrs.gen import make_dict_unstructure_fn, override

    made = Converter(
        forbid_extra_keys=True,
        unstruct_collection_overrides={tuple: list, set: list, frozenset: list},
        unstructure_fallback_factory=_plain,
    )
    made.register_unstructure_hook(Secret, str)
    made.register_structure_hook(Secret, _refuse_secret)
    made.register_unstructure_hook_func(_is_error, lambda error: made.unstructure(_facts(error)))
    address = override(unstruct_hook=lambda address: address and shown_address(address))
    settings = override(unstruct_hook=lambda settings: _without_headers(made.unstructure(settings)))
    made.register_unstructure_hook(
        Target, make_dict_unstructure_fn(Target, made, base_url=address, settings=settings)
    )
    for kind in (str, int, bool):
        made.register_structure_hook(kind, _exactly(kind))
    # An integer stays one: 2**64 - 1 is no float.
    made.register_structure_hook(float, _exactly(float, int))
    return made


def _without_headers(settings: dict[str, Any]) -> dict[str, Any]:
    """Mask what among a backend's settings is to be sent with each call, and may be a key."""
    return {
        name: _masked_texts(value) if name.endswith(("headers", "query")) else value
        for name, value in settings.items()
    }


def _masked_texts(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _masked_texts(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_masked_texts(item) for item in value]
    return "[secret]" if isinstance(value, str) else value


def _plain(_: Any) -> Callable[[Any], Any]:
    return _described


def _described(value: Any) -> Any:
    """Leave alone what JSON has; say in words what it has not, such as a function as a tool."""
    if value is None or isinstance(value, str | int | float):
        return value
    from mellea_api._options.checks import shown

    return redact(shown(value))


def _exactly(*kinds: type) -> Callable[[Any, Any], Any]:
    def structure(value: Any, _: Any) -> Any:
        if isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool)):
            return value
        raise TypeError(f"must be of type {kinds[0].__name__}, not {type(value).__name__}")

    return structure


def _refuse_secret(value: Any, _: Any) -> Secret:
    raise TypeError("a secret is not made from data; give it as an argument, or by the environment")


def _is_error(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, MelleaAPIError)


def _facts(error: MelleaAPIError) -> dict[str, Any]:
    facts = {name: getattr(error, name) for name in error.facts}
    if facts.get("problems"):
        facts["problems"] = [
            {"path": problem.path, "message": problem.message} for problem in facts["problems"]
        ]
    return {
        "type": type(error).__name__,
        "message": str(error),
        "reason": error.reason,
        "next_step": error.next_step,
        **facts,
    }
