"""Where credentials come from, in one order.

1. the argument,
2. the environment variables of the field, in their order,
3. the files that `<VARIABLE>_FILE` name: how containers are handed secrets,
4. the extensions' `find_credential`: vaults,
5. the file in which the provider's SDK keeps a token, where it has one,
6. the system's keyring.

The first place that has a value is the one that counts. One that is named and cannot be used is
an error, and no reason to go on to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from attrs import field as attribute
from attrs import frozen

from mellea_api._contract.descriptor import CredentialField
from mellea_api._contract.errors import ConfigurationError
from mellea_api._contract.reports import CredentialFinding
from mellea_api._contract.requests import CredentialQuery, Target
from mellea_api._credentials import files, forms, system_keyring
from mellea_api._secrecy.secrets import Secret
from mellea_api._secrecy.veil import environment, plain

Vault = Callable[[CredentialQuery], Secret | None]
_TOKEN_FILE: Final = "token file "


@frozen(kw_only=True)
class Found:
    """What was found for one credential field.

    Args:
        field: The field.
        secret: The value, if there is one; also where something is wrong with it.
        source: Where it came from, or what was named and cannot be used; empty if nothing.
        problem: Why it cannot be used; empty if nothing speaks against it.
        shadowed: Further places that hold a value.
        notes: What could not be looked at, and why.
    """

    field: CredentialField
    secret: Secret | None = attribute(default=None, repr=False)
    source: str = ""
    problem: str = ""
    shadowed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@frozen
class _Place:
    """One place that may hold a value.

    Args:
        name: What it is called.
        read: Returns the value or None; raises `UnusableFileError`.
        near: Whether looking costs nothing and disturbs nobody.
        named: Whether somebody named it, so that it must hold a value.
    """

    name: str
    read: Callable[[], Secret | None] = attribute(repr=False)
    near: bool = True
    named: bool = False


def _places(
    target: Target,
    field: CredentialField,
    given: Any,
    environ: Mapping[str, str] | None,
    vault: Vault | None,
    keyring: bool | None,
) -> Iterator[_Place]:
    """Yield the places that may hold a field's value, in the order in which they count."""
    # Here, and in no frame that an error may pass: some tools print variables in tracebacks.
    environ = environment(environ)

    def secret(value: str, source: str) -> Secret:
        return Secret(value, source=source, masked=field.secret)

    def from_variable(name: str, source: str) -> Secret:
        return secret(environ[name], source)

    def from_file(path: str, source: str) -> Secret:
        return secret(files.read(path), source)

    def from_keyring() -> Secret | None:
        try:
            value = system_keyring.read(system_keyring.entry(target, field))
        except system_keyring.NoKeyringError:
            return None
        return None if value is None else secret(value, "keyring")

    if given is not None:
        yield _Place("argument", partial(_from_argument, target, field, given))
    for variable in field.variables:
        name = f"environment variable {variable}"
        if environ.get(variable, "").strip():
            yield _Place(name, partial(from_variable, variable, name))
    for variable in field.variables:
        path = environ.get(f"{variable}_FILE", "").strip()
        name = f"file {files.shown_path(path)} ({variable}_FILE)"
        if path:
            yield _Place(name, partial(from_file, path, name), named=True)
    if vault is not None:
        query = CredentialQuery(target=target, field=field)
        yield _Place("an extension", partial(vault, query), near=False)
    kept = files.token_path(field.token_file, environ)
    if kept is not None:
        name = f"{_TOKEN_FILE}{kept}"
        yield _Place(name, partial(from_file, kept, name))
    if keyring and _could_be_in_keyring(field):
        yield _Place("keyring", from_keyring, near=False)


def _could_be_in_keyring(field: CredentialField) -> bool:
    return field.secret and system_keyring.installed()


