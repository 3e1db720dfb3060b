"""The credentials of one backend: which it has, what is found of them, and whether they will do."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from attrs import evolve

from mellea_api import _credentials as credentials
from mellea_api._contract.descriptor import BackendDescriptor, CredentialField
from mellea_api._contract.errors import MelleaAPIError
from mellea_api._contract.reports import CredentialReport
from mellea_api._contract.requests import (
    CredentialFieldsRequest,
    CredentialQuery,
    CredentialRequest,
    ErrorRequest,
    Target,
)
from mellea_api._credentials import Found
from mellea_api._provider.authoring import call_with_deadline
from mellea_api._provider.refusals import timed_out
from mellea_api._registry.hooks import Hooks
from mellea_api._secrecy.logs import logger
from mellea_api._secrecy.secrets import Secret

_GRACE: Final = 1.0
"""Seconds that a plugin has beyond a probe's timeout: its own error says more than ours."""


class BackendCredentials:
    """Finds and checks the credentials of a backend, by its hooks and those of extensions.

    Args:
        descriptor: What the backend says of itself.
        hooks: Its hooks.
    """

    def __init__(self, descriptor: BackendDescriptor, hooks: Hooks) -> None:
        self._descriptor = descriptor
        self._hooks = hooks

    def fields(self, target: Target) -> tuple[CredentialField, ...]:
        """Return the credential fields of a target: the descriptor's, or those of its model."""
        request = CredentialFieldsRequest(target=target)
        fields = self._hooks.ask("credential_fields", Sequence, request=request)  # type: ignore[type-abstract]
        if fields is None:
            return target.descriptor.credentials
        if not all(isinstance(field, CredentialField) for field in fields):
            raise self._hooks.blamed(
                "credential_fields",
                "credential_fields returned something else than CredentialField",
            )
        known = {field.name for field in self._descriptor.credentials}
        for field in fields:
            if field.secret and field.name not in known:
                raise self._hooks.blamed(
                    "credential_fields",
                    f"credential_fields returned the secret {field.name!r}, which is not among the "
                    "descriptor's credentials: given as an argument, it would be shown",
                )
        return tuple(fields)

    def narrowed(self, target: Target) -> Target:
        """Return a target whose descriptor has the credential fields of its model."""
        fields = self.fields(target)
        if fields is target.descriptor.credentials:
            return target
        return evolve(target, descriptor=evolve(target.descriptor, credentials=fields))

    def look_up(
        self,
        narrowed: Target,
        arguments: Mapping[str, Any] | None,
        *,
        keyring: bool,
        shadowed: bool = False,
    ) -> list[Found]:
        """Look for each field of a narrowed target: see `mellea_api._credentials.sources`.

        Args:
            narrowed: A target as `narrowed` returns it.
            arguments: What the caller gave by name.
            keyring: Whether the system's keyring may be asked for what is nowhere else.
            shadowed: Go on after the first place, for a report of what is shadowed.
        """
        given = {"base_url": narrowed.base_url, **narrowed.settings, **(arguments or {})}
        return credentials.look_up(narrowed, given, self._vault, keyring=keyring, shadowed=shadowed)

    def _vault(self, query: CredentialQuery) -> Secret | None:
        return self._hooks.ask("find_credential", Secret, request=query)

    def required(
        self, target: Target, arguments: Mapping[str, Any], name: str
    ) -> dict[str, Secret]:
        """Find the credentials of a session, and say in the log where one could not be looked for.

        Args:
            target: Backend, model and server.
            arguments: What the caller gave by name.
            name: The name that the backend goes by in the log.

        Raises:
            CredentialError: If one that is needed is missing or malformed.
        """
        narrowed = self.narrowed(target)
        looked_up = self.look_up(narrowed, arguments, keyring=True)
        credentials.require(narrowed, looked_up)
        for one in looked_up:
            if one.secret is None and one.notes:
                level = logging.INFO if one.field.required == "never" else logging.WARNING
                notes = "; ".join(one.notes)
                logger.log(level, "no %s for %s: %s", one.field.name, name, notes)
        return credentials.values(looked_up)

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
        """Report whether they will do; the arguments are those of `Backend.validate_credentials`.

        What is missing or malformed is told without asking the provider.
        """
        target = self.narrowed(target)
        found = self.look_up(target, arguments, keyring=keyring, shadowed=True)
        request = CredentialRequest(
            target=target,
            credentials=credentials.values(found),
            findings=credentials.findings(
                found, lambda field: credentials.is_required(field, target)
            ),
            timeout=timeout,
        )
        if not probe or credentials.report_from_fields(request).status in ("missing", "malformed"):
            report = self._hooks.ask("validate_credentials", CredentialReport, request=request)
        else:
            report = self._probe(evolve(request, probe=True), noted)
        if not isinstance(report, CredentialReport):
            raise self._hooks.wrong("validate_credentials", report, "CredentialReport")
        return report

    def _probe(
        self, request: CredentialRequest, noted: Callable[[MelleaAPIError], None] | None
    ) -> Any:
        """Let the provider be asked; what that raises is an answer too."""
        failure: MelleaAPIError
        try:
            # A plugin that forgets the deadline must not keep a caller for ever.
            return call_with_deadline(
                lambda: self._hooks.ask_provider("validate_credentials", request),
                request.timeout + _GRACE,
            )
        except MelleaAPIError as error:
            failure = error
        except TimeoutError as error:
            asked = ErrorRequest(
                target=request.target,
                operation="credentials",
                error=error,
                timeout=request.timeout,
            )
            failure = timed_out(asked)
        if noted is not None:
            noted(failure)
        return credentials.failed(request, failure)
