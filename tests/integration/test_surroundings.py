"""Variables that every HTTP client reads, and that no client can be made with: the error names them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.canary import CANARY, shown
from support.ollama_server import OllamaServer

pytest.importorskip("mellea_api_ollama")
pytest.importorskip("mellea_api_openai")

import mellea_api

NOBODY = "http://127.0.0.1:1"
WAYS: dict[str, Callable[[], Any]] = {
    "ollama": lambda: mellea_api.start_session("ollama", base_url=NOBODY),
    "openai": lambda: mellea_api.start_session("openai", base_url=f"{NOBODY}/v1", check=False).chat(
        "Hello!"
    ),
    "a list": lambda: mellea_api.list_models("openai", base_url=f"{NOBODY}/v1"),
}


@pytest.fixture(params=WAYS)
def wrong(request: pytest.FixtureRequest) -> Callable[[], mellea_api.ConfigurationError]:
    """Takes one of the ways, and returns the error that it ends in."""

    def take() -> mellea_api.ConfigurationError:
        with pytest.raises(mellea_api.ConfigurationError) as caught:
            WAYS[request.param]()
        return caught.value

    return take


@pytest.mark.parametrize("what", ["nothing", "garbage", "folder"])
def test_the_variable_of_certificates_that_cannot_be_used_is_named(
    what: str, wrong: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a container lacks what its image's environment names."""
    (tmp_path / "garbage").write_text("no certificate")
    (tmp_path / "folder").mkdir()
    for name in ("SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / what))
    error = wrong()
    assert error.variable == "SSL_CERT_FILE"
    assert "Cannot make an HTTP client with the environment's SSL_CERT_FILE: " in error.reason


@pytest.mark.parametrize(
    "proxy", ["nonsense://me:{}@proxy:1", "socks5://me:{}@proxy:1", "http://me:{}@proxy:port"]
)
def test_a_proxy_that_is_none_is_named_without_its_password(
    proxy: str, wrong: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy.format(CANARY))
    error = wrong()
    assert error.variable == "ALL_PROXY"
    assert "environment's ALL_PROXY: " in error.reason
    assert [name for name, text in shown(error) if CANARY in text] == []


def test_an_address_that_httpx_does_not_read_in_no_proxy_is_blamed_on_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And not on the server's."""
    monkeypatch.setenv("NO_PROXY", "localhost,fe80::/10")
    with pytest.raises(mellea_api.ConfigurationError, match="NO_PROXY") as caught:
        WAYS["ollama"]()
    assert caught.value.variable == "NO_PROXY"


@pytest.mark.parametrize("wrong_proxy", ["HTTP_PROXY", "all_proxy"])
def test_a_proxy_that_refuses_is_named_by_its_variable(
    wrong_proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(wrong_proxy, "http://127.0.0.1:2")
    for way in WAYS.values():
        with pytest.raises(mellea_api.BackendUnavailableError) as caught:
            way()
        assert f"(through the proxy that {wrong_proxy} names)" in caught.value.reason
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(mellea_api.BackendUnavailableError) as caught:
        WAYS["ollama"]()
    assert wrong_proxy not in str(caught.value)


def test_a_folder_of_certificates_that_is_not_there_is_not_blamed_for_a_server_that_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "nothing"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:2")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for way in WAYS.values():
        with pytest.raises(mellea_api.BackendUnavailableError):
            way()
    with OllamaServer() as server:
        assert mellea_api.start_session("ollama", "tiny", base_url=server.base_url).chat("Hello!")
