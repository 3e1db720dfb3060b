"""Find the credentials of a backend.

The first place that has a value wins:

1. the argument,
2. the environment variables of the field, in their order,
3. the files that `<VARIABLE>_FILE` name, as containers get their secrets,
4. the extensions' `find_credential`, such as a vault,
5. the file in which the provider's SDK keeps its token,
6. the system's keyring.

If a variable names a file that cannot be used, that is an error: the later places do not count.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from mellea_api._contract.descriptor import CredentialField
from mellea_api._contract.errors import ConfigurationError
from mellea_api._contract.reports import CredentialFinding
from mellea_api._contract.requests import CredentialQuery, Target
from mellea_api._credentials import system_keyring
from mellea_api._credentials.judge import find_problem, is_required
from mellea_api._secrecy.secrets import Secret
from mellea_api._secrecy.veil import plain

Vault = Callable[[CredentialQuery], Secret | None]

MOST_BYTES: Final = 64 * 1024
"""The largest file read for a credential; a wrong path may name anything."""
_TOKEN_FILE: Final = "token file "
_SHORTEST_SECRET: Final = 16
# It begins as a path does. A slash alone is in many secrets in base64.
_PATH: Final = re.compile(r"(?:~\w*|\.{1,2}|[A-Za-z]:|/[\w.-]+)[/\\][^\r\n]*")
_VARIABLE: Final = re.compile(r"\$(\w+)")


def find_credentials(
    target: Target,
    arguments: Mapping[str, Any],
    vault: Vault | None = None,
    *,
    keyring: bool | None = None,
) -> tuple[dict[str, Secret], list[CredentialFinding]]:
    """Find the value of every credential field of a target.

    Args:
        target: Backend, model and server; its descriptor has the fields.
        arguments: What the caller gave by name; a value is text or a `Secret`.
        vault: Asks the extensions.
        keyring: As for `find_credential`.

    Returns:
        The values that can be used, by field name; and what a report says of each field.

    Raises:
        ConfigurationError: If an argument is not text.
    """
    secrets: dict[str, Secret] = {}
    findings = []
    for field in target.descriptor.credentials:
        given = arguments.get(field.name)
        secret, finding = find_credential(target, field, given, vault=vault, keyring=keyring)
        findings.append(finding)
        if secret is not None:
            secrets[field.name] = secret
    return secrets, findings


def find_credential(
    target: Target,
    field: CredentialField,
    given: Any = None,
    *,
    vault: Vault | None = None,
    keyring: bool | None = None,
) -> tuple[Secret | None, CredentialFinding]:
    """Find the value of one credential field.

    Args:
        target: Backend, model and server.
        field: The field.
        given: The argument: text, a `Secret`, or None.
        vault: Asks the extensions.
        keyring: Whether to ask the system's keyring. False notes that it was not asked; None does
            not mention it.

    Returns:
        The value, None if there is none that can be used; and what a report says of it.

    Raises:
        ConfigurationError: If the argument is not text.
    """
    notes: list[str] = []
    try:
        secret = None if given is None else _from_argument(target, field, given)
        if not secret:
            secret = _first_value(target, field, vault, keyring, notes)
    except UnusableFileError as error:
        return None, _malformed(field, error.source, str(error))
    if secret is None:
        status: Any = "missing" if is_required(field, target) else "not-needed"
        return None, CredentialFinding(name=field.name, status=status, reason="; ".join(notes))
    problem = find_problem(field, target, secret.reveal())
    if problem is not None:
        return None, _malformed(field, secret.source, problem)
    return secret, CredentialFinding(
        name=field.name,
        status="present",
        source=secret.source,
        shadowed=_shadowed(field, secret.source),
        hint=secret.hint if field.secret else secret.reveal(),
        reason="; ".join(notes),
    )


def from_arguments(target: Target, arguments: Mapping[str, Any]) -> dict[str, Secret]:
    """Return the credentials among a caller's arguments, by field name.

    Raises:
        ConfigurationError: If an argument is not text.
    """
    found: dict[str, Secret] = {}
    for field in target.descriptor.credentials:
        given = arguments.get(field.name)
        if given is not None:
            found[field.name] = _from_argument(target, field, given)
    return found


def _first_value(
    target: Target,
    field: CredentialField,
    vault: Vault | None,
    keyring: bool | None,
    notes: list[str],
) -> Secret | None:
    """Return the value of the first place that has one; no variable here holds it as text."""
    secret: Secret | None
    for name, source, is_file in _set_variables(field):
        value = os.environ[name]
        try:
            value = read_file(value.strip()) if is_file else value
        except UnusableFileError as error:
            error.source = source
            raise
        secret = Secret(value, source=source, masked=field.secret)
        del value
        if secret:
            return secret
    if vault is not None and (secret := vault(CredentialQuery(target=target, field=field))):
        return secret
    kept = token_path(field.token_file) if field.token_file else None
    if kept is not None and os.path.exists(kept):
        source = f"{_TOKEN_FILE}{kept}"
        try:
            return Secret(read_file(kept), source=source, masked=field.secret)
        except UnusableFileError as error:
            notes.append(f"{source}: {error}")
    if not field.secret or keyring is None or not system_keyring.installed():
        return None
    if not keyring:
        notes.append("the keyring was not asked")
        return None
    try:
        held = system_keyring.read(system_keyring.entry(target, field))
        return Secret(held, source="keyring") if held and held.strip() else None
    except system_keyring.NoKeyringError:
        return None
    except system_keyring.KeyringUnusableError as error:
        notes.append(f"the keyring {error}")
    return None


def _set_variables(field: CredentialField) -> list[tuple[str, str, bool]]:
    """Return the variables that are set: name, words for a report, whether it names a file."""
    texts, files = [], []
    for name in field.variables:
        if os.environ.get(name, "").strip():
            texts.append((name, f"environment variable {name}", False))
        path = os.environ.get(f"{name}_FILE", "").strip()
        if path:
            files.append((f"{name}_FILE", f"file {shown_path(path)} ({name}_FILE)", True))
    return texts + files


def _shadowed(field: CredentialField, source: str) -> tuple[str, ...]:
    others = {name: None for _, name, _ in _set_variables(field)}
    kept = token_path(field.token_file) if field.token_file else None
    if kept is not None and os.path.isfile(kept):
        others[f"{_TOKEN_FILE}{kept}"] = None
    others.pop(source, None)
    return tuple(others)


def _malformed(field: CredentialField, source: str, problem: str) -> CredentialFinding:
    return CredentialFinding(
        name=field.name,
        status="malformed",
        source=source,
        shadowed=_shadowed(field, source),
        reason=problem,
    )


def _from_argument(target: Target, field: CredentialField, given: Any) -> Secret:
    if isinstance(given, Secret):
        return given
    value = plain(given)
    if isinstance(value, str):
        return Secret(value, source="argument", masked=field.secret)
    kind = type(value).__name__
    del value  # no traceback shows it
    raise ConfigurationError(
        f"Cannot use {field.name}= for the {target.backend} backend: it is a {kind}, not text.",
        next_step="Give it as text.",
        backend=target.backend,
    )


# ---- files


class UnusableFileError(ValueError):
    """A file that holds no credential; says why, and shows nothing of its content."""

    source = ""
    """What a report calls the file."""


def read_file(path: str) -> str:
    """Return the text of a file that holds one credential.

    Args:
        path: Its path; `~` stands for the user's folder.

    Raises:
        UnusableFileError: If it cannot be read, is empty, not a regular file, larger than
            `MOST_BYTES`, or not UTF-8 text.
    """
    # Nonblocking: a named pipe may have no writer.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    place = os.path.expanduser(path)
    try:
        with open(place, "rb", opener=lambda name, _: os.open(name, flags)) as file:
            regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            content = file.read(MOST_BYTES + 1) if regular else b""
        text = content.decode("utf-8-sig")
    except FileNotFoundError:
        why = "there is no such file"
    except OSError as error:
        why = f"it cannot be read ({error.strerror or error})"
    except UnicodeDecodeError:
        why = "it is not UTF-8 text"
    else:
        if not regular:
            why = "it is not a regular file"
        elif len(content) > MOST_BYTES:
            why = f"it is larger than {MOST_BYTES} bytes"
        elif "\0" in text:
            why = "it is not UTF-8 text"
        elif not text.strip():
            why = "it is empty"
        else:
            return text
    raise UnusableFileError(why)


def shown_path(path: str) -> str:
    """Return a path for a report, unless it may be a secret that somebody put in its place.

    >>> shown_path("/secrets/key"), shown_path("sk-0123456789abcdefghij")
    ('/secrets/key', '[no path]')
    >>> shown_path("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    '[no path]'
    """
    if len(path) < _SHORTEST_SECRET or _PATH.fullmatch(path) or os.path.exists(path):
        return path
    folder = os.path.dirname(path).strip("/\\")
    return path if folder and os.path.isdir(folder) else "[no path]"


def token_path(templates: Sequence[str]) -> str | None:
    """Return where an SDK keeps its token: the first path whose `$VARIABLES` are all set."""
    for template in templates:
        if all(os.environ.get(name) for name in _VARIABLE.findall(template)):
            return os.path.expanduser(os.path.expandvars(template))
    return None
