"""What a `SessionRequest` and its `Target` put into a pickle, for another process.

They refuse rather than leave something out. A refusal shows no secret, not even in a traceback with
the values of variables: one function finds what is wrong, and another raises it.
"""

from __future__ import annotations

import pickle
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote

from attrs import fields

from mellea_api._secrecy.secrets import Secret, shown_address

_HEADERS: Final = ("headers", "query")
"""How the names of settings end whose values are sent with each call."""
_KEY: Final = re.compile(r"auth|cookie|key|token|secret|pass|credential|sig", re.IGNORECASE)
"""In the name of a header, or of a part of a query."""
_LIKE_A_KEY: Final = re.compile(r"(?=\D*\d)(?=[^A-Za-z]*[A-Za-z])[\w.+/=~-]{16,}")


def pickled(value: Any, what: str, problem: str | None, **replaced: Any) -> tuple[Any, ...]:
    """Return what `__reduce__` of a frozen value returns.

    Args:
        value: The value.
        what: What an error calls it.
        problem: Why it does not pickle, if it does not.
        replaced: Fields with other values in the pickle.

    Raises:
        TypeError: If there is a problem.
    """
    if problem:
        raise TypeError(f"this {what} does not pickle: {problem}")
    facts = {one.name: getattr(value, one.name) for one in fields(type(value)) if one.init}
    return _made, (type(value), facts | replaced)


def _made(kind: type, facts: dict[str, Any]) -> Any:
    return kind(**facts)


def hidden_in(address: str | None, settings: Mapping[str, Any]) -> tuple[Secret, ...]:
    """Return what may be a secret in an address, among headers and in a query."""
    words = {word for _, _, found in _secrets_sent(settings) for word in found}
    user, at, _ = (address or "").partition("//")[2].rpartition("@")
    if at:
        login = unquote(user)
        words |= {user.partition(":")[2], login.partition(":")[2]}
        words.add(b64encode(login.encode(errors="replace")).decode())
    return tuple(Secret(word, source="settings") for word in words)


def _secrets_sent(settings: Mapping[str, Any]) -> Iterator[tuple[str, str, list[str]]]:
    """Yield what may be a secret among headers and in a query: setting, name and words."""
    for setting, sent in settings.items():
        if setting.endswith(_HEADERS) and isinstance(sent, Mapping):
            for name, value in sent.items():
                named = _KEY.search(str(name))
                words = [w for w in str(value).split() if named or _LIKE_A_KEY.fullmatch(w)]
                if words:
                    yield setting, str(name), words


def secret_part(address: str | None, settings: Mapping[str, Any]) -> str | None:
    """Return in words which part of a target is a secret, or None."""
    if address and shown_address(address) != address:
        return (
            f"there is a password in its address, {shown_address(address)}. Start the session in "
            "the process that uses it, or leave the password to the environment there."
        )
    for setting, name, _ in _secrets_sent(settings):
        return (
            f"settings[{setting!r}] has {name}, which may be a secret. "
            "Start the session in the process that uses it."
        )
    return None


def live_part(**parts: Mapping[str, Any]) -> str | None:
    """Return in words which part lives in this process only, or None."""
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
