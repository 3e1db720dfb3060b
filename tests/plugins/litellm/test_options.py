"""What becomes of options on each kind of route: nothing that LiteLLM drops or changes is handed on."""

from __future__ import annotations

import inspect
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.table import a_tool

pytest.importorskip("mellea_api_litellm")
pytest.importorskip("litellm")

import mellea_api
from mellea_api._options.listing import list_options
from mellea_api_litellm import probe
from mellea_api_litellm.options import OWN, RULES
from mellea_api_litellm.routes import find

PLAIN = {
    "temperature": st.floats(0, 2),
    "max_tokens": st.integers(1, 9999),
    "top_p": st.floats(0.01, 1),
    "stop": st.lists(st.text("xyz", min_size=1), min_size=1, max_size=4),
    "seed": st.integers(0, 2**31),
    "presence_penalty": st.floats(-2, 2),
    "frequency_penalty": st.floats(-2, 2),
    "repetition_penalty": st.floats(0.1, 3),
    "top_k": st.integers(1, 500),
    "min_p": st.floats(0, 1),
    "thinking": st.sampled_from([True, False, *probe.LEVELS]),
    "system_prompt": st.text("abc", min_size=1),
    "user": st.text("abc", min_size=1),
}


def decide(route: str, name: str, value: Any, **more: Any) -> Any:
    found = mellea_api.explain_options("litellm", {name: value}, route, **more).decision(name)
    assert found is not None
    return found


ROUTES = [
    "anthropic/claude-3-5-haiku-latest",
    "anthropic/claude-sonnet-4-5",
    "azure/gpt-4o",
    "azure/o4-mini",
    "azure_ai/x",
    "bedrock/anthropic.claude-sonnet-4-5-20250929-v1:0",
    "bedrock/global.openai.gpt-5.4",
    "bedrock/global.openai.gpt-5.6-luna",
    "cerebras/x",
    "cloudflare/x",
    "cohere/command-r-plus",
    "cohere_chat/x",
    "databricks/x",
    "deepseek/deepseek-chat",
    "deepseek/deepseek-reasoner",
    "fireworks_ai/x",
    "gemini/gemini-2.0-flash",
    "gemini/gemini-2.5-flash",
    "gemini/gemini-3-pro-preview",
    "gigachat/GigaChat-2",
    "groq/llama-3.3-70b-versatile",
    "groq/openai/gpt-oss-20b",
    "hosted_vllm/x",
    "huggingface/x/y",
    "litellm_proxy/x",
    "llamafile/x",
    "mistral/magistral-medium-latest",
    "mistral/mistral-small-latest",
    "moonshot/moonshot-v1-128k",
    "ollama/x",
    "ollama_chat/gpt-oss:20b",
    "ollama_chat/x",
    "openai/gpt-3.5-turbo-instruct",
    "openai/gpt-4o",
    "openai/gpt-5",
    "openai/gpt-5.1",
    "openai/o3",
    "openai/tiny",
    "openrouter/x",
    "perplexity/sonar",
    "predibase/x",
    "replicate/x/y",
    "sagemaker/x",
    "scx-ai/x",
    "text-completion-openai/x",
    "together_ai/x",
    "vertex_ai/gemini-2.5-flash",
    "watsonx/ibm/granite-3-3-8b-instruct",
    "watsonx_text/ibm/granite-13b-instruct-v2",
    "xai/grok-3-mini",
    "xai/grok-4",
    "zai/glm-4.6",
]
"""One route of each kind that there is."""


# --- the wrong conversions that are known ------------------------------------------------------


@pytest.mark.parametrize("value", [0, 0.5])
@pytest.mark.parametrize(
    ("route", "place"),
    [
        ("ollama_chat/tiny", "repeat_penalty"),
        ("watsonx_text/ibm/granite-13b-instruct-v2", "repetition_penalty"),
    ],
)
def test_a_frequency_penalty_never_becomes_a_repetition_penalty(
    route: str, place: str, value: float
) -> None:
    found = decide(route, "frequency_penalty", value)
    assert found.outcome == "dropped"
    assert place in found.reason


def test_no_route_has_a_penalty_under_another_name() -> None:
    for route in ROUTES:
        for name in ("presence_penalty", "frequency_penalty"):
            report = mellea_api.explain_options("litellm", {name: 0.5}, route)
            leaf = report.decisions[0].wire.rpartition(".")[2].replace("_", "").lower()
            assert leaf in ("", name.replace("_", ""))


def test_gemini_is_handed_nothing_that_litellm_leaves_out_of_its_body() -> None:
    """LiteLLM keeps what `generationConfig` has, and no other name."""
    route = "gemini/gemini-2.5-flash"
    assert decide(route, "max_tokens", 5).wire == "generationConfig.max_output_tokens"
    assert decide(route, "parallel_tool_calls", True).outcome == "dropped"
    extra = mellea_api.explain_options("litellm", {"extra": {"brand_new": 1}}, route)
    assert extra.decisions[0].outcome == "dropped"
    assert extra.wire == {}


