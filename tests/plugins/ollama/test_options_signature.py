"""The rules of the Ollama plugin speak of all that the SDK and the server have, and of it rightly."""

from __future__ import annotations

import collections.abc
import inspect
import types
import typing
from typing import Any

import pytest
from support.ollama_schema import OPTION_TYPES, REQUEST_FIELDS

from mellea_api._contract.descriptor import BackendDescriptor
from mellea_api._contract.errors import OptionError
from mellea_api._contract.option_rule import Endpoint, OptionRule
from mellea_api._contract.reports import NormalizedOptions
from mellea_api._contract.requests import OptionsRequest, Target
from mellea_api._options.canonical import CANONICAL, INTERNAL, SPELLINGS
from mellea_api._options.limits import CHECKS
from mellea_api._options.plan import apply_rules
from mellea_api_ollama.models import CATALOGUE
from mellea_api_ollama.options import LIFTED, RULES

ollama = pytest.importorskip("ollama", reason="the SDK comes with mellea")

CALLS = {"chat": ollama.AsyncClient.chat, "generate": ollama.AsyncClient.generate}
NAMES = {rule.name for rule in RULES}
SDK_TYPES = {int: "integer", float: "number", bool: "boolean", collections.abc.Sequence: "texts"}
SERVER_TYPES = {"integer": "integer", "float32": "number", "boolean": "boolean", "array": "texts"}
WHAT_TO_DO = (
    "Add a rule to mellea_api_ollama/options.py: `_in_options(...)` if the server reads it from `options`; a rule of "
    "its own and its name in LIFTED if it is a parameter of the SDK's call; _RESERVED if Mellea sets it; else "
    "_RETIRED or _UNSENT, with the reason why it cannot be used."
)


def parameters(call: str) -> list[str]:
    return [name for name in inspect.signature(CALLS[call]).parameters if name != "self"]


def sdk_options() -> dict[str, str]:
    """The fields of `ollama.Options`, each with the name that our checks have for its type."""
    found = {}
    for name, hint in typing.get_type_hints(ollama.Options).items():
        if name in ollama.Options.model_fields:
            (kind,) = [
                part for part in typing.get_args(hint) or (hint,) if part is not types.NoneType
            ]
            found[name] = SDK_TYPES.get(typing.get_origin(kind) or kind, f"no name for {kind}")
    return found


def rules_for(name: str) -> list[OptionRule]:
    """The rules that speak of a name, be it canonical, a spelling, or Ollama's own."""
    return [rule for rule in RULES if rule.name == SPELLINGS.get(name, name)]


def type_of(rule: OptionRule) -> str:
    return rule.type or (CANONICAL[rule.name].type if rule.name in CANONICAL else "any")


def in_options() -> dict[str, OptionRule]:
    """The rules that send something in `options`, by the name that it has there."""
    return {
        native.wire.removeprefix("options."): rule
        for rule in RULES
        for native in (rule.chat, rule.completion)
        if native and native.wire.startswith("options.")
    }


def render(endpoint: Endpoint = "chat", mellea: str = "0.8.0", **options: Any) -> NormalizedOptions:
    descriptor = BackendDescriptor(name="ollama", summary="", default_model="m", options=RULES)
    target = Target(descriptor=descriptor, model_id="m", mellea_version=mellea)
    return apply_rules(OptionsRequest(target=target, endpoint=endpoint, options=options))


class TestNothingIsForgotten:
    @pytest.mark.parametrize("call", CALLS)
    def test_every_parameter_of_the_sdks_call_has_a_rule(self, call: str) -> None:
        forgotten = [name for name in parameters(call) if not rules_for(name)]
        assert not forgotten, (
            f"AsyncClient.{call} takes {forgotten}, of which no rule speaks. {WHAT_TO_DO}"
        )

    def test_every_field_of_the_sdks_options_has_a_rule(self) -> None:
        forgotten = [name for name in sdk_options() if not rules_for(name)]
        assert not forgotten, (
            f"ollama.Options has {forgotten}, of which no rule speaks. {WHAT_TO_DO}"
        )

    @pytest.mark.parametrize("struct", ["ChatRequest", "GenerateRequest"])
    def test_every_field_of_the_servers_request_has_a_rule(self, struct: str) -> None:
        forgotten = [name for name in REQUEST_FIELDS[struct] if not rules_for(name)]
        assert not forgotten, (
            f"Ollama's {struct} has {forgotten}, of which no rule speaks. {WHAT_TO_DO}"
        )

    def test_every_canonical_option_has_a_rule(self) -> None:
        assert set(CANONICAL) <= NAMES

    def test_every_model_option_of_mellea_is_understood(self) -> None:
        model_option = pytest.importorskip("mellea.backends").ModelOption
        keys = {value for name, value in vars(model_option).items() if name.isupper()}
        assert keys <= {*SPELLINGS, *INTERNAL, *NAMES}

    def test_each_option_says_what_happens_at_each_endpoint(self) -> None:
        for name in NAMES - {"*"}:
            rules = [rule for rule in RULES if rule.name == name and not rule.requires]
            for endpoint in typing.get_args(Endpoint):
                assert any(rule.native(endpoint) or not rule.supported for rule in rules), (
                    name,
                    endpoint,
                )


