"""What a hook is asked: one frozen request per hook, so that the contract can grow.

Every request says which backend, model and server it is about (its `Target`), carries no
secret in its repr, and is safe to keep.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Literal
from urllib.parse import urlsplit

from attrs import evolve, field, fields_dict, frozen

from mellea_api._contract.address import shown_address
from mellea_api._contract.descriptor import BackendDescriptor, CredentialField, Endpoint, Server
from mellea_api._contract.reports import CredentialFinding
from mellea_api._secrecy.secrets import Secret, redact

Policy = Literal["warn", "error", "drop"]
"""What happens when an option is known but the backend, model or server does not support it."""

Freshness = Literal["cached", "live", "offline"]
"""Where a list of models may come from.

`cached`: what the provider said a short time ago, or else the provider. `live`: the provider.
`offline`: nobody is asked; what the provider last said, however long ago, or else the catalogue.
"""


def _shown(address: str | None) -> str:
    return repr(address and shown_address(address))


def _masked(error: BaseException) -> str:
    return redact(repr(error))


def _names(settings: Mapping[str, Any]) -> str:
    """Name what is set: a header or a token may be among it."""
    return f"<{', '.join(settings) or 'none'}>"


@frozen(kw_only=True)
class Target:
    """Which backend, which model and which server a request is about.

    Args:
        descriptor: What the backend says about itself.
        model_id: The backend's own name of the model.
        base_url: The server's address as the user wrote it, or None for the default one.
        base_url_source: Where the address came from: `argument`, the name of an environment
            variable, or `default`.
        stated_server: What the user says the server is, such as a gateway before the provider's
            own (`server="official"`); None to go by the host's name.
        settings: Further arguments of `start_session`, which are the backend's own business.
        mellea_version: The version of Mellea that is installed.
    """

    descriptor: BackendDescriptor
    model_id: str
    base_url: str | None = field(default=None, repr=_shown)
    base_url_source: str = "default"
    stated_server: Server | None = None
    settings: Mapping[str, Any] = field(factory=dict, repr=_names)
    mellea_version: str = ""

    @property
    def backend(self) -> str:
        """The backend's name."""
        return self.descriptor.name

    @property
    def server(self) -> Server:
        """Whether the server is the provider's own or a compatible one."""
        if self.stated_server is not None:
            return self.stated_server
        hosts = self.descriptor.official_hosts
        if not hosts or not self.base_url:
            return "official"
        address = self.base_url if "//" in self.base_url else f"//{self.base_url}"
        try:
            host = urlsplit(address).hostname or ""
        except ValueError:
            host = ""
        return "official" if any(fnmatchcase(host, pattern) for pattern in hosts) else "compatible"


@frozen
class Origin:
    """Where the value of one option came from.

    Args:
        spelling: The name under which it was given.
        source: `default` (the session's options), `call`, or `extension`.
        note: What else a reader should know, such as another spelling that it won over.
    """

    spelling: str
    source: Literal["default", "call", "extension"]
    note: str = ""


@frozen(kw_only=True)
class OptionsRequest:
    """Options to be rendered for a backend.

    Args:
        target: Backend, model and server.
        endpoint: `chat` or `completion`.
        options: Values by canonical name, defaults and call merged, nothing None. Names that
            are passed on unchecked stand as `extra.NAME`.
        origins: Where each of them came from.
    """

    target: Target
    endpoint: Endpoint
    options: Mapping[str, Any]
    origins: Mapping[str, Origin] = field(factory=dict)


