"""What a `SessionRequest` and its `Target` put into a pickle, for another process.

They refuse rather than leave something out. A refusal shows no secret, also not in a traceback
with the values of variables: what is wrong is found in one function and raised in another.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import fields_dict

from mellea_api._contract.address import shown_address

_KEY: Final = re.compile(r"auth|cookie|key|token|secret|password", re.IGNORECASE)
"""In the name of a header, or of a part of a query."""


def request_state(request: Any) -> dict[str, Any]:
    """Return the state of a request without its credentials.

    Raises:
        TypeError: If a secret was given as an argument, or a part lives in this process only.
    """
    given = [name for name, secret in request.credentials.items() if secret.source == "argument"]
    if given:
        raise TypeError(
            f"this session request does not pickle: {', '.join(given)} was given as an argument, "
            "and a secret is not pickled. Set the environment variable where the session is built."
        )
    parts = {"options": request.options, "session_arguments": request.session_arguments}
    problem = _live(context={"": request.context}, **parts)
    if problem:
        raise TypeError(f"this session request does not pickle: {problem}")
    return _state(request) | {"credentials": {}}


def target_state(target: Any) -> dict[str, Any]:
    """Return the state of a target.

    Raises:
        TypeError: If its address or settings hold a secret, or something of this process only.
    """
    problem = _secret(target) or _live(settings=target.settings)
    if problem:
        raise TypeError(f"this target of a session does not pickle: {problem}")
    return _state(target)


def _state(of: Any) -> dict[str, Any]:
    return {name: getattr(of, name) for name in fields_dict(type(of))}


def _secret(target: Any) -> str | None:
    address = target.base_url or ""
    if shown_address(address) != address:
        return (
            f"there is a password in its address, {shown_address(address)}. Start the session in "
            "the process that uses it, or leave the password to the environment there."
        )
    for name, sent in target.settings.items():
        keys = [key for key in sent if _KEY.search(str(key))] if isinstance(sent, Mapping) else []
        if keys and name.endswith(("headers", "query")):
            return (
                f"settings[{name!r}] has {', '.join(keys)}, which may be a secret. "
                "Start the session in the process that uses it."
            )
    return None


def _live(**parts: Mapping[str, Any]) -> str | None:
    for part, items in parts.items():
        for name, item in items.items():
            try:
                pickle.dumps(item)
            except Exception as error:
                return (
                    f"{f'{part}[{name!r}]' if name else part} holds a live object "
                    f"({type(item).__name__}: {error}). Use plain values instead (context='chat', "
                    "a base_url, options as text and numbers), or start the session in the "
                    "process that uses it."
                )
    return None
