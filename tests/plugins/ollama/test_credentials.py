"""Whether an Ollama server is there, and takes a key: what is asked, and what the SDK sends with every call."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.ollama_server import OllamaServer
from support.probes import FAULTS, check_fault

pytest.importorskip("mellea_api_ollama")

import mellea_api

KEY = "key-not-for-anybody-0123456789"


def probe(base_url: str, **arguments: Any) -> Any:
    return mellea_api.validate_credentials("ollama", base_url=base_url, probe=True, **arguments)


def test_the_server_is_asked_once_for_what_costs_nothing(ollama_server: OllamaServer) -> None:
    report = probe(ollama_server.base_url)
    assert (report.status, report.checked, report.usable) == ("not-needed", True, True)
    assert [(found.method, found.path) for found in ollama_server.requests] == [
        ("GET", "/api/tags")
    ]
    assert "authorization" not in ollama_server.last.headers


@pytest.mark.parametrize("source", ["argument", "variable", "file"])
def test_a_key_goes_with_every_call_wherever_it_came_from(
    ollama_server: OllamaServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str
) -> None:
    """The SDK itself knows the variable alone."""
    arguments = {}
    if source == "argument":
        arguments["api_key"] = KEY
        monkeypatch.setenv("OLLAMA_API_KEY", "another")
    elif source == "variable":
        monkeypatch.setenv("OLLAMA_API_KEY", KEY)
    else:
        (tmp_path / "key").write_text(KEY)
        monkeypatch.setenv("OLLAMA_API_KEY_FILE", str(tmp_path / "key"))
    report = probe(ollama_server.base_url, **arguments)
    assert (report.status, report.checked, report.fields[0].hint) == ("present", True, "…6789")
    session = mellea_api.start_session(
        "ollama", "tiny", base_url=ollama_server.base_url, **arguments
    )
    assert session.chat("Hello!").content == "4"

    async def later() -> Any:
        return await session.achat("Hello!")

    if hasattr(session, "achat"):
        asyncio.run(later())
    mellea_api.list_models("ollama", base_url=ollama_server.base_url, **arguments)
    assert len(ollama_server.requests) >= 4
    assert {found.headers.get("authorization") for found in ollama_server.requests} == {
        f"Bearer {KEY}"
    }


@pytest.mark.parametrize("name", FAULTS)
def test_a_server_that_misbehaves_has_a_status_and_a_reason(name: str) -> None:
    check_fault(name, lambda url, timeout: probe(url, api_key=KEY, timeout=timeout), KEY)


def test_a_server_that_wants_a_key_and_is_sent_none_says_what_is_missing() -> None:
    from support import faults

    with faults.status(401, {"error": "unauthorized"}) as server:
        report = probe(server.url)
        assert (report.status, report.checked, report.usable) == ("missing", True, False)
        assert "OLLAMA_API_KEY" in report.message
        assert probe(server.url, api_key=KEY).status == "rejected"


def test_a_report_without_a_probe_imports_no_sdk() -> None:
    program = (
        "import sys, mellea_api\n"
        "assert mellea_api.validate_credentials('ollama').status == 'not-needed'\n"
        "print(sorted({'ollama', 'mellea', 'httpx', 'asyncio'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
