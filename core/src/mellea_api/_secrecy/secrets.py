"""The one type that holds a secret, and the redaction of text that may hold one."""

from __future__ import annotations

import re
import threading
import weakref
from typing import Final, NoReturn

_MASK: Final = "[secret]"
# What stands before the host in an address: a user, and often a password, which may have an @.
_IN_ADDRESS: Final = re.compile(r"//[^/\s'\"]+@")
_IN_QUERY: Final = re.compile(
    r"([?&][\w.-]{0,40}(?:key|token|secret|password|signature|sig)=)[^&#\s'\"]+", re.IGNORECASE
)
# A user before an address without a scheme.
_USER: Final = re.compile(r"^[^/\s'\"]+@")
_SECRETIVE: Final = re.compile(r"\b(sk-|hf_|Bearer )[\w*.\-]{6,}")
_MOST_TEXT: Final = 300
MOST_READ: Final = 2**16
"""Characters of a text of a server that are looked at."""
# A secret shorter than this is not searched for in other text: masking every "a" would destroy
# messages and hide nothing.
_SHORTEST_REDACTED: Final = 8
# By identity: in a set, a second secret with the same text would not be held, and no longer be
# masked once the first is gone.
_live: weakref.WeakValueDictionary[int, Secret] = weakref.WeakValueDictionary()
# Reentrant: the garbage collector may run a finalizer in here, which may raise our errors.
_live_lock = threading.RLock()


class Secret:
    """A credential's value, together with where it came from.

    The value is reached only through `reveal`. It is in no repr, str or format, is not pickled
    and does not compare by content with anything but another secret. While a secret lives, its
    text is masked in the message of every error of this library.

    Args:
        value: The secret text; surrounding white space, which a file or a shell may have left,
            is removed.
        source: Where it came from, for people: `"argument"`, `"environment variable X"`.
        masked: Whether the text is masked wherever it turns up; not so for what is kept beside
            secrets and is none, such as a project's id.

    Raises:
        TypeError: If the value is not text.

    >>> key = Secret("sk-123456789", source="argument")
    >>> key
    Secret('[secret]', source='argument')
    >>> key.reveal()
    'sk-123456789'
    """

    __slots__ = ("__weakref__", "_value", "source")

    def __init__(self, value: str, *, source: str, masked: bool = True) -> None:
        if not isinstance(value, str):
            raise TypeError(f"a secret is text, not {type(value).__name__}")
        self._value = value.strip()
        self.source = source
        if masked:
            with _live_lock:
                _live[id(self)] = self

    def reveal(self) -> str:
        """Return the secret itself; keep it in no variable that outlives the call."""
        return self._value

    @property
    def hint(self) -> str:
        """The last four characters if the secret is long enough to show them, else nothing."""
        return f"…{self._value[-4:]}" if len(self._value) >= 20 else ""

    def __repr__(self) -> str:
        return f"Secret({_MASK!r}, source={self.source!r})"

    def __str__(self) -> str:
        return _MASK

    def __format__(self, spec: str) -> str:
        return format(_MASK, spec)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Secret:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"a secret is not pickled (this one came from: {self.source}). "
            "Set the environment variable where the session is built instead."
        )


def printable(text: str) -> str:
    r"""Replace control characters in text from elsewhere, which a terminal would obey.

    >>> printable("a model\x1b[2J")
    'a model\ufffd[2J'
    """
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else "\N{REPLACEMENT CHARACTER}"
        for letter in text.replace("\r\n", "\n")
    )


def redact(text: str) -> str:
    """Mask every living secret in a text, and what is one by its place in an address.

    That is what stands before the host, and in the query the value of a key, token, password or
    signature.

    Args:
        text: Any text, such as an answer of a provider that repeats the key it was sent.

    Returns:
        The text with each secret replaced by `[secret]`.

    >>> redact("GET http://me:secret@127.0.0.1:8000/v1")
    'GET http://[secret]@127.0.0.1:8000/v1'
    >>> redact("GET http://127.0.0.1:8000/v1?api-version=3&api-key=0123")
    'GET http://127.0.0.1:8000/v1?api-version=3&api-key=[secret]'
    """
    text = _IN_QUERY.sub(rf"\1{_MASK}", _IN_ADDRESS.sub(f"//{_MASK}@", text))
    with _live_lock:
        living = [reference() for reference in _live.valuerefs()]
    values = {secret.reveal() for secret in living if secret is not None}
    for value in sorted(values, key=len, reverse=True):
        if len(value) >= _SHORTEST_REDACTED and value in text:
            text = text.replace(value, _MASK)
    return text


def shown_address(address: str) -> str:
    """Mask the user, the password and the key of an address in a text.

    >>> shown_address("http://me:secret@127.0.0.1:8000/v1")
    'http://[secret]@127.0.0.1:8000/v1'
    """
    return _USER.sub(f"{_MASK}@", redact(address))


def beginning(text: str) -> str:
    """Return what is looked at of a text that may be megabytes long: no part of a last word."""
    if len(text) <= MOST_READ:
        return text
    return text[:MOST_READ].rpartition(" ")[0] or text[:MOST_READ]


def one_line(text: object, length: int = _MOST_TEXT) -> str:
    """Return what a provider or an SDK said as one short line without a key.

    It masks first and cuts then: half a key is not recognized as one.
    """
    line = " ".join(redact(beginning(str(text))).split())
    line = _SECRETIVE.sub(_MASK, shown_address(line))
    return line if len(line) <= length else f"{line[: length - 1]}…"
