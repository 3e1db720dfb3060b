"""Every parameter of the SDK's calls has a rule, and what is sent has the SDK's type.

When a new SDK makes one of these fail, the message says which rule is missing or wrong.
"""

from __future__ import annotations

import collections.abc
import inspect
import types
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from openai.resources.chat.completions import Completions as ChatCompletions
from openai.resources.completions import Completions
from openai.types import chat, completion_create_params
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming as ChatTypes
from support.fake_options import FakeTool
from typing_extensions import is_typeddict

from mellea_api._contract.errors import OptionError
from mellea_api._contract.option_rule import Endpoint, OptionRule
from mellea_api._contract.reports import NormalizedOptions
from mellea_api._contract.requests import OptionsRequest, Target
from mellea_api._options.canonical import CANONICAL, SPELLINGS
from mellea_api._options.limits import CHECKS, THINKING_LEVELS
from mellea_api._options.plan import apply_rules
from mellea_api_openai import OPENAI
from mellea_api_openai.families import FAMILIES
from mellea_api_openai.models import CATALOGUE

CREATE: dict[Endpoint, Any] = {"chat": ChatCompletions.create, "completion": Completions.create}
TYPES: dict[Endpoint, dict[str, Any]] = {
    "chat": get_type_hints(ChatTypes),
    "completion": get_type_hints(completion_create_params.CompletionCreateParamsStreaming),
}
PARAMETERS: list[tuple[Endpoint, str]] = [
    (endpoint, name)
    for endpoint, create in CREATE.items()
    for name in inspect.signature(create).parameters
    if name != "self"
]
# Of every type that a rule can have, values that its check accepts.
SAMPLES: dict[str, tuple[Any, ...]] = {
    "number": (0.5, 1),
    "integer": (1,),
    "boolean": (True, False),
    "text": ("low",),
    "texts": (["low"],),
    "thinking": (True, False, *THINKING_LEVELS),
    "object": ({"name": "value"},),
    "tools": ([FakeTool()],),
    "tool_choice": ("auto", "some_tool", {"type": "function", "function": {"name": "some_tool"}}),
}
RULES = OPENAI.options
DESCRIPTOR = OPENAI
# OpenAI does not serve these any more.
SERVERS = {"official": None, "compatible": "http://127.0.0.1:8000/v1"}


def render(
    options: dict[str, Any],
    *,
    model: str = "gpt-9",
    endpoint: Endpoint = "chat",
    server: str = "official",
) -> NormalizedOptions:
    target = Target(
        descriptor=DESCRIPTOR, model_id=model, base_url=SERVERS[server], mellea_version="0.8.0"
    )
    return apply_rules(OptionsRequest(target=target, endpoint=endpoint, options=options))


def rules_for(parameter: str) -> list[OptionRule]:
    return [rule for rule in RULES if rule.name == SPELLINGS.get(parameter, parameter)]


def kinds(annotation: Any) -> set[str]:
    """Return the JSON types that an annotation of the SDK allows, null left out."""
    origin = get_origin(annotation)
    if annotation is type(None):
        return set()
    if origin in (Union, types.UnionType):
        return set().union(*(kinds(part) for part in get_args(annotation)))
    if origin is Annotated or getattr(origin, "__name__", "") in ("Required", "NotRequired"):
        return kinds(get_args(annotation)[0])
    if origin is Literal:
        return {kind_of(value) for value in get_args(annotation)}
    if origin is dict or is_typeddict(annotation):
        return {"object"}
    if annotation in (bool, int, float, str):
        return {{bool: "boolean", int: "integer", float: "number", str: "text"}[annotation]}
    named = origin or annotation
    if named in (list, collections.abc.Iterable) or "Sequence" in getattr(named, "__name__", ""):
        return {"list"}
    return {"object"} if annotation is object else {repr(annotation)}


def kind_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    by_type = {int: "integer", float: "number", str: "text", dict: "object", list: "list"}
    return by_type[type(value)]


