"""`check_readiness`: whether backends can be used, before the first prompt.

Each backend is checked step by step, in a thread of its own. None can hold up the others, and
when the time is over, each reports what it knows by then and what it was doing.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import os
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from attrs import define, evolve, field

from mellea_api._api.environment import RuntimeEnvironment
from mellea_api._api.selection import Selection, backend_name, blame, select
from mellea_api._contract import errors
from mellea_api._contract.refusals import ErrorRequest, completed
from mellea_api._diagnosis.findings import BackendReadiness, Readiness, State, Step
from mellea_api._diagnosis.variables import first_set, secrets_of, variables_of
from mellea_api._provider.deadlines import call_each
from mellea_api._secrecy.secrets import Secret, redact, shown_address
from mellea_api._secrecy.veil import hide

if TYPE_CHECKING:
    from mellea_api._contract.requests import Target
    from mellea_api._registry.backend import Backend
    from mellea_api._registry.registry import Registry


_DOWN: Final = (
    errors.BackendUnavailableError,
    errors.RequestTimeoutError,
    errors.RateLimitError,
    errors.AnswerError,
)
_KINDS: Final = {
    "unreachable": errors.BackendUnavailableError,
    "forbidden": errors.PermissionDeniedError,
}
_PLACES: Final = {"argument": "as given", "default": "the default"}


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
            MELLEA_BACKEND, else the default one.
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
    from mellea_api._registry.registry import shared_registry

    timeout = seconds(timeout) or 10.0
    environment, problem = _environment()
    if backends is None:
        backends = backend_name(None, environment)
    check = functools.partial(
        _Check,
        registry=(registry or shared_registry()),
        environment=environment,
        problem=problem,
        model_id=model_id,
        base_url=hide(base_url),
        probe=probe,
        keyring=keyring,
        deadline=time.monotonic() + timeout,
    )
    names = [backends] if isinstance(backends, str) else backends
    checks = {name: check(name=name) for name in names}
    call_each({name: check.run for name, check in checks.items()}, timeout, "mellea-api-check-")
    reports = tuple(check.report(timeout) for check in checks.values())
    return Readiness(backends=reports, probed=probe, timeout=timeout)


def _environment() -> tuple[RuntimeEnvironment, errors.ConfigurationError | None]:
    """Read the environment; if a value cannot be used, leave out those that may be wrong."""
    try:
        return RuntimeEnvironment.read(), None
    except errors.ConfigurationError as error:
        backend, model_id = (
            os.environ.get(name, "").strip() for name in ("MELLEA_BACKEND", "MELLEA_MODEL_ID")
        )
        return RuntimeEnvironment(backend or None, model_id or None), error


@define(eq=False, kw_only=True)
class _Check:
    """The check of one backend; `report` returns at any time what is known by then.

    Its first attributes are the backend's name and what `check_readiness` was given.
    """

    name: str
    registry: Registry
    environment: RuntimeEnvironment
    problem: errors.ConfigurationError | None
    model_id: Any
    base_url: str | None
    probe: bool
    keyring: bool
    deadline: float
    secrets: list[Secret] = field(factory=secrets_of)  # while these live, messages mask them
    target: Target | None = None
    doing: str = "plugin"
    done: bool = False
    steps: list[Step] = field(factory=list)
    facts: dict[str, Any] = field(factory=dict)

    def run(self) -> None:
        """Take all steps. A step that fails does not keep the next from being taken."""
        for record in self.registry.backends():
            if record.name == self.name:
                self.facts |= {"distribution": record.distribution, "version": record.version}
        with self._step("plugin"):
            backend = self._load()
            with self._step("settings"):
                self.target = self._settings()
            if (target := self.target) is not None:
                with self._step("options"):
                    self._options(backend)
                with self._step("credentials"):
                    if self._credentials(backend, target) and self.probe:
                        self._server(backend, target)
        self.done = True

    def report(self, timeout: float) -> BackendReadiness:
        """Return what is known. A step that is not done failed, because it is late."""
        done, steps, doing = self.done, list(self.steps), self.doing
        late: errors.MelleaAPIError = self._plugin_error(
            f"The plugin of the backend {self.name!r} was not ready within {timeout:g} s.",
            "See with `mellea-api doctor` how long it takes to load, or give more --timeout.",
        )
        if self.target is not None:
            late = ErrorRequest(
                target=self.target, operation="models", error=TimeoutError(), timeout=timeout
            ).timed_out()
        if not done:
            steps.append(_failed(doing, late))
        return BackendReadiness(backend=self.name, steps=tuple(steps), **self.facts)

    # --- what the steps need

    @contextlib.contextmanager
    def _step(self, name: str) -> Iterator[None]:
        """Report what goes wrong in the block, and go on."""
        self.doing = name
        try:
            yield
        except errors.MelleaAPIError as error:
            self._fail(self.doing, error)
        except BaseException as error:  # in a thread nobody else would report it
            failure = self._plugin_error(
                f"Checking the {self.doing} of {self.name} failed with "
                f"{type(error).__name__}: {error}.",
                "`mellea-api doctor` shows where each plugin comes from.",
            )
            self._fail(self.doing, failure)

    def _plugin_error(self, reason: str, next_step: str) -> errors.PluginError:
        return errors.PluginError(reason, next_step=next_step, backend=self.name, plugin=self.name)

    def _add(self, name: str, state: State, message: str, next_step: str = "") -> None:
        message = " ".join(redact(message).split())
        self.steps.append(Step(name=name, state=state, message=message, next_step=next_step))

    def _fail(self, name: str, error: errors.MelleaAPIError, variable: str = "") -> None:
        self.steps.append(_failed(name, error, variable))

    @property
    def _seconds_left(self) -> float:
        # A little less than all, so that a plugin can still report why it was late.
        left = self.deadline - time.monotonic()
        return max(0.05, left - min(0.3, left / 10))

    # --- the steps

    def _load(self) -> Backend:
        named = self.name == self.environment.backend
        with blame("MELLEA_BACKEND" if named else None, errors.MelleaAPIError):
            backend = self.registry.backend(self.name)
        self._add("plugin", "ok", f"{backend.entry_point.distribution} is loaded")
        fields = [field for field in backend.descriptor.credentials if field.secret]
        self.secrets += secrets_of(name for field in fields for name in field.variables)
        return backend

    def _select(self, environment: RuntimeEnvironment) -> Selection:
        arguments = {"base_url": self.base_url}
        return select(self.registry, environment, self.name, self.model_id, {}, arguments)

    def _settings(self) -> Target:
        """Check the model and the address; say where they come from."""
        selection = self._select(evolve(self.environment, model_options={}))
        target = selection.request.target
        self.facts["model_id"] = target.model_id
        default = selection.model_variable or "the default"
        message = f"model {target.model_id} ({default if self.model_id is None else 'as given'})"
        if address := target.address:
            self.facts["base_url"] = shown_address(address)
            source = _PLACES.get(target.base_url_source, target.base_url_source)
            message += f" at {self.facts['base_url']} ({source})"
        if self.problem is not None:
            self._fail("settings", self.problem)
        elif (shut := target.retirement()) is not None:
            self._add("settings", "warning", message, shut.sentence(target.model_id))
        else:
            self._add("settings", "ok", message)
        return target

    def _options(self, backend: Backend) -> None:
        """Check that the environment's options can be sent."""
        request = self._select(self.environment).request
        if not request.options:
            self._add("options", "ok", "none are set")
            return
        decisions = backend.explain(request.options, request.target).decisions
        dropped = [f"{one.spelling}: {one.reason}" for one in decisions if one.outcome == "dropped"]
        if dropped:
            next_step = (
                "Take it out of MELLEA_MODEL_OPTIONS, or set MELLEA_API_UNSUPPORTED=error to have "
                "it fail."
            )
            self._add("options", "warning", f"not sent: {'; '.join(dropped)}", next_step)
        else:
            names = ", ".join(decision.name for decision in decisions)
            self._add("options", "ok", f"MELLEA_MODEL_OPTIONS: {names}")

    def _credentials(self, backend: Backend, target: Target) -> bool:
        """Check the credentials; return whether the next steps can be taken."""
        noted: list[errors.MelleaAPIError] = []
        report = backend.validate_credentials(
            target,
            probe=self.probe,
            timeout=self._seconds_left,
            keyring=self.keyring,
            noted=noted.append,
        )
        self.facts["credentials"] = report
        # A plugin's own report is the error that a session would end in.
        kind: type[errors.ProviderError] = _KINDS.get(report.status, errors.CredentialError)
        error = noted[0] if noted else kind(report.message, next_step="", backend=report.backend)
        sources = "".join(f" ({one.name} from {one.source})" for one in report.fields if one.source)
        if report.status == "unreachable":
            message = f"the server could not be asked about them{sources}"
            self._add("credentials", "skipped", message)
            self._fail("server", error)
        elif isinstance(error, errors.ModelNotFoundError):
            message = f"they could not be tried without the model{sources}"
            self._add("credentials", "skipped", message)
            self._fail("model", error)
            return False
        elif report.usable:
            state: State = "warning" if report.status == "unchecked" else "ok"
            self._add("credentials", state, f"{report.message}{sources}")
        else:
            malformed = {one.name for one in report.fields if one.status == "malformed"}
            fields = target.descriptor.credentials
            names = (v for one in fields if one.name in malformed for v in variables_of(one))
            self._fail("credentials", error, first_set(names))
        return report.usable

    def _server(self, backend: Backend, target: Target) -> None:
        """List the models, which costs nothing: is the server there, and the model?"""
        self.doing = "server"
        try:
            listed = backend.list_models(target, timeout=self._seconds_left, keyring=self.keyring)
        except errors.CredentialError as error:
            self._fail("credentials", error)
            return
        except _DOWN:
            raise
        except errors.ProviderError as error:  # also where a key may generate, and not list
            self._add("server", "ok", "it answers")
            self._add("model", "skipped", error.reason)
            return
        live = [model.id for model in listed if model.source == "live"]
        if live or "base_url" in self.facts:
            self._add("server", "ok", "it answers")
        self.doing = "model"
        wanted = target.model_id
        if {wanted, f"{wanted}:latest"} & set(live):  # some servers let the tag be left out
            self._add("model", "ok", f"{wanted} is there")
        elif len(live) < len(listed):
            self._add("model", "skipped", "the list is not the server's: a session will tell")
        elif len(live) == 1 and target.server == "compatible":
            message = f"the server lists {live[0]}, and may answer to {wanted} with it"
            self._add("model", "warning", message)
        else:
            self._fail("model", completed(errors.ModelNotFoundError(known=live), target))


def _failed(name: str, error: errors.MelleaAPIError, variable: str = "") -> Step:
    error = copy.copy(error)  # masks what was no secret yet when it was made, and has no cause
    return Step(
        name=name,
        state="failed",
        message=" ".join(error.reason.split()),
        next_step=" ".join(error.next_step.split()),
        error=error,
        variable=variable or getattr(error, "variable", None) or "",
    )
