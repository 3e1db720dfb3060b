"""What a route needs, right also where LiteLLM's own validate_environment is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

pytest.importorskip("mellea_api_litellm")

import mellea_api
from mellea_api_litellm.credentials import provider_fields

CANARY = "canary-3f9c1e77-not-for-anybody"


def report(model: str, **arguments: Any) -> Any:
    return mellea_api.validate_credentials("litellm", model, **arguments)


def test_watsonx_needs_key_address_and_project(monkeypatch: pytest.MonkeyPatch) -> None:
    """LiteLLM finds nothing missing in an empty environment."""
    model = "watsonx/ibm/granite-3-3-8b-instruct"
    assert report(model).status == "missing"
    for variable in ("WATSONX_APIKEY", "WATSONX_API_BASE", "WATSONX_PROJECT_ID"):
        assert variable in report(model).message
    monkeypatch.setenv("WATSONX_API_KEY", CANARY)
    monkeypatch.setenv("WATSONX_URL", "https://us-south.ml.cloud.ibm.com")
    assert report(model).status == "missing"
    monkeypatch.setenv("WX_PROJECT_ID", "p-1")
    found = report(model)
    assert (found.status, found.usable) == ("present", True)
    assert CANARY not in repr(found)
    assert [field.source for field in found.fields] == [
        f"environment variable {name}"
        for name in ("WATSONX_API_KEY", "WATSONX_URL", "WX_PROJECT_ID")
    ]


def test_a_deployment_on_watsonx_needs_no_project() -> None:
    found = report(
        "watsonx/deployment/abc", api_key=CANARY, base_url="https://eu-de.ml.cloud.ibm.com"
    )
    assert found.status == "present"


def test_arguments_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATSONX_PROJECT_ID", "p-1")
    found = report("watsonx/ibm/x", api_key=CANARY, base_url="https://eu-de.ml.cloud.ibm.com")
    assert found.status == "present"
    assert found.fields[0].source == "argument"
    found = report(
        "watsonx/ibm/x", api_key=CANARY, base_url="https://eu-de.ml.cloud.ibm.com", project_id="p-2"
    )
    assert {field.name: field.source for field in found.fields}["project_id"] == "argument"


@pytest.mark.parametrize("model", ["ollama_chat/granite4:micro", "ollama/x", "llamafile/x"])
def test_local_routes_need_nothing(model: str) -> None:
    """LiteLLM asks OLLAMA_API_BASE of Ollama, which has a default address."""
    found = report(model)
    assert (found.status, found.usable) == ("not-needed", True)


@pytest.mark.parametrize(
    ("model", "variables"),
    [
        ("gpt-4o", ("OPENAI_API_KEY",)),
        ("openai/gpt-9", ("OPENAI_API_KEY",)),
        ("anthropic/claude-sonnet-4-5", ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")),
        ("gemini/gemini-2.5-flash", ("GOOGLE_API_KEY", "GEMINI_API_KEY")),
        ("groq/llama-3.3-70b-versatile", ("GROQ_API_KEY",)),
        ("together_ai/x", ("TOGETHER_API_KEY", "TOGETHERAI_API_KEY")),
        ("poe/x", ("POE_API_KEY",)),
    ],
)
def test_a_key_is_asked_for_by_the_routes_own_variables(
    model: str, variables: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert report(model).status == "missing"
    for variable in variables:
        assert variable in report(model).message
        monkeypatch.setenv(variable, CANARY)
        assert report(model).status == "present"
        assert CANARY not in repr(report(model))
        monkeypatch.delenv(variable)
    assert report(model, api_key=CANARY).status == "present"


def test_openais_key_is_nobody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    """LiteLLM would send it to any provider that speaks OpenAI's protocol and has no key."""
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    assert report("poe/x").status == "missing"
    assert report("cerebras/x").status == "missing"


def test_another_server_may_need_no_key() -> None:
    assert report("openai/tiny", base_url="http://127.0.0.1:8000/v1").usable
    assert not report("openai/gpt-4o", base_url="https://api.openai.com/v1").usable


