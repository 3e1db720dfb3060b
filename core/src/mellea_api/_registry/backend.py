"""One loaded backend: its plugin manager, and everything that it can be asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import evolve

from mellea_api._contract.address import find_address
from mellea_api._contract.descriptor import (
    CONTRACT_VERSION,
    OLDEST_CONTRACT,
    BackendDescriptor,
    Endpoint,
    ModelInfo,
)
from mellea_api._contract.errors import ConfigurationError, MelleaAPIError, ModelNotFoundError
from mellea_api._contract.reports import CredentialReport, NormalizedOptions, OptionPatch
from mellea_api._contract.requests import (
    Asking,
    CredentialRequest,
    ErrorRequest,
    ModelsRequest,
    OptionsRequest,
    Policy,
    SessionRequest,
    Target,
    asking,
)
from mellea_api._contract.settings import check_arguments, check_listing, check_settings
from mellea_api._credentials.judge import credential_error
from mellea_api._models.known import complete, note_unchecked
from mellea_api._options.canonical import CANONICAL, SPELLINGS
from mellea_api._options.pipeline import OptionPipeline
from mellea_api._options.plan import apply_rules
from mellea_api._options.spelling import Unknown
from mellea_api._registry.credentials import find_for, probe_credentials, require
from mellea_api._registry.discovery import EntryPoint
from mellea_api._registry.hooks import Hooks
from mellea_api._registry.loading import broken
from mellea_api._secrecy.secrets import Secret
from mellea_api._secrecy.veil import hide, veiled
from mellea_api._sessions._mellea.sessions import model_name, version

if TYPE_CHECKING:
    from mellea import MelleaSession


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
        self._hooks = Hooks(entry_point, plugin, extensions)
        self.descriptor = self._describe()
        self._hooks.implemented_in(self.descriptor.implementation, self.descriptor.sdk)
        self._reviewed = self._hooks.answering("review_options") > 0
        # More than the core's default: the descriptor alone does not decide.
        self._own_description = self._hooks.takes("describe_backend", "target")
        self._own_options = self._hooks.answering("normalize_options") > 1

    def _describe(self, target: Target | None = None) -> BackendDescriptor:
        descriptor = self._hooks.ask(
            "describe_backend", BackendDescriptor, name=self.name, target=target
        )
        if descriptor is None:
            raise self._hooks.blamed("describe_backend", "describe_backend returned None")
        if target is not None and descriptor is self.descriptor:
            return descriptor  # it was checked as the plugin was loaded
        for rule in descriptor.options:
            if rule.name in SPELLINGS and rule.name not in CANONICAL:
                raise self._hooks.blamed(
                    "describe_backend",
                    f"the rule for {rule.name!r} is never read, since that is a spelling of "
                    f"{SPELLINGS[rule.name]!r}: name it so",
                )
        if target is None:
            self._check_identity(descriptor)
            return descriptor
        known = {field.name for field in self.descriptor.credentials}
        for field in descriptor.credentials:
            if field.secret and field.name not in known:
                raise self._hooks.blamed(
                    "describe_backend",
                    f"describe_backend returned the secret {field.name!r} for a target, which is "
                    "not among the credentials of the backend: given as an argument, it would be "
                    "shown",
                )
        return descriptor

    def _check_identity(self, descriptor: BackendDescriptor) -> None:
        if descriptor.name not in self.names:
            problem = f"it is found as {self.name!r} and calls itself {descriptor.name!r}"
            raise broken(self.entry_point, problem)
        wanted = descriptor.contract_version
        if not OLDEST_CONTRACT <= wanted <= CONTRACT_VERSION:
            old = "mellea-api" if wanted > CONTRACT_VERSION else self.entry_point.distribution
            raise broken(
                self.entry_point,
                f"it was written for version {wanted} of the contract, and this mellea-api speaks "
                f"version {CONTRACT_VERSION}; upgrade {old}",
            )

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
            address, source = find_address(descriptor, hide(base_url))
        except ConfigurationError as error:
            raise veiled(error) from error.__cause__
        if server not in (None, *descriptor.servers):
            raise ConfigurationError(
                f"Cannot use server={server!r}.",
                next_step=f"Use one of {', '.join(descriptor.servers)}, or leave it out.",
                backend=self.name,
            )
        check_settings(descriptor, settings or {})
        return self.with_rules(
            Target(
                descriptor=descriptor,
                model_id=self._model_id(model_id),
                base_url=address,
                base_url_source=source,
                stated_server=server,
                settings=dict(settings or {}),
                mellea_version=version(),
            )
        )

    def with_rules(self, target: Target) -> Target:
        """Return a target with the description, and so the option rules, that hold for it now."""
        if not self._own_description:
            return target
        described = self._describe(evolve(target, descriptor=self.descriptor))
        return target if described is target.descriptor else evolve(target, descriptor=described)

    def _model_id(self, model_id: Any) -> str:
        default = self.descriptor.default_model
        if model_id is None:
            return default or ""
        if isinstance(model_id, str) and model_id.strip():
            return model_id.strip()
        name = model_name(model_id, self.descriptor.model_identifier)
        if name is not None:
            return name
        if isinstance(model_id, str) or not hasattr(model_id, "hf_model_name"):
            raise ConfigurationError(
                f"Cannot use model_id={model_id!r} for the {self.name} backend.",
                next_step=f"Give a model's name as text, such as {default}."
                if default
                else "Give a model's name as text.",
                backend=self.name,
            )
        raise ModelNotFoundError(
            f"The {self.name} backend has no name for the model {model_id!r} "
            f"({self.descriptor.model_identifier or 'ModelIdentifier'} is not set).",
            next_step=f"Give the name that {self.name} knows it by, as text.",
            backend=self.name,
        )

    def pipeline(
        self, target: Target, *, policy: Policy = "warn", unknown: Unknown = "error"
    ) -> OptionPipeline:
        """Return the path of options for a target, through this backend's hooks."""
        return OptionPipeline(
            target,
            policy=policy,
            unknown=unknown,
            review=self._review if self._reviewed else None,
            normalize=self._normalize if self._own_options else None,
        )

    def _review(self, request: OptionsRequest) -> Iterable[Sequence[OptionPatch] | None]:
        answers = self._hooks.ask("review_options", list, request=request) or []
        for answer in answers:
            if not isinstance(answer, Iterable):
                raise self._hooks.wrong("review_options", answer, "Sequence")
        return answers

    def _normalize(self, request: OptionsRequest) -> NormalizedOptions:
        given = set(request.options)  # as it was before a hook could change it
        request = evolve(request, render=apply_rules)
        answer = self._hooks.ask("normalize_options", NormalizedOptions, request=request)
        if answer is None:
            raise self._hooks.blamed("normalize_options", "normalize_options returned None")
        lost = given - {decision.name for decision in answer.decisions}
        if lost:
            names = ", ".join(sorted(lost))
            raise self._hooks.blamed(
                "normalize_options", f"normalize_options says nothing of what became of {names}"
            )
        return answer

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
        return (
            self.pipeline(target, policy="drop", unknown=unknown).render(options, endpoint).report
        )

    def credentials(
        self,
        target: Target,
        arguments: Mapping[str, Any] | None = None,
        *,
        keyring: bool = True,
    ) -> dict[str, Secret]:
        """Find the credentials that can be used: see `mellea_api._credentials.find`.

        Args:
            target: Backend, model and server.
            arguments: What the caller gave by name.
            keyring: Whether the system's keyring may be asked for what is nowhere else; leave it
                alone where nobody named this backend.
        """
        return find_for(self._hooks, target, arguments, keyring=keyring)[0]

    def validate_credentials(
        self,
        target: Target,
        arguments: Mapping[str, Any] | None = None,
        *,
        probe: bool = False,
        timeout: float = 10.0,
        keyring: bool = True,
        noted: Callable[[MelleaAPIError], None] | None = None,
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
        secrets, findings = find_for(self._hooks, target, arguments, keyring=keyring)
        # The provider is not asked where one is missing or malformed.
        probe = probe and credential_error(target, findings) is None
        request = CredentialRequest(
            target=target, credentials=secrets, findings=findings, timeout=timeout, probe=probe
        )
        report = (
            probe_credentials(self._hooks, request, noted)
            if probe
            else self._hooks.ask("validate_credentials", CredentialReport, request=request)
        )
        if not isinstance(report, CredentialReport):
            raise self._hooks.wrong("validate_credentials", report, "CredentialReport")
        return report

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
        check_listing(target.descriptor, target.settings)
        secrets, findings = find_for(self._hooks, target, arguments, keyring=keyring and live)
        if live:
            needed = target.descriptor.listing_needs in ("always", target.server)
            error = credential_error(target, findings, needed=needed)
            if error is not None:
                raise error
        request = ModelsRequest(target=target, credentials=secrets, live=live, timeout=timeout)
        answer = self._hooks.ask_provider("list_models", request, asks=live)
        if answer is None:
            raise self._hooks.blamed("list_models", "list_models returned None")
        if not isinstance(answer, Sequence):
            raise self._hooks.wrong("list_models", answer, "Sequence")
        if not all(isinstance(model, ModelInfo) for model in answer):
            raise self._hooks.blamed(
                "list_models", "list_models returned something else than ModelInfo"
            )
        filled_in = live and bool(self.descriptor.implementation)
        return [self._filled_in(model) for model in answer] if filled_in else list(answer)

    def _filled_in(self, model: ModelInfo) -> ModelInfo:
        """Return what a provider said of a model with what the catalogue knows beside it."""
        catalogue = {known.id: known for known in self.descriptor.models}
        known = catalogue.get(model.id, model)
        if model is known and model.id in catalogue:
            return model
        return evolve(
            model,
            source="live" if model.source == "catalogue" else model.source,
            default=model.default or model.id == self.descriptor.default_model,
            description=model.description or known.description,
            size=model.size or known.size,
            context_length=model.context_length or known.context_length,
        )

    def _with_model(self, request: SessionRequest) -> SessionRequest:
        """Return a request that names a model: the only one of the server, if none was named.

        Raises:
            ModelNotFoundError: If the catalogue is all there is, and does not have it; or if
                none was named, and the server has none, or several.
        """
        target = request.target
        if target.model_id:
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
        there = self.list_models(target, request.credentials, timeout=request.timeout or 30.0)
        if len(there) != 1:
            known = tuple(model.id for model in there)
            raise ModelNotFoundError(
                f"The {self.name} server has {len(known) or 'no'} models, and none was named.",
                next_step=f"Give model_id=, one of {', '.join(known)}." if known else "Load one.",
                backend=self.name,
                base_url=target.address,
                known=known,
            )
        named = evolve(target, descriptor=self.descriptor, model_id=there[0].id)
        return evolve(request, target=self.with_rules(named))

    def create_session(self, request: SessionRequest) -> MelleaSession:
        """Open a session: see `mellea_api._sessions.open`.

        Args:
            request: What to open. Credentials that it holds count as arguments.

        Returns:
            Mellea's session.

        Raises:
            MelleaAPIError: If that fails; the class says why.
        """
        from mellea_api._sessions.open import open_session

        return open_session(self, self._with_model(request))

    def required_credentials(
        self, target: Target, arguments: Mapping[str, Secret]
    ) -> dict[str, Secret]:
        """Return the credentials that a session can use.

        Raises:
            CredentialError: If a needed one is missing or malformed.
        """
        return require(self._hooks, target, arguments)

    def new_session(self, request: SessionRequest) -> Any:
        """Return the session that the plugin creates for a request with its credentials.

        Raises:
            MelleaAPIError: If that fails; the class says why.
        """
        from mellea import MelleaSession

        target = request.target
        check_arguments(target.descriptor, target.settings)
        current = Asking(request.timeout)
        token = asking.set(current)
        try:
            session = self._hooks.ask_provider("create_session", request)
        except ModelNotFoundError as error:
            complete(error, target, request.credentials)
            raise
        finally:
            asking.reset(token)
        if current.unchecked is not None:
            note_unchecked(target, request.credentials, current.unchecked)
        if not isinstance(session, MelleaSession):
            raise self._hooks.wrong("create_session", session, "MelleaSession")
        return session

    def translate(
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
