"""Rules of options: what becomes of one option on one backend, as data.

A wrong value is a `ValueError` where it is written: later, it would fail far from its cause, or be
ignored.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple, get_args

from attrs import field, frozen, has

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


class Checked:
    """A value with a name that refuses wrong fields at once."""

    __slots__ = ()
    name: Any

    def __attrs_post_init__(self) -> None:
        problems = "; ".join(self._problems())
        if problems:
            raise ValueError(f"{type(self).__name__} {self.name!r}: {problems}")

    def _problems(self) -> Iterator[str]:
        raise NotImplementedError


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
    def along(cls, further: Mapping[str, Any], wire: str = "{}") -> Callable[[Any], Converted]:
        """Return a conversion for `convert=` that sends further options with the value.

        Args:
            further: The options, by name, without which the value has no effect.
            wire: Where they go in the JSON that the provider is sent.

        >>> Converted.along({"logprobs": True})(2).options
        {'logprobs': True}
        """
        wires = {wire.format(name): value for name, value in further.items()}
        return functools.partial(cls, options=further, wires=wires)

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
class OptionRule(Checked):
    """What one backend does with one option, under the conditions that the rule names.

    For each option and endpoint, the first rule in the descriptor whose conditions hold counts.
    A rule without a native name says that the option is not supported there, and why.

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
        type: What the value must be; None for the canonical option's own type. `any`, the default
            of a native option, checks only that it can be sent as JSON.
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
