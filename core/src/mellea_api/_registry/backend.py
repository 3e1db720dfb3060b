"""One loaded backend: its plugin manager, and everything that it can be asked."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from mellea_api._contract.address import find_address
from mellea_api._contract.descriptor import BackendDescriptor, ModelInfo
from mellea_api._contract.errors import (
    ConfigurationError,
    MelleaAPIError,
    ModelNotFoundError,
    cannot_use,
)
from mellea_api._contract.option_rule import Endpoint
from mellea_api._contract.refusals import ErrorRequest
from mellea_api._contract.reports import (
    CredentialFinding,
    CredentialReport,
    NormalizedOptions,
    OptionPatch,
)
from mellea_api._contract.requests import (
    Asking,
    CredentialQuery,
    CredentialRequest,
    ModelsRequest,
    OptionsRequest,
    Policy,
    SessionRequest,
    Target,
)
from mellea_api._contract.settings import check_arguments, check_listing, check_settings
from mellea_api._credentials.find import find_credentials
from mellea_api._credentials.judge import credential_error, report_from_error
from mellea_api._models.known import (
    complete,
    filled_in,
    name_of,
    note_shutdown,
    note_unchecked,
    with_shutdown,
)
from mellea_api._options.pipeline import OptionPipeline
from mellea_api._options.plan import apply_rules
from mellea_api._options.spelling import Unknown
from mellea_api._provider.deadlines import call_with_deadline
from mellea_api._registry.discovery import EntryPoint, mellea_version
from mellea_api._registry.hooks import Hooks
from mellea_api._registry.loading import problems_of_backend, problems_of_target
from mellea_api._secrecy.logs import logger, under_run
from mellea_api._secrecy.secrets import Secret
from mellea_api._secrecy.veil import veiled

if TYPE_CHECKING:
    from mellea import MelleaSession

_GRACE: Final = 1.0
"""Seconds that a plugin has beyond a probe's timeout: its own error says more than ours."""