def look(
    target: Target,
    field: CredentialField,
    given: Any = None,
    *,
    vault: Vault | None = None,
    keyring: bool | None = None,
    environ: Mapping[str, str] | None = None,
    shadowed: bool = False,
) -> Found:
    """Look for the value of one credential field.

    Args:
        target: Backend, model and server.
        field: The field.
        given: The argument: text, a `Secret`, or None.
        vault: Asks the extensions.
        keyring: Whether the system's keyring may be asked. False notes that it was not; None
            does without it.
        environ: The environment; None for the process's own.
        shadowed: Whether to look on for further places with a value; neither extensions nor the
            keyring are asked for that.

    Raises:
        ConfigurationError: If the argument is no text.
    """
    secret: Secret | None = None
    source = problem = ""
    others: list[str] = []
    notes: list[str] = []
    for place in _places(target, field, given, environ, vault, keyring):
        settled = bool(secret) or bool(problem)
        if settled and not (shadowed and place.near):
            continue
        try:
            value = place.read()
        except system_keyring.KeyringUnusableError as error:
            notes.append(f"the keyring {error}")
            continue
        except (files.UnusableFileError, FileNotFoundError) as error:
            absent = isinstance(error, FileNotFoundError)
            why = "there is no such file" if absent else str(error)
            if not place.named:
                notes += [] if absent else [f"{place.name}: {why}"]
            elif settled:
                others.append(f"{place.name}, which cannot be used: {why}")
            else:
                source, problem = place.name, why
            continue
        if not value:
            continue
        if settled:
            others.append(place.name)
        else:
            secret, source = value, value.source
            problem = forms.problem(field, target, value.reveal(), environ) or ""
    if not secret and not problem and keyring is False and _could_be_in_keyring(field):
        notes.append("the keyring was not asked")
    return Found(
        field=field,
        secret=secret,
        source=source,
        problem=problem,
        shadowed=tuple(others),
        notes=tuple(notes),
    )


def look_up(
    target: Target,
    arguments: Mapping[str, Any],
    vault: Vault | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    keyring: bool | None = None,
    shadowed: bool = False,
) -> list[Found]:
    """Look for the value of every credential field of a target.

    Args:
        target: Backend, model and server.
        arguments: What the caller gave by name; a value is text or a `Secret`.
        vault: Asks the extensions.
        environ: The environment; None for the process's own.
        keyring: As for `look`.
        shadowed: Whether to look for further places that hold a value.

    Raises:
        ConfigurationError: If an argument is no text.
    """
    return [
        look(
            target,
            field,
            arguments.get(field.name),
            vault=vault,
            keyring=keyring,
            environ=environ,
            shadowed=shadowed,
        )
        for field in target.descriptor.credentials
    ]


def values(found: Sequence[Found]) -> dict[str, Secret]:
    """Return the values that can be used, by field name."""
    return {
        one.field.name: one.secret for one in found if one.secret is not None and not one.problem
    }


def findings(found: Sequence[Found], required: Callable[[CredentialField], bool]) -> list[Any]:
    """Return what a report says of each field."""
    return [_finding(one, required=required(one.field)) for one in found]


def _finding(found: Found, *, required: bool) -> CredentialFinding:
    notes = "; ".join(found.notes)
    if found.problem:
        return CredentialFinding(
            name=found.field.name,
            status="malformed",
            source=found.source,
            shadowed=found.shadowed,
            reason=found.problem,
        )
    if found.secret is None:
        status: Any = "missing" if required else "not-needed"
        return CredentialFinding(name=found.field.name, status=status, reason=notes)
    return CredentialFinding(
        name=found.field.name,
        status="present",
        source=found.source,
        shadowed=found.shadowed,
        hint=found.secret.hint if found.field.secret else found.secret.reveal(),
        reason=notes,
    )


def from_arguments(target: Target, arguments: Mapping[str, Any]) -> dict[str, Secret]:
    """Return the credentials among a caller's arguments, by field name.

    Args:
        target: Backend, model and server.
        arguments: What the caller gave by name; a value is text or a `Secret`.

    Raises:
        ConfigurationError: If an argument is no text.
    """
    found = {}
    for field in target.descriptor.credentials:
        secret = _from_argument(target, field, arguments.get(field.name))
        if secret is not None:
            found[field.name] = secret
    return found


def from_token_file(secret: Secret) -> bool:
    """Return whether a value came from the file in which the provider's SDK keeps its token.

    The SDK then best reads it itself: it may renew what expires.
    """
    return secret.source.startswith(_TOKEN_FILE)


def _from_argument(target: Target, field: CredentialField, given: Any) -> Secret | None:
    if given is None or isinstance(given, Secret):
        return given
    if isinstance(plain(given), str):
        return Secret(plain(given), source="argument", masked=field.secret)
    raise ConfigurationError(
        f"Cannot use {field.name}= for the {target.backend} backend: it is a "
        f"{type(plain(given)).__name__}, not text.",
        next_step="Give it as text.",
        backend=target.backend,
    )
