"""Every error that this library raises.

    MelleaAPIError
    ├── BackendNotFoundError (LookupError)      no such backend, or its distribution is missing
    ├── PluginError (RuntimeError)              a plugin that is broken, in conflict or too new
    ├── ConfigurationError (ValueError)         an argument or environment variable that is wrong
    │   └── OptionError                         model options; lists all problems at once
    ├── SessionClosedError (RuntimeError)       used after it was cleaned up
    ├── ConcurrentUseError (RuntimeError)       two calls at once where only one can be
    └── ProviderError (RuntimeError)            what the backend's provider answered, or did not
        ├── CredentialError (PermissionError)   missing, malformed or rejected credentials
        ├── PermissionDeniedError (PermissionError)  the key is good but may not do this
        ├── ModelNotFoundError (LookupError)    the provider does not have the model
        ├── BackendUnavailableError (ConnectionError)  refused, reset, or answering 5xx
        ├── RequestTimeoutError (TimeoutError)  no answer in time
        ├── RateLimitError                      too many calls; says when to retry if known
        ├── ContextLengthError (ValueError)     the prompt is longer than the model takes
        ├── ContentRefusedError                 refused by a content filter
        ├── RequestRefusedError (ValueError)    the provider calls the request invalid
        └── AnswerError (ValueError)            an answer that cannot be read

An error's attributes are facts; its text is prose that ends with what to do next. Each error
pickles and copies. An error's text never holds a living `Secret`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from mellea_api._secrecy.secrets import redact


class MelleaAPIError(Exception):
    """Root of all errors of this library.

    Args:
        reason: What cannot be done and why: a sentence that names the thing.
        next_step: What to do about it: a sentence.
        facts: Values for the attributes that the class declares; each defaults to None.

    Attributes:
        reason: As given.
        next_step: As given.
        backend: Name of the backend concerned, if one is.

    Raises:
        TypeError: If a fact is given that the class does not declare.
    """

    facts: ClassVar[tuple[str, ...]] = ("backend",)

    backend: str | None

    def __init__(self, reason: str, *, next_step: str, **facts: Any) -> None:
        self.reason = redact(reason)
        self.next_step = redact(next_step)
        unknown = set(facts) - set(self.facts)
        if unknown:
            raise TypeError(f"{type(self).__name__} has no facts {sorted(unknown)}")
        for name in self.facts:
            value = facts.get(name)
            setattr(self, name, redact(value) if isinstance(value, str) else value)
        super().__init__(str(self))

    def __str__(self) -> str:
        return f"{self.reason} {self.next_step}".strip()

    def __reduce__(self) -> tuple[Any, ...]:
        facts = {name: getattr(self, name) for name in self.facts}
        notes = {"__notes__": list(self.__notes__)} if hasattr(self, "__notes__") else None
        return (_rebuild, (type(self), self.reason, self.next_step, facts), notes)


def _rebuild(
    kind: type[MelleaAPIError], reason: str, next_step: str, facts: dict[str, Any]
) -> MelleaAPIError:
    return kind(reason, next_step=next_step, **facts)


class BackendNotFoundError(MelleaAPIError, LookupError):
    """No backend of that name can be had.

    Attributes:
        installed: Names of the backends that are installed.
        distribution: The distribution that would bring the backend, if it is a known one.
    """

    facts: ClassVar[tuple[str, ...]] = ("backend", "distribution", "installed")

    distribution: str | None
    installed: tuple[str, ...] | None


class PluginError(MelleaAPIError, RuntimeError):
    """A plugin that cannot be used: broken, in conflict, or of another contract version.

    Attributes:
        plugin: Name of the entry point.
        distributions: Names of the distributions that the entry point comes from.
    """

    facts: ClassVar[tuple[str, ...]] = ("backend", "distributions", "plugin")

    plugin: str | None
    distributions: tuple[str, ...] | None


class ConfigurationError(MelleaAPIError, ValueError):
    """An argument or an environment variable whose value cannot be used.

    Attributes:
        variable: Name of the environment variable, if the value came from one.
    """

    facts: ClassVar[tuple[str, ...]] = ("backend", "variable")

    variable: str | None


class OptionProblem(tuple[str, str]):
    """One thing that is wrong with one model option: its path, and what is wrong."""

    __slots__ = ()

    def __new__(cls, path: str, message: str) -> OptionProblem:
        """Make one; a secret in the message is masked."""
        return super().__new__(cls, (redact(path), redact(message)))

    def __getnewargs__(self) -> tuple[str, str]:
        return (self.path, self.message)

    @property
    def path(self) -> str:
        """Where in the options it is, as the user spelt it: `stop[2]`."""
        return self[0]

    @property
    def message(self) -> str:
        """What is wrong and what would be right."""
        return self[1]


class OptionError(ConfigurationError):
    """Model options that cannot be used; all their problems at once.

    Attributes:
        problems: Every problem found, in the order in which the options were given.
    """

    facts: ClassVar[tuple[str, ...]] = ("backend", "problems", "variable")

    problems: tuple[OptionProblem, ...] | None


class SessionClosedError(MelleaAPIError, RuntimeError):
    """Something was used after it was cleaned up."""


class ConcurrentUseError(MelleaAPIError, RuntimeError):
    """Two calls at once on something that takes one at a time."""


class ProviderError(MelleaAPIError, RuntimeError):
    """The provider did not do what it was asked.

    Attributes:
        model_id: The model that was asked for, if one was.
        base_url: The address that was called, if it is known.
        status: The HTTP status of the answer, if there was one.
    """

    facts: ClassVar[tuple[str, ...]] = ("backend", "base_url", "model_id", "status")

    model_id: str | None
    base_url: str | None
    status: int | None


class CredentialError(ProviderError, PermissionError):
    """A credential that is missing, malformed or was rejected.

    Attributes:
        field: Name of the credential field, such as `api_key`.
        variables: The environment variables that are looked at, in order.
    """

    facts: ClassVar[tuple[str, ...]] = (*ProviderError.facts, "field", "variables")

    field: str | None
    variables: tuple[str, ...] | None


class PermissionDeniedError(ProviderError, PermissionError):
    """The credentials are known, but do not allow this."""


class ModelNotFoundError(ProviderError, LookupError):
    """The provider does not have the model.

    Attributes:
        known: Models that are there, the nearest names first, if a list could be had.
    """

    facts: ClassVar[tuple[str, ...]] = (*ProviderError.facts, "known")

    known: tuple[str, ...] | None


class BackendUnavailableError(ProviderError, ConnectionError):
    """The provider cannot be reached, or answers that it is down."""


class RequestTimeoutError(ProviderError, TimeoutError):
    """No answer in time.

    Attributes:
        timeout: The time that was allowed, in seconds, if it is known.
    """

    facts: ClassVar[tuple[str, ...]] = (*ProviderError.facts, "timeout")

    timeout: float | None


class RateLimitError(ProviderError):
    """The provider takes no more calls for now.

    Attributes:
        retry_after: Seconds to wait before the next call, if the provider said so.
    """

    facts: ClassVar[tuple[str, ...]] = (*ProviderError.facts, "retry_after")

    retry_after: float | None


class ContextLengthError(ProviderError, ValueError):
    """The prompt and the tokens asked for are more than the model takes."""


class ContentRefusedError(ProviderError):
    """The provider's content filter refused the prompt or the answer."""


class RequestRefusedError(ProviderError, ValueError):
    """The provider calls the request invalid."""


class AnswerError(ProviderError, ValueError):
    """The provider answered something that cannot be read as an answer."""