class TestAgainstTheServer:
    def test_the_names_sent_in_options_are_those_that_the_server_knows(self) -> None:
        assert set(in_options()) == set(OPTION_TYPES)

    def test_what_only_the_sdk_still_knows_is_not_supported_and_says_so(self) -> None:
        for name in set(sdk_options()) - set(OPTION_TYPES):
            (rule,) = rules_for(name)
            assert not rule.supported
            assert "removed it" in rule.reason

    def test_types_are_the_servers(self) -> None:
        ours = {name: type_of(rule) for name, rule in in_options().items()}
        assert ours == {name: SERVER_TYPES[kind] for name, kind in OPTION_TYPES.items()}

    def test_types_are_the_sdks(self) -> None:
        sdk = sdk_options()
        ours = {name: type_of(rule) for name, rule in in_options().items() if name in sdk}
        assert ours == {name: sdk[name] for name in ours}, (
            "the SDK has changed the type of an option"
        )

    @pytest.mark.parametrize("endpoint", ["chat", "completion"])
    def test_fields_beside_options_are_fields_of_the_request(self, endpoint: Endpoint) -> None:
        fields = REQUEST_FIELDS["ChatRequest" if endpoint == "chat" else "GenerateRequest"]
        sent = {
            native.wire.partition(".")[0] for rule in RULES if (native := rule.native(endpoint))
        }
        assert sent - {""} <= set(fields)


class TestLifted:
    """Names that the plugin's client takes out of `options`."""

    def test_are_the_plain_names_that_do_not_stay_in_options(self) -> None:
        natives = [native for rule in RULES for native in (rule.chat, rule.completion) if native]
        assert {
            native.key for native in natives if native.key and native.key == native.wire
        } == LIFTED

    @pytest.mark.parametrize(("endpoint", "call"), [("chat", "chat"), ("completion", "generate")])
    def test_are_parameters_of_the_call_that_they_are_sent_with(
        self, endpoint: Endpoint, call: str
    ) -> None:
        here = {rule.name for rule in RULES if rule.name in LIFTED and rule.native(endpoint)}
        missing = here - set(parameters(call))
        assert not missing, (
            f"AsyncClient.{call} has no {missing}: the ollama SDK is too old, or has changed"
        )


class TestWellFormed:
    def test_types_and_conversions_exist(self) -> None:
        for rule in RULES:
            assert type_of(rule) in CHECKS
            assert rule.convert is None or callable(rule.convert)

    def test_every_rule_names_its_source(self) -> None:
        assert [rule.name for rule in RULES if not rule.source] == []

    def test_what_is_not_supported_has_a_reason(self) -> None:
        assert [rule.name for rule in RULES if not rule.supported and not rule.reason] == []

    def test_no_rule_is_named_by_a_mere_spelling(self) -> None:
        assert {name for name in NAMES if SPELLINGS.get(name, name) != name} == set()

    def test_the_default_model_is_first_and_alone(self) -> None:
        assert [model.default for model in CATALOGUE] == [True] + [False] * (len(CATALOGUE) - 1)
        assert len({model.id for model in CATALOGUE}) == len(CATALOGUE)


