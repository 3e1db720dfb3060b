"""The system's keyring, through the `keyring` library: the optional extra `mellea-api[keyring]`.

It may be locked, wait for its owner, or hang: every question has a deadline.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any, Final, TypeVar

from mellea_api._contract.descriptor import CredentialField
from mellea_api._contract.requests import Target
from mellea_api._provider.deadlines import call_with_deadline
from mellea_api._secrecy.secrets import Secret, one_line

Result = TypeVar("Result")

SERVICE: Final = "mellea-api"
"""The service under which the keyring holds everything of this library."""
PATIENCE: Final = 3.0
"""Seconds for an answer; a keyring that is open answers in milliseconds."""


class KeyringUnusableError(RuntimeError):
    """A keyring that cannot be used; says why, in words that follow "the keyring"."""

    next_step = "Unlock it, and try again."


class NoKeyringError(KeyringUnusableError):
    """There is no keyring, or the library for it is not installed."""

    next_step = (
        "Set the environment variable instead, or a file with <VARIABLE>_FILE. A keyring needs "
        '`pip install "mellea-api[keyring]"`; `keyring --list-backends` shows which there are.'
    )


def entry(target: Target, field: CredentialField) -> str:
    """Return the user name under which the keyring holds a field."""
    return field.entry or f"{target.backend}.{field.name}"


def installed() -> bool:
    """Return whether the library is installed, without importing it."""
    try:
        return importlib.util.find_spec("keyring") is not None
    except ValueError:  # somebody put a module of that name into sys.modules
        return False


def read(name: str, seconds: float = PATIENCE) -> str | None:
    """Return what the keyring holds under a user name from `entry`; None if nothing.

    Raises:
        KeyringUnusableError: If it could not be read, or did not answer in time.
        NoKeyringError: If there is none.
    """
    value = _call(lambda keyring: keyring.get_password(SERVICE, name), seconds)
    if value is not None and not isinstance(value, str):
        kind = type(value).__name__
        del value  # no traceback shows it
        raise KeyringUnusableError(f"gave a {kind} instead of text")
    return value


def write(name: str, secret: Secret, seconds: float) -> None:
    """Store a value under a user name, in place of the one before.

    Raises:
        KeyringUnusableError: If it refused, or did not answer in time.
        NoKeyringError: If there is none.
    """
    _call(lambda keyring: keyring.set_password(SERVICE, name, secret.reveal()), seconds)


def delete(name: str, seconds: float) -> None:
    """Delete the value under a user name.

    Raises:
        KeyringUnusableError: If it refused, or did not answer in time.
        NoKeyringError: If there is none.
    """
    _call(lambda keyring: keyring.delete_password(SERVICE, name), seconds)


def _call(question: Callable[[Any], Result], seconds: float) -> Result:
    if not installed():
        raise NoKeyringError("cannot be used: the keyring library is not installed")

    def call() -> Result:
        try:
            return question(_library())
        except KeyringUnusableError as error:
            failure = error
        except BaseException as error:  # a keyring is foreign code, and may even try to exit
            failure = _unusable(error)
        # Outside of `except` it has no context: the frames of a keyring hold the secret.
        raise failure

    try:
        return call_with_deadline(call, seconds)
    except TimeoutError:
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
    kinds = {kind.__name__ for kind in type(error).__mro__}
    words = one_line(error)
    if "NoKeyringError" in kinds:
        return NoKeyringError(f"cannot be used: {words}")
    if "KeyringLocked" in kinds:
        return KeyringUnusableError(f"is locked{f' ({words})' if words else ''}")
    return KeyringUnusableError(f"failed: {type(error).__name__}{f': {words}' if words else ''}")