def test_the_limit_is_max_tokens_on_watsonx() -> None:
    """LiteLLM says that watsonx does not take max_completion_tokens, and would drop it."""
    for spelling in ("max_tokens", "max_completion_tokens", "num_predict"):
        report = mellea_api.explain_options("litellm", {spelling: 9}, "watsonx/ibm/granite-x")
        assert report.wire == {"max_tokens": 9}


def test_no_level_of_thinking_switches_it_off() -> None:
    """LiteLLM says `think: false` to Ollama for every level but three."""
    for level in ("minimal", "xhigh", "max"):
        found = decide("ollama_chat/qwen3:8b", "thinking", level)
        assert found.outcome == "dropped"
        assert "off" in found.reason
    assert decide("ollama_chat/qwen3:8b", "thinking", True).sent is True
    assert decide("ollama_chat/qwen3:8b", "thinking", False).sent is False
    assert decide("ollama_chat/gpt-oss:20b", "thinking", "low").sent == "low"


@pytest.mark.parametrize("model", ["gpt-oss:20b", "gpt-oss:120b-cloud"])
def test_gpt_oss_on_ollama_is_sent_no_level_that_it_ignores_or_refuses(model: str) -> None:
    for route in (f"ollama_chat/{model}", f"ollama/{model}"):
        for level in (False, "none", "minimal", "xhigh", "max"):
            assert decide(route, "thinking", level).outcome == "dropped"
        for level in ("low", "medium", "high", True):
            assert decide(route, "thinking", level).sent == ("medium" if level is True else level)


@pytest.mark.parametrize("route", ["hosted_vllm/x", "lm_studio/x", "ollama_chat/x"])
@pytest.mark.parametrize("value", [0, -1])
def test_top_k_can_be_off_where_the_server_says_so(route: str, value: int) -> None:
    assert decide(route, "top_k", value).sent == value
    with pytest.raises(mellea_api.OptionError, match="top_k"):
        mellea_api.explain_options("litellm", {"top_k": value}, "anthropic/claude-sonnet-4-5")


def test_a_reasoning_model_keeps_the_one_temperature_that_it_has() -> None:
    assert decide("o3", "temperature", 0.5).outcome == "dropped"
    assert decide("o3", "temperature", 1).outcome == "kept"
    assert decide("openai/o3", "temperature", 0.5).outcome == "dropped"
    assert decide("gpt-4o", "temperature", 0.5).outcome == "kept"


@pytest.mark.parametrize("route", ["gpt-4o", "anthropic/claude-sonnet-4-5", "hosted_vllm/x"])
def test_how_tools_are_chosen_is_sent_along_with_tools_alone(route: str) -> None:
    """Without them LiteLLM drops it, or the provider refuses it."""
    assert decide(route, "tool_choice", "required").outcome == "dropped"
    options = {"tool_choice": "required", "tools": [a_tool()]}
    found = mellea_api.explain_options("litellm", options, route).decision("tool_choice")
    assert found is not None
    assert found.outcome != "dropped"


def test_what_only_compatible_servers_have_goes_into_the_extra_body() -> None:
    assert decide("openai/tiny", "top_k", 5).outcome == "dropped"
    report = mellea_api.explain_options(
        "litellm", {"top_k": 5}, "openai/tiny", "http://127.0.0.1:8000/v1"
    )
    assert report.wire == {"top_k": 5}
    assert report.options == {"extra_body": {"top_k": 5}}
    assert mellea_api.explain_options("litellm", {"top_k": 5}, "hosted_vllm/x").wire == {"top_k": 5}


def test_an_unknown_route_explains_that_it_is_one() -> None:
    assert "does not know this route" in decide("nix", "temperature", 0.5).reason


def test_what_is_listed_for_a_route_are_its_own_rules() -> None:
    backend = mellea_api.shared_registry().backend("litellm")
    places = {
        route: {
            option.rule.name: option.wire or "" for option in list_options(backend.target(route))
        }
        for route in ("ollama_chat/tiny", "gpt-4o", "gemini/gemini-2.5-flash", "nix")
    }
    limits = [found["max_tokens"] for found in places.values()]
    assert limits == [
        "options.num_predict",
        "max_completion_tokens",
        "generationConfig.max_output_tokens",
        "",
    ]
    # The server counts as well.
    compatible = backend.target("openai/tiny", "http://127.0.0.1:8000/v1")
    assert {"top_k", "min_p"} <= {
        option.rule.name for option in list_options(compatible) if option.supported
    }


