"""One look at one backend, in steps; none of them keeps the next from being taken."""

from __future__ import annotations

import contextlib
import copy
import difflib
import os
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, frozen

from mellea_api._api.environment import RuntimeEnvironment
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
from mellea_api._contract.reports import CredentialReport
from mellea_api._diagnosis.readiness import BackendReadiness, Step, StepState
from mellea_api._diagnosis.variables import secrets_of
from mellea_api._secrecy.secrets import redact

if TYPE_CHECKING:
    from mellea_api._contract.requests import Target
    from mellea_api._registry import Backend, Registry


_DOWN: Final = (BackendUnavailableError, RequestTimeoutError, RateLimitError, AnswerError)


@frozen(kw_only=True)
class Question:
    """What is asked about each of the backends.

    Args:
        registry: Where they are.
        environment: What the environment says, as far as it can be used.
        problem: What cannot be used of it.
        model_id: The model that was given.
        base_url: The server that was given.
        probe: Whether servers may be asked.
        keyring: Whether the system's keyring may be.
        deadline: When the time is over, by the monotonic clock.
    """

    registry: Registry
    environment: RuntimeEnvironment
    problem: ConfigurationError | None
    model_id: Any
    base_url: str | None
    probe: bool
    keyring: bool
    deadline: float


class Look:
    """One backend that is being looked at; `report` says at any time what is known by then."""

    def __init__(self, name: str, question: Question) -> None:
        self.name = name
        self._question = question
        self._secrets = secrets_of(os.environ)  # while these live, messages mask them
        self._target: Target | None = None
        self._doing = "plugin"
        self._done = False
        self._steps: list[Step] = []
        self._known: dict[str, Any] = {}
        for record in question.registry.backends():
            if record.name == name:
                self._known["distribution"] = " and ".join(record.distributions)
                if len(record.candidates) == 1:
                    self._known["version"] = record.entry_point.version

    def run(self) -> None:
        """Look at everything. Nothing is raised."""
        with self._step("plugin"):
            self._look()
        self._done = True

    def report(self, timeout: float) -> BackendReadiness:
        """Return what is known; what is being done right now counts as too late."""
        done, steps, doing = self._done, list(self._steps), self._doing
        if not done:
            error = self._late(doing, timeout)
            steps.append(
                Step(
                    name=doing,
                    state="failed",
                    message=error.reason,
                    next_step=error.next_step,
                    error=error,
                )
            )
        return BackendReadiness(backend=self.name, steps=steps, **self._known)

    def _late(self, doing: str, timeout: float) -> MelleaAPIError:
        if doing == "plugin":
            return PluginError(
                f"The plugin of the backend {self.name!r} was not loaded within {timeout:g} s.",
                next_step="See with `mellea-api doctor` how long it takes, or give more --timeout.",
                backend=self.name,
                plugin=self.name,
            )
        address = self._known.get("base_url")
        return RequestTimeoutError(
            f"The {self.name} backend{f' at {address}' if address else ''} did not answer within "
            f"{timeout:g} s.",
            next_step="See whether its server is well, or give more --timeout.",
            backend=self.name,
            base_url=address,
            timeout=timeout,
        )

    @property
    def _left(self) -> float:
        # A little less than all, so that who asks can still say what the matter was.
        left = self._question.deadline - time.monotonic()
        return max(0.05, left - min(0.3, left / 10))

    def _add(self, name: str, state: StepState, message: str, next_step: str = "") -> None:
        step = Step(name=name, state=state, message=redact(message), next_step=next_step)
        self._steps.append(step)

    def _fail(self, name: str, error: MelleaAPIError) -> None:
        # A copy masks what was no secret yet when it was made, and leaves its cause behind.
        error = copy.copy(error)
        message, step = (" ".join(text.split()) for text in (error.reason, error.next_step))
        self._steps.append(
            Step(name=name, state="failed", message=message, next_step=step, error=error)
        )

    @contextlib.contextmanager
    def _step(self, name: str) -> Iterator[None]:
        """Note what goes wrong meanwhile, and go on."""
        self._doing = name
        try:
            yield
        except MelleaAPIError as error:
            self._fail(self._doing, error)
        except BaseException as error:  # in a thread nobody else would say so
            failure = PluginError(
                f"Looking at the {self._doing} of {self.name} failed with "
                f"{type(error).__name__}: {error}.",
                next_step="`mellea-api doctor` shows where each plugin comes from.",
                backend=self.name,
                plugin=self.name,
            )
            self._fail(self._doing, failure)

    def _look(self) -> None:
        ours = backend_name(None, self._question.environment)
        named = bool(self._question.environment.backend) and self.name == ours
        with blame("MELLEA_BACKEND" if named else None, MelleaAPIError):
            backend = self._question.registry.backend(self.name)
        self._add("plugin", "ok", f"{backend.entry_point.distribution} is loaded")
        fields = [field for field in backend.descriptor.credentials if field.secret]
        self._secrets += secrets_of(os.environ, (name for one in fields for name in one.variables))
        with self._step("settings"):
            self._target = self._settings()
        target = self._target
        if target is None:
            return
        with self._step("options"):
            self._options(backend)
        with self._step("credentials"):
            if self._credentials(backend, target) and self._question.probe:
                self._server(backend, target)

    def _select(self, environment: RuntimeEnvironment) -> Selection:
        return select(
            self._question.registry,
            environment,
            self.name,
            self._question.model_id,
            {},
            base_url=self._question.base_url,
        )

    def _settings(self) -> Target:
        """See that the model and the address can be used; say where they come from."""
        found = self._select(evolve(self._question.environment, model_options={}))
        target = found.request.target
        self._known["model_id"] = target.model_id
        address = target.base_url or target.descriptor.default_base_url
        if address:
            self._known["base_url"] = shown_address(address)
        if self._question.model_id is not None:
            source = "as given"
        else:
            source = found.model_variable or "the default"
        message = f"model {target.model_id} ({source})"
        if address:
            sources = {"argument": "as given", "default": "the default"}
            source = sources.get(target.base_url_source, target.base_url_source)
            message += f" at {self._known['base_url']} ({source})"
        if self._question.problem is not None:
            self._fail("settings", self._question.problem)
        else:
            self._add("settings", "ok", message)
        return target

    def _options(self, backend: Backend) -> None:
        """See that the environment's options can be sent."""
        request = self._select(self._question.environment).request
        if not request.options:
            self._add("options", "ok", "none are set")
            return
        report = backend.explain(request.options, request.target)
        dropped = [found for found in report.decisions if found.outcome == "dropped"]
        if dropped:
            said = "; ".join(f"{found.spelling}: {found.reason}" for found in dropped)
            self._add(
                "options",
                "warning",
                f"not sent: {said}",
                "Take it out of MELLEA_MODEL_OPTIONS, or set MELLEA_API_UNSUPPORTED=error to have "
                "it fail.",
            )
        else:
            names = ", ".join(found.name for found in report.decisions)
            self._add("options", "ok", f"MELLEA_MODEL_OPTIONS: {names}")

    def _credentials(self, backend: Backend, target: Target) -> bool:
        """Look at the credentials; return whether there is a point in asking for more."""
        errors: list[MelleaAPIError] = []
        report = backend.validate_credentials(
            target,
            probe=self._question.probe,
            timeout=self._left,
            keyring=self._question.keyring,
            noted=errors.append,
        )
        self._known["credentials"] = report
        error = errors[0] if errors else None
        sources = [f"({one.name} from {one.source})" for one in report.fields if one.source]
        if report.status == "unreachable":
            told = ("nobody could be asked about them", *sources)
            self._add("credentials", "skipped", " ".join(told))
            self._fail("server", error or _said_by(report, target, BackendUnavailableError))
        elif not report.usable:
            forbidden = report.status == "forbidden"
            kind = PermissionDeniedError if forbidden else CredentialError
            self._fail("credentials", error or _said_by(report, target, kind))
        elif isinstance(error, ModelNotFoundError):
            told = ("they could not be tried without the model", *sources)
            self._add("credentials", "skipped", " ".join(told))
            self._fail("model", error)
            return False
        else:
            state: StepState = "warning" if report.status == "unchecked" else "ok"
            self._add("credentials", state, " ".join((*report.message.split(), *sources)))
        return report.usable

    def _server(self, backend: Backend, target: Target) -> None:
        """Ask for the list of models, which costs nothing: is the server there, and the model?"""
        self._doing = "server"
        try:
            listed = backend.list_models(target, timeout=self._left, keyring=self._question.keyring)
        except (CredentialError, PermissionDeniedError) as error:
            if isinstance(error, PermissionDeniedError):
                # A key may be allowed to generate and not to list.
                self._add("server", "ok", "it answers")
                self._add("model", "skipped", error.reason)
            else:
                self._fail("credentials", error)
            return
        except _DOWN:
            raise
        except ProviderError as error:
            self._add("server", "ok", "it answers")
            self._add("model", "skipped", error.reason)
            return
        live = [model.id for model in listed if model.source == "live"]
        if live or self._known.get("base_url"):
            self._add("server", "ok", "it answers")
        self._doing = "model"
        self._model(target, [model.id for model in listed], live)

    def _model(self, target: Target, listed: Sequence[str], live: Sequence[str]) -> None:
        wanted = target.model_id
        if {wanted, f"{wanted}:latest"} & set(live):  # Ollama's way to leave out a tag
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
            there = (*near, *sorted(set(live) - set(near)))
            error = ModelNotFoundError(
                f"The {target.backend} server does not have the model {wanted!r}. It has "
                f"{', '.join(there[:8]) or 'none'}.",
                next_step=target.descriptor.model_hint.format(model=wanted),
                backend=target.backend,
                model_id=wanted,
                base_url=self._known.get("base_url"),
                known=there,
            )
            self._fail("model", error)


def _said_by(report: CredentialReport, target: Target, kind: type[ProviderError]) -> ProviderError:
    """Return a report's bad news as the error that a session would end in."""
    return kind(report.message, next_step="", backend=report.backend, model_id=target.model_id)
