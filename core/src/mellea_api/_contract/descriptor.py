"""What a backend says about itself: plain frozen values, no behaviour and no network.

A plugin's `describe_backend` returns a `BackendDescriptor`. Everything that must work without
the backend's SDK (listing, explaining, checking credentials offline) reads only this. A value that
cannot be meant is a `ValueError` where it is written: later, it would fail far from its cause, or
be ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any, Final, Literal, NamedTuple, get_args

from attrs import field, frozen, has

CONTRACT_VERSION: Final = 2
"""The version of the contract between the core and its plugins that this core speaks."""
OLDEST_CONTRACT: Final = 2
"""The oldest version that it still accepts."""

Endpoint = Literal["chat", "completion"]
"""How a prompt is sent: as a conversation, or raw (Mellea's `generate_from_raw`)."""

Server = Literal["official", "compatible"]
"""Whether an address is the provider's own, or that of another server with its protocol."""

OptionType = Literal[
    "number",
    "integer",
    "boolean",
    "text",
    "texts",
    "thinking",
    "object",
    "seconds",
    "tools",
    "tool_choice",
    "any",
]
"""What the value of an option must be."""

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


class _Checked:
    """A value with a name, which refuses at once what cannot be meant."""

    __slots__ = ()
    name: Any

    def __attrs_post_init__(self) -> None:
        problems = "; ".join(self._problems())
        if problems:
            raise ValueError(f"{type(self).__name__} {self.name!r}: {problems}")

    def _problems(self) -> Iterator[str]:
        raise NotImplementedError

    def _problems_of_argument(self) -> Iterator[str]:
        if not isinstance(self.name, str) or not self.name.isidentifier():
            yield "an argument of start_session cannot have that name"
        elif self.name in OUR_ARGUMENTS:
            yield "that is the name of an argument of start_session, which it would never be given"


class Place(NamedTuple):
    """Where one option goes at one endpoint: written as a pair, or as text if both are the same.

    Attributes:
        key: Its place in the options that Mellea's backend class is given, with dots between
            levels: `num_predict`, `extra_body.top_k`, `@@@thinking@@@`.
        wire: Its place in the JSON that the provider is sent: `options.num_predict`, `top_k`,
            `think`. The report shows this one.
    """

    key: str
    wire: str


def _place(value: tuple[str, str] | str | None) -> Place | None:
    if isinstance(value, str):
        return Place(value, value)
    # Anything else stays as it is: the rule names it.
    return Place(*value) if type(value) is tuple and len(value) == 2 else value  # type: ignore[return-value]


NOTHING: Final = object()
"""As a value of a `Converted`: nothing is sent."""


@frozen
class Converted:
    """What a rule's conversion makes of a value.

    Args:
        value: What goes to the rule's place.
        wire: What the provider sees there, if that is not `value`.
        options: Further options for Mellea's backend, by dotted key or by its steps.
        wires: Further places in the provider's JSON, by dotted path or by its steps.
        reason: What was done, for the report. If empty, the report shows the rule's own reason.
    """

    value: Any
    wire: Any = NOTHING
    options: Mapping[Any, Any] = field(factory=dict, kw_only=True)
    wires: Mapping[Any, Any] = field(factory=dict, kw_only=True)
    reason: str = field(default="", kw_only=True)

    @classmethod
    def nothing(cls, reason: str = "", **further: Mapping[Any, Any]) -> Converted:
        """Send nothing to the rule's place: the value asks for what happens anyway.

        Args:
            reason: Why, for the report.
            **further: `options` and `wires` that are sent elsewhere.
        """
        return cls(NOTHING, reason=reason, **further)

    @classmethod
    def unsaid(cls, value: object) -> Converted:
        """Send nothing, whatever the value: a conversion for `convert=`."""
        return cls(NOTHING)

    @classmethod
    def effort(cls, value: bool | str) -> Converted:
        """Say how hard to reason in a word: a conversion for `convert=`.

        Mellea makes `medium` of True as well, but then also sends a `chat_template_kwargs`, which
        OpenAI's own servers refuse. It does not do so for a word.

        >>> Converted.effort("low").value, Converted.effort(False).value
        ('low', 'none')
        """
        if isinstance(value, str):
            return cls(value)
        level = "medium" if value else "none"
        return cls(level, reason=f"{value} is the level {level!r}")


def as_tuple(value: Any) -> tuple[Any, ...]:
    """Return several values as a tuple, and one alone as a tuple of it."""
    return (value,) if isinstance(value, str) or has(type(value)) else tuple(value)


@frozen(kw_only=True)
class OptionRule(_Checked):
    """What one backend does with one option, under the conditions that the rule names.

    For each option and endpoint, the first rule in the descriptor whose conditions hold is the
    one that counts. A rule without a native name says that the option is known and not
    supported there, and why.

    Args:
        name: The option's canonical name, or, for an option that only this backend has, its
            native name. The name `*` stands for every name that has no rule, given through
            `extra` or under `unknown="pass"`; its native key and wire are prefixes (which may
            be empty).
        chat: Where it goes at the chat endpoint, as a pair: its place in the options that
            Mellea's backend class is given, with dots between levels (`extra_body.top_k`), and
            its place in the JSON that the provider is sent (`top_k`), which the report shows.
            Plain text means both. None: the rule does not speak of the chat endpoint.
        completion: The same for the raw endpoint.
        type: What the value must be; None takes the canonical option's own type, and `any`
            (the default of a native option) checks nothing but that it can be sent as JSON.
        minimum: Least allowed value, narrowing the canonical range. Inclusive unless
            `exclusive_minimum`.
        maximum: Greatest allowed value, inclusive.
        exclusive_minimum: Whether `minimum` itself is not allowed.
        max_items: Greatest number of items of a list.
        choices: The only values allowed.
        special: Values allowed beside the range, such as Ollama's `num_predict` of -1.
        convert: A function from the checked canonical value to a `Converted`. It keeps the
            meaning, or raises `ValueError` with the end of a sentence that begins with the
            option's name.
        models: Glob patterns, matched without regard to case; the rule holds for model ids
            that match one of them. Empty: for all models.
        not_models: Glob patterns of model ids for which it does not hold.
        server: Holds only for this server: `official`, `compatible` or a dialect's name; None:
            for all.
        requires: Values that other options must have for the rule to hold, by canonical name;
            None among the values stands for "not given".
        mellea: Least version of Mellea with which it holds, such as `0.7`.
        reason: Why the option is not supported (for a rule without native names), or what the
            conversion does.
        reserved: The name is one that Mellea or this library sets itself. Giving it is an
            error that says `reason`, whatever the policy.
        source: Where the rule was read: the SDK class or provider page, with version or date.
    """

    name: str
    chat: Place | None = field(default=None, converter=_place)
    completion: Place | None = field(default=None, converter=_place)
    type: OptionType | None = None
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: bool = False
    max_items: int | None = None
    choices: tuple[Any, ...] = field(default=(), converter=as_tuple)
    special: tuple[Any, ...] = field(default=(), converter=as_tuple)
    convert: Callable[[Any], Converted] | None = None
    models: tuple[str, ...] = field(default=(), converter=as_tuple)
    not_models: tuple[str, ...] = field(default=(), converter=as_tuple)
    server: str | None = None
    requires: Mapping[str, tuple[Any, ...]] = field(factory=dict)
    mellea: str | None = None
    reason: str = ""
    reserved: bool = False
    source: str = ""

    def _problems(self) -> Iterator[str]:
        if not self.name or not isinstance(self.name, str):
            yield "it has no name"
        for place in (self.chat, self.completion):
            if place is not None and not isinstance(place, Place):
                yield f"it is sent to {place!r}, which is neither text nor a pair of texts"
        if self.convert is not None and not callable(self.convert):
            yield f"it converts with {self.convert!r}, which is not a function"
        if self.type is not None and self.type not in get_args(OptionType):
            yield f"its type is {self.type!r}; there are {', '.join(get_args(OptionType))}"
        if self.mellea is not None and not re.fullmatch(r"\d+(\.\d+)*", str(self.mellea)):
            yield f"it needs Mellea {self.mellea!r}, which is not a version such as '0.7'"
        low, high = self.minimum, self.maximum
        if low is not None and high is not None and low > high:
            yield f"no value is at least {low} and at most {high}"
        requires: Any = self.requires
        if not isinstance(requires, Mapping) or not all(
            isinstance(values, tuple | list | frozenset | set) for values in requires.values()
        ):
            yield "it requires something else than tuples of values by name"

    @property
    def supported(self) -> bool:
        """Whether the rule names a place for the option at some endpoint."""
        return self.chat is not None or self.completion is not None

    def native(self, endpoint: Endpoint) -> Place | None:
        """Return the option's place at an endpoint, or None if this rule names none."""
        return self.chat if endpoint == "chat" else self.completion

    @classmethod
    def sent(
        cls,
        names: str,
        *,
        key: str = "{}",
        wire: str = "{}",
        endpoint: Endpoint | None = None,
        **facts: Any,
    ) -> tuple[OptionRule, ...]:
        """Return the rules of options that are sent in the same way.

        Args:
            names: The options' names, with spaces between them. `max_tokens=num_predict` is an
                option with another name at the provider.
            key: Where they go in the options of Mellea's backend class; `{}` stands for the
                provider's name.
            wire: Where they go in the JSON that the provider is sent.
            endpoint: The only endpoint that has them; None for both.
            **facts: All else that the rules say.

        >>> [rule.chat for rule in OptionRule.sent("seed max_tokens=limit", wire="body.{}")]
        [Place(key='seed', wire='body.seed'), Place(key='limit', wire='body.limit')]
        """
        rules: list[OptionRule] = []
        for word in names.split():
            name, _, native = word.partition("=")
            place = Place(key.format(native or name), wire.format(native or name))
            ends = (endpoint,) if endpoint else ("chat", "completion")
            rules.append(cls(name=name, **{**facts, **dict.fromkeys(ends, place)}))
        return tuple(rules)

    @classmethod
    def refused(cls, names: str, reason: str, **facts: Any) -> tuple[OptionRule, ...]:
        """Return the rules of options that are not supported, all for the same reason.

        Args:
            names: The options' names, with spaces between them.
            reason: Why not: it completes "does not send NAME: ".
            **facts: All else that the rules say, such as `reserved=True` for names that must
                not be given at all.
        """
        return tuple(cls(name=name, reason=reason, **facts) for name in names.split())

    @classmethod
    def levels(
        cls,
        accepted: str,
        *,
        chat: tuple[str, str] | str = ("@@@thinking@@@", "reasoning_effort"),
        **facts: Any,
    ) -> tuple[OptionRule, ...]:
        """Return the rules of chat models that reason with these levels and no others.

        Args:
            accepted: The levels, with spaces between them, from the least to the greatest;
                `none` if reasoning can be switched off.
            chat: Where the level goes.
            **facts: All else that the rules say.
        """
        names = accepted.split()
        bools = [value for value, name in ((True, "medium"), (False, "none")) if name in names]
        facts = {"name": "thinking", **facts}
        taken = {"thinking": (*names, *bools)}
        rules = [cls(chat=chat, convert=Converted.effort, requires=taken, **facts)]
        if "none" not in names:
            reason = f"the model always reasons; thinking={names[0]!r} is the least it can do"
            rules.append(cls(requires={"thinking": (False, "none")}, reason=reason, **facts))
        reason = f"at the chat endpoint this model's levels are {', '.join(names)}"
        return (*rules, cls(reason=reason, **facts))


@frozen(kw_only=True)
class CredentialField(_Checked):
    """One thing that a backend needs to know to be let in.

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
        pattern: A regular expression for the whole value, if the provider says what its own
            credentials look like: what it does not match cannot be used. It holds only if the
            provider's own server is called (`official_hosts`): a gateway has keys of its own.
        pattern_words: What is said of a value that it does not match, after "cannot be used:".
        pattern_source: Where that was read: the provider's page or SDK, with version or date.
        unless: Environment variables that each name another server than the provider's own: if
            one is set, the pattern does not hold.
        header: Whether the value goes into an HTTP header although it is no secret, and so can
            hold nothing but visible ASCII; of a secret that is taken for granted.
        verbatim: Whether the value may be any text, such as a JSON document, so that its
            characters are not looked at.
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
        yield from self._problems_of_argument()
        if self.required not in ("always", "official", "never"):
            yield f"it is required {self.required!r}, and not always, official or never"
        try:
            re.compile(self.pattern)
        except (re.error, TypeError) as error:
            yield f"its pattern cannot be read: {error}"


@frozen(kw_only=True)
class Setting(_Checked):
    """One argument of `start_session`, or of `list_models`, that only this backend has.

    The core checks its type and its spelling; a hook reads it by `request.setting(name)`.

    Args:
        name: The name of the argument.
        type: `text`, `boolean`, `integer`, `number` or `any`; several with spaces between them.
        default: The value where none is given. Only where this is None may None be given.
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
        yield from self._problems_of_argument()
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
        shutdown: The day on which the provider shuts it down, as YYYY-MM-DD; None for one that
            stays, or if that is not known. Anything else that is given counts as not known.
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
    """Models that their provider shuts down, or has shut down. It holds on its own servers only.

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
class BackendDescriptor(_Checked):
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
        contract_version: The oldest contract that will do.
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
        drops_unknown: Servers, by kind or dialect, that names of options which nobody knows are
            not sent to under `unknown="pass"`, since Mellea's own class does not send them.
        filtered: Finish reasons that say that a content filter ended an answer.
        listing_needs: Where a provider's models are listed for those with credentials alone:
            `always`; `compatible`, where the server is not the provider's own; or `never`.
        list_variables: Further environment variables, as globs, that a list of the provider's
            models depends on, beside those of the address and the credentials.
        base_url_variables: Environment variables that name the server, in order.
        base_url: The server that is called when none is named. A backend with neither
            this nor variables calls no server, and `base_url=` is an error.
        full_base_url: Whether an address must begin with `http://` or `https://` and name a host;
            else the plugin makes of `localhost:8000` what it likes.
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
