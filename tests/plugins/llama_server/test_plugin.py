"""The declaration of a dozen lines, on llama.cpp's real server."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.llamacpp import LlamaCppServer

pytest.importorskip("mellea_api_llama_server")

import mellea_api
import mellea_api_llama_server
from mellea_api.testing import BackendContract

KEY = "sk-the-key-of-this-server"


@pytest.fixture(scope="module")
def guarded(tiny_gguf: Path) -> Iterator[LlamaCppServer]:
    with LlamaCppServer(tiny_gguf, api_key=KEY) as server:
        yield server


@pytest.fixture(autouse=True)
def address(llamacpp: LlamaCppServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMA_CPP_URL", llamacpp.base_url)


class TestContract(BackendContract):
    backend = "llama-server"


def test_the_declaration_is_short_and_takes_one_name() -> None:
    tree = ast.parse(Path(mellea_api_llama_server.__file__).read_text("utf-8"))
    _, imported, declared = tree.body
    assert isinstance(imported, ast.ImportFrom)
    assert [name.name for name in imported.names] == ["OpenAICompatible"]
    assert isinstance(declared, ast.Assign)
    assert (declared.end_lineno or 0) - declared.lineno < 12


def test_it_lists_the_model_of_the_server() -> None:
    listing = mellea_api.list_models("llama-server", freshness="live")
    assert [(model.id, model.source) for model in listing] == [("tiny", "live")]


def test_a_session_asks_for_the_only_model() -> None:
    session = mellea_api.start_session("llama-server", model_options={"max_tokens": 5})
    assert session.backend.model_id == "tiny"
    assert session.chat("What is 2+2?").content


def test_a_stream_has_the_text_of_the_whole_answer() -> None:
    options = {"temperature": 0, "max_tokens": 150}
    session = mellea_api.start_session("llama-server", model_options=options)
    streamed = list(mellea_api.stream_chat(session, "What is 2+2?"))
    assert len(streamed) > 1
    assert "".join(streamed) == session.chat("What is 2+2?").content


def test_options_reach_the_server_under_its_own_names() -> None:
    options = {"max_tokens": 4, "repetition_penalty": 1.1, "top_k": 0, "thinking": False}
    report = mellea_api.explain_options("llama-server", options)
    assert report.wire == {
        "max_tokens": 4,
        "repeat_penalty": 1.1,
        "top_k": 0,
        "chat_template_kwargs": {"enable_thinking": False},
    }
    session = mellea_api.start_session("llama-server", model_options={**options, "temperature": 0})
    answer = session.chat("What is 2+2?")
    longer = session.chat("What is 2+2?", model_options={"max_tokens": 40})
    assert len(longer.content) > len(answer.content)


def test_what_only_other_servers_have_is_not_sent() -> None:
    report = mellea_api.explain_options("llama-server", {"guided_regex": "a", "min_p": 0.1})
    assert report.wire == {"min_p": 0.1}
    assert report.decision("guided_regex").outcome == "dropped"  # type: ignore[union-attr]
    stated = mellea_api.explain_options("llama-server", {"min_tokens": 2}, server="vllm")
    assert stated.wire == {"min_tokens": 2}


def test_a_wrong_key_and_no_key_are_told_apart(guarded: LlamaCppServer) -> None:
    def probe(key: str | None) -> mellea_api.CredentialReport:
        return mellea_api.validate_credentials(
            "llama-server", api_key=key, base_url=guarded.base_url, probe=True
        )

    assert (probe(KEY).status, probe(KEY).checked) == ("present", True)
    assert probe("sk-another-one").status == "rejected"
    assert probe(None).status == "missing"
    with pytest.raises(mellea_api.CredentialError, match="LLAMA_API_KEY"):
        mellea_api.start_session("llama-server", base_url=guarded.base_url)


def test_a_probe_claims_nothing_of_a_key_that_a_server_does_not_need() -> None:
    report = mellea_api.validate_credentials("llama-server", api_key=KEY, probe=True)
    assert (report.status, report.checked) == ("unchecked", False)
    assert "with this key and with any other" in report.message


def test_variables_of_openai_are_not_sent_to_another_server(
    llamacpp: LlamaCppServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mellea_api._openai_protocol import clients

    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-openai")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-openai")
    target = mellea_api.shared_registry().backend("llama-server").target("tiny")
    request = mellea_api.plugin.ModelsRequest(target=target)
    client = clients.client(clients.arguments(request))
    assert client.organization is None
    assert client.api_key == clients.NO_KEY
    assert str(client.base_url).rstrip("/") == llamacpp.base_url