class Backend:
    """A backend whose plugin was loaded and checked. Safe to share.

    Args:
        name: The name under which it was asked for (which may be an alias).
        entry_point: Where its plugin comes from.
        plugin: Its plugin, as `loading.load_plugin` returns it.
        names: All names of the same plugin.
        extensions: Name, plugin and entry point of each extension.

    Attributes:
        names: All its names.
        descriptor: What it says about itself.

    Raises:
        PluginError: If it does not describe itself as the contract says.
    """

    def __init__(
        self,
        name: str,
        entry_point: EntryPoint,
        plugin: object,
        names: Iterable[str] = (),
        extensions: Sequence[tuple[str, object, EntryPoint]] = (),
    ) -> None:
        self.name = name
        self.entry_point = entry_point
        self.names = frozenset((name, *names))
        hooks = self._hooks = Hooks(entry_point, plugin, extensions)
        self.descriptor = self._describe()
        hooks.complete(self.descriptor)
        # What only the core answers is not asked for: the descriptor alone decides.
        describing = hooks.of("describe_backend")
        self._described_by_target = any("target" in found.argnames for found in describing)
        self._review = self._ask_for_patches if hooks.of("review_options") else None
        self._normalize = self._ask_to_render if len(hooks.of("normalize_options")) > 1 else None
        self._vault = self._ask_vault if hooks.of("find_credential") else None

    # What it is

    def _describe(self, target: Target | None = None) -> BackendDescriptor:
        descriptor = self._hooks.ask(
            "describe_backend", BackendDescriptor, name=self.name, target=target
        )
        if target is None:
            problems = problems_of_backend(descriptor, self.names, self.entry_point)
        else:
            problems = problems_of_target(descriptor, self.descriptor)
        for problem in problems:
            raise self._hooks.blamed("describe_backend", problem)
        return descriptor

    def target(
        self,
        model_id: Any = None,
        base_url: str | None = None,
        settings: Mapping[str, Any] | None = None,
        *,
        server: str | None = None,
    ) -> Target:
        """Say which model and which server is meant, with the option rules that hold there.

        Args:
            model_id: The model's id, a `ModelIdentifier` of Mellea, or None for the default.
            base_url: The server's address; None for the environment's, then the default one.
            settings: Further arguments of the backend.
            server: What the server is; None to go by its host's name.

        Raises:
            ConfigurationError: If the model id is no text, the address is empty or the backend
                has none, or the kind of server is unknown.
            ModelNotFoundError: If a `ModelIdentifier` has no name for this backend.
        """
        descriptor = self.descriptor
        try:
            address, source = find_address(descriptor, base_url)
        except ConfigurationError as error:
            raise veiled(error) from error.__cause__
        if server is not None and server not in descriptor.servers:
            step = f"Use one of {', '.join(descriptor.servers)}, or leave it out."
            raise cannot_use("server", server, step, backend=self.name)
        settings = dict(settings or {})
        if settings:
            check_settings(descriptor, settings)
        facts: Any = {
            "descriptor": descriptor,
            "base_url": address,
            "base_url_source": source,
            "stated_server": server,
            "settings": settings,
            "mellea_version": mellea_version(),
        }
        name = model_id.strip() if isinstance(model_id, str) else ""
        if model_id is None:
            name = descriptor.default_model or ""
        elif not name or not name.isprintable():
            name = name_of(model_id, Target(model_id="", **facts), self.name).strip()
        return self._with_rules(Target(model_id=name, **facts))

    def _with_rules(self, target: Target) -> Target:
        """Return a target with the description, and so the option rules, that hold for it now."""
        if not self._described_by_target:
            return target
        described = self._describe(evolve(target, descriptor=self.descriptor))
        return target if described is target.descriptor else evolve(target, descriptor=described)

    # Options

    def pipeline(
        self, target: Target, *, policy: Policy = "warn", unknown: Unknown = "error"
    ) -> OptionPipeline:
        """Return the path of options for a target, through this backend's hooks."""
        return OptionPipeline(
            target,
            policy=policy,
            unknown=unknown,
            review=self._review,
            normalize=self._normalize,
        )

    def explain(
        self,
        options: Mapping[str, Any],
        target: Target,
        endpoint: Endpoint = "chat",
        *,
        unknown: Unknown = "error",
    ) -> NormalizedOptions:
        """Say what would become of options, without a network and without an SDK.

        Raises:
            OptionError: If they could not be sent; lists all problems.
        """
        pipeline = self.pipeline(target, policy="drop", unknown=unknown)
        return pipeline.render(options, endpoint).report

    def _ask_for_patches(self, request: OptionsRequest) -> Iterable[Sequence[OptionPatch] | None]:
        answers = self._hooks.ask("review_options", list, request=request)
        for answer in answers:
            if not isinstance(answer, Iterable):
                raise self._hooks.wrong("review_options", answer, "Sequence")
        return answers

    def _ask_to_render(self, request: OptionsRequest) -> NormalizedOptions:
        given = set(request.options)  # as it was before a hook could change it
        request = evolve(request, render=apply_rules)
        answer = self._hooks.ask("normalize_options", NormalizedOptions, request=request)
        lost = given - {decision.name for decision in answer.decisions}
        if lost:
            names = ", ".join(sorted(lost))
            reason = f"its answer says nothing of what became of {names}"
            raise self._hooks.blamed("normalize_options", reason)
        return answer

    # Credentials

    def credentials(
        self,
        target: Target,
        arguments: Mapping[str, Any] | None = None,
        *,
        keyring: bool = True,
    ) -> tuple[dict[str, Secret], list[CredentialFinding]]:
        """Find credentials, and say what was found: see `mellea_api._credentials.find`.

        Args:
            target: Backend, model and server.
            arguments: What the caller gave by name.
            keyring: Whether the system's keyring may be asked for what is nowhere else; leave it
                alone where nobody named this backend.
        """
        given = {"base_url": target.base_url, **target.settings, **(arguments or {})}
        return find_credentials(target, given, self._vault, keyring=keyring)

    def required_credentials(
        self, target: Target, arguments: Mapping[str, Secret]
    ) -> dict[str, Secret]:
        """Return the credentials that a session can use; log which places could not be read.

        Raises:
            CredentialError: If a needed one is missing or malformed.
        """
        secrets, findings = self.credentials(target, arguments)
        error = credential_error(target, findings)
        if error is not None:
            raise error
        for field, finding in zip(target.descriptor.credentials, findings, strict=True):
            if finding.status == "not-needed" and finding.reason:
                level = logging.INFO if field.required == "never" else logging.WARNING
                logger.log(level, "no %s for %s: %s", field.name, target.backend, finding.reason)
        return secrets

    def _ask_vault(self, query: CredentialQuery) -> Secret | None:
        return self._hooks.ask("find_credential", Secret, request=query)

    def validate_credentials(
        self,
        target: Target,
        arguments: Mapping[str, Any] | None = None,
        *,
        probe: bool = False,
        timeout: float = 10.0,
        keyring: bool = True,
        noted: Callable[[MelleaAPIError], None] = lambda error: None,
    ) -> CredentialReport:
        """Report whether the credentials will do; the arguments are as for `credentials`.

        Args:
            target: Backend, model and server.
            arguments: What was given.
            probe: Whether the provider may be asked.
            timeout: Seconds allowed for that.
            keyring: Whether the system's keyring may be asked.
            noted: Is told the error that a probe ended in: it may be about something else than
                credentials, such as a model that is not there, which a report does not tell.
        """
        secrets, findings = self.credentials(target, arguments, keyring=keyring)
        # The provider is not asked where one is missing or malformed.
        probe = probe and credential_error(target, findings) is None
        request = CredentialRequest(
            target=target, credentials=secrets, findings=findings, timeout=timeout, probe=probe
        )
        if not probe:
            return self._hooks.ask("validate_credentials", CredentialReport, request=request)
        failure: MelleaAPIError
        try:
            self._hooks.loaded()  # an import takes no time from the provider
            # A plugin that forgets the deadline must not keep a caller for ever.
            answer = call_with_deadline(lambda: self._hooks.probe(request), timeout + _GRACE)
        except MelleaAPIError as error:
            failure = error
        except TimeoutError as error:
            failure = ErrorRequest(
                target=target, operation="credentials", error=error, timeout=timeout
            ).timed_out()
        else:
            if isinstance(answer, CredentialReport):
                return answer
            raise self._hooks.wrong("validate_credentials", answer, "CredentialReport")
        noted(failure)
        return report_from_error(request, failure)

    # Models

    def list_models(
        self,
        target: Target,
        arguments: Mapping[str, Any] | None = None,
        *,
        live: bool = True,
        timeout: float = 10.0,
        keyring: bool = True,
    ) -> list[ModelInfo]:
        """List the models; `keyring` is as for `credentials`.

        Raises:
            ProviderError: If the provider was asked and could not be reached or refused.
        """
        check_listing(target.descriptor, tuple(target.settings))
        secrets, findings = self.credentials(target, arguments, keyring=keyring and live)
        request = ModelsRequest(target=target, credentials=secrets, live=live, timeout=timeout)
        models: Sequence[Any]
        if live:
            needed = target.descriptor.listing_needs in ("always", target.server)
            error = credential_error(target, findings, needed=needed)
            if error is not None:
                raise error
            models = self._hooks.ask_provider("list_models", Sequence, request)  # type: ignore[type-abstract]
        else:
            models = self._hooks.ask("list_models", Sequence, request=request)  # type: ignore[type-abstract]
        if not all(isinstance(model, ModelInfo) for model in models):
            reason = "list_models returned something else than ModelInfo"
            raise self._hooks.blamed("list_models", reason)
        if live and self.descriptor.implementation:
            models = [filled_in(model, self.descriptor) for model in models]
        return [with_shutdown(model, target) for model in models]

    # Sessions

    def create_session(self, request: SessionRequest) -> MelleaSession:
        """Open a session.

        Args:
            request: What to open. Credentials that it holds count as arguments.

        Raises:
            MelleaAPIError: If that fails; the class says why.
        """
        from mellea_api._sessions._mellea.sessions import new_context, prepare_start, starting
        from mellea_api._sessions.adopt import adopt_session

        request = self._with_model(request)
        request = evolve(request, context=new_context(request.context))
        with starting(request) as session_id:
            request = prepare_start(request, session_id)
            target, options = request.target, request.options
            # Options are checked before anything costs time or opens a connection.
            pipeline = self.pipeline(target, policy=request.policy, unknown=request.unknown)
            pipeline.set_defaults(options)
            credentials = self.required_credentials(target, request.credentials)
            with under_run(request.run_id):
                session = self._new_session(evolve(request, credentials=credentials))
            session.id = session_id
            learnt = self._with_rules(target)
            if learnt is not target:
                pipeline = self.pipeline(learnt, policy=request.policy, unknown=request.unknown)
                pipeline.set_defaults(options)
            translate = functools.partial(self._translate, credentials=credentials)
            adopt_session(session, request, pipeline, translate)
        return session

    def _with_model(self, request: SessionRequest) -> SessionRequest:
        """Return a request that names a model: the only one of the server, if none was named.

        Raises:
            ModelNotFoundError: If the catalogue is all there is, and does not have it; or if
                none was named, and the server has none, or several.
        """
        target = request.target
        if not target.model_id:
            return evolve(request, target=self._with_only_model(request))
        if not self.descriptor.closed:
            return request
        known = tuple(model.id for model in self.descriptor.models)
        if target.model_id not in known:
            raise ModelNotFoundError(
                f"The {self.name} backend has no model {target.model_id!r}.",
                next_step=f"Use one of {', '.join(known)}.",
                backend=self.name,
                model_id=target.model_id,
                known=known,
            )
        return request

    def _with_only_model(self, request: SessionRequest) -> Target:
        """Return the target with the only model of its server.

        Raises:
            ModelNotFoundError: If the server has none, or several.
        """
        target = request.target
        models = self.list_models(target, request.credentials, timeout=request.timeout or 30.0)
        known = tuple(model.id for model in models)
        if len(known) == 1:
            return self._with_rules(evolve(target, descriptor=self.descriptor, model_id=known[0]))
        raise ModelNotFoundError(
            f"The {self.name} server has {len(known) or 'no'} models, and none was named.",
            next_step=f"Give model_id=, one of {', '.join(known)}." if known else "Load one.",
            backend=self.name,
            base_url=target.address,
            known=known,
        )

    def _new_session(self, request: SessionRequest) -> MelleaSession:
        """Return the session that the plugin creates for a request with its credentials.

        Raises:
            MelleaAPIError: If that fails; the class says why.
        """
        from mellea import MelleaSession

        target = request.target
        if target.settings:
            check_arguments(target.descriptor, tuple(target.settings))
        current = Asking(request.timeout)
        note_shutdown(target)
        try:
            session = self._hooks.ask_provider("create_session", MelleaSession, request, current)
        except ModelNotFoundError as error:
            complete(error, target, request.credentials)
            raise
        if current.unchecked is not None:
            note_unchecked(target, request.credentials, current.unchecked)
        return session

    def _translate(
        self, request: ErrorRequest, credentials: Mapping[str, Secret]
    ) -> MelleaAPIError | None:
        """Return our error for an SDK's exception in a session's call, or None.

        Args:
            request: The exception.
            credentials: Those that the session calls with.
        """
        typed = self._hooks.translate(request)
        if isinstance(typed, ModelNotFoundError):
            complete(typed, request.target, credentials)
        return typed
