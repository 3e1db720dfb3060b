"""What a backend says of itself, looked at when it is loaded.

The values are plain, and nothing stops an author from putting a wrong one in. Some would end far
from their cause, in an `AttributeError` while options are explained; others in nothing at all: a
rule under a synonym's name is never read, and one for a kind of server that there is not holds
nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from mellea_api._contract.descriptor import (
    CredentialField,
    ModelInfo,
    OptionRule,
    Place,
    Setting,
)
from mellea_api._contract.settings import OUR_ARGUMENTS, SETTING_TYPES
from mellea_api._options.canonical import CANONICAL, SPELLINGS
from mellea_api._options.checks import CHECKS

_REQUIRED: Final = ("always", "official", "never")


def check_description(found: Any) -> Iterator[str]:
    """Yield what is wrong with a description, as ends of sentences.

    Args:
        found: A `BackendDescriptor`, whose values may be anything.
    """
    for name in ("summary", "implementation", "start_hint", "model_hint"):
        if not isinstance(getattr(found, name), str):
            yield f"its {name} is no text"
    if isinstance(found.model_hint, str):
        try:
            found.model_hint.format(model="x")
        except (LookupError, ValueError, AttributeError):
            yield "its model_hint holds braces with something else than {model} in them"
    if not isinstance(found.default_model, str | None):
        yield "its default_model is no text"
    elif found.default_model == "":
        yield "its default_model is empty"
    for model in found.models:
        if not isinstance(model, ModelInfo) or not isinstance(model.id, str):
            yield f"{model!r} among its models is no ModelInfo with an id"
    for field in found.credentials:
        if isinstance(field, CredentialField):
            yield from _check_field(field)
        else:
            yield f"{field!r} among its credentials is no CredentialField"
    for setting in found.settings:
        if isinstance(setting, Setting):
            yield from _check_setting(setting)
        else:
            yield f"{setting!r} among its settings is no Setting"
    yield from check_rules(found.options, found.servers)


def _check_setting(setting: Any) -> Iterator[str]:
    what = f"the setting {setting.name!r}"
    if not isinstance(setting.name, str) or not setting.name.isidentifier():
        yield f"{what} has no name that an argument of start_session can have"
    elif setting.name in OUR_ARGUMENTS:
        yield f"{what} has the name of an argument of start_session, which it is never given"
    for kind in str(setting.type).split() or ("",):
        if kind not in SETTING_TYPES:
            yield f"{what} is of type {kind!r}; there are {', '.join(SETTING_TYPES)}"


def _check_field(field: Any) -> Iterator[str]:
    what = f"the credential field {field.name!r}"
    if not isinstance(field.name, str) or not field.name.isidentifier():
        yield f"{what} has no name that an argument of start_session can have"
    elif field.name in OUR_ARGUMENTS:
        yield f"{what} has the name of an argument of start_session, which it is never given"
    if field.required not in _REQUIRED:
        yield f"{what} is required {field.required!r}, and not {', '.join(_REQUIRED)}"
    if field.form is not None:
        try:
            re.compile(field.form.pattern)
        except (re.error, TypeError) as error:
            yield f"the pattern of {what} cannot be read: {error}"


def check_rules(rules: Iterable[Any], servers: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with option rules, as ends of sentences."""
    for rule in rules:
        name: Any = getattr(rule, "name", None)
        if not isinstance(rule, OptionRule):
            yield f"{rule!r} among its options is no OptionRule"
        elif not isinstance(name, str) or not name:
            yield "an option rule has no name"
        else:
            for problem in _check_rule(rule, servers):
                yield f"the option rule for {name!r} {problem}"


def _check_rule(rule: Any, servers: Sequence[str]) -> Iterator[str]:
    if rule.name not in CANONICAL and rule.name in SPELLINGS:
        yield f"is never read, since that is a spelling of {SPELLINGS[rule.name]!r}: name it so"
    for place in (rule.chat, rule.completion):
        if place is not None and not isinstance(place, Place):
            yield f"sends it to {place!r}, which is neither text nor a pair of texts"
    if rule.convert is not None and not callable(rule.convert):
        yield f"converts with {rule.convert!r}, which is no function"
    if rule.type is not None and rule.type not in CHECKS:
        yield f"is of type {rule.type!r}; there are {', '.join(sorted(CHECKS))}"
    if rule.server is not None and rule.server not in servers:
        yield f"holds for the server {rule.server!r}; there are {', '.join(servers)}"
    if rule.mellea is not None and not re.fullmatch(r"\d+(\.\d+)*", str(rule.mellea)):
        yield f"holds from Mellea {rule.mellea!r} on, which is no version such as '0.7'"
    low, high = rule.minimum, rule.maximum
    if low is not None and high is not None and low > high:
        yield f"takes at least {low} and at most {high}, which nothing is"
    if rule.requires and not _are_tuples(rule.requires):
        yield "requires something else than tuples of values by name"


def _are_tuples(requires: object) -> bool:
    return isinstance(requires, Mapping) and all(
        isinstance(one, tuple | list | frozenset | set) for one in requires.values()
    )
