"""Opening a session on Ollama: address, model and pulling, on the wire; and what refusals become."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
from typing import Any
from unittest import mock

import ollama
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ollama._client import _parse_host
from support import faults
from support.ollama_server import OllamaServer

pytest.importorskip("mellea_api_ollama")

import mellea_api
from mellea_api import stream_chat
from mellea_api.runtime import MelleaRuntime


@pytest.fixture
def server(ollama_server: OllamaServer, monkeypatch: pytest.MonkeyPatch) -> OllamaServer:
    """Ollama, where its client looks for it."""
    monkeypatch.setenv("OLLAMA_HOST", ollama_server.base_url)
    return ollama_server


def start(model: Any = "tiny", **arguments: Any) -> Any:
    return mellea_api.start_session("ollama", model, **arguments)


def raw(session: Any) -> Any:
    from mellea.core import CBlock

    return asyncio.run(session.backend.generate_from_raw([CBlock("x")], ctx=session.ctx))


# --- the address -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    [
        "127.0.0.1:{port}",
        "localhost:{port}",
        "http://127.0.0.1:{port}",
        "http://127.0.0.1:{port}/",
        "127.0.0.1:{port}/",
        "0.0.0.0:{port}",
        "http://0.0.0.0:{port}",
        ":{port}",
        " 127.0.0.1:{port} ",
    ],
)
def test_the_address_is_read_as_the_client_reads_it(
    ollama_server: OllamaServer, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """Models, session, chat and raw prompts all go there."""
    port = ollama_server.base_url.rpartition(":")[2]
    monkeypatch.setenv("OLLAMA_HOST", form.format(port=port))
    assert [model.id for model in mellea_api.list_models("ollama")] == ["tiny:latest"]
    session = start()
    assert session.chat("Hello!").content == "4"
    raw(session)
    assert "".join(stream_chat(session, "Hello!")) == "4"
    assert {found.path for found in ollama_server.requests} == {
        "/api/tags",
        "/api/show",
        "/api/chat",
        "/api/generate",
    }
    ollama_server.clear()
    monkeypatch.delenv("OLLAMA_HOST")
    start(base_url=form.format(port=port)).chat("Hello!")
    assert ollama_server.calls("/api/chat")


def test_a_path_before_the_api_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """As behind a reverse proxy."""

    class Behind(OllamaServer):
        def handle(self, request: Any) -> Any:
            from dataclasses import replace

            assert request.path.startswith("/ollama/"), request.path
            return super().handle(replace(request, path=request.path.removeprefix("/ollama")))

    with Behind() as found:
        monkeypatch.setenv("OLLAMA_HOST", f"{found.base_url}/ollama/")
        assert start().chat("Hello!").content == "4"


def test_ipv6_is_spoken(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as held:
            port = held.getsockname()[1]
    except OSError as error:
        pytest.skip(f"this machine has no IPv6: {error}")
    monkeypatch.setenv("OLLAMA_HOST", f"[::1]:{port}")
    # Refused there, and not misread.
    with pytest.raises(mellea_api.BackendUnavailableError, match=rf"\[::1\]:{port}"):
        start()


def test_without_one_it_is_the_clients_own_default(monkeypatch: pytest.MonkeyPatch) -> None:
    from mellea_api_ollama import session

    backend = mellea_api.Registry.discover().backend("ollama")
    target = backend.target()
    assert target.base_url is None
    assert target.descriptor.base_url == str(ollama.Client()._client.base_url).rstrip("/")
    assert session._Client(target.base_url)._client.base_url == ollama.Client()._client.base_url


hosts = st.one_of(
    st.sampled_from(["127.0.0.1", "0.0.0.0", "localhost", "example.invalid", "[::1]", ""]),
    st.from_regex(r"[a-z][a-z0-9-]{0,8}(\.[a-z]{2,4})?", fullmatch=True),
)
addresses = st.builds(
    lambda scheme, host, port, path: f"{scheme}{host}{port}{path}",
    st.sampled_from(["", "http://", "https://"]),
    hosts,
    st.one_of(st.just(""), st.integers(1, 65535).map(":{}".format)),
    st.sampled_from(["", "/", "/path", "/path/"]),
).filter(lambda address: address not in ("", "http://", "https://"))


@given(addresses)
@example(":56789")
@example("[0001:002:003:0004::1]:56789/path/")
@example("https://1.2.3.4")
def test_every_address_that_the_client_takes_goes_to_it_unchanged(address: str) -> None:
    with mock.patch.dict(os.environ, {"OLLAMA_HOST": address}):
        target = mellea_api.shared_registry().backend("ollama").target()
    assert target.base_url_source == "OLLAMA_HOST"
    assert target.base_url == address
    assert _parse_host(address).startswith("http")  # or the example is no address


MALFORMED = [
    "127.0.0.1:port",
    "http://127.0.0.1:99999",
    "[::1",
    "::1",
    "ftp://127.0.0.1",
    "a b",
    "'http://x'",
]


@pytest.mark.parametrize("address", MALFORMED)
def test_an_address_that_cannot_be_one_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", address)
    for attempt in (
        start,
        lambda: mellea_api.list_models("ollama"),
        lambda: MelleaRuntime("ollama"),
        lambda: mellea_api.validate_credentials("ollama"),
    ):
        with pytest.raises(mellea_api.ConfigurationError, match="OLLAMA_HOST") as caught:
            attempt()  # type: ignore[operator]
        assert caught.value.variable == "OLLAMA_HOST"
        assert address in str(caught.value)
        assert "http://127.0.0.1:11434" in caught.value.next_step


@pytest.mark.parametrize("address", [11434, True, b"127.0.0.1"])
def test_an_address_that_is_no_text_is_refused(address: Any) -> None:
    """The client would take the number for a host."""
    with pytest.raises(mellea_api.ConfigurationError, match=r"base_url=.*it is not text"):
        start(base_url=address)


ASK = """
import os, sys
import mellea_api
session = mellea_api.start_session("ollama", "tiny", base_url=sys.argv[1] or None)
print(mellea_api.list_models("ollama", base_url=sys.argv[1] or None)[0].id)
print(session.chat("Hello!").content, repr(os.environ["OLLAMA_HOST"]))
"""


@pytest.mark.parametrize(
    ("variable", "argument"),
    [(" {host} ", ""), ("127.0.0.1:port", "http://{host}"), ("a b", "{host}")],
)
def test_where_the_client_is_imported_it_reads_a_variable_that_does_not_count(
    ollama_server: OllamaServer, variable: str, argument: str
) -> None:
    """In a process of its own: the client reads OLLAMA_HOST as it is imported."""
    host = ollama_server.base_url.removeprefix("http://")
    variable = variable.format(host=host)
    found = subprocess.run(
        [sys.executable, "-c", ASK, argument.format(host=host)],
        check=False,
        env={**os.environ, "OLLAMA_HOST": variable},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[-2:] == ["tiny:latest", f"4 {variable!r}"]


def test_where_nothing_runs_the_error_says_how_to_start_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with faults.named("refused") as url:
        monkeypatch.setenv("OLLAMA_HOST", url)
        with pytest.raises(mellea_api.BackendUnavailableError, match="ollama serve") as caught:
            start()
    assert "OLLAMA_HOST" in str(caught.value)


# --- the model ---------------------------------------------------------------------------------


def test_a_missing_model_is_not_pulled_unasked(server: OllamaServer) -> None:
    for attempt in (lambda: start("phi4:14b"), lambda: MelleaRuntime("ollama", "phi4:14b")):
        with pytest.raises(mellea_api.ModelNotFoundError) as caught:
            attempt()
        error = caught.value
        assert "ollama pull phi4:14b" in error.next_step
        assert "pull=True" in error.next_step
        assert (error.status, error.model_id) == (404, "phi4:14b")
        assert error.known == ("tiny:latest",)
    assert server.calls("/api/pull") == []


def test_nor_where_it_vanishes_after_the_session_was_opened(server: OllamaServer) -> None:
    session = start()
    server.models.clear()
    for call in (
        lambda: session.chat("Hello!"),
        lambda: list(stream_chat(session, "Hello!")),
        lambda: raw(session),
    ):
        with pytest.raises(mellea_api.ModelNotFoundError, match="ollama pull tiny"):
            call()
    assert server.calls("/api/pull") == []


def test_the_nearest_names_come_first(server: OllamaServer) -> None:
    for name in ("qwen3:8b", "llama3.2:3b", "granite4:micro"):
        server.add_model(name)
    with pytest.raises(mellea_api.ModelNotFoundError) as caught:
        start("llama3.2:1b")
    assert caught.value.known is not None
    assert caught.value.known[0] == "llama3.2:3b"
    assert set(caught.value.known) == set(server.models)


def test_a_model_that_is_there_is_never_pulled(server: OllamaServer) -> None:
    start(pull=True)
    start("tiny:latest")
    start("TINY")
    assert server.calls("/api/pull") == []


def test_asked_for_it_is_pulled_and_the_progress_shown(
    server: OllamaServer, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mellea_api")
    session = start("phi4:14b", pull=True)
    assert len(server.calls("/api/pull")) == 1
    shown = capfd.readouterr()
    assert "pulling" in shown.err
    assert "success" in shown.err
    assert "pulling" not in shown.out
    assert "pulled phi4:14b" in caplog.text
    assert session.chat("Hello!").content == "4"


def test_what_the_server_says_of_a_pull_does_not_steer_the_terminal(
    server: OllamaServer, capfd: pytest.CaptureFixture[str]
) -> None:
    server.fail_next(200, {"status": "\x1b[2Jevil \x9b31m"}, path="/api/pull")
    with pytest.raises(mellea_api.BackendUnavailableError, match="broke off"):
        start("phi4:14b", pull=True)
    shown = capfd.readouterr().err
    assert "pulling" in shown
    assert not {"\x1b", "\x9b"} & set(shown)


def test_a_pull_that_fails_is_an_error_and_no_session(server: OllamaServer) -> None:
    server.pull_fails = True
    with pytest.raises(mellea_api.ProviderError, match="does not exist") as caught:
        start("nix", pull=True)
    assert caught.value.model_id == "nix"
    assert caught.value.next_step


def test_a_pull_that_breaks_off_is_an_error(server: OllamaServer) -> None:
    """Also where it looks like its end."""
    headers = {"content-length": "4096"}
    server.fail_next(200, {"status": "pulling manifest"}, headers, path="/api/pull", reset=True)
    with pytest.raises(mellea_api.BackendUnavailableError):
        start("phi4:14b", pull=True)
    server.fail_next(200, {"status": "pulling manifest"}, path="/api/pull")
    with pytest.raises(mellea_api.BackendUnavailableError, match="broke off"):
        start("phi4:14b", pull=True)


@pytest.mark.parametrize("value", ["yes", 1, None])
def test_pull_is_yes_or_no(server: OllamaServer, value: Any) -> None:
    with pytest.raises(mellea_api.ConfigurationError, match="pull"):
        start("phi4:14b", pull=value)
    assert server.requests == []


# --- what the provider refuses -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, '"tiny" does not support thinking', mellea_api.RequestRefusedError),
        (400, "invalid option", mellea_api.RequestRefusedError),
        (401, "unauthorized", mellea_api.CredentialError),
        (403, "forbidden", mellea_api.PermissionDeniedError),
        (404, "model 'tiny' not found", mellea_api.ModelNotFoundError),
        (404, "404 page not found", mellea_api.RequestRefusedError),
        (429, "busy", mellea_api.RateLimitError),
        (500, "llama runner process has terminated", mellea_api.BackendUnavailableError),
        (503, "server busy", mellea_api.BackendUnavailableError),
        (400, "the prompt exceeds the context window", mellea_api.ContextLengthError),
    ],
)
def test_each_refusal_is_its_own_error(
    server: OllamaServer, status: int, message: str, kind: type[mellea_api.ProviderError]
) -> None:
    session = start()
    server.fail_next(status, {"error": message}, times=3)
    for call in (
        lambda: session.chat("Hello!"),
        lambda: list(stream_chat(session, "Hello!")),
        lambda: raw(session),
    ):
        with pytest.raises(kind) as caught:
            call()
        assert type(caught.value) is kind
        assert caught.value.status == status
        assert message in str(caught.value)
        assert caught.value.__cause__ is not None
    assert session.chat("Hello!").content == "4"


def test_an_error_inside_a_stream_is_an_error() -> None:
    """It comes with status 200, after text."""

    class Breaks(OllamaServer):
        def handle(self, request: Any) -> Any:
            good = super().handle(request)
            if request.path == "/api/chat" and good.chunks is not None:
                good.chunks = [next(iter(good.chunks)), '{"error": "the runner died"}\n']
            return good

    with Breaks(text="one two") as found:
        session = start(base_url=found.base_url)
        with pytest.raises(mellea_api.BackendUnavailableError, match="the runner died"):
            list(stream_chat(session, "Hello!"))


# --- models ------------------------------------------------------------------------------------


def test_models_are_the_servers_and_labelled_so(server: OllamaServer) -> None:
    server.add_model("granite4:micro")
    models = mellea_api.list_models("ollama")
    assert [model.id for model in models] == ["tiny:latest", "granite4:micro"]
    assert {model.source for model in models} == {"live"}
    assert [model.id for model in models if model.default] == ["granite4:micro"]
    assert {model.size for model in models} == {"202.43K"}


def test_a_server_without_models_has_an_empty_list(server: OllamaServer) -> None:
    server.models.clear()
    assert mellea_api.list_models("ollama") == []


def test_the_catalogue_needs_nobody(server: OllamaServer) -> None:
    models = mellea_api.list_models("ollama", freshness="offline")
    assert [model.id for model in models] == [
        "granite4:micro",
        "granite3.3:8b",
        "llama3.2:3b",
        "llama3.3:70b",
        "mistral-small:latest",
        "phi4:14b",
        "qwen3:8b",
    ]
    assert [model.size for model in models] == ["3B", "8B", "3B", "70B", "24B", "14B", "8B"]
    assert {model.source for model in models} == {"catalogue"}
    assert [model.default for model in models] == [True, *[False] * 6]
    assert server.requests == []


def test_no_credentials_are_needed(server: OllamaServer) -> None:
    report = mellea_api.validate_credentials("ollama")
    assert (report.status, report.usable, report.checked) == ("not-needed", True, False)
    assert [(field.name, field.status) for field in report.fields] == [("api_key", "not-needed")]
    assert server.requests == []


def test_an_argument_that_a_list_of_models_would_pass_over_is_refused(server: OllamaServer) -> None:
    with pytest.raises(mellea_api.ConfigurationError, match="no argument 'modle'"):
        mellea_api.list_models("ollama", modle="tiny")
    assert server.requests == []
    assert mellea_api.list_models("ollama", pull=False)  # it is for sessions
