"""The system's keyring, by way of the `keyring` library: the optional extra `mellea-api[keyring]`.

The library is imported when a credential of a named backend was found nowhere else, and asked in
a thread of its own with a short limit: a keyring may be locked, ask its owner, or hang.
"""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

from mellea_api._contract.descriptor import CredentialField
from mellea_api._contract.requests import Target
from mellea_api._provider.authoring import call_with_deadline
from mellea_api._secrecy.secrets import Secret

Result = TypeVar("Result")

SERVICE: Final = "mellea-api"
"""The service under which the keyring holds everything of this library."""
PATIENCE: Final = 3.0
"""Seconds for an answer; what is there comes in milliseconds."""

_unanswered: list[threading.Event] = []
_unanswered_lock = threading.Lock()


class KeyringUnusableError(RuntimeError):
    """A keyring that is there and cannot be used; says why, in words that follow "the keyring"."""


class NoKeyringError(KeyringUnusableError):
    """There is no keyring, or the library for it is not installed."""


def entry(target: Target, field: CredentialField) -> str:
    """Return the user name under which the keyring holds a field."""
    return field.entry or f"{target.backend}.{field.name}"


def installed() -> bool:
    """Return whether the library is there, without importing it."""
    try:
        return importlib.util.find_spec("keyring") is not None
    except ValueError:  # something made a module of that name by hand
        return False


def read(name: str, seconds: float = PATIENCE) -> str | None:
    """Return what the keyring holds under a user name; None if nothing.

    Args:
        name: The user name, from `entry`.
        seconds: How long to wait for it.

    Raises:
        KeyringUnusableError: If it could not be read, or did not answer in time.
        NoKeyringError: If there is none.
    """

    def ask(keyring: Any) -> str | None:
        found = keyring.get_password(SERVICE, name)
        if found is not None and not isinstance(found, str):
            raise KeyringUnusableError(f"gave a {type(found).__name__} instead of text")
        return found

    return _ask(ask, seconds)


def write(name: str, secret: Secret, seconds: float) -> None:
    """Let the keyring hold a value under a user name, in place of the one before.

    Raises:
        KeyringUnusableError: If it refused, or did not answer in time.
        NoKeyringError: If there is none.
    """
    _ask(lambda keyring: keyring.set_password(SERVICE, name, secret.reveal()), seconds)


def delete(name: str, seconds: float) -> None:
    """Let the keyring forget what it holds under a user name.

    Raises:
        KeyringUnusableError: If it refused, or did not answer in time.
        NoKeyringError: If there is none.
    """
    _ask(lambda keyring: keyring.delete_password(SERVICE, name), seconds)


def _ask(question: Callable[[Any], Result], seconds: float) -> Result:
    if not installed():
        raise NoKeyringError("cannot be used: the keyring library is not installed")
    with _unanswered_lock:
        _unanswered[:] = [done for done in _unanswered if not done.is_set()]
        if _unanswered:
            raise KeyringUnusableError("has not answered an earlier question yet")
    done = threading.Event()

    def ask() -> Result:
        try:
            return question(_library())
        except KeyringUnusableError as error:
            failure = error
        except BaseException as error:  # a keyring is foreign code, and may even try to exit
            failure = _unusable(error)
        finally:
            done.set()
        # Out here it has no context: frames of a keyring hold what it was given to keep.
        raise failure

    try:
        return call_with_deadline(ask, seconds)
    except TimeoutError:
        with _unanswered_lock:
            _unanswered.append(done)
        raise KeyringUnusableError(
            f"did not answer within {seconds:g} s (it may be locked, and waiting for its owner)"
        ) from None


def _library() -> Any:
    import keyring
    from keyring.backends import fail, null

    chosen = keyring.get_keyring()
    if isinstance(chosen, fail.Keyring):
        raise NoKeyringError("cannot be used: this machine has none that the library knows")
    if isinstance(chosen, null.Keyring):
        raise NoKeyringError("cannot be used: it was switched off (keyring.backends.null)")
    return keyring


def _unusable(error: BaseException) -> KeyringUnusableError:
    from mellea_api._provider.refusals import said

    kinds = {kind.__name__ for kind in type(error).__mro__}
    words = said(error)
    if "NoKeyringError" in kinds:
        return NoKeyringError(f"cannot be used: {words}")
    if "KeyringLocked" in kinds:
        return KeyringUnusableError(f"is locked{f' ({words})' if words else ''}")
    return KeyringUnusableError(f"failed: {type(error).__name__}{f': {words}' if words else ''}")
