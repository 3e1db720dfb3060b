"""Every error that this library raises.

    MelleaAPIError
    ├── BackendNotFoundError (LookupError)      no such backend, or its distribution is missing
    ├── PluginError (RuntimeError)              a plugin that is broken, in conflict or too new
    ├── ConfigurationError (ValueError)         an argument or environment variable that is wrong
    │   └── OptionError                         model options; lists all problems at once
    ├── SessionClosedError (RuntimeError)       used after it was cleaned up
    ├── ConcurrentUseError (RuntimeError)       two calls at once where only one can be
    └── ProviderError (RuntimeError)            what the provider answered, or that it did not
        ├── CredentialError (PermissionError)   missing, malformed or rejected credentials
        ├── PermissionDeniedError (PermissionError)  the key is good but may not do this
        ├── ModelNotFoundError (LookupError)    the provider does not have the model
        ├── BackendUnavailableError (ConnectionError)  refused, reset, or answering 5xx
        ├── RequestTimeoutError (TimeoutError)  no answer in time
        ├── RateLimitError                      too many calls; says when to retry if known
        ├── ContextLengthError (ValueError)     the prompt is longer than the model takes
        ├── ContentRefusedError                 refused by a content filter
        ├── RequestRefusedError (ValueError)    the provider calls the request invalid
        └── AnswerError                         an answer that cannot be read

An error's attributes are facts; its text is prose that ends with what to do next. Each error
pickles and copies. An error's text never holds a living `Secret`.

A plugin raises a bare error, with the facts that only it knows: `AnswerError("it has no choices")`,
`ModelNotFoundError(known=names)`. The core fills in the other facts and writes the sentence
(`mellea_api._contract.refusals.completed`).
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, ClassVar, Final, NamedTuple, dataclass_transform

from mellea_api._secrecy.secrets import beginning, printable, redact


def _given(*, default: str, kw_only: bool = True) -> Any:
    """Declare an argument to type checkers; `_TypedError.__init__` sets it."""
    return default


@dataclass_transform(kw_only_default=True, eq_default=False, field_specifiers=(_given,))
class _TypedError(Exception):
    """An exception whose annotated attributes are its keyword arguments, each None by default."""

    facts: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        own = [name for name in inspect.get_annotations(cls) if name not in _WORDS]
        parents = [name for base in cls.__bases__ for name in getattr(base, "facts", ())]
        cls.facts = tuple(dict.fromkeys([*parents, *own]))

    def __init__(self, reason: str = "", *, next_step: str | None = None, **facts: Any) -> None:
        unknown = set(facts) - set(self.facts)
        if unknown:
            raise TypeError(f"{type(self).__name__} has no facts {sorted(unknown)}")
        self._write(reason, next_step)
        for name in self.facts:
            setattr(self, name, _clean(facts.get(name)))

    def _write(self, reason: str, next_step: str | None) -> None:
        self.reason = printable(redact(beginning(reason)))
        self.next_step = printable(redact(next_step or ""))
        self._bare = next_step is None
        self.args = (str(self),)

    def __str__(self) -> str:
        words = f"{self.reason} {self.next_step}".strip()
        return words or (type(self).__doc__ or "").partition("\n")[0]

    def __reduce__(self) -> tuple[Any, ...]:
        facts = {name: getattr(self, name) for name in self.facts}
        words = (self.reason, None if self._bare else self.next_step)
        notes = {"__notes__": list(self.__notes__)} if hasattr(self, "__notes__") else None
        return (_rebuild, (type(self), *words, facts), notes)


_WORDS: Final = ("reason", "next_step")


def _clean(fact: Any) -> Any:
    if isinstance(fact, str):
        return redact(fact)
    return tuple(fact) if isinstance(fact, list) else fact


def _rebuild(
    kind: type[_TypedError], reason: str, next_step: str | None, facts: dict[str, Any]
) -> _TypedError:
    return kind(reason, next_step=next_step, **facts)


class MelleaAPIError(_TypedError):
    """Root of all errors of this library.

    Args:
        reason: What went wrong: a sentence, or without `next_step` only the cause, such as "it
            has no choices". From that, or from the facts alone, the core writes the sentence.
        next_step: What to do about it: a sentence.
        facts: Values for the attributes that the class declares; each defaults to None.

    Attributes:
        reason: What went wrong, as a sentence.
        next_step: What to do about it.
        backend: Name of the backend concerned, if there is one.

    Raises:
        TypeError: If the class does not declare a given fact.
    """

    reason: str = _given(default="", kw_only=False)
    next_step: str = _given(default="")
    backend: str | None = None


class BackendNotFoundError(MelleaAPIError, LookupError):
    """There is no backend with that name.

    Attributes:
        installed: Names of the backends that are installed.
        distribution: The distribution that has the backend, if it is known.
    """

    distribution: str | None = None
    installed: Sequence[str] | None = None


class PluginError(MelleaAPIError, RuntimeError):
    """A plugin cannot be used: it is broken, in conflict, or needs another contract version.

    Attributes:
        plugin: Name of the entry point.
        distributions: Names of the distributions that the entry point comes from.
    """

    plugin: str | None = None
    distributions: Sequence[str] | None = None


class ConfigurationError(MelleaAPIError, ValueError):
    """An argument or an environment variable has a value that cannot be used.

    Attributes:
        variable: Name of the environment variable, if the value came from one.
    """

    variable: str | None = None


class _Problem(NamedTuple):
    path: str
    message: str


class OptionProblem(_Problem):
    """One problem of one model option. A secret in it is masked.

    Attributes:
        path: Its place in the options, as the user spelt it: `stop[2]`.
        message: What is wrong and what would be right.
    """

    __slots__ = ()

    def __new__(cls, path: str, message: str) -> OptionProblem:
        """Make one."""
        return super().__new__(cls, redact(path), redact(message))


class OptionError(ConfigurationError):
    """Model options cannot be used; this lists all their problems.

    Attributes:
        problems: All problems, in the order of the options.
    """

    problems: Sequence[OptionProblem] | None = None


class SessionClosedError(MelleaAPIError, RuntimeError):
    """A session or backend was used after its cleanup."""


class ConcurrentUseError(MelleaAPIError, RuntimeError):
    """Two calls ran at once on an object that allows one at a time."""


class ProviderError(MelleaAPIError, RuntimeError):
    """The provider refused, failed or did not answer.

    Attributes:
        model_id: The model that was asked for, if one was.
        base_url: The address that was called, if it is known.
        status: The HTTP status of the answer, if there was one.
    """

    model_id: str | None = None
    base_url: str | None = None
    status: int | None = None


class CredentialError(ProviderError, PermissionError):
    """A credential is missing or malformed, or was rejected.

    Attributes:
        field: Name of the credential field, such as `api_key`.
        variables: The environment variables that are read, in order.
    """

    field: str | None = None
    variables: Sequence[str] | None = None


class PermissionDeniedError(ProviderError, PermissionError):
    """The credentials are valid, but do not allow this."""


class ModelNotFoundError(ProviderError, LookupError):
    """The provider does not have the model.

    Attributes:
        known: Models that the provider has, the nearest names first, if they are known.
    """

    known: Sequence[str] | None = None


class BackendUnavailableError(ProviderError, ConnectionError):
    """The provider cannot be reached, or says that it is down."""


class RequestTimeoutError(ProviderError, TimeoutError):
    """The provider did not answer in time.

    Attributes:
        timeout: The seconds that were allowed, if known.
    """

    timeout: float | None = None


class RateLimitError(ProviderError):
    """The provider accepts no more calls for now.

    Attributes:
        retry_after: Seconds to wait before the next call, if the provider said so.
    """

    retry_after: float | None = None


class ContextLengthError(ProviderError, ValueError):
    """The prompt and the requested tokens exceed the model's context."""


class ContentRefusedError(ProviderError):
    """The provider's content filter refused the prompt or the answer."""


class RequestRefusedError(ProviderError, ValueError):
    """The provider says that the request is invalid."""


class AnswerError(ProviderError):
    """The provider's answer cannot be read."""


def cannot_use(
    name: str, value: object, next_step: str, *, backend: str | None = None
) -> ConfigurationError:
    """Return the error for an argument, or a variable (in capitals), with a wrong value."""
    variable = name if name.isupper() else None
    reason = f"Cannot use {name}={value!r:.80}."
    return ConfigurationError(reason, next_step=next_step, backend=backend, variable=variable)
