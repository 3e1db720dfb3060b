"""What a backend says about itself: plain frozen values, no behaviour and no network.

A plugin's `describe_backend` returns a `BackendDescriptor`. Everything that must work without
the backend's SDK (listing, explaining, checking credentials offline) reads only this. A wrong value
is a `ValueError` where it is written: later, it would fail far from its cause, or be ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any, Final, Literal, get_args

from attrs import field, frozen

from mellea_api._contract.option_rule import Checked, OptionRule, Server, as_tuple

CONTRACT_VERSION: Final = 2
"""The version of the contract between the core and its plugins that this core speaks."""
OLDEST_CONTRACT: Final = 2
"""The oldest version that it still accepts."""

CodeStatus = Literal[400, 401, 402, 403, 404, 408, 413, 429, 500]
"""What an error code may mean: the HTTP status that fits."""

SETTING_TYPES: Final[Mapping[str, tuple[tuple[type, ...], str]]] = {
    "text": ((str,), "text"),
    "boolean": ((bool,), "True or False"),
    "integer": ((int,), "an integer"),
    "number": ((int, float), "a number"),
    "any": ((object,), "any value"),
}
"""What the type of a `Setting` may be: the classes of its values, and words for them."""

OUR_ARGUMENTS: Final = frozenset(
    {
        *("backend_name", "model_id", "ctx", "context_type", "model_options", "plugins"),
        *("allow_context_type_change", "timeout", "unsupported", "unknown", "run_id", "registry"),
        *("server", "session_arguments"),
    }
)
"""Arguments of `start_session` that are not a backend's own."""


def _problems_of_argument(name: Any) -> Iterator[str]:
    if not isinstance(name, str) or not name.isidentifier():
        yield "an argument of start_session cannot have that name"
    elif name in OUR_ARGUMENTS:
        yield "that is the name of an argument of start_session, which it would never be given"


@frozen(kw_only=True)
class CredentialField(Checked):
    """One credential of a backend: a key, or what goes with it.

    Args:
        name: The name of the argument of `start_session`, such as `api_key`.
        variables: Environment variables that are looked at, in order; for each there is also
            `<VARIABLE>_FILE`, which names a file that holds the value.
        secret: Whether it must never be shown. A project id is not secret.
        required: `always`; `official`, when the provider's own server is called; or `never`.
        help: Where to get one: a sentence, best with the page's address.
        token_file: Where the provider's SDK keeps one in a file: paths in which `$NAME` stands
            for an environment variable. The first whose variables are all set is the one.
        entry: Its user name in the system's keyring; empty for `<backend>.<name>`.
        pattern: A regular expression that the whole value must match, if the provider documents
            one. It holds only on the provider's own server (`official_hosts`): a gateway has its
            own keys.
        pattern_words: What an error says of a value that does not match, after "cannot be used:".
        pattern_source: Where that was read: the provider's page or SDK, with version or date.
        unless: Environment variables that name another server than the provider's own: if one is
            set, the pattern does not hold.
        header: Whether a value that is not secret goes into an HTTP header, and so must be
            visible ASCII. Secrets must be that anyway.
        verbatim: Whether the value may be any text, such as a JSON document: its characters are
            not checked.
    """

    name: str
    variables: tuple[str, ...] = field(default=(), converter=as_tuple)
    secret: bool = True
    required: Literal["always", "official", "never"] = "always"
    help: str = ""
    token_file: tuple[str, ...] = field(default=(), converter=as_tuple)
    entry: str = ""
    pattern: str = ""
    pattern_words: str = ""
    pattern_source: str = ""
    unless: tuple[str, ...] = field(default=(), converter=as_tuple)
    header: bool = False
    verbatim: bool = False

    def _problems(self) -> Iterator[str]:
        yield from _problems_of_argument(self.name)
        if self.required not in ("always", "official", "never"):
            yield f"required is {self.required!r}, not always, official or never"
        try:
            re.compile(self.pattern)
        except (re.error, TypeError) as error:
            yield f"its pattern cannot be read: {error}"