def words(annotation: Any) -> set[str]:
    """Return the texts that an annotation lists; none if it lists none."""
    if get_origin(annotation) is Literal:
        return {value for value in get_args(annotation) if isinstance(value, str)}
    return set().union(*(words(part) for part in get_args(annotation)), set())


@pytest.mark.parametrize(("endpoint", "parameter"), PARAMETERS)
def test_every_parameter_of_the_sdk_has_a_rule(endpoint: Endpoint, parameter: str) -> None:
    found = rules_for(parameter)
    assert found, (
        f"The SDK's {endpoint} call has a new parameter {parameter!r}. Give it a rule in "
        "_openai_protocol/dialects.py, or reserved with the reason "
        "if Mellea sets it itself."
    )
    assert any(
        rule.reserved or rule.native(endpoint) is not None or not rule.supported for rule in found
    ), (
        f"{parameter!r} has rules, and none of them speaks of the {endpoint} endpoint, which has "
        "this parameter too: name its place there in _openai_protocol/dialects.py."
    )


@pytest.mark.parametrize("server", list(SERVERS))
@pytest.mark.parametrize(
    ("endpoint", "parameter"), [pair for pair in PARAMETERS if pair[1] in TYPES[pair[0]]]
)
def test_what_is_sent_has_the_type_that_the_sdk_wants(
    endpoint: Endpoint, parameter: str, server: str
) -> None:
    rules = [rule for rule in rules_for(parameter) if rule.native(endpoint) is not None]
    wanted = kinds(TYPES[endpoint][parameter])
    wanted |= {"integer"} if "number" in wanted else set()
    sent = []
    for rule in rules:
        canonical = CANONICAL.get(rule.name)
        kind = rule.type or (canonical.type if canonical else "any")
        assert kind in SAMPLES, f"give {parameter!r} a type that is checked, not {kind!r}"
        for sample in SAMPLES[kind]:
            body = render({rule.name: sample}, endpoint=endpoint, server=server).wire
            sent += [body[parameter]] if parameter in body else []
    for value in sent:
        assert kind_of(value) in wanted, (
            f"The SDK wants {parameter!r} of the {endpoint} endpoint to be {sorted(wanted)}, and "
            f"the rules in _openai_protocol/dialects.py send {value!r}."
        )
    renamed = SPELLINGS.get(parameter, parameter) != parameter or parameter == "max_tokens"
    reserved = any(rule.reserved or not rule.supported for rule in rules_for(parameter))
    assert sent or renamed or reserved or parameter == "n", f"nothing sends {parameter!r}"


@pytest.mark.parametrize(("endpoint", "parameter"), PARAMETERS)
def test_choices_are_those_of_the_sdk(endpoint: Endpoint, parameter: str) -> None:
    listed = words(TYPES[endpoint].get(parameter))
    for rule in rules_for(parameter):
        choices = {choice for choice in rule.choices if isinstance(choice, str)}
        if choices and listed and rule.native(endpoint) is not None:
            assert listed <= choices, (
                f"The SDK's {parameter!r} can now be {sorted(listed)}: change the choices of "
                "its rule in _openai_protocol/dialects.py, or in mellea_api_openai/options.py."
            )


def test_the_levels_of_reasoning_are_those_of_the_sdk() -> None:
    listed = words(TYPES["chat"]["reasoning_effort"])
    assert listed <= set(THINKING_LEVELS), (
        "The SDK has new levels of reasoning_effort: add them to those of the option `thinking` in "
        "the core, and say in mellea_api_openai/families.py which models take them."
    )


def test_no_key_is_one_that_mellea_drops() -> None:
    """Mellea's backend passes on what stands in the signature, its own keys, and nothing else."""
    for rule in RULES:
        for endpoint, create in CREATE.items():
            native = rule.native(endpoint)
            if native is None or native.key.startswith("@@@"):
                continue
            first = native.key.partition(".")[0]
            assert first in inspect.signature(create).parameters, (rule.name, endpoint)


