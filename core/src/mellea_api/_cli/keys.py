"""`mellea-api keys`: credentials in the system's keyring."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from mellea_api._cli.output import Output, command
from mellea_api._secrecy.secrets import Secret

if TYPE_CHECKING:
    from mellea_api._contract.descriptor import CredentialField
    from mellea_api._contract.requests import Target


Function = TypeVar("Function", bound=Callable[..., Any])

_PATIENCE: Final = 60.0
"""Seconds for writing to a keyring: its owner may have to unlock it first."""
_MOST: Final = 64 * 1024
"""Characters of a credential on the standard input."""
_model_option = click.option(
    "--model", "-m", metavar="MODEL", help="The model, if the fields follow it."
)


@click.group()
def keys() -> None:
    """Keep credentials in the system's keyring, where sessions find what is nowhere else.

    Needs `pip install "mellea-api[keyring]"`. The entries are plain ones of the service
    `mellea-api`: `keyring get mellea-api openai.api_key` prints one.
    """


def _keyring_command(function: Function) -> Function:
    """Make a command that needs the keyring; its errors become the library's."""

    @functools.partial(command, json_too=False)
    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        from mellea_api._contract.errors import ConfigurationError
        from mellea_api._credentials import system_keyring

        try:
            return function(*args, **kwargs)
        except system_keyring.KeyringUnusableError as error:
            failure = ConfigurationError(f"The keyring {error}.", next_step=error.next_step)
        raise failure  # out here it has no context: frames of a keyring hold the secret

    return run  # type: ignore[return-value]


@keys.command("set")
@click.argument("backend")
@click.argument("field", required=False)
@_model_option
@click.option("--base-url", metavar="URL", help="The server that it is for.")
@_keyring_command
def set_(
    output: Output, backend: str, field: str | None, model: str | None, base_url: str | None
) -> None:
    """Store the FIELD of BACKEND in the keyring, such as `api_key` (the default: its only secret).

    You are asked for the value, which is not shown; or it is read from standard input. It is never
    an argument, which every user of the machine could see.
    """
    from mellea_api._credentials import system_keyring
    from mellea_api._credentials.judge import find_problem, malformed_error

    target, chosen = _secret_field(backend, field, model, base_url)
    name = system_keyring.entry(target, chosen)
    value = Secret(_read_value(name), source="standard input")
    if not value:
        raise click.UsageError("Nothing was given.")
    wrong = find_problem(chosen, target, value.reveal())
    if wrong is not None:
        raise malformed_error(target, chosen, value.source, wrong)
    system_keyring.write(name, value, _PATIENCE)
    output.line(f"The keyring now holds {name}.")


@keys.command("list")
@click.argument("backend", required=False)
@_model_option
@_keyring_command
def list_(output: Output, backend: str | None, model: str | None) -> None:
    """List the secrets of BACKEND, or of all installed backends, and which the keyring holds.

    A keyring cannot list what it holds: it is asked for each field.
    """
    from mellea_api._contract.errors import MelleaAPIError
    from mellea_api._credentials import system_keyring
    from mellea_api._registry.registry import shared_registry

    if model is not None and backend is None:
        raise click.UsageError("--model needs BACKEND.")
    registry = shared_registry()
    rows: dict[str, tuple[str, ...]] = {}  # by entry, which a backend and its aliases share
    for name in [backend] if backend is not None else registry.names():
        try:
            found = registry.backend(name)
            target = found.target(model)
            fields = target.descriptor.credentials
        except MelleaAPIError as error:
            if backend is not None:
                raise
            output.note(f"{name}: {error}")
            continue
        for field in fields:
            entry = system_keyring.entry(target, field)
            if field.secret and entry not in rows:
                value = system_keyring.read(entry)
                held = "no" if value is None else "yes"
                hint = "" if value is None else Secret(value, source="keyring").hint
                rows[entry] = (target.backend, field.name, held, hint)
    titles = ("backend", "field", "in the keyring", "value")
    output.show({}, (rows.values(), {title: itemgetter(i) for i, title in enumerate(titles)}))
    if not rows:
        output.note("No backend has a secret that a keyring could hold.")


@keys.command()
@click.argument("backend")
@click.argument("field", required=False)
@_model_option
@_keyring_command
def delete(output: Output, backend: str, field: str | None, model: str | None) -> None:
    """Delete the FIELD of BACKEND from the keyring."""
    from mellea_api._contract.errors import CredentialError
    from mellea_api._credentials import system_keyring

    target, chosen = _secret_field(backend, field, model)
    name = system_keyring.entry(target, chosen)
    if system_keyring.read(name) is None:
        step = f"Store it with `mellea-api keys set {target.backend} {chosen.name}`."
        raise CredentialError(f"The keyring holds no {name}.", next_step=step)
    system_keyring.delete(name, _PATIENCE)
    output.line(f"The keyring no longer holds {name}.")


def _secret_field(
    backend: str, name: str | None, model: str | None, base_url: str | None = None
) -> tuple[Target, CredentialField]:
    """Return the target and its secret field of this name, or its only one."""
    from mellea_api._registry.registry import shared_registry

    found = shared_registry().backend(backend)
    target = found.target(model, base_url)
    secret = {field.name: field for field in target.descriptor.credentials if field.secret}
    if name is None and len(secret) == 1:
        (name,) = secret
    if name in secret:
        return target, secret[name]
    if not secret:
        raise click.UsageError(f"The {backend} backend has no secrets.")
    why = "Say which one" if name is None else f"{backend} has no secret {name}"
    raise click.UsageError(f"{why}: {', '.join(secret)}.")


def _read_value(name: str) -> str:
    """Ask for a value, or read it from standard input."""
    if sys.stdin.isatty():
        value: str = click.prompt(f"Value of {name}", hide_input=True, err=True, default="")
        return value
    value = sys.stdin.read(_MOST + 1)
    if len(value) > _MOST:
        raise click.UsageError(f"That is not a credential: it has more than {_MOST} characters.")
    return value
