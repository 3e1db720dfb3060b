"""`check_readiness`: whether backends can be used, before the first prompt.

Each backend is checked step by step, in a thread of its own. None can hold up the others, and
when the time is over, each reports what it knows by then and what it was doing.
"""

from __future__ import annotations

import contextlib
import copy
import difflib
import os
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, frozen

from mellea_api._api.environment import DEFAULT_BACKEND, RuntimeEnvironment
from mellea_api._api.selection import Selection, backend_name, blame, select
from mellea_api._contract.address import shown_address
from mellea_api._contract.errors import (
    AnswerError,
    BackendUnavailableError,
    ConfigurationError,
    CredentialError,
    MelleaAPIError,
    ModelNotFoundError,
    PermissionDeniedError,
    PluginError,
    ProviderError,
    RateLimitError,
    RequestTimeoutError,
)
from mellea_api._contract.refusals import completed, timed_out
from mellea_api._contract.reports import CredentialReport
from mellea_api._diagnosis.findings import BackendReadiness, Finding, Readiness, State
from mellea_api._diagnosis.variables import first_set, secrets_of, variables_of
from mellea_api._provider.deadlines import call_each
from mellea_api._secrecy.secrets import redact
from mellea_api._secrecy.veil import hide

if TYPE_CHECKING:
    from mellea_api._contract.requests import Target
    from mellea_api._registry import Backend, Registry


_DOWN: Final = (BackendUnavailableError, RequestTimeoutError, RateLimitError, AnswerError)


def check_readiness(
    backends: str | Sequence[str] | None = None,
    model_id: Any = None,
    *,
    base_url: str | None = None,
    probe: bool = False,
    timeout: float = 10.0,
    keyring: bool = True,
    registry: Registry | None = None,
) -> Readiness:
    """Say whether backends can be used as the environment has them set up.

    No SDK is imported and no server is asked, unless `probe` is set: then each server is asked by
    calls that cost nothing. Nothing that a plugin or a server does is raised: it is in the report.

    Args:
        backends: Their names, or one; None for the one that a `MelleaRuntime` would use:
            MELLEA_BACKEND, else ollama.
        model_id: The model; None for MELLEA_MODEL_ID where that belongs to the backend, else
            the backend's default.
        base_url: The server, instead of the environment's or the default one.
        probe: Ask the servers whether they are there, accept the credentials, and have the model.
        timeout: Seconds allowed for all of it, above 0.
        keyring: Look in the system's keyring for credentials that are nowhere else.
        registry: Where to look for the backends; None for the shared registry.

    Raises:
        ConfigurationError: If `timeout` is not such a number, or an environment variable about
            plugins is malformed.
    """
    from mellea_api._api.arguments import seconds
    from mellea_api._registry.shared import given_or_shared

    timeout = seconds(timeout) or 10.0
    registry = given_or_shared(registry)
    environment, problem = _environment()
    if backends is None:
        backends = environment.backend or DEFAULT_BACKEND
    names = [backends] if isinstance(backends, str) else list(dict.fromkeys(backends))
    plan = _Plan(
        registry=registry,
        environment=environment,
        problem=problem,
        model_id=model_id,
        base_url=hide(base_url),
        probe=probe,
        keyring=keyring,
        deadline=time.monotonic() + timeout,
    )
    checks = {name: _Check(name, plan) for name in names}
    call_each({name: check.run for name, check in checks.items()}, timeout, "mellea-api-check-")
    reports = [check.report(timeout) for check in checks.values()]
    return Readiness(backends=reports, probed=probe, timeout=timeout)


def _environment() -> tuple[RuntimeEnvironment, ConfigurationError | None]:
    """Read the environment; if a value cannot be used, leave out those that may be wrong."""
    try:
        return RuntimeEnvironment.read(), None
    except ConfigurationError as error:
        backend, model_id = (
            os.environ.get(name, "").strip() or None
            for name in ("MELLEA_BACKEND", "MELLEA_MODEL_ID")
        )
        return RuntimeEnvironment(backend, model_id), error


@frozen(kw_only=True)
class _Plan:
    """What all checks share: the arguments of `check_readiness`, and what they are read with."""

    registry: Registry
    environment: RuntimeEnvironment
    problem: ConfigurationError | None
    model_id: Any
    base_url: str | None
    probe: bool
    keyring: bool
    deadline: float