@frozen(kw_only=True)
class SessionRequest:
    """A session to be created. It pickles, and is built where it is sent to.

    Args:
        target: Backend, model and server.
        options: The session's default options, as the user spelt them.
        context: `simple` (each call alone), `chat` (a conversation), or a Mellea `Context`.
        policy: What to do about unsupported options.
        unknown: What to do about options that nobody knows: `error`, or `pass` them on.
        timeout: Seconds allowed for each whole call; None for no limit.
        run_id: Names the run in log records and telemetry.
        session_arguments: Arguments for Mellea's session that not every version has.
        credentials: Filled in by the core where the session is built, from the arguments, the
            environment and the extensions; it is never part of a pickle.
    """

    target: Target
    options: Mapping[str, Any] = field(factory=dict)
    context: Any = "simple"
    policy: Policy = "warn"
    unknown: Literal["error", "pass"] = "error"
    timeout: float | None = None
    run_id: str | None = None
    session_arguments: Mapping[str, Any] = field(factory=dict)
    credentials: Mapping[str, Secret] = field(factory=dict, repr=False)

    def credential(self, name: str) -> str | None:
        """Return the value of a credential field, or None if there is none."""
        secret = self.credentials.get(name)
        return secret.reveal() if secret else None

    def __copy__(self) -> SessionRequest:
        return self  # frozen; and by way of its pickle a copy would lose the credentials

    def __deepcopy__(self, memo: dict[int, Any]) -> SessionRequest:
        return evolve(
            self,
            **{name: copy.deepcopy(getattr(self, name), memo) for name in fields_dict(type(self))},
        )

    def __getstate__(self) -> dict[str, Any]:
        from mellea_api._contract.portable import portable_state

        return portable_state(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)


def _findings(value: Iterable[CredentialFinding]) -> tuple[CredentialFinding, ...]:
    return tuple(value)


@frozen(kw_only=True)
class CredentialRequest:
    """A question about a backend's credentials.

    Args:
        target: Backend, model and server.
        credentials: What was found and can be used, by field name.
        findings: What a report says of each field.
        probe: Whether the provider may be asked, by one call that costs nothing. It is then
            known that nothing that is needed is missing or malformed.
        timeout: Seconds allowed for that call.
    """

    target: Target
    credentials: Mapping[str, Secret] = field(factory=dict, repr=False)
    findings: tuple[CredentialFinding, ...] = field(default=(), converter=_findings)
    probe: bool = False
    timeout: float = 10.0

    def credential(self, name: str) -> str | None:
        """Return the value of a credential field, or None if there is none."""
        secret = self.credentials.get(name)
        return secret.reveal() if secret else None


@frozen(kw_only=True)
class CredentialFieldsRequest:
    """A question for the credential fields of a model or server.

    Args:
        target: Backend, model and server.
    """

    target: Target


@frozen(kw_only=True)
class CredentialQuery:
    """A question to extensions that keep secrets: is there a value for this field?

    Args:
        target: Backend, model and server.
        field: The credential field.
    """

    target: Target
    field: CredentialField


@frozen(kw_only=True)
class ModelsRequest:
    """A question for the models that a backend has.

    Args:
        target: Backend and server; its model is the default one.
        credentials: What was found, by field name.
        live: Whether the provider is asked; else the catalogue answers.
        timeout: Seconds allowed for the call.
    """

    target: Target
    credentials: Mapping[str, Secret] = field(factory=dict, repr=False)
    live: bool = True
    timeout: float = 10.0

    def credential(self, name: str) -> str | None:
        """Return the value of a credential field, or None if there is none."""
        secret = self.credentials.get(name)
        return secret.reveal() if secret else None


@frozen(kw_only=True)
class RulesRequest:
    """A question for the option rules of one model behind one server.

    Args:
        target: Backend, model and server; its descriptor has the rules that the backend
            describes itself by.
    """

    target: Target


@frozen(kw_only=True)
class ErrorRequest:
    """An exception of an SDK, to be said in this library's terms.

    Args:
        target: Backend, model and server.
        operation: What was being done: `session`, `call`, `models` or `credentials`.
        error: The exception.
        timeout: Seconds that were allowed, if there was a limit.
    """

    target: Target
    operation: Literal["session", "call", "models", "credentials"]
    error: BaseException = field(repr=_masked)
    timeout: float | None = None
