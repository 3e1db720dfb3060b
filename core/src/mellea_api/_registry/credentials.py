"""The credentials of a backend, found and checked through its hooks and those of extensions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from mellea_api._contract.errors import MelleaAPIError
from mellea_api._contract.refusals import timed_out
from mellea_api._contract.reports import CredentialFinding
from mellea_api._contract.requests import (
    CredentialQuery,
    CredentialRequest,
    Target,
)
from mellea_api._credentials.find import find_credentials
from mellea_api._credentials.judge import credential_error, report_from_error
from mellea_api._provider.deadlines import call_with_deadline
from mellea_api._registry.hooks import Hooks
from mellea_api._secrecy.logs import logger
from mellea_api._secrecy.secrets import Secret

_GRACE: Final = 1.0
"""Seconds that a plugin has beyond a probe's timeout: its own error says more than ours."""


def find_for(
    hooks: Hooks, target: Target, arguments: Mapping[str, Any] | None, *, keyring: bool
) -> tuple[dict[str, Secret], list[CredentialFinding]]:
    """Find the credentials of a target: see `mellea_api._credentials.find`.

    Args:
        hooks: The hooks of its backend and of the extensions.
        target: Backend, model and server.
        arguments: What the caller gave by name.
        keyring: Whether the system's keyring may be asked for what no other place has.
    """

    def vault(query: CredentialQuery) -> Secret | None:
        return hooks.ask("find_credential", Secret, request=query)

    given = {"base_url": target.base_url, **target.settings, **(arguments or {})}
    asked = vault if hooks.answering("find_credential") else None
    return find_credentials(target, given, asked, keyring=keyring)


def require(hooks: Hooks, target: Target, arguments: Mapping[str, Any]) -> dict[str, Secret]:
    """Find the credentials of a session, and log which places could not be read.

    Args:
        hooks: The hooks of its backend and of the extensions.
        target: Backend, model and server.
        arguments: What the caller gave by name.

    Raises:
        CredentialError: If one that is required is missing or malformed.
    """
    secrets, findings = find_for(hooks, target, arguments, keyring=True)
    error = credential_error(target, findings)
    if error is not None:
        raise error
    optional = {field.name for field in target.descriptor.credentials if field.required == "never"}
    for finding in findings:
        if finding.status == "not-needed" and finding.reason:
            level = logging.INFO if finding.name in optional else logging.WARNING
            logger.log(level, "no %s for %s: %s", finding.name, target.backend, finding.reason)
    return secrets


def probe_credentials(
    hooks: Hooks, request: CredentialRequest, noted: Callable[[MelleaAPIError], None] | None
) -> Any:
    """Ask the provider whether credentials work; an error is an answer too.

    Args:
        hooks: The hooks of the backend and of the extensions.
        request: What to ask.
        noted: Is told the error that the question ended in.
    """
    failure: MelleaAPIError
    try:
        hooks.loaded()  # an import takes no time from the provider
        # A plugin that forgets the deadline must not keep a caller for ever.
        return call_with_deadline(lambda: hooks.probe(request), request.timeout + _GRACE)
    except MelleaAPIError as error:
        failure = error
    except TimeoutError:
        failure = timed_out(request.target, request.timeout)
    if noted is not None:
        noted(failure)
    return report_from_error(request, failure)