# --- every kind of route -----------------------------------------------------------------------


def test_every_route_has_a_rule_for_every_name() -> None:
    options: dict[str, Any] = {
        "temperature": 0.5,
        "max_tokens": 50,
        "top_p": 0.5,
        "stop": "x",
        "seed": 1,
        "thinking": True,
        "tool_choice": "auto",
        "logprobs": True,
        "verbosity": "low",
        "num_gpu": 1,
    }
    for route in ROUTES:
        for endpoint in ("chat", "completion"):
            report = mellea_api.explain_options(
                "litellm",
                options,
                route,
                endpoint=endpoint,  # type: ignore[arg-type]
            )
            assert len(report.decisions) == len(options)
            assert all(found.reason for found in report.decisions if found.outcome == "dropped")


def test_an_option_that_moves_the_request_to_another_api_is_refused() -> None:
    """LiteLLM asks Bedrock's Converse where there is `stop`, and raises max_tokens to 16 there."""
    route = "bedrock/global.openai.gpt-5.6-luna"
    (stop,) = mellea_api.explain_options("litellm", {"stop": "x"}, route).decisions
    assert stop.outcome == "dropped"
    if "LiteLLM drops it" not in stop.reason:  # as LiteLLM 1.110 and newer do
        assert "another API of Bedrock's" in stop.reason
        with pytest.raises(mellea_api.OptionError, match="16"):
            mellea_api.explain_options("litellm", {"max_tokens": 15}, route)
    found = mellea_api.explain_options("litellm", {"max_tokens": 16}, route)
    assert found.wire == {"max_completion_tokens": 16}


@given(data=st.data())
@pytest.mark.usefixtures("sdk")
def test_through_litellm_itself_the_body_is_the_report(data: st.DataObject) -> None:
    """For any options on any kind of route: nothing dropped, nothing changed, nothing else set."""
    from mellea_api_litellm.http import offline

    model_id = data.draw(st.sampled_from(ROUTES))
    names = data.draw(st.lists(st.sampled_from(sorted(PLAIN)), unique=True, max_size=5))
    options = {name: data.draw(PLAIN[name]) for name in names}
    try:
        report = mellea_api.explain_options("litellm", options, model_id)
    except mellea_api.OptionError:
        return  # narrower than the canonical range: an error, so nothing is sent
    route = find(model_id)
    assert route is not None
    handed = as_litellm_gets_them(report.options, str(route.places["limit"]))
    body = probe._body_of(route.provider, route.model)
    with offline():
        before, after = probe._leaves(body({})), probe._leaves(body(handed))
    sent = {place: value for place, value in after.items() if before.get(place) != value}
    expected = probe._leaves(dict(report.wire)) if report.wire else {}
    hidden = {"system_prompt"}  # which is no parameter of LiteLLM's
    shown = {place: value for place, value in expected.items() if not place.startswith("messages")}
    for place, value in shown.items():
        if before.get(place) == value or ("thinking" in options and place not in sent):
            continue
        assert after.get(place) == value, (model_id, options, place)
    for place in sent:
        if hidden & set(options) or "thinking" in options:
            continue
        assert place in shown, (model_id, options, place)


def as_litellm_gets_them(options: Any, limit: str) -> dict[str, Any]:
    """What Mellea makes of its options, but for messages and tools."""
    renamed = {"@@@max_new_tokens@@@": limit, "@@@thinking@@@": "reasoning_effort"}
    return {
        renamed.get(name, name): value
        for name, value in options.items()
        if name in renamed or not name.startswith("@@@")
    }


# --- LiteLLM's own signature -------------------------------------------------------------------


@pytest.mark.usefixtures("sdk")
def test_every_parameter_of_litellms_call_is_an_option_or_named() -> None:
    import litellm

    named = {rule.name for rule in RULES} | set(OWN.split())
    spelled = {"max_completion_tokens": "max_tokens", "reasoning_effort": "thinking"}
    unsent = {  # beside options: how to call, and what Mellea or the session sets
        *("functions", "thinking", "kwargs", "shared_session", "enable_json_schema_validation"),
        *("modalities", "prediction", "audio", "web_search_options", "prompt_cache_retention"),
        *("include_server_side_tool_invocations",),
    }
    parameters = set(inspect.signature(litellm.acompletion).parameters)
    left = {spelled.get(name, name) for name in parameters} - named - unsent
    assert not left, json.dumps(sorted(left))


@pytest.mark.parametrize(
    ("route", "name", "words"),
    [
        ("anthropic/claude-sonnet-4-5", "presence_penalty", "on an anthropic route"),
        ("gemini/x", "min_p", "on a gemini route"),
    ],
)
def test_a_reason_names_the_route_in_english(route: str, name: str, words: str) -> None:
    assert words in decide(route, name, 0.5).reason