class TestMeaning:
    @pytest.mark.parametrize("endpoint", ["chat", "completion"])
    def test_the_common_options_go_into_options(self, endpoint: Endpoint) -> None:
        done = render(
            endpoint,
            temperature=0.5,
            max_tokens=9,
            stop="x",
            repetition_penalty=1.1,
            context_window=512,
        )
        assert done.wire == {
            "options": {
                "temperature": 0.5,
                "num_predict": 9,
                "stop": ["x"],
                "repeat_penalty": 1.1,
                "num_ctx": 512,
            }
        }

    @pytest.mark.parametrize(
        ("given", "sent"),
        [(True, True), (False, False), ("none", False), ("high", "high"), ("max", "max")],
    )
    @pytest.mark.parametrize("endpoint", ["chat", "completion"])
    def test_thinking_keeps_its_meaning(
        self, endpoint: Endpoint, given: bool | str, sent: bool | str
    ) -> None:
        assert dict(render(endpoint, thinking=given).wire) == {"think": sent}

    @pytest.mark.parametrize("level", ["minimal", "xhigh"])
    def test_levels_of_thinking_that_ollama_lacks_are_refused(self, level: str) -> None:
        with pytest.raises(OptionError, match="'low', 'medium', 'high', 'max'"):
            render(thinking=level)

    @pytest.mark.parametrize(
        "special",
        [
            {"max_tokens": -1},
            {"max_tokens": -2},
            {"top_k": 0},
            {"seed": -1},
            {"num_gpu": -1},
            {"seed": 2**32 - 2},
        ],
        ids=str,
    )
    def test_what_ollama_means_by_special_numbers_is_allowed(self, special: dict[str, int]) -> None:
        assert list(render(**special).wire["options"].values()) == list(special.values())

    @pytest.mark.parametrize(
        "wrong",
        [
            {"max_tokens": 0},
            {"max_tokens": -3},
            {"top_k": -2},
            {"seed": 2**32 - 1},
            {"num_ctx": True, "context_window": "4096"},
            {"typical_p": 1.5},
            {"use_mmap": 1},
            {"keep_alive": "5"},
            {"keep_alive": True},
            {"model": "other"},
            {"format": "json"},
        ],
        ids=str,
    )
    def test_what_ollama_would_refuse_or_misread_is_an_error(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(OptionError):
            render(**wrong)

    @pytest.mark.parametrize("time", [0, -1, 300, 2.5, "0", "-1s", "5m", "1h30m", "1.5h"])
    def test_keep_alive_takes_seconds_and_go_durations(self, time: float | str) -> None:
        assert dict(render(keep_alive=time).wire) == {"keep_alive": time}

    def test_images_of_a_raw_completion_are_never_read_from_a_file(self) -> None:
        assert dict(render("completion", images="aGVsbG8=").wire) == {"images": ["aGVsbG8="]}
        with pytest.raises(OptionError, match="base64"):
            render("completion", images="/etc/hostname.png")

    @pytest.mark.parametrize(
        ("endpoint", "options", "reason"),
        [
            ("completion", {"system_prompt": "Be brief."}, "write it into the prompt"),
            ("completion", {"stream": True}, "the whole of a raw completion"),
            ("completion", {"tools": []}, "no tools"),
            ("completion", {"suffix": "}"}, "raw"),
            ("completion", {"template": "{{ .Prompt }}"}, "raw"),
            ("chat", {"images": ["aGVsbG8="]}, "images="),
            ("chat", {"tool_choice": "auto"}, "the model decides"),
            ("chat", {"top_logprobs": 3}, "logprobs=True"),
            ("chat", {"mirostat": 2}, "0.7.0 removed it"),
            ("completion", {"stream_timeout": 5}, "a streamed chat with"),
        ],
    )
    def test_what_is_not_supported_is_not_sent_and_says_why(
        self, endpoint: Endpoint, options: dict[str, Any], reason: str
    ) -> None:
        done = render(endpoint, **options)
        (decision,) = done.decisions
        assert (dict(done.options), dict(done.wire)) == ({}, {})
        assert decision.outcome == "dropped"
        assert reason in decision.reason

    def test_a_completion_that_is_not_to_stream_is_what_mellea_does(self) -> None:
        assert dict(render("completion", stream=False).wire) == {"stream": False}

    def test_stream_timeout_is_mellea_s_and_needs_one_that_has_it(self) -> None:
        new, old = render(stream_timeout=5), render(mellea="0.6.0", stream_timeout=5)
        assert (dict(new.options), dict(new.wire)) == ({"@@@stream_timeout@@@": 5}, {})
        assert old.decisions[0].outcome == "dropped"
        assert "0.7" in old.decisions[0].reason

    def test_the_system_prompt_is_the_first_message(self) -> None:
        done = render(system_prompt="Be brief.")
        assert dict(done.options) == {"@@@system_prompt@@@": "Be brief."}
        assert done.wire["messages"] == [{"role": "system", "content": "Be brief."}]

    def test_extra_names_go_into_options(self) -> None:
        done = render(**{"extra.brand_new": 1})
        assert (dict(done.options), dict(done.wire)) == (
            {"brand_new": 1},
            {"options": {"brand_new": 1}},
        )
