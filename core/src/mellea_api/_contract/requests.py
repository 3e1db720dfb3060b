"""What a hook is asked: one frozen request per hook, so that the contract can grow.

Every request says which backend, model and server it is about (its `Target`), carries no
secret in its repr, and is safe to keep.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

from attrs import field, frozen

from mellea_api._contract.descriptor import BackendDescriptor, CredentialField, Retirement
from mellea_api._contract.errors import OptionError, OptionProblem
from mellea_api._contract.option_rule import Endpoint, Server, as_tuple
from mellea_api._contract.portable import hidden_in, live_part, pickled, secret_part
from mellea_api._contract.reports import (
    CredentialFinding,
    CredentialReport,
    CredentialStatus,
    NormalizedOptions,
)
from mellea_api._contract.settings import keyword_arguments, refuse_unknown
from mellea_api._secrecy.secrets import Secret, shown_address

if TYPE_CHECKING:
    from mellea import MelleaSession

logger = logging.getLogger("mellea_api.options")

Policy = Literal["warn", "error", "drop"]
"""What happens when an option is known but the backend, model or server does not support it."""

Freshness = Literal["cached", "live", "offline"]
"""Where a list of models may come from.

`cached`: what the provider said a short time ago, or else the provider. `live`: the provider.
`offline`: nobody is asked; what the provider last said, however long ago, or else the catalogue.
"""


def _shown(address: str | None) -> str:
    return repr(address and shown_address(address))


def _names(settings: Mapping[str, Any]) -> str:
    """Name the settings that are given, without values: one may be a header or a token."""
    return f"<{', '.join(settings) or 'none'}>"


def _is_official(target: Target) -> bool:
    """Return whether an address is the provider's own, by its host."""
    hosts, address = target.descriptor.official_hosts, target.address
    if not hosts or not address:
        return True
    try:
        host = urlsplit(address if "//" in address else f"//{address}").hostname or ""
    except ValueError:
        return False
    return any(map(functools.partial(fnmatchcase, host), hosts))


@frozen(kw_only=True)
class Target:
    """Which backend, which model and which server a request is about.

    Args:
        descriptor: What the backend says about itself.
        model_id: The backend's own name of the model.
        base_url: The server's address as the user wrote it, or None for the default one.
        base_url_source: Where the address came from: `argument`, the name of an environment
            variable, or `default`.
        stated_server: What the user says the server is, such as `official` for a gateway before
            the provider's own, or a dialect's name; None to go by the host's name.
        settings: Further arguments of `start_session`, which are the backend's own business.
        mellea_version: The version of Mellea that is installed.

    Attributes:
        servers: The names under which option rules speak of the server: its kind, and its dialect.
    """

    descriptor: BackendDescriptor
    model_id: str
    base_url: str | None = field(default=None, repr=_shown)
    base_url_source: str = "default"
    stated_server: str | None = None
    settings: Mapping[str, Any] = field(factory=dict, repr=_names)
    mellea_version: str = ""
    servers: tuple[Server, str] = field(init=False, eq=False, repr=False)

    @servers.default
    def _find_servers(self) -> tuple[Server, str]:
        stated = self.stated_server
        official = _is_official(self) if stated is None else stated == "official"
        kind: Server = "official" if official else "compatible"
        return kind, self.descriptor.dialect(stated or kind)

    _secrets: tuple[Secret, ...] = field(init=False, eq=False, repr=False)

    @_secrets.default
    def _hold_secrets(self) -> tuple[Secret, ...]:
        """Mask a password and keys among headers in all texts, as long as the target lives."""
        if self.settings or "@" in (self.base_url or ""):
            return hidden_in(self.base_url, self.settings)
        return ()

    @property
    def backend(self) -> str:
        """The backend's name."""
        return self.descriptor.name

    def setting(self, name: str) -> Any:
        """Return the value of a setting that the descriptor declares, else its default.

        Raises:
            KeyError: If the descriptor declares no such setting.
        """
        for one in self.descriptor.settings:
            if one.name == name:
                return self.settings.get(name, one.default)
        raise KeyError(name)

    def retirement(self, model_id: str = "") -> Retirement | None:
        """Return when the server shuts a model down; None if it stays, or if that is not known.

        Args:
            model_id: The model; empty for the target's own.
        """
        name = (model_id or self.model_id).lower()
        for one in self.descriptor.retirements if self.server == "official" else ():
            if any(fnmatchcase(name, glob.lower()) for glob in one.models):
                return one
        return None

    @property
    def address(self) -> str | None:
        """The address that is called, or None if only the SDK knows it."""
        return self.base_url or self.descriptor.base_url

    @property
    def server(self) -> Server:
        """Whether the server is the provider's own or a compatible one."""
        return self.servers[0]

    def __copy__(self) -> Target:
        return self  # frozen; and a pickle would refuse an address with a password

    def __deepcopy__(self, memo: object) -> Target:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        problem = secret_part(self.base_url, self.settings) or live_part(settings=self.settings)
        return pickled(self, "target of a session", problem)


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
    _render: Callable[[OptionsRequest], NormalizedOptions] | None = field(
        default=None, repr=False, eq=False
    )

    @property
    def rendered(self) -> NormalizedOptions | None:
        """What the target's rules make of the options; None in `review_options`.

        Raises:
            OptionError: If an option cannot be sent as it was given; lists all problems.
        """
        return None if self._render is None else self._render(self)


