"""`mellea-api keys`: credentials in the system's keyring."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import click

from mellea_api._cli.output import Output, command
from mellea_api._secrecy.secrets import Secret

if TYPE_CHECKING:
    from mellea_api._contract.descriptor import CredentialField
    from mellea_api._contract.requests import Target


Function = TypeVar("Function", bound=Callable[..., Any])

_PATIENCE: Final = 60.0
"""Seconds for a keyring that is written to: its owner may have to unlock it first."""
_MOST: Final = 64 * 1024
"""Characters of a credential on the standard input."""


@click.group()
def keys() -> None:
    """Keep credentials in the system's keyring, where sessions find what is nowhere else.

    Needs `pip install "mellea-api[keyring]"`.
    """


def _for_one_field(function: Function) -> Function:
    """Give a command the arguments that name a credential field."""
    for decorate in (
        click.option("--model", "-m", metavar="MODEL", help="The model, if the fields follow it."),
        click.argument("field", required=False),
        click.argument("backend"),
    ):
        function = decorate(function)
    return function


@keys.command("set")
@_for_one_field
@click.option("--base-url", metavar="URL", help="The server that it is for.")
@command
def set_(
    output: Output, backend: str, field: str | None, model: str | None, base_url: str | None
) -> None:
    """Let the keyring hold the FIELD of BACKEND, such as `api_key` (the default: its secret one).

    The value is asked for without being shown, or read from the standard input. It is never an
    argument, which every user of the machine could see.
    """
    from mellea_api._credentials import system_keyring
    from mellea_api._credentials.judge import find_problem, malformed_error

    target, found = _field(backend, field, model, base_url)
    name = system_keyring.entry(target, found)
    _library()
    value = Secret(_value(name), source="standard input")
    if not value:
        raise click.UsageError("Nothing was given.")
    wrong = find_problem(found, target, value.reveal())
    if wrong is not None:
        raise malformed_error(target, found, value.source, wrong)
    _kept(lambda: system_keyring.write(name, value, _PATIENCE))
    if output.as_json:
        output.data(_row(target, found, value))
        return
    output.line(f"The keyring holds {name} now.")


@keys.command()
@_for_one_field
@click.option("--reveal", is_flag=True, help="Print the value itself.")
@command
def get(output: Output, backend: str, field: str | None, model: str | None, reveal: bool) -> None:
    """Say whether the keyring holds the FIELD of BACKEND, and its last four characters."""
    from mellea_api._credentials import system_keyring

    target, found = _field(backend, field, model)
    _library()
    secret = _read(target, found)
    if secret is None:
        _absent(target, found)
    if output.as_json:
        shown = {"value": secret.reveal()} if reveal else {}
        output.data({**_row(target, found, secret), **shown})
    elif reveal:
        output.line(secret.reveal())
    else:
        output.line(f"{system_keyring.entry(target, found)} {secret.hint}".rstrip())


@keys.command("list")
@click.argument("backend", required=False)
@click.option("--model", "-m", metavar="MODEL", help="The model, if the fields follow it.")
@command
def list_(output: Output, backend: str | None, model: str | None) -> None:
    """Say which secrets of BACKEND, or of all installed backends, the keyring holds.

    A keyring has no list of what it holds: it is asked for each field.
    """
    from mellea_api._contract.errors import MelleaAPIError
    from mellea_api._credentials import system_keyring
    from mellea_api._registry.shared import shared_registry

    if model is not None and backend is None:
        raise click.UsageError("--model needs BACKEND.")
    _library()
    registry = shared_registry()
    rows: dict[str, dict[str, Any]] = {}  # by entry, which a backend and its aliases share
    for name in [backend] if backend is not None else registry.names():
        try:
            found = registry.backend(name)
            target = found.target(model)
            fields = found.credential_fields(target)
        except MelleaAPIError as error:
            if backend is not None:
                raise
            output.note(f"{name}: {error}")
            continue
        for field in fields:
            entry = system_keyring.entry(target, field)
            if field.secret and entry not in rows:
                rows[entry] = _row(target, field, _read(target, field))
    if output.as_json:
        output.data({"keys": list(rows.values())})
    elif rows:
        columns = ("backend", "field", "in the keyring", "value")
        output.table(
            columns,
            [
                (row["backend"], row["field"], "yes" if row["there"] else "no", row["hint"])
                for row in rows.values()
            ],
        )
    else:
        output.note("There is nothing that a keyring could hold.")


@keys.command()
@_for_one_field
@command
def delete(output: Output, backend: str, field: str | None, model: str | None) -> None:
    """Let the keyring forget the FIELD of BACKEND."""
    from mellea_api._credentials import system_keyring

    target, found = _field(backend, field, model)
    name = system_keyring.entry(target, found)
    _library()
    if _read(target, found) is None:
        _absent(target, found)
    _kept(lambda: system_keyring.delete(name, _PATIENCE))
    if output.as_json:
        output.data(_row(target, found, None))
        return
    output.line(f"The keyring holds {name} no longer.")


def _field(
    backend: str, name: str | None, model: str | None, base_url: str | None = None
) -> tuple[Target, CredentialField]:
    """Return the secret field that is meant."""
    from mellea_api._registry.shared import shared_registry

    found = shared_registry().backend(backend)
    target = found.target(model, base_url)
    secret = [field for field in found.credential_fields(target) if field.secret]
    chosen = [field for field in secret if name in (None, field.name)]
    if len(chosen) == 1:
        return target, chosen[0]
    names = ", ".join(field.name for field in secret)
    if not secret:
        raise click.UsageError(f"The {backend} backend has no secrets.")
    raise click.UsageError(
        f"Say which one: {names}." if name is None else f"{backend} has no secret {name}: {names}."
    )


def _value(name: str) -> str:
    """Ask for a value, or read it."""
    if sys.stdin.isatty():
        asked: str = click.prompt(f"Value of {name}", hide_input=True, err=True, default="")
        return asked
    given = sys.stdin.read(_MOST + 1)
    if len(given) > _MOST:
        raise click.UsageError(f"That is no credential: it has more than {_MOST} characters.")
    return given


def _library() -> None:
    """See that there is a library to ask.

    Raises:
        ConfigurationError: If not.
    """
    from mellea_api._contract.errors import ConfigurationError
    from mellea_api._credentials import system_keyring

    if not system_keyring.installed():
        raise ConfigurationError(
            "The keyring cannot be used: the keyring library is not installed.",
            next_step='Run `pip install "mellea-api[keyring]"`.',
        )


def _kept(work: Callable[[], Any]) -> Any:
    """Ask the keyring; say what it raises in the library's terms."""
    from mellea_api._contract.errors import ConfigurationError
    from mellea_api._credentials import system_keyring

    try:
        return work()
    except system_keyring.NoKeyringError as error:
        failure = ConfigurationError(
            f"The keyring {error}.",
            next_step="Set the environment variable instead, or a file with <VARIABLE>_FILE; "
            "`python -m keyring --list-backends` shows which keyrings there are.",
        )
    except system_keyring.KeyringUnusableError as error:
        failure = ConfigurationError(f"The keyring {error}.", next_step="Unlock it, and try again.")
    raise failure


def _read(target: Target, field: CredentialField) -> Secret | None:
    from mellea_api._credentials import system_keyring

    value = _kept(lambda: system_keyring.read(system_keyring.entry(target, field)))
    return None if value is None else Secret(value, source="keyring")


def _row(target: Target, field: CredentialField, secret: Secret | None) -> dict[str, Any]:
    from mellea_api._credentials import system_keyring

    return {
        "backend": target.backend,
        "field": field.name,
        "entry": system_keyring.entry(target, field),
        "there": secret is not None,
        "hint": "" if secret is None else secret.hint,
    }


def _absent(target: Target, field: CredentialField) -> NoReturn:
    from mellea_api._contract.errors import CredentialError
    from mellea_api._credentials import system_keyring

    raise CredentialError(
        f"The keyring holds no {system_keyring.entry(target, field)}.",
        next_step=f"Give it one with `mellea-api keys set {target.backend} {field.name}`.",
        backend=target.backend,
        field=field.name,
    )
