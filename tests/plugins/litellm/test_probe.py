"""Whether a route's server takes its key: whom there is to ask for free, and what each answer means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.ollama_server import OllamaServer
from support.openai_server import OpenAIServer
from support.probes import FAULTS, check_fault

pytest.importorskip("mellea_api_litellm")
pytest.importorskip("httpx")

import mellea_api

KEY = "key-not-for-anybody-0123456789"


def probe(model: str, **arguments: Any) -> Any:
    report = mellea_api.validate_credentials("litellm", model, **{"probe": True} | arguments)
    assert KEY not in repr(report)
    assert report.message
    return report


def asked(server: Any) -> list[tuple[str, str]]:
    return [(found.method, found.path) for found in server.requests]


def test_a_server_of_openais_protocol_is_asked_for_its_models(openai_server: OpenAIServer) -> None:
    report = probe("openai/tiny", base_url=openai_server.base_url, api_key="sk-good")
    assert (report.status, report.checked) == ("present", True)
    assert asked(openai_server) == [("GET", "/v1/models")]
    report = probe("openai/tiny", base_url=openai_server.base_url, api_key=KEY)
    assert (report.status, report.checked, report.usable) == ("rejected", True, False)
    assert "OPENAI_API_KEY" in report.message
    report = probe("openai/tiny", base_url=openai_server.base_url)
    assert (report.status, report.checked) == ("missing", True)


def test_ollama_is_asked_for_its_models(ollama_server: OllamaServer) -> None:
    report = probe("ollama_chat/tiny", base_url=ollama_server.base_url)
    assert (report.status, report.checked) == ("not-needed", True)
    assert asked(ollama_server) == [("GET", "/api/tags")]


@pytest.mark.parametrize("name", FAULTS)
def test_a_server_that_misbehaves_has_a_status_and_a_reason(name: str) -> None:
    def ask(url: str, timeout: float) -> Any:
        return probe("openai/tiny", base_url=url, api_key=KEY, timeout=timeout)

    check_fault(name, ask, KEY)


@pytest.mark.parametrize(
    "model",
    ["anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-flash", "groq/llama-3.3-70b-versatile"],
)
def test_where_no_free_question_is_known_nobody_is_asked_and_the_report_says_so(model: str) -> None:
    report = probe(model, api_key=KEY)
    assert (report.status, report.checked, report.usable) == ("unchecked", False, True)
    assert "costs nothing" in report.message
    assert report.fields[0].status == "present"


def test_what_is_missing_or_malformed_is_not_tried(openai_server: OpenAIServer) -> None:
    assert probe("anthropic/claude-sonnet-4-5").status == "missing"
    report = probe("openai/tiny", base_url=openai_server.base_url, api_key=f"Bearer {KEY}")
    assert report.status == "malformed"
    with pytest.raises(mellea_api.CredentialError, match="begins with 'Bearer'"):
        mellea_api.start_session(
            "litellm", "openai/tiny", base_url=openai_server.base_url, api_key=f"Bearer {KEY}"
        )
    assert asked(openai_server) == []


# ------------------------------------------------------------------------------ where keys are


def test_a_key_may_be_in_the_file_that_the_routes_variable_names(
    openai_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("sk-good\n")
    monkeypatch.setenv("OPENAI_API_KEY_FILE", str(tmp_path / "key"))
    report = probe("openai/tiny", base_url=openai_server.base_url)
    assert (report.status, report.checked) == ("present", True)
    assert report.fields[0].source == f"file {tmp_path / 'key'} (OPENAI_API_KEY_FILE)"
    assert probe("anthropic/claude-sonnet-4-5").status == "missing"  # it is OpenAI's
    assert mellea_api.list_models("litellm", base_url=openai_server.base_url, provider="openai")
    assert openai_server.last.headers["authorization"] == "Bearer sk-good"
    listed = {model.id for model in mellea_api.list_models("litellm", freshness="offline")}
    assert "gpt-4o" in listed


def test_a_file_that_cannot_be_used_is_said_on_the_route_that_it_is_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY_FILE", "nowhere")
    report = probe("anthropic/claude-sonnet-4-5")
    assert report.status == "malformed"
    assert "ANTHROPIC_API_KEY_FILE" in report.message
    assert probe("ollama_chat/tiny", probe=False).status == "not-needed"


def test_the_key_of_another_route_is_not_sent_to_a_server_that_is_listed(
    openai_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_API_KEY", KEY)  # that of the default model's route
    with pytest.raises(mellea_api.CredentialError):
        mellea_api.list_models("litellm", base_url=openai_server.base_url)
    assert "authorization" not in openai_server.last.headers


def test_each_route_has_a_place_of_its_own_in_the_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    keyring = pytest.importorskip("keyring")
    from support.keyrings import MemoryKeyring

    before = keyring.get_keyring()
    held = MemoryKeyring()
    held.values["mellea-api", "litellm.anthropic.api_key"] = KEY
    keyring.set_keyring(held)
    try:
        report = probe("anthropic/claude-sonnet-4-5", probe=False)
        assert (report.status, report.fields[0].source) == ("present", "keyring")
        assert probe("gemini/gemini-2.5-flash", probe=False).status == "missing"
    finally:
        keyring.set_keyring(before)
    assert held.asked == ["litellm.anthropic.api_key", "litellm.gemini.api_key"]
