"""What plain HTTP clients raise for a status is said in the library's terms, with what the server said."""

from __future__ import annotations

import ssl
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from support.fake_plugins import described

from mellea_api import (
    AnswerError,
    BackendUnavailableError,
    ConfigurationError,
    ContextLengthError,
    CredentialError,
    ModelNotFoundError,
    PermissionDeniedError,
    ProviderError,
    RateLimitError,
    RequestRefusedError,
    RequestTimeoutError,
)
from mellea_api._provider.exceptions import by_kind
from mellea_api.plugin import ErrorRequest, Target
from mellea_api.testing import LoopbackServer, Reply


def with_httpx(url: str) -> None:
    httpx = pytest.importorskip("httpx")
    httpx.get(url, trust_env=False).raise_for_status()


def with_requests(url: str) -> None:
    requests = pytest.importorskip("requests")
    requests.get(url, allow_redirects=False).raise_for_status()


def with_urllib(url: str) -> None:
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url)


def translated(use: Callable[[str], None], reply: Reply) -> Any:
    """Return what an exception becomes that a client raises for an answer."""
    with LoopbackServer(lambda asked: reply) as server:
        try:
            use(server.address)
        except Exception as error:
            target = Target(descriptor=described("fake"), model_id="small")
            return by_kind(ErrorRequest(target=target, operation="call", error=error))
        raise AssertionError("nothing was raised")


@pytest.mark.parametrize("use", [with_httpx, with_requests, with_urllib])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ProviderError),
        (401, CredentialError),
        (403, PermissionDeniedError),
        (404, ProviderError),
        (408, RequestTimeoutError),
        (413, ContextLengthError),  # Content Too Large (RFC 9110)
        (429, RateLimitError),
        (500, BackendUnavailableError),
        (503, BackendUnavailableError),
        (504, RequestTimeoutError),
    ],
)
def test_a_status_decides(
    use: Callable[[str], None], status: int, kind: type[ProviderError]
) -> None:
    headers = {"Retry-After": "7"}
    error = translated(use, Reply(status=status, body={}, headers=headers))
    assert isinstance(error, kind)
    assert error.status == status
    if isinstance(error, RateLimitError):
        assert error.retry_after == 7


@pytest.mark.parametrize(
    ("body", "status", "kind", "words"),
    [
        ({"error": {"message": "no model x"}}, 404, ModelNotFoundError, "no model x (HTTP 404)"),
        ({"error": "no model x"}, 404, ModelNotFoundError, "no model x (HTTP 404)"),
        ({"message": "prompt is too long"}, 400, ContextLengthError, "too long (HTTP 400)"),
        ({"detail": "who are you?"}, 401, CredentialError, "who are you? (HTTP 401)"),
        ({"detail": [{"loc": ["n"]}]}, 422, ProviderError, '{"detail": [{"loc": ["n"]}]}'),
        (b"plain words", 400, ProviderError, "plain words (HTTP 400)"),
        (b"", 500, BackendUnavailableError, "500"),
        (b"<!doctype html><html>Log in</html>", 404, AnswerError, "it is a web page (HTTP 404)"),
    ],
)
def test_the_body_says_why(body: Any, status: int, kind: type[ProviderError], words: str) -> None:
    error = translated(with_httpx, Reply(status=status, body=body))
    assert type(error) is kind or kind is ProviderError
    assert words in str(error)


def test_a_redirect_that_was_not_followed_names_where_it_leads() -> None:
    place = {"Location": "http://elsewhere.invalid/v1"}
    error = translated(with_httpx, Reply(status=307, body={}, headers=place))
    assert isinstance(error, AnswerError)
    assert "redirects to http://elsewhere.invalid/v1 (HTTP 307)" in str(error)


def test_an_answer_that_was_not_read_has_no_words() -> None:
    httpx = pytest.importorskip("httpx")

    def use(url: str) -> None:
        with httpx.stream("GET", url, trust_env=False) as answer:
            answer.raise_for_status()

    error = translated(use, Reply(status=401, body={"error": "no"}))
    assert isinstance(error, CredentialError)
    assert "401" in str(error)


def test_a_handshake_that_was_given_up_on_is_late_and_no_wrong_certificate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/hosts")
    late = TimeoutError()
    late.__context__ = ssl.SSLWantReadError("The operation did not complete (read) (_ssl.c:2580)")
    target = Target(descriptor=described("fake"), model_id="small")
    error = by_kind(ErrorRequest(target=target, operation="models", error=late, timeout=0.3))
    assert isinstance(error, RequestTimeoutError)


def test_a_prompt_that_cannot_be_sent_is_no_failure_of_the_server() -> None:
    """LiteLLM puts an error of a server around it."""
    with pytest.raises(UnicodeEncodeError) as caught:
        "\ud800".encode()
    around = RuntimeError("the server failed")
    around.status_code = 500  # type: ignore[attr-defined]
    around.__cause__ = caught.value
    target = Target(descriptor=described("fake"), model_id="small")
    error = by_kind(ErrorRequest(target=target, operation="call", error=around))
    assert type(error) is RequestRefusedError
    assert "half of a surrogate pair" in str(error)


@pytest.mark.parametrize("proxy", ["nonsense://proxy:1", "http://proxy:port"])
def test_a_proxy_that_no_client_takes_is_blamed_on_its_variable(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    httpx = pytest.importorskip("httpx")
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises((ValueError, httpx.InvalidURL)) as caught:
        httpx.Client()
    target = Target(descriptor=described("fake"), model_id="small")
    error = by_kind(ErrorRequest(target=target, operation="session", error=caught.value))
    assert isinstance(error, ConfigurationError)
    assert error.variable == "ALL_PROXY"
    assert error.next_step.startswith("Write a proxy as http://host:port")


def test_a_proxy_whose_package_is_missing_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy:1")
    missing = ImportError("Using SOCKS proxy, but the 'socksio' package is not installed.")  # httpx
    target = Target(descriptor=described("fake"), model_id="small")
    error = by_kind(ErrorRequest(target=target, operation="session", error=missing))
    assert isinstance(error, ConfigurationError)
    assert 'pip install "httpx[socks]"' in error.next_step