def test_every_model_that_the_sdk_names_is_in_one_family() -> None:
    for annotation in (
        chat.completion_create_params.ChatModel,
        *get_args(TYPES["completion"]["model"]),
    ):
        for model in sorted(words(annotation)):
            shut = Target(descriptor=OPENAI, model_id=model).retirement()
            if shut is not None and shut.day <= datetime.now(tz=UTC).date().isoformat():
                continue
            families = [glob for glob in FAMILIES if fnmatchcase(model, glob)]
            assert len(families) == 1, (
                f"The SDK names the model {model!r}, which is in the families {families}: put it "
                "in exactly one in mellea_api_openai/families.py, after OpenAI's page about it."
            )


def test_every_rule_says_where_it_was_read() -> None:
    assert not [rule.name for rule in RULES if not rule.source]
    assert not [rule.name for rule in RULES if not rule.supported and not rule.reason]
    assert {rule.type for rule in RULES} <= {None, *CHECKS}


def test_the_default_model_stands_first_in_the_catalogue() -> None:
    assert [model.id for model in CATALOGUE if model.default] == [CATALOGUE[0].id]


def test_reserved_names_are_refused_with_the_reason() -> None:
    for rule in RULES:
        if rule.reserved:
            with pytest.raises(OptionError, match="cannot be given"):
                render({rule.name: "x"})


@pytest.mark.parametrize(
    ("model", "options", "wire"),
    [
        ("gpt-4o", {"thinking": False, "temperature": 0.2}, {"temperature": 0.2}),
        ("gpt-4o", {"thinking": True}, {}),
        ("o3", {"thinking": False, "stop": ["."], "temperature": 1}, {}),
        ("o3", {"thinking": "high", "stop": ["."]}, {"reasoning_effort": "high"}),
        ("gpt-5", {"thinking": "minimal", "top_p": 0.5}, {"reasoning_effort": "minimal"}),
        ("gpt-5.1", {"temperature": 0.2}, {"temperature": 0.2}),
        ("gpt-5.1", {"thinking": True, "temperature": 0.2}, {"reasoning_effort": "medium"}),
        (
            "gpt-5.6-sol",
            {"thinking": False, "temperature": 0.2},
            {"reasoning_effort": "none", "temperature": 0.2},
        ),
        ("gpt-5.6-sol", {"temperature": 0.2, "tools": [FakeTool()]}, {}),
        ("gpt-6-astra", {"thinking": "max", "presence_penalty": 0}, {}),
        (
            "gpt-5-search-api",
            {"temperature": 0.2, "max_tokens": 9},
            {"max_completion_tokens": 9},
        ),
    ],
)
def test_models_get_what_they_take(
    model: str, options: dict[str, Any], wire: dict[str, Any]
) -> None:
    assert render(options, model=model).wire == wire


@pytest.mark.parametrize(
    ("options", "wire"),
    [
        ({"logprobs": True}, {"logprobs": 1}),
        ({"logprobs": False}, {}),
        ({"top_logprobs": 3}, {"logprobs": 3}),
        ({"logprobs": True, "top_logprobs": 0}, {"logprobs": 1}),
        ({"logprobs": False, "top_logprobs": 3}, {}),
    ],
)
def test_the_raw_endpoint_counts_log_probabilities(
    options: dict[str, Any], wire: dict[str, Any]
) -> None:
    assert render(options, endpoint="completion").wire == wire


def test_a_bool_switches_reasoning_in_both_ways_on_a_compatible_server() -> None:
    found = render({"thinking": False}, model="qwen3", server="compatible")
    assert found.wire == {
        "reasoning_effort": "none",
        "chat_template_kwargs": {"enable_thinking": False},
    }
    assert found.options["@@@thinking@@@"] == "none"
    assert render({"thinking": False}, model="gpt-oss:20b", server="compatible").wire == {}


@pytest.mark.parametrize(
    "options", [{"extra_body": {"messages": []}}, {"extra_headers": {"Authorization": "x"}}]
)
def test_free_parts_cannot_replace_what_mellea_sets_nor_carry_credentials(
    options: dict[str, Any],
) -> None:
    with pytest.raises(OptionError, match="must not hold"):
        render(options)