class Asking:
    """One call of a hook that asks a provider, and what the hook reports beside its answer.

    Args:
        timeout: Seconds allowed for it; None for the core's own limit.

    Attributes:
        timeout: As given.
        unchecked: Why nobody was asked whether there is a model, or None.
        lift: Lifts the limit of time, or None if there is no limit.
    """

    def __init__(self, timeout: float | None = None) -> None:
        self.timeout = timeout
        self.unchecked: str | None = None
        self.lift: Callable[[], object] | None = None


asking: Final[ContextVar[Asking | None]] = ContextVar("mellea_api_asking", default=None)
"""The call of a hook that runs now."""


@frozen(kw_only=True)
class ProviderRequest:
    """What the requests of the three hooks that may ask a provider have in common.

    Args:
        target: Backend, model and server.
        credentials: What was found and can be used, by field name.
        timeout: Seconds allowed for the call; None for no limit.
    """

    target: Target
    credentials: Mapping[str, Secret] = field(factory=dict, repr=False)
    timeout: float | None = None

    def credential(self, name: str) -> str | None:
        """Return the value of a credential field, or None if there is none."""
        secret = self.credentials.get(name)
        return None if secret is None else secret.reveal() or None

    def setting(self, name: str) -> Any:
        """Return the value of a setting that the descriptor declares, else its default."""
        return self.target.setting(name)

    def no_limit(self) -> None:
        """Lift the limit of time from this call of the hook, for example for a download."""
        current = asking.get()
        if current is not None and current.lift is not None:
            current.lift()


for_program: Final[ContextVar[bool]] = ContextVar("mellea_api_for_program", default=False)
"""Whether the program was written for Mellea alone, and runs under `mellea-api run`."""


