"""What `check_readiness` and `diagnose` return: frozen values without a secret in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from attrs import frozen

from mellea_api._api.environment import DEFAULT_BACKEND
from mellea_api._contract.errors import MelleaAPIError
from mellea_api._contract.reports import CredentialReport
from mellea_api._registry.registry import KNOWN_DISTRIBUTIONS

INSTALL: Final = f"Install one: pip install {KNOWN_DISTRIBUTIONS[DEFAULT_BACKEND]}"
"""What to do where no backend is installed."""
State = Literal["ok", "warning", "failed", "skipped"]
"""`warning`: it works, and somebody should look. `skipped`: not checked, or switched off."""


@frozen(kw_only=True)
class Finding:
    """One thing that was checked.

    Args:
        name: The environment variable, or what else was checked.
        state: `ok`, `warning` (it works, and somebody should look), `failed` or `skipped` (not
            checked, or switched off).
        message: The result in one line; may be empty for `ok`. It never shows a variable's value.
        next_step: What to do about it; empty if there is nothing to do.
    """

    name: str
    state: State = "ok"
    message: str = ""
    next_step: str = ""


@frozen(kw_only=True)
class Step(Finding):
    """One step of the check of a backend.

    Args:
        name: `plugin`: it loads; `settings`: model and address, and the variables that they come
            from; `options`: those of the environment; `credentials`; with a probe `server`: it
            answers, and `model`: the server has it.
        state: As of every `Finding`.
        message: As of every `Finding`.
        next_step: As of every `Finding`.
        error: Why it failed; its class says what kind of failure it is.
        variable: The environment variable whose value made it fail; empty if none did.
    """

    error: MelleaAPIError | None = None
    variable: str = ""


@frozen(kw_only=True)
class Software(Finding):
    """One distribution that is installed, or Python.

    Args:
        name: The distribution's name.
        state: As of every `Finding`.
        message: As of every `Finding`.
        next_step: As of every `Finding`.
        version: Its version; empty if it is not installed.
    """

    version: str = ""


@frozen(kw_only=True)
class PluginFinding(Software):
    """The plugin of one backend, or one extension.

    Args:
        name: The name of the backend or extension.
        state: `skipped` for a plugin that is switched off.
        message: Why it cannot be used, or what somebody should look at.
        next_step: What to do about it.
        version: The distribution's version; empty for several distributions.
        distribution: The distribution that brings it; several with "and" between them.
        contract_version: The version of the contract that it was written for; None for an
            extension, and for a plugin that does not load.
        load_ms: Milliseconds that importing and describing it took, in a fresh interpreter that
            had the core imported; None if it was not loaded.
    """

    distribution: str = ""
    contract_version: int | None = None
    load_ms: float | None = None


@frozen(kw_only=True)
class BackendReadiness:
    """How ready one backend is.

    Args:
        backend: The name that was asked for.
        distribution: The distribution that brings its plugin; empty if it is not known.
        version: That distribution's version.
        model_id: The model that would be used; None if it is not known.
        base_url: The server that would be called, without user and password; None for none.
        steps: The result of each step, in this order.
        credentials: The report on the credentials; None if they were not checked.
    """

    backend: str
    distribution: str = ""
    version: str = ""
    model_id: str | None = None
    base_url: str | None = None
    steps: tuple[Step, ...] = ()
    credentials: CredentialReport | None = None

    @property
    def ready(self) -> bool:
        """Whether no step failed."""
        return not any(step.state == "failed" for step in self.steps)


@frozen(kw_only=True)
class Readiness:
    """How ready the backends are that were asked for.

    Args:
        backends: One report for each.
        probed: Whether their servers were asked.
        timeout: Seconds that were allowed for all of them.
    """

    backends: tuple[BackendReadiness, ...]
    probed: bool
    timeout: float

    @property
    def ready(self) -> bool:
        """Whether there are backends, and all of them are ready."""
        return bool(self.backends) and all(backend.ready for backend in self.backends)


@frozen(kw_only=True)
class Diagnosis:
    """What is installed and set, and what is wrong with it.

    Args:
        software: Python, this library, Mellea, and the SDKs of the plugins.
        backends: Each backend's plugin.
        extensions: Each extension.
        variables: The environment variables that are set and that this library or a backend
            reads, or whose name begins with `MELLEA_` and is probably misspelt.
    """

    software: tuple[Software, ...]
    backends: tuple[PluginFinding, ...]
    extensions: tuple[PluginFinding, ...]
    variables: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing failed."""
        return not any(finding.state == "failed" for finding in self)

    def __iter__(self) -> Iterator[Finding]:
        yield from (*self.software, *self.backends, *self.extensions, *self.variables)
