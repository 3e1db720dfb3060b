"""The credentials of one backend, found by its fields, its extensions and its own check."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import evolve

from mellea_api._contract.errors import MelleaAPIError
from mellea_api._contract.refusals import timed_out
from mellea_api._contract.reports import CredentialFinding, CredentialReport
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


class BackendCredentials:
    """Finds and checks the credentials of a backend, by its hooks and those of extensions.

    Args:
        hooks: Its hooks.
    """

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks
        self._has_vault = hooks.answering("find_credential") > 0

    def find(
        self, target: Target, arguments: Mapping[str, Any] | None, *, keyring: bool
    ) -> tuple[dict[str, Secret], list[CredentialFinding]]:
        """Find the credentials of a target: see `mellea_api._credentials.find`.

        Args:
            target: Backend, model and server.
            arguments: What the caller gave by name.
            keyring: Whether the system's keyring may be asked for what no other place has.
        """
        given = {"base_url": target.base_url, **target.settings, **(arguments or {})}
        vault = self._vault if self._has_vault else None
        return find_credentials(target, given, vault, keyring=keyring)

    def _vault(self, query: CredentialQuery) -> Secret | None:
        return self._hooks.ask("find_credential", Secret, request=query)

    def required(
        self, target: Target, arguments: Mapping[str, Any], name: str
    ) -> dict[str, Secret]:
        """Find the credentials of a session, and log which places could not be read.

        Args:
            target: Backend, model and server.
            arguments: What the caller gave by name.
            name: The backend's name for the log.

        Raises:
            CredentialError: If one that is required is missing or malformed.
        """
        secrets, findings = self.find(target, arguments, keyring=True)
        error = credential_error(target, findings)
        if error is not None:
            raise error
        for field, finding in zip(target.descriptor.credentials, findings, strict=True):
            if finding.status == "not-needed" and finding.reason:
                level = logging.INFO if field.required == "never" else logging.WARNING
                logger.log(level, "no %s for %s: %s", finding.name, name, finding.reason)
        return secrets

    def report(
        self,
        target: Target,
        arguments: Mapping[str, Any] | None,
        *,
        probe: bool,
        timeout: float,
        keyring: bool,
        noted: Callable[[MelleaAPIError], None] | None,
    ) -> CredentialReport:
        """Report on the credentials; the arguments are those of `Backend.validate_credentials`.

        The provider is not asked where one is missing or malformed.
        """
        secrets, findings = self.find(target, arguments, keyring=keyring)
        request = CredentialRequest(
            target=target, credentials=secrets, findings=findings, timeout=timeout
        )
        if probe and credential_error(target, findings) is None:
            report = self._probe(evolve(request, probe=True), noted)
        else:
            report = self._hooks.ask("validate_credentials", CredentialReport, request=request)
        if not isinstance(report, CredentialReport):
            raise self._hooks.wrong("validate_credentials", report, "CredentialReport")
        return report

    def _probe(
        self, request: CredentialRequest, noted: Callable[[MelleaAPIError], None] | None
    ) -> Any:
        """Ask the provider; an error is an answer too."""
        failure: MelleaAPIError
        try:
            self._hooks.loaded()  # an import takes no time from the provider
            # A plugin that forgets the deadline must not keep a caller for ever.
            return call_with_deadline(
                lambda: self._hooks.probe(request),
                request.timeout + _GRACE,
            )
        except MelleaAPIError as error:
            failure = error
        except TimeoutError:
            failure = timed_out(request.target, request.timeout)
        if noted is not None:
            noted(failure)
        return report_from_error(request, failure)
