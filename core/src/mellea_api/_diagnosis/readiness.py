"""Whether backends can be used, asked before the first prompt: step by step, within a time.

Each backend is looked at in a thread of its own. None can hold up the others, and what one has
found by the end of the time is reported with what it was doing then.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from attrs import field, frozen

from mellea_api._api.environment import DEFAULT_BACKEND, RuntimeEnvironment
from mellea_api._contract.errors import ConfigurationError, MelleaAPIError
from mellea_api._contract.reports import CredentialReport
from mellea_api._secrecy.veil import hide

if TYPE_CHECKING:
    from mellea_api._registry import Registry


StepState = Literal["ok", "warning", "failed", "skipped"]
"""`warning`: it can be used, and somebody should look. `skipped`: nothing can be said."""


@frozen(kw_only=True)
class Step:
    """One thing that was looked at.

    Args:
        name: `plugin` (it loads), `settings` (model and address, and the variables that they
            come from), `options` (those of the environment), `credentials`, and with a probe
            `server` (it answers) and `model` (the server has it).
        state: How it is.
        message: What was found: one line.
        next_step: What to do about it; empty where nothing is.
        error: Why it failed; its class says what kind of failure it is.
    """

    name: str
    state: StepState
    message: str
    next_step: str = ""
    error: MelleaAPIError | None = None


def _steps(value: Iterable[Step]) -> tuple[Step, ...]:
    return tuple(value)


@frozen(kw_only=True)
class BackendReadiness:
    """How ready one backend is.

    Args:
        backend: The name that was asked for.
        distribution: Where its plugin comes from; empty if nobody knows it.
        version: That distribution's version.
        model_id: The model that would be used; None if that could not be said.
        base_url: The server that would be called, without user and password; None for none.
        steps: What was looked at, in this order.
        credentials: The report on the credentials; None if they were not looked at.
    """

    backend: str
    distribution: str = ""
    version: str = ""
    model_id: str | None = None
    base_url: str | None = None
    steps: tuple[Step, ...] = field(default=(), converter=_steps)
    credentials: CredentialReport | None = None

    @property
    def ready(self) -> bool:
        """Whether nothing failed."""
        return not any(step.state == "failed" for step in self.steps)


@frozen(kw_only=True)
class Readiness:
    """How ready the backends are that were asked for.

    Args:
        backends: One report for each.
        probed: Whether their servers were asked.
        timeout: Seconds that were allowed for all of it.
    """

    backends: tuple[BackendReadiness, ...]
    probed: bool
    timeout: float

    @property
    def ready(self) -> bool:
        """Whether all of them are, and there is one at all."""
        return bool(self.backends) and all(found.ready for found in self.backends)


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

    No SDK is imported and nobody is asked, unless `probe` is set: then each server is asked for
    what costs nothing. Nothing that a plugin or a server does is raised: it is in the report.

    Args:
        backends: Their names, or one; None for the one that a `MelleaRuntime` would use:
            MELLEA_BACKEND, else ollama.
        model_id: The model; None for MELLEA_MODEL_ID where that belongs to the backend, else
            the backend's default.
        base_url: The server, instead of the environment's or the default one.
        probe: Ask the servers whether they are there, take the credentials, and have the model.
        timeout: Seconds allowed for all of it, above 0.
        keyring: Look in the system's keyring for credentials that are nowhere else.
        registry: Where to look for the backends; None for the shared registry.

    Raises:
        ConfigurationError: If `timeout` is no such time, or an environment variable about
            plugins is malformed.
    """
    from mellea_api._api.arguments import seconds
    from mellea_api._diagnosis.steps import Look, Question
    from mellea_api._registry.shared import given_or_shared

    timeout = seconds(timeout) or 10.0
    base_url = hide(base_url)
    registry = given_or_shared(registry)
    environment, problem = _environment()
    if backends is None:
        backends = environment.backend or DEFAULT_BACKEND
    names = [backends] if isinstance(backends, str) else list(dict.fromkeys(backends))
    question = Question(
        registry=registry,
        environment=environment,
        problem=problem,
        model_id=model_id,
        base_url=base_url,
        probe=probe,
        keyring=keyring,
        deadline=time.monotonic() + timeout,
    )
    looks = [Look(name, question) for name in names]
    # Daemons: one that hangs for ever must not keep the process from ending.
    threads = [
        threading.Thread(target=look.run, daemon=True, name=f"mellea-api-check-{look.name}")
        for look in looks
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, question.deadline - time.monotonic()))
    found = tuple(look.report(timeout) for look in looks)
    return Readiness(backends=found, probed=probe, timeout=timeout)


def _environment() -> tuple[RuntimeEnvironment, ConfigurationError | None]:
    """Read the environment, and what is wrong with it; then without the values that may be."""
    try:
        return RuntimeEnvironment.read(), None
    except ConfigurationError as error:
        names = ("MELLEA_BACKEND", "MELLEA_MODEL_ID")
        kept = {name: os.environ[name] for name in names if name in os.environ}
        return RuntimeEnvironment.read(kept), error
