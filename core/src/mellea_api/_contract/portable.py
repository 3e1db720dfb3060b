"""What makes a `SessionRequest` safe to send to another process."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from mellea_api._contract.address import shown_address

if TYPE_CHECKING:
    from mellea_api._contract.requests import SessionRequest


_KEY: Final = re.compile(r"auth|cookie|key|token|secret|password", re.IGNORECASE)
"""In the name of a header, or of what stands in a query."""


def portable_state(request: SessionRequest) -> dict[str, Any]:
    """Return the state of a request for pickling, without its credentials.

    Args:
        request: The request.

    Raises:
        TypeError: If it holds a secret that was given as an argument, or an object that lives
            in this process only; the message says which, and what to do.
    """
    import attrs

    state = {
        attribute.name: getattr(request, attribute.name)
        for attribute in attrs.fields(type(request))
    }
    given = [name for name, secret in request.credentials.items() if secret.source == "argument"]
    if given:
        raise TypeError(
            f"this session request does not pickle: {', '.join(given)} was given as an argument, "
            "and a secret is not pickled. Set the environment variable where the session is built."
        )
    state["credentials"] = {}
    address = request.target.base_url or ""
    if shown_address(address) != address:
        raise TypeError(
            "this session request does not pickle: there is a password in its address, "
            f"{shown_address(address)}. Start the session in the process "
            "that uses it, or leave the password to the environment there."
        )
    for name, sent in request.target.settings.items():
        keys = [key for key in sent if _KEY.search(str(key))] if isinstance(sent, Mapping) else []
        if keys and name.endswith(("headers", "query")):
            raise TypeError(
                f"this session request does not pickle: settings[{name!r}] has {', '.join(keys)}, "
                "which may be a secret. Start the session in the process that uses it."
            )
    for part, held in (
        ("context", {"": request.context}),
        ("options", request.options),
        ("settings", request.target.settings),
        ("session_arguments", request.session_arguments),
    ):
        for name, item in held.items():
            try:
                pickle.dumps(item)
            except Exception as error:
                where = f"{part}[{name!r}]" if name else part
                raise TypeError(
                    f"this session request does not pickle: {where} holds a live object "
                    f"({type(item).__name__}: {error}). Name it by plain values instead "
                    "(context='chat', a base_url, options as text and numbers), or start the "
                    "session in the process that uses it."
                ) from None
    return state