@frozen(kw_only=True)
class Setting(Checked):
    """One argument of `start_session`, or of `list_models`, that only this backend has.

    The core checks its type and its spelling; a hook reads it by `request.setting(name)`.

    Args:
        name: The name of the argument.
        type: `text`, `boolean`, `integer`, `number` or `any`; several with spaces between them.
        default: The value if none is given. None may be given only if this is None.
        choices: The only values allowed; empty for any value of the type.
        help: What it does: a sentence.
        scope: `session`: a session takes it, and a list of models ignores it; `models`: only a
            list of models takes it.
    """

    name: str
    type: str = "text"
    default: Any = None
    choices: tuple[Any, ...] = field(default=(), converter=as_tuple)
    help: str = ""
    scope: Literal["session", "models"] = "session"

    def _problems(self) -> Iterator[str]:
        yield from _problems_of_argument(self.name)
        for kind in str(self.type).split() or ("",):
            if kind not in SETTING_TYPES:
                yield f"its type is {kind!r}; there are {', '.join(SETTING_TYPES)}"


def _day(value: str) -> str:
    return date.fromisoformat(value).isoformat()


def _day_or_none(value: Any) -> str | None:
    try:
        return _day(value)
    except (TypeError, ValueError):  # what a provider said may be anything
        return None


@frozen(kw_only=True)
class ModelInfo:
    """One model that a backend can be asked for.

    Args:
        id: What `model_id` must be.
        description: For people; may be empty.
        size: Its number of parameters as people say it, `3B`; or None if unknown.
        context_length: Tokens it can see, or None if unknown.
        default: Whether it is the backend's default model.
        source: `live` (the provider said so now), `cached` or `catalogue` (shipped with the
            plugin; whether the provider has it is not known).
        age: Seconds since the provider said so, for a cached entry.
        shutdown: The day on which the provider shuts it down, as YYYY-MM-DD; None if it stays, or
            if that is not known. Any other value counts as not known.
    """

    id: str
    description: str = ""
    size: str | None = None
    context_length: int | None = None
    default: bool = False
    source: Literal["live", "cached", "catalogue"] = "catalogue"
    age: float | None = None
    shutdown: str | None = field(default=None, converter=_day_or_none)


@frozen(kw_only=True)
class Retirement:
    """Models that their provider shuts down, or has shut down, on its own servers.

    Args:
        models: Their ids, as globs that are matched without regard to case.
        day: The day on which they are shut down, as YYYY-MM-DD.
        source: Where that was read: the SDK class or provider page, with version or date.
        instead: The model that the provider recommends; empty for none.
    """

    models: tuple[str, ...] = field(converter=as_tuple)
    day: str = field(converter=_day)
    source: str
    instead: str = ""

    def sentence(self, model_id: str) -> str:
        """Say when one of these models is shut down, and what to do."""
        verb = "was" if self.day <= datetime.now(tz=UTC).date().isoformat() else "is"
        return f"{model_id} {verb} shut down on {self.day}; " + (
            f"use {self.instead} instead." if self.instead else f"see {self.source}."
        )


