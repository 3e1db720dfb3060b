"""Judge credentials: what is wrong with a value, what is missing, and what a report says.

Nobody is asked here, and no message shows a secret.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Final

from attrs import evolve

from mellea_api._contract.descriptor import CredentialField
from mellea_api._contract.errors import (
    BackendUnavailableError,
    CredentialError,
    MelleaAPIError,
    PermissionDeniedError,
    RequestTimeoutError,
)
from mellea_api._contract.refusals import completed
from mellea_api._contract.reports import CredentialFinding, CredentialReport, CredentialStatus
from mellea_api._contract.requests import CredentialRequest, Target

# `docker run --env-file` and Kubernetes' `--from-env-file` keep quotes as a part of the value.
_QUOTES: Final = ("'", '"', "`", "\N{LEFT DOUBLE QUOTATION MARK}", "\N{LEFT SINGLE QUOTATION MARK}")
_SCHEME: Final = re.compile(r"(?i)(authorization:\s*)?(bearer|basic|token)\s")
_UNREPLACED: Final = re.compile(r"\$\w+|\$\{[^}]*\}|%\w+%|\{\{.*\}\}|<.*>|\$\(.*\)", re.DOTALL)


def is_required(field: CredentialField, target: Target) -> bool:
    """Return whether a target cannot be used without a field."""
    return field.required == "always" or (
        field.required == "official" and target.server == "official"
    )


def find_problem(field: CredentialField, target: Target, value: str) -> str | None:
    """Return why a value cannot be used, in words that follow "cannot be used:"; None if it can.

    Args:
        field: The credential field.
        target: Backend and server: a server that is not the provider's own has its own keys.
        value: The value, without white space around it.
    """
    if field.verbatim or not value:
        return None
    return _wrapping(field, value) or _character(field, value) or _pattern(field, target, value)


def _wrapping(field: CredentialField, value: str) -> str | None:
    if len(value) > 1 and value[0] in _QUOTES:
        return "it stands in quotes, which are taken for a part of it"
    scheme = _SCHEME.match(value) if field.secret else None
    if scheme:
        return f"it begins with {scheme[2]!r}, which belongs to the header and not to the value"
    for variable in field.variables:
        if re.match(rf"(export\s+)?{re.escape(variable)}\s*=", value):
            return f"it begins with {variable}=, the name of its variable"
    if _UNREPLACED.fullmatch(value):
        return "it is a placeholder that nothing has replaced"
    return None


def _character(field: CredentialField, value: str) -> str | None:
    for position, letter in enumerate(value, 1):
        if letter in "\r\n":
            return f"there is a line break in it (after {position - 1} characters)"
        if not letter.isprintable() and letter.isascii():
            return f"there is a control character in it (at {position})"
        if field.secret or field.header:
            if letter.isspace():
                return f"there is white space in it (at {position})"
            # httpx, below every SDK here, sends headers in ASCII; HTTP itself ends at Latin-1.
            if not letter.isascii():
                return f"there is a character in it that no HTTP header takes (at {position})"
    return None


def _pattern(field: CredentialField, target: Target, value: str) -> str | None:
    # A gateway that somebody called official has keys of its own.
    by_host = target if target.stated_server is None else evolve(target, stated_server=None)
    if not field.pattern or by_host.server != "official":
        return None
    if any(os.environ.get(variable) for variable in field.unless):
        return None
    return None if re.fullmatch(field.pattern, value, re.DOTALL) else field.pattern_words


# ---- errors


def credential_error(
    target: Target, findings: Sequence[CredentialFinding], *, needed: bool = True
) -> CredentialError | None:
    """Return the error for credentials that cannot be used or are missing; None if all is well.

    Args:
        target: Backend, model and server.
        findings: What was found for each field.
        needed: Whether one that is missing is an error; one that cannot be used always is.
    """
    missing, notes = [], []
    for field, finding in zip(target.descriptor.credentials, findings, strict=True):
        if finding.status == "malformed":
            return malformed_error(target, field, finding.source, finding.reason)
        if finding.status == "missing":
            missing.append(field)
            notes += [finding.reason] if finding.reason else []
    return missing_error(target, *missing, notes=notes) if missing and needed else None


def missing_error(
    target: Target, *fields: CredentialField, notes: Sequence[str] = ()
) -> CredentialError:
    """Return the error for required credentials that were not found.

    Args:
        target: Backend, model and server.
        fields: The fields; at least one.
        notes: Which places could not be read, and why.
    """
    missing, steps = [], []
    for field in fields:
        looked = f" (looked at {', '.join(field.variables)})" if field.variables else ""
        missing.append(f"{field.name}{looked}")
        if not field.variables:
            steps.append(f"Pass {field.name}=.")
        else:  # a field named in capitals is a variable only, and not an argument
            argument = f", or pass {field.name}=" if field.name.islower() else ""
            steps.append(f"Set {field.variables[0]}{argument}.")
    helps = list(dict.fromkeys(field.help for field in fields if field.help))
    beside = f" Not everything could be looked at: {'; '.join(notes)}." if notes else ""
    error = CredentialError(
        f"Cannot use the {target.backend} backend: there is no {', no '.join(missing)}.{beside}",
        next_step=" ".join((*steps, *helps)),
        field=fields[0].name,
        variables=tuple(name for field in fields for name in field.variables),
    )
    return completed(error, target)


def malformed_error(
    target: Target, field: CredentialField, source: str, why: str
) -> CredentialError:
    """Return the error for a credential that cannot be used.

    Args:
        target: Backend, model and server.
        field: The field.
        source: Where the value came from.
        why: What is wrong with it.
    """
    origin = "given as an argument" if source == "argument" else f"from {source}"
    error = CredentialError(
        f"Cannot use the {target.backend} backend: the {field.name} {origin} cannot be used: "
        f"{why}.",
        next_step=f"Correct it. {field.help}".strip(),
        field=field.name,
    )
    return completed(error, target)


# ---- reports


def report_from_fields(request: CredentialRequest) -> CredentialReport:
    """Report on credentials without asking anybody."""
    error = credential_error(request.target, request.findings)
    statuses = {finding.status for finding in request.findings}
    if error is not None:
        status: CredentialStatus = "malformed" if "malformed" in statuses else "missing"
        return request.report(status, str(error))
    if statuses <= {"not-needed"}:
        return request.report("not-needed", "No credentials are needed.")
    tried = (
        f"the {request.target.backend} plugin cannot try it"
        if request.probe
        else "it was not tried"
    )
    return request.report("present", f"All that is needed is there; {tried}.")


def report_from_error(request: CredentialRequest, error: MelleaAPIError) -> CredentialReport:
    """Report on credentials with which a provider was asked, and which ended in an error."""
    status = _status(request, error)
    answered = getattr(error, "status", None) is not None
    checked = status in ("rejected", "expired", "forbidden") or (status == "missing" and answered)
    report = request.report(status, str(error), checked=checked)
    name = getattr(error, "field", None)
    if not checked or name is None:
        return report
    fields = [
        evolve(field, status=status, reason=error.reason) if field.name == name else field
        for field in report.fields
    ]
    return evolve(report, fields=fields)


def _status(request: CredentialRequest, error: MelleaAPIError) -> CredentialStatus:
    if isinstance(error, BackendUnavailableError | RequestTimeoutError):
        return "unreachable"
    if not isinstance(error, CredentialError | PermissionDeniedError):
        return "unchecked"
    if isinstance(error, CredentialError):
        fields = request.target.descriptor.credentials
        sent = any(field.secret and field.name in request.credentials for field in fields)
        if not sent or error.status is None:
            return "missing"
    # Providers have no status for it: 401 or 403, and the word.
    if re.search(r"\bexpired\b", error.reason, re.IGNORECASE):
        return "expired"
    return "rejected" if isinstance(error, CredentialError) else "forbidden"
