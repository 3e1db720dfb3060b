"""What a hook answers: reports that a program can read and a person can be shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from attrs import field, frozen

from mellea_api._contract.descriptor import ModelInfo
from mellea_api._contract.errors import MelleaAPIError
from mellea_api._contract.option_rule import as_tuple

Outcome = Literal["kept", "renamed", "converted", "passed", "patched", "dropped", "rejected"]
"""What became of an option.

`kept`: sent as it is. `renamed`: sent under the provider's name. `converted`: sent in the
provider's terms. `passed`: sent without being checked. `patched`: changed by an extension, then
sent, or taken out by one (nothing is sent for it). `dropped`: not sent, because it is not
supported. `rejected`: an error.
"""

CredentialStatus = Literal[
    "not-needed",
    "present",
    "missing",
    "malformed",
    "rejected",
    "expired",
    "forbidden",
    "unreachable",
    "unchecked",
]
"""Whether credentials will do.

`not-needed`: nothing is needed, and nothing is there. `present`: all that is needed is there.
`missing`: something that is needed is nowhere. `malformed`: something is there, and cannot be
right as it stands. The others need a provider that was asked: `rejected` (it does not know the
key), `expired` (it knows it no longer), `forbidden` (it knows the key, which does not allow
this), `unreachable` (it cannot be reached, or did not answer in time). `unchecked`: nobody can
say, and the report's message says why.
"""


@frozen(kw_only=True)
class OptionDecision:
    """What became of one option, and why.

    Args:
        name: Its canonical name (or native name, for one that only this backend has).
        spelling: The name under which it was given.
        outcome: What became of it.
        value: The value given.
        wire: Its place in the provider's JSON; empty if nothing is sent for it.
        sent: The value sent.
        origin: `default` (the session's options), `call` or `extension`.
        reason: Why, if it was not simply kept or renamed.
        source: Where the rule that decided was read.
    """

    name: str
    spelling: str
    outcome: Outcome
    value: Any
    wire: str = ""
    sent: Any = None
    origin: Literal["default", "call", "extension"] = "call"
    reason: str = ""
    source: str = ""


@frozen(kw_only=True)
class NormalizedOptions:
    """Options as one backend takes them, and how they came to be so.

    Args:
        options: What Mellea's backend class is given; may hold Mellea's `@@@…@@@` names.
        wire: What the provider sees of them, as JSON: no `@@@` name, no None.
        decisions: One for each option that was given, in the order of the canonical table.
    """

    options: Mapping[str, Any] = field(factory=dict)
    wire: Mapping[str, Any] = field(factory=dict)
    decisions: tuple[OptionDecision, ...] = field(default=(), converter=as_tuple)

    def decision(self, name: str) -> OptionDecision | None:
        """Return what became of an option by its canonical name, or None if it was not given."""
        return next((found for found in self.decisions if found.name == name), None)


@frozen(kw_only=True)
class OptionPatch:
    """A change that an extension makes to the options of a call.

    Args:
        action: `set` gives the option this value; `cap` lowers a number to at most this value,
            and sets it where none was given; `remove` takes the option out; `forbid` refuses
            the call if the option was given.
        name: The option's canonical name.
        value: For `set` and `cap`.
        reason: Why, for the report: a sentence. Needed.
    """

    action: Literal["set", "cap", "remove", "forbid"]
    name: str
    reason: str
    value: Any = None


@frozen(kw_only=True)
class CredentialFinding:
    """What was found for one credential field.

    Args:
        name: The field's name.
        status: `present`, `missing`, `malformed` or `not-needed`; and of the one that a provider
            named when it was asked, `rejected` or `expired`.
        source: Where the value came from, or should have come from; empty if from nowhere.
        shadowed: Other environment variables and files that are set, and not used.
        hint: At most the last four characters of a long secret; all of a value that is not secret.
        reason: Why it cannot be used, or which places could not be read.
    """

    name: str
    status: CredentialStatus
    source: str = ""
    shadowed: tuple[str, ...] = ()
    hint: str = ""
    reason: str = ""


@frozen(kw_only=True)
class CredentialReport:
    """Whether a backend can be used with the credentials that are there.

    Args:
        backend: The backend's name.
        status: The outcome over all fields.
        fields: What was found for each field.
        message: One sentence for people, with what to do next.
        checked: Whether the provider was asked, and said whether the credentials will do.
    """

    backend: str
    status: CredentialStatus
    fields: tuple[CredentialFinding, ...] = field(default=(), converter=as_tuple)
    message: str = ""
    checked: bool = False

    @property
    def usable(self) -> bool:
        """Whether nothing speaks against calling the backend."""
        return self.status in ("not-needed", "present", "unchecked")


def _models(value: Iterable[ModelInfo] | None) -> tuple[ModelInfo, ...] | None:
    return None if value is None else tuple(value)


@frozen(kw_only=True)
class ModelListing:
    """What came of asking one backend for its models.

    Args:
        backend: The backend's name.
        models: The models. Where there is an error, what the provider said before, each model
            labelled with its age; None if that is not known.
        error: Why there is no new list; None if there is one.
    """

    backend: str
    models: tuple[ModelInfo, ...] | None = field(default=None, converter=_models)
    error: MelleaAPIError | None = None
