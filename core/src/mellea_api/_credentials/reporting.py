"""What is said of credentials: reports, and the errors of those that are missing or malformed."""

from __future__ import annotations

import re
from collections.abc import Sequence

from attrs import evolve

from mellea_api._contract.descriptor import CredentialField
from mellea_api._contract.errors import (
    BackendUnavailableError,
    CredentialError,
    MelleaAPIError,
    PermissionDeniedError,
    RequestTimeoutError,
)
from mellea_api._contract.reports import CredentialReport, CredentialStatus
from mellea_api._contract.requests import CredentialRequest, Target
from mellea_api._credentials.sources import Found


def is_required(field: CredentialField, target: Target) -> bool:
    """Return whether a backend cannot be used without a field."""
    return field.required == "always" or (
        field.required == "official" and target.server == "official"
    )


def require(target: Target, found: Sequence[Found], *, needed: bool = True) -> None:
    """See that a session can be started with what was found.

    Args:
        target: Backend, model and server.
        found: What was found for each field.
        needed: Whether what is needed must be there; what is there must be right in any case.

    Raises:
        CredentialError: If something cannot be used, or is needed and not there.
    """
    for one in found:
        if one.problem:
            raise malformed_error(target, one.field, one.source, one.problem)
    lacking = [one for one in found if one.secret is None and is_required(one.field, target)]
    if lacking and needed:
        notes = [note for one in lacking for note in one.notes]
        raise missing_error(target, *(one.field for one in lacking), notes=notes)


def missing_error(
    target: Target, *fields: CredentialField, notes: Sequence[str] = ()
) -> CredentialError:
    """Return the error for required credentials that are nowhere.

    Args:
        target: Backend, model and server.
        fields: The fields; at least one.
        notes: What could not be looked at, and why.
    """
    lacking = [
        field.name + (f" (looked at {', '.join(field.variables)})" if field.variables else "")
        for field in fields
    ]
    steps = [
        f"Set {field.variables[0]}, or pass {field.name}=."
        if field.variables and field.name.islower()
        else f"Set {field.variables[0]}."
        if field.variables
        else f"Pass {field.name}=."
        for field in fields
    ]
    helps = list(dict.fromkeys(field.help for field in fields if field.help))
    beside = f" Not everything could be looked at: {'; '.join(notes)}." if notes else ""
    return CredentialError(
        f"Cannot use the {target.backend} backend: there is no {', no '.join(lacking)}.{beside}",
        next_step=" ".join((*steps, *helps)),
        backend=target.backend,
        model_id=target.model_id,
        field=fields[0].name,
        variables=tuple(name for field in fields for name in field.variables),
    )


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
    return CredentialError(
        f"Cannot use the {target.backend} backend: the {field.name} {origin} cannot be used: "
        f"{why}.",
        next_step=f"Correct it. {field.help}".strip(),
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
    fields = {field.name: field for field in target.descriptor.credentials}
    error: CredentialError | None = None
    for finding in request.findings:
        if finding.status == "malformed" and finding.name in fields:
            error = malformed_error(target, fields[finding.name], finding.source, finding.reason)
            return _report(request, "malformed", str(error))
    lacking = [found for found in request.findings if found.status == "missing"]
    if lacking:
        notes = [found.reason for found in lacking if found.reason]
        error = missing_error(target, *(fields[found.name] for found in lacking), notes=notes)
        return _report(request, "missing", str(error))
    if _something(request):
        return _report(
            request,
            "present",
            f"All that is needed is there; the {target.backend} plugin cannot try it."
            if request.probe
            else "All that is needed is there; it was not tried.",
        )
    return _report(request, "not-needed", "No credentials are needed.")


def accepted(request: CredentialRequest, message: str) -> CredentialReport:
    """Return the report of a plugin whose provider was asked and took the credentials.

    Args:
        request: What was tried.
        message: A sentence that says what is known now.
    """
    status: CredentialStatus = "present" if _something(request) else "not-needed"
    return _report(request, status, message, checked=True)


def unchecked(request: CredentialRequest, reason: str) -> CredentialReport:
    """Return the report of a plugin that cannot know whether the credentials will do.

    Args:
        request: What was asked.
        reason: Why not: a sentence.
    """
    return _report(request, "unchecked", reason)


def failed(request: CredentialRequest, error: MelleaAPIError) -> CredentialReport:
    """Return the report of a provider that was asked and did not let anybody in.

    Args:
        request: What was tried.
        error: What came of it, in the library's terms.
    """
    status = _status_of(request, error)
    checked = status in ("rejected", "expired", "forbidden") or (
        status == "missing" and getattr(error, "status", None) is not None
    )
    report = _report(request, status, str(error), checked=checked)
    name = getattr(error, "field", None)
    return evolve(
        report,
        fields=[
            evolve(found, status=status, reason=error.reason)
            if checked and name is not None and found.name == name
            else found
            for found in report.fields
        ],
    )


def _status_of(request: CredentialRequest, error: MelleaAPIError) -> CredentialStatus:
    if isinstance(error, CredentialError | PermissionDeniedError):
        sent = any(
            field.secret and field.name in request.credentials
            for field in request.target.descriptor.credentials
        )
        if isinstance(error, CredentialError) and (not sent or error.status is None):
            return "missing"
        # Providers have no status for it: 401 or 403, and the word.
        if re.search(r"\bexpired\b", error.reason, re.IGNORECASE):
            return "expired"
        return "rejected" if isinstance(error, CredentialError) else "forbidden"
    if isinstance(error, BackendUnavailableError | RequestTimeoutError):
        return "unreachable"
    return "unchecked"


def _something(request: CredentialRequest) -> bool:
    """Return whether a credential is there, or would have to be."""
    return any(found.status != "not-needed" for found in request.findings)


def _report(
    request: CredentialRequest,
    status: CredentialStatus,
    message: str,
    *,
    checked: bool = False,
) -> CredentialReport:
    return CredentialReport(
        backend=request.target.backend,
        status=status,
        fields=request.findings,
        message=message,
        checked=checked,
    )