@frozen(kw_only=True)
class SessionRequest(ProviderRequest):
    """A session to be created. It pickles: send it to the process that builds the session.

    Args:
        target: Backend, model and server.
        options: The session's default options, as the user spelt them.
        context: `simple` (each call alone), `chat` (a conversation), or a Mellea `Context`.
        policy: What to do about unsupported options.
        unknown: What to do about options that nobody knows: `error`, or `pass` them on.
        timeout: Seconds allowed for each whole call; None for no limit.
        run_id: Names the run in log records and telemetry.
        session_arguments: Arguments for Mellea's session that not every version has.
        for_program: Whether the program was written for Mellea alone. It keeps the SDK's own
            retries, limits of time and exceptions.
        credentials: Filled in by the core where the session is built, from the arguments, the
            environment and the extensions; it is never part of a pickle.
    """

    options: Mapping[str, Any] = field(factory=dict)
    context: Any = "simple"
    policy: Policy = "warn"
    unknown: Literal["error", "pass"] = "error"
    timeout: float | None = None
    run_id: str | None = None
    session_arguments: Mapping[str, Any] = field(factory=dict)
    for_program: bool = field(factory=for_program.get)
    _warned: set[tuple[str, ...]] = field(factory=set, init=False, repr=False, eq=False)

    def build(
        self,
        cls: Callable[..., Any],
        *,
        also: tuple[Callable[..., Any], ...] = (),
        **arguments: Any,
    ) -> MelleaSession:
        """Build one of Mellea's backend classes, or a subclass, and a session around it.

        The class is given the model's id, the address if there is one and the class takes it,
        and the settings that the descriptor does not declare.

        Args:
            cls: The class. Its first argument is the model's id.
            also: The callables to which the class hands its own keyword arguments on, such as its
                base class or an SDK's client; others are then refused.
            arguments: Further arguments; those that this Mellea's class does not have are left
                out.

        Raises:
            ConfigurationError: If a setting is no argument of the class.
        """
        from mellea import MelleaSession

        target = self.target
        settings = dict(target.settings)
        for declared in target.descriptor.settings:
            settings.pop(declared.name, None)
        known, open_ended = keyword_arguments(cls)
        for callee in also:
            known |= keyword_arguments(callee)[0]
        limited = bool(also) or not open_ended
        if limited:
            refuse_unknown(target.descriptor, settings, known)
        if target.base_url is not None and "base_url" in known:
            arguments.setdefault("base_url", target.base_url)
        given = {name: value for name, value in arguments.items() if name in known or not limited}
        return MelleaSession(cls(target.model_id, **{**given, **settings}))

    def unsupported(self, names: Sequence[str], reason: str) -> None:
        """Report options that a call turns out not to take, by the session's policy.

        Args:
            names: Their names.
            reason: Why not, and what to do instead: the end of a sentence about each.

        Raises:
            OptionError: Under the policy `error`. Under `warn` a warning is logged, once a
                session.
        """
        if self.policy == "error":
            raise OptionError(problems=[OptionProblem(name, reason) for name in names])
        if self.policy == "warn" and (reason, *names) not in self._warned:
            self._warned.add((reason, *names))
            logger.warning("%s: %s %s.", self.target.model_id, ", ".join(names), reason)

    def unchecked(self, why: str) -> None:
        """Say that nobody was asked whether there is such a model; the core logs it.

        Args:
            why: The reason, such as `check=False`.
        """
        current = asking.get()
        if current is not None:
            current.unchecked = why

    def __copy__(self) -> SessionRequest:
        return self  # frozen; and a pickle would lose the credentials

    def __deepcopy__(self, memo: object) -> SessionRequest:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        given = [name for name, one in self.credentials.items() if one.source == "argument"]
        problem = (
            f"{', '.join(given)} was given as an argument, and a secret is not pickled. Set the "
            "environment variable where the session is built."
            if given
            else live_part(
                context={"": self.context},
                options=self.options,
                session_arguments=self.session_arguments,
            )
        )
        return pickled(self, "session request", problem, credentials={})


@frozen(kw_only=True)
class CredentialRequest(ProviderRequest):
    """A question about a backend's credentials.

    Args:
        target: Backend, model and server.
        credentials: What was found and can be used, by field name.
        findings: What a report says of each field.
        probe: Whether the provider may be asked, by one call that costs nothing. Everything needed
            is then present and well-formed.
        timeout: Seconds allowed for that call.
    """

    findings: tuple[CredentialFinding, ...] = field(default=(), converter=as_tuple)
    probe: bool = False
    timeout: float = 10.0

    def accepted(self, said: str = "") -> CredentialReport:
        """Return the report for a provider that was asked and took the credentials.

        Args:
            said: A sentence that says what is known now.
        """
        used = any(found.status != "not-needed" for found in self.findings)
        default = "The provider takes the credentials." if used else "The provider answers."
        return self.report("present" if used else "not-needed", said or default, checked=True)

    def unchecked(self, why: str) -> CredentialReport:
        """Return the report of a plugin that cannot know whether the credentials work.

        Args:
            why: The reason: a sentence.
        """
        return self.report("unchecked", why)

    def report(
        self, status: CredentialStatus, said: str, *, checked: bool = False
    ) -> CredentialReport:
        """Return a report with any other status.

        Args:
            status: The outcome.
            said: A sentence for people, with what to do next.
            checked: Whether the provider was asked, and said so.
        """
        return CredentialReport(
            backend=self.target.backend,
            status=status,
            fields=self.findings,
            message=said,
            checked=checked,
        )


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
class ModelsRequest(ProviderRequest):
    """A question for the models that a backend has.

    Args:
        target: Backend and server; its model is the default one.
        credentials: What was found, by field name.
        live: Whether the provider is asked; else the catalogue answers.
        timeout: Seconds allowed for the call.
    """

    live: bool = True
    timeout: float = 10.0