@pytest.mark.parametrize("model", ["bedrock/anthropic.claude-v2", "vertex_ai/gemini-2.5-flash"])
def test_what_cannot_be_seen_from_outside_is_unchecked(model: str) -> None:
    found = report(model)
    assert (found.status, found.usable) == ("unchecked", True)
    assert "also look" in found.message


def test_a_variable_that_is_not_looked_at_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_API_KEY", "one")
    monkeypatch.setenv("GEMINI_API_KEY", "two")
    field = report("gemini/gemini-2.5-flash").fields[0]
    assert (field.source, field.shadowed) == (
        "environment variable GOOGLE_API_KEY",
        ("environment variable GEMINI_API_KEY",),
    )


@pytest.mark.parametrize("model", ["nix", "openaj/gpt-4o", "/x", "openai/"])
def test_what_is_no_route_says_so(model: str) -> None:
    assert "no route" in report(model).message


# --- against LiteLLM itself --------------------------------------------------------------------

CURATED = ["anthropic", "azure", "gemini", "openai", "watsonx", "azure_ai"]
LISTEN = """
import os, sys, json, socket, logging
def refuse(*_): raise OSError("offline")
socket.socket.connect = socket.getaddrinfo = refuse
import mellea_api_litellm.session, litellm
logging.disable(logging.CRITICAL)
asked = {}
for provider in json.loads(sys.argv[1]):
    names = asked[provider] = []
    kind = type(os.environ); look_up = kind.__getitem__
    def listen(environ, name, names=names):
        names.append(os.fsdecode(name))
        return look_up(environ, name)
    kind.__getitem__ = listen
    for more in ({}, {"api_key": "zz"}, {"api_base": "https://zz.invalid"},
                 {"api_key": "zz", "api_base": "https://zz.invalid"},
                 {"token": "zz"}):  # of watsonx: a key would first be changed for one
        try:
            litellm.completion(model=f"{provider}/zz", messages=[{"role": "user", "content": "x"}],
                               max_retries=0, num_retries=0, timeout=1, **more)
        except Exception:
            pass
    kind.__getitem__ = look_up
print(json.dumps(asked))
"""


@pytest.mark.slow
@pytest.mark.usefixtures("sdk")
def test_litellm_itself_looks_at_the_variables_that_are_named() -> None:
    import json

    run = subprocess.run(
        [sys.executable, "-c", LISTEN, json.dumps(CURATED)],
        capture_output=True,
        text=True,
        check=True,
        # Without an address and a project, LiteLLM looks for no key of watsonx.
        env={**os.environ, "WATSONX_API_BASE": "https://zz.invalid", "WATSONX_PROJECT_ID": "zz"},
    )
    asked = json.loads(run.stdout.strip().splitlines()[-1])
    for provider in CURATED:
        for field in provider_fields(provider):
            assert field.variables[0] in asked[provider], (provider, field.variables)


@pytest.mark.slow
@pytest.mark.usefixtures("sdk")
def test_the_report_is_right_where_litellms_own_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Why there is a table of needs at all; where LiteLLM learns better, the table may shrink."""
    import litellm

    for name in [name for name in os.environ if name.startswith(("WATSONX", "WX_", "OLLAMA"))]:
        monkeypatch.delenv(name)
    passed = litellm.validate_environment("watsonx/ibm/granite-3-3-8b-instruct")
    assert passed["keys_in_environment"]
    assert report("watsonx/ibm/granite-3-3-8b-instruct").status == "missing"
    asked = litellm.validate_environment("ollama/granite4:micro")
    assert asked["missing_keys"] == ["OLLAMA_API_BASE"]
    assert report("ollama/granite4:micro").status == "not-needed"


@pytest.mark.usefixtures("sdk")
def test_every_key_that_litellm_itself_asks_for_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    import litellm

    for name in [name for name in os.environ if name.endswith(("_API_KEY", "_TOKEN"))]:
        monkeypatch.delenv(name)
    for provider in sorted({str(getattr(name, "value", name)) for name in litellm.provider_list}):
        if provider in ("chatgpt", "github_copilot"):  # it would open a login
            continue
        missing = litellm.validate_environment(f"{provider}/zz")["missing_keys"]
        keys = {name for name in missing if name.endswith(("_API_KEY", "_TOKEN"))}
        if keys:
            assert keys & set(provider_fields(provider)[0].variables), (provider, keys)