class _Check:
    """The check of one backend; `report` returns at any time what is known by then."""

    def __init__(self, name: str, plan: _Plan) -> None:
        self._name = name
        self._plan = plan
        self._secrets = secrets_of()  # while these live, messages mask them
        self._target: Target | None = None
        self._doing = "plugin"
        self._done = False
        self._steps: list[Finding] = []
        self._facts: dict[str, Any] = {}
        for record in plan.registry.backends():
            if record.name == name:
                self._facts["distribution"] = " and ".join(record.distributions)
                if len(record.candidates) == 1:
                    self._facts["version"] = record.entry_point.version

    def run(self) -> None:
        """Take all steps. A step that fails does not keep the next from being taken."""
        with self._step("plugin"):
            backend = self._load()
            with self._step("settings"):
                self._target = self._settings()
            if (target := self._target) is not None:
                with self._step("options"):
                    self._options(backend)
                with self._step("credentials"):
                    if self._credentials(backend, target) and self._plan.probe:
                        self._server(backend, target)
        self._done = True

    def report(self, timeout: float) -> BackendReadiness:
        """Return what is known. A step that is not done failed, because it is late."""
        done, steps, doing = self._done, list(self._steps), self._doing
        if not done and self._target is not None:
            steps.append(_failed(doing, timed_out(self._target, timeout)))
        elif not done:
            late = PluginError(
                f"The plugin of the backend {self._name!r} was not ready within {timeout:g} s.",
                next_step="See with `mellea-api doctor` how long it takes to load, or give more "
                "--timeout.",
                backend=self._name,
                plugin=self._name,
            )
            steps.append(_failed(doing, late))
        return BackendReadiness(backend=self._name, steps=steps, **self._facts)

    # --- what the steps need

    @contextlib.contextmanager
    def _step(self, name: str) -> Iterator[None]:
        """Report what goes wrong in the block, and go on."""
        self._doing = name
        try:
            yield
        except MelleaAPIError as error:
            self._fail(self._doing, error)
        except BaseException as error:  # in a thread nobody else would report it
            failure = PluginError(
                f"Checking the {self._doing} of {self._name} failed with "
                f"{type(error).__name__}: {error}.",
                next_step="`mellea-api doctor` shows where each plugin comes from.",
                backend=self._name,
                plugin=self._name,
            )
            self._fail(self._doing, failure)

    def _add(self, name: str, state: State, message: str, next_step: str = "") -> None:
        self._steps.append(
            Finding(name=name, state=state, message=redact(message), next_step=next_step)
        )

    def _fail(self, name: str, error: MelleaAPIError, variable: str = "") -> None:
        self._steps.append(_failed(name, error, variable))

    @property
    def _seconds_left(self) -> float:
        # A little less than all, so that a plugin can still report why it was late.
        left = self._plan.deadline - time.monotonic()
        return max(0.05, left - min(0.3, left / 10))

    # --- the steps

    def _load(self) -> Backend:
        environment = self._plan.environment
        named = environment.backend and self._name == backend_name(None, environment)
        with blame("MELLEA_BACKEND" if named else None, MelleaAPIError):
            backend = self._plan.registry.backend(self._name)
        self._add("plugin", "ok", f"{backend.entry_point.distribution} is loaded")
        fields = [field for field in backend.descriptor.credentials if field.secret]
        self._secrets += secrets_of(name for field in fields for name in field.variables)
        return backend

    def _select(self, environment: RuntimeEnvironment) -> Selection:
        plan = self._plan
        return select(
            plan.registry, environment, self._name, plan.model_id, {}, base_url=plan.base_url
        )

    def _settings(self) -> Target:
        """Check the model and the address; say where they come from."""
        selection = self._select(evolve(self._plan.environment, model_options={}))
        target = selection.request.target
        self._facts["model_id"] = target.model_id
        address = target.base_url or target.descriptor.default_base_url
        if address:
            self._facts["base_url"] = shown_address(address)
        if self._plan.model_id is not None:
            source = "as given"
        else:
            source = selection.model_variable or "the default"
        message = f"model {target.model_id} ({source})"
        if address:
            sources = {"argument": "as given", "default": "the default"}
            source = sources.get(target.base_url_source, target.base_url_source)
            message += f" at {self._facts['base_url']} ({source})"
        if self._plan.problem is not None:
            self._fail("settings", self._plan.problem)
        else:
            self._add("settings", "ok", message)
        return target

    def _options(self, backend: Backend) -> None:
        """Check that the environment's options can be sent."""
        try:
            request = self._select(self._plan.environment).request
        except MelleaAPIError as error:
            self._fail("options", error, "MELLEA_MODEL_OPTIONS")
            return
        if not request.options:
            self._add("options", "ok", "none are set")
            return
        decisions = backend.explain(request.options, request.target).decisions
        dropped = [decision for decision in decisions if decision.outcome == "dropped"]
        if dropped:
            listed = "; ".join(f"{decision.spelling}: {decision.reason}" for decision in dropped)
            self._add(
                "options",
                "warning",
                f"not sent: {listed}",
                "Take it out of MELLEA_MODEL_OPTIONS, or set MELLEA_API_UNSUPPORTED=error to have "
                "it fail.",
            )
        else:
            names = ", ".join(decision.name for decision in decisions)
            self._add("options", "ok", f"MELLEA_MODEL_OPTIONS: {names}")

    def _credentials(self, backend: Backend, target: Target) -> bool:
        """Check the credentials; return whether the next steps can be taken."""
        errors: list[MelleaAPIError] = []
        report = backend.validate_credentials(
            target,
            probe=self._plan.probe,
            timeout=self._seconds_left,
            keyring=self._plan.keyring,
            noted=errors.append,
        )
        self._facts["credentials"] = report
        error = errors[0] if errors else None
        sources = [f"({one.name} from {one.source})" for one in report.fields if one.source]
        if report.status == "unreachable":
            skipped = ("the server could not be asked about them", *sources)
            self._add("credentials", "skipped", " ".join(skipped))
            self._fail("server", error or _error_of(report, target, BackendUnavailableError))
        elif not report.usable:
            forbidden = report.status == "forbidden"
            kind = PermissionDeniedError if forbidden else CredentialError
            malformed = {one.name for one in report.fields if one.status == "malformed"}
            variable = next(
                (
                    first_set(variables_of(field))
                    for field in target.descriptor.credentials
                    if field.name in malformed
                ),
                "",
            )
            self._fail("credentials", error or _error_of(report, target, kind), variable)
        elif isinstance(error, ModelNotFoundError):
            skipped = ("they could not be tried without the model", *sources)
            self._add("credentials", "skipped", " ".join(skipped))
            self._fail("model", error)
            return False
        else:
            state: State = "warning" if report.status == "unchecked" else "ok"
            self._add("credentials", state, " ".join((*report.message.split(), *sources)))
        return report.usable

    def _server(self, backend: Backend, target: Target) -> None:
        """List the models, which costs nothing: is the server there, and the model?"""
        self._doing = "server"
        try:
            listed = backend.list_models(
                target, timeout=self._seconds_left, keyring=self._plan.keyring
            )
        except CredentialError as error:
            self._fail("credentials", error)
            return
        except _DOWN:
            raise
        except ProviderError as error:  # also where a key may generate, and not list
            self._add("server", "ok", "it answers")
            self._add("model", "skipped", error.reason)
            return
        live = [model.id for model in listed if model.source == "live"]
        if live or self._facts.get("base_url"):
            self._add("server", "ok", "it answers")
        self._doing = "model"
        self._model(target, [model.id for model in listed], live)

    def _model(self, target: Target, listed: Sequence[str], live: Sequence[str]) -> None:
        wanted = target.model_id
        if {wanted, f"{wanted}:latest"} & set(live):  # Ollama allows the tag to be left out
            self._add("model", "ok", f"{wanted} is there")
        elif len(live) < len(listed):
            self._add("model", "skipped", "the list is not the server's: a session will tell")
        elif len(live) == 1 and target.server == "compatible":
            self._add(
                "model",
                "warning",
                f"the server lists {live[0]}, and may answer to {wanted} with it",
            )
        else:
            near = difflib.get_close_matches(wanted, live, n=3, cutoff=0.4)
            known = (*near, *sorted(set(live) - set(near)))
            self._fail("model", completed(ModelNotFoundError(known=known), target))


def _failed(name: str, error: MelleaAPIError, variable: str = "") -> Finding:
    error = copy.copy(error)  # masks what was no secret yet when it was made, and has no cause
    return Finding(
        name=name,
        state="failed",
        message=" ".join(error.reason.split()),
        next_step=" ".join(error.next_step.split()),
        error=error,
        variable=variable or getattr(error, "variable", None) or "",
    )


def _error_of(report: CredentialReport, target: Target, kind: type[ProviderError]) -> ProviderError:
    """Return a report's bad news as the error that a session would end in."""
    return kind(report.message, next_step="", backend=report.backend, model_id=target.model_id)