@frozen(kw_only=True)
class BackendDescriptor(Checked):
    """Everything about a backend that can be known without its SDK and without a network.

    Args:
        name: The backend's name, equal to that of its entry point.
        summary: One line for people.
        default_model: Id of the model that is used when none is named; None if the server serves
            one model only, which is then asked for.
        implementation: The module with the hooks that need Mellea or an SDK, such as
            `my_plugin.session`; it is imported when one of them is first called. Empty if the
            entry point's module has all hooks.
        sdk: Packages of the SDK, and of what it sends with: secrets are masked on the records of
            their loggers, and the entry point's module must not import them.
        tested: The newest version of each distribution of the SDK that was tested, by name. The
            oldest is the lower bound in the requirements of the plugin's distribution.
        contract_version: The oldest version of the contract that the plugin works with.
        credentials: The credential fields, in the order in which they are asked for.
        settings: The arguments of `start_session` and `list_models` that only this backend has.
            `list_models` then takes no others.
        arguments_of: Callables as `module:name`, such as Mellea's backend class, to which a
            session's other arguments go; the core then refuses one that none of them takes
            before a server is asked. Empty: `request.build` refuses it.
        options: The option rules; for one option the first that holds counts.
        models: The catalogue, the default model first.
        closed: Whether the catalogue has all models there are: the core then refuses other ids.
        retirements: Which models the provider shuts down, and when.
        drops_unknown: Servers, by kind or dialect, to which Mellea's own class sends no unknown
            options: `unknown="pass"` drops them there.
        codes: What the provider's own error codes mean, if the status beside them says something
            else: the HTTP status that fits. 400: the request; 401: the key; 402: the account;
            403: a permission; 404: the model; 408: the time; 413: the prompt's length; 429: the
            rate; 500: the server.
        filtered: Finish reasons and error codes of a content filter.
        listing_needs: Where listing models needs credentials: `always`; `compatible`, if the
            server is not the provider's own; or `never`.
        list_variables: Further environment variables, as globs, on which a list of models depends,
            beside those of the address and the credentials.
        base_url_variables: Environment variables that name the server, in order.
        base_url: The server that is called when none is named. A backend with neither
            this nor variables calls no server, and `base_url=` is an error.
        full_base_url: Whether an address must begin with `http://` or `https://` and name a host;
            otherwise the plugin completes `localhost:8000`.
        official_hosts: Host names, as globs, of the provider's own servers. Empty: there is no
            difference between servers.
        model_identifier: The attribute of Mellea's `ModelIdentifier` that holds this backend's
            name of a model, such as `ollama_name`.
        start_hint: What to do when the server cannot be reached: a sentence.
        model_hint: What to do when the model is not there: a sentence, in which `{model}`
            stands for its id.
    """

    name: str
    summary: str
    default_model: str | None = None
    implementation: str = ""
    sdk: tuple[str, ...] = field(default=(), converter=as_tuple)
    tested: Mapping[str, str] = field(factory=dict)
    contract_version: int = CONTRACT_VERSION
    credentials: tuple[CredentialField, ...] = field(default=(), converter=as_tuple)
    settings: tuple[Setting, ...] = field(default=(), converter=as_tuple)
    arguments_of: tuple[str, ...] = field(default=(), converter=as_tuple)
    options: tuple[OptionRule, ...] = field(default=(), converter=as_tuple)
    models: tuple[ModelInfo, ...] = field(default=(), converter=as_tuple)
    closed: bool = False
    retirements: tuple[Retirement, ...] = field(default=(), converter=as_tuple)
    drops_unknown: tuple[str, ...] = field(default=(), converter=as_tuple)
    filtered: tuple[str, ...] = field(default=("content_filter",), converter=as_tuple)
    codes: Mapping[str, CodeStatus] = field(factory=dict)
    listing_needs: Literal["always", "compatible", "never"] = "always"
    list_variables: tuple[str, ...] = field(default=(), converter=as_tuple)
    base_url_variables: tuple[str, ...] = field(default=(), converter=as_tuple)
    base_url: str | None = None
    full_base_url: bool = False
    official_hosts: tuple[str, ...] = field(default=(), converter=as_tuple)
    model_identifier: str | None = None
    start_hint: str = "Check that the server is running and that its address is right."
    model_hint: str = "See `mellea-api models` for the models that are there."

    def _problems(self) -> Iterator[str]:
        for name in ("name", "summary", "implementation", "start_hint", "model_hint"):
            if not isinstance(getattr(self, name), str):
                yield f"its {name} is not text"
        for name in ("sdk", "arguments_of", "list_variables", "base_url_variables"):
            if not all(isinstance(one, str) for one in getattr(self, name)):
                yield f"its {name} has something else than text"
        for code, status in self.codes.items():
            if status not in get_args(CodeStatus):
                yield f"its code {code!r} means {status!r}; there are {get_args(CodeStatus)}"
        if not isinstance(self.contract_version, int):
            yield "its contract_version is not a number"
        if self.default_model == "" or not isinstance(self.default_model, str | None):
            yield "its default_model is neither a name nor None"
        try:
            str(self.model_hint).format(model="x")
        except (LookupError, ValueError, AttributeError):
            yield "its model_hint has braces with something else than {model} in them"
        for name, kind in (
            ("models", ModelInfo),
            ("credentials", CredentialField),
            ("settings", Setting),
            ("options", OptionRule),
            ("retirements", Retirement),
        ):
            for value in getattr(self, name):
                if not isinstance(value, kind):
                    yield f"{value!r} among its {name} is not of the type {kind.__name__}"
        for rule in self.options:
            if getattr(rule, "server", None) not in (None, *self.servers):
                there = ", ".join(self.servers)
                yield f"the rule for {rule.name!r} is for the server {rule.server!r}; not {there}"

    @property
    def servers(self) -> tuple[str, ...]:
        """The values that `server=` may have."""
        return get_args(Server)

    def dialect(self, server: str) -> str:
        """Return the name of the dialect that a server speaks, if the backend knows several.

        Args:
            server: What `server=` or the address says of it.
        """
        return ""
