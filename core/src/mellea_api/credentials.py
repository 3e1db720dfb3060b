"""Where credentials come from: an argument, the environment, then the extensions' vaults."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from mellea_api.descriptor import CredentialField
from mellea_api.errors import ConfigurationError, CredentialError
from mellea_api.reports import CredentialFinding, CredentialReport
from mellea_api.requests import CredentialQuery, CredentialRequest, Target
from mellea_api.secrets import Secret

__all__ = ["from_arguments", "is_required", "missing_error", "report_from_fields", "resolve"]

Vault = Callable[[CredentialQuery], Secret | None]


def resolve(
    target: Target,
    arguments: Mapping[str, Any],
    vault: Vault | None = None,
    environ: Mapping[str, str] | None = None,
) -> dict[str, Secret]:
    """Find the value of each credential field.

    Args:
        target: Backend, model and server.
        arguments: What the caller gave by name; a value is text or a `Secret`.
        vault: Asks the extensions.
        environ: The environment; None for the process's own.

    Returns:
        The values found by field name; each says where it came from.

    Raises:
        ConfigurationError: If an argument is no text.
    """
    environ = os.environ if environ is None else environ
    found: dict[str, Secret] = {}
    for field in target.descriptor.credentials:
        secret = _from_argument(target, field, arguments.get(field.name))
        secret = secret or _from_environment(field, environ)
        if secret is None and vault is not None:
            secret = vault(CredentialQuery(target=target, field=field))
        if secret:
            found[field.name] = secret
    return found


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


def _from_argument(target: Target, field: CredentialField, given: Any) -> Secret | None:
    if given is None or isinstance(given, Secret):
        return given
    if not isinstance(given, str):
        raise ConfigurationError(
            f"Cannot use {field.name}= for the {target.backend} backend: it is a "
            f"{type(given).__name__}, not text.",
            next_step="Give it as text.",
            backend=target.backend,
        )
    return Secret(given, source="argument", masked=field.secret)


def _from_environment(field: CredentialField, environ: Mapping[str, str]) -> Secret | None:
    for variable in field.variables:
        value = environ.get(variable, "")
        if value.strip():
            return Secret(value, source=f"environment variable {variable}", masked=field.secret)
    return None


def is_required(field: CredentialField, target: Target) -> bool:
    """Return whether a backend cannot be used without a field."""
    return field.required == "always" or (
        field.required == "official" and target.server == "official"
    )


def missing_error(target: Target, field: CredentialField) -> CredentialError:
    """Return the error for a required credential that is nowhere."""
    first = field.variables[0] if field.variables else ""
    step = f"Set {first}, or pass {field.name}=." if first else f"Pass {field.name}=."
    return CredentialError(
        f"Cannot use the {target.backend} backend: there is no {field.name}"
        + (f" (looked at {', '.join(field.variables)})." if field.variables else "."),
        next_step=f"{step} {field.help}".strip(),
        backend=target.backend,
        model_id=target.model_id,
        field=field.name,
        variables=field.variables,
    )


def report_from_fields(request: CredentialRequest) -> CredentialReport:
    """Report on credentials without asking anybody.

    Args:
        request: What was found.
    """
    target = request.target
    fields = target.descriptor.credentials
    findings = []
    lacking: list[CredentialField] = []
    for field in fields:
        secret = request.credentials.get(field.name)
        if secret is not None:
            findings.append(
                CredentialFinding(
                    name=field.name,
                    status="present",
                    source=secret.source,
                    hint=secret.hint if field.secret else secret.reveal(),
                )
            )
        elif is_required(field, target):
            lacking.append(field)
            findings.append(CredentialFinding(name=field.name, status="missing"))
        else:
            findings.append(CredentialFinding(name=field.name, status="not-needed"))
    if lacking:
        error = missing_error(target, lacking[0])
        return CredentialReport(
            backend=target.backend, status="missing", fields=findings, message=str(error)
        )
    needed = any(is_required(field, target) for field in fields)
    return CredentialReport(
        backend=target.backend,
        status="present" if needed or request.credentials else "not-needed",
        fields=findings,
        message="All that is needed is there; it was not tried."
        if needed or request.credentials
        else "No credentials are needed.",
    )
