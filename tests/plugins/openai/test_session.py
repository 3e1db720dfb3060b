"""Opening a session: credentials, address and model, on the wire; and what each refusal becomes."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from support import faults
from support.openai_schema import error_body
from support.openai_server import OpenAIServer

pytest.importorskip("mellea_api_openai")

import mellea_api
import mellea_api.plugin
from mellea_api import stream_chat
from mellea_api_openai.models import CATALOGUE


@pytest.fixture
def server(openai_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> OpenAIServer:
    """OpenAI, where the SDK looks for it."""
    monkeypatch.setenv("OPENAI_BASE_URL", openai_server.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-good")
    return openai_server


def start(model: Any = None, **arguments: Any) -> Any:
    return mellea_api.start_session("openai", model, **({"max_retries": 0} | arguments))


def asked(server: OpenAIServer) -> list[Any]:
    """The requests but Mellea's own, for the version of a vLLM, which has no key."""
    return [found for found in server.requests if found.path != "/version"]


def raw(session: Any) -> Any:
    from mellea.core import CBlock

    return asyncio.run(session.backend.generate_from_raw([CBlock("x")], ctx=session.ctx))


# --- address and credentials -------------------------------------------------------------------


def test_address_and_key_are_the_sdks_variables(server: OpenAIServer) -> None:
    assert start().chat("Hello!").content == "4"
    assert {found.headers.get("authorization") for found in asked(server)} == {"Bearer sk-good"}
    assert all("openai-organization" not in found.headers for found in server.requests)
    assert all("openai-project" not in found.headers for found in server.requests)


@pytest.mark.parametrize("variable", ["OPENAI_PROJECT", "OPENAI_PROJECT_ID"])
def test_organization_and_project_are_sent_with_every_request(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    monkeypatch.setenv(variable, "proj-1")
    session = start("gpt-3.5-turbo-instruct")
    session.chat("Hello!")
    raw(session)
    mellea_api.list_models("openai")
    found = asked(server)
    assert len(found) >= 4
    assert {one.headers.get("openai-organization") for one in found} == {"org-1"}
    assert {one.headers.get("openai-project") for one in found} == {"proj-1"}


@pytest.mark.parametrize("value", ["", "  "])
def test_an_organization_or_project_that_is_blank_is_none(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """The SDK would send what the variable holds, and cannot send white space."""
    for variable in ("OPENAI_ORG_ID", "OPENAI_PROJECT", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(variable, value)
    session = start("gpt-3.5-turbo-instruct")
    session.chat("Hello!")
    raw(session)
    assert "".join(stream_chat(session, "Hello!")) == "4"
    mellea_api.list_models("openai")
    for found in asked(server):
        assert not {"openai-organization", "openai-project"} & set(found.headers)


def test_arguments_win_over_the_environment(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-bad")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    session = start(api_key="sk-good", organization="org-2", base_url=server.base_url)
    session.chat("Hello!")
    assert {one.headers["authorization"] for one in asked(server)} == {"Bearer sk-good"}
    assert server.last.headers["openai-organization"] == "org-2"


@pytest.mark.parametrize("key", [None, "", "  "])
def test_without_a_key_openai_is_not_asked(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    if key is None:
        monkeypatch.delenv("OPENAI_API_KEY")
    else:
        monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(mellea_api.CredentialError, match="OPENAI_API_KEY") as caught:
        start(server="official")
    error = caught.value
    assert (error.field, error.variables) == ("api_key", ("OPENAI_API_KEY",))
    assert "api_key=" in error.next_step
    assert isinstance(error, PermissionError)
    with pytest.raises(mellea_api.CredentialError, match="OPENAI_API_KEY"):
        mellea_api.list_models("openai", server="official")
    assert server.requests == []
    report = mellea_api.validate_credentials("openai", server="official")
    assert (report.status, report.usable) == ("missing", False)
    assert "OPENAI_API_KEY" in report.message


def test_a_compatible_server_may_need_no_key(compatible_server: OpenAIServer) -> None:
    session = start("tiny", base_url=compatible_server.base_url)
    assert session.chat("Hello!").content == "4"
    report = mellea_api.validate_credentials("openai", base_url=compatible_server.base_url)
    assert report.usable


@pytest.mark.parametrize(
    "way",
    [
        start,
        lambda: start(check=False).chat("Hello!"),
        lambda: mellea_api.list_models("openai"),
    ],
    ids=["session", "call", "models"],
)
def test_a_compatible_server_that_wants_a_key_is_not_said_to_have_rejected_one(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch, way: Any
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(mellea_api.CredentialError, match="asks for a key") as caught:
        way()
    assert (caught.value.status, caught.value.field) == (401, "api_key")
    assert caught.value.next_step == "Set OPENAI_API_KEY, or pass api_key=."
    assert "no-key" not in str(caught.value)  # what the SDK is given where it insists on one


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1:8000/v1", "does not begin with http:// or https://"),
        ("api.example.com", "does not begin with http:// or https://"),
        ("'http://127.0.0.1:8000/v1'", "does not begin with http:// or https://"),
        ("http://", "names no host"),
        ("http:///v1", "names no host"),
    ],
)
def test_an_address_that_is_no_url_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, address: str, why: str
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    with pytest.raises(mellea_api.ConfigurationError, match=why) as caught:
        start(api_key="sk-good")
    assert caught.value.variable == "OPENAI_BASE_URL"
    monkeypatch.delenv("OPENAI_BASE_URL")
    with pytest.raises(mellea_api.ConfigurationError, match=f"base_url=.*{why}"):
        start(api_key="sk-good", base_url=address)


@pytest.mark.parametrize("value", ["", " "])
def test_an_empty_variable_names_no_server(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """To the SDK it is an address, which it then cannot call."""
    from mellea_api._openai_protocol import clients

    monkeypatch.setenv("OPENAI_BASE_URL", value)
    target = mellea_api.shared_registry().backend("openai").target()
    request = mellea_api.plugin.ModelsRequest(target=target)
    client = clients.client(clients.arguments(request))
    assert str(client.base_url) == "https://api.openai.com/v1/"


def test_a_model_identifier_is_named_as_the_server_names_models(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On OpenAI by OpenAI's name alone; on another server by that of Hugging Face, if need be."""
    from mellea.backends.model_ids import ModelIdentifier

    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    elsewhere = {"base_url": "http://127.0.0.1:8000/v1"}
    without = ModelIdentifier(hf_model_name="org/model", ollama_name="model:1b")
    named = ModelIdentifier(hf_model_name="org/model", openai_name="gpt-4o")

    def name(identifier: Any, **where: Any) -> str:
        request = mellea_api.session_request("openai", identifier, **where)
        return request.target.model_id

    assert name(without, **elsewhere) == "org/model"
    assert name(without, server="compatible") == "org/model"
    assert name(named, **elsewhere) == name(named) == "gpt-4o"
    for where in ({}, {**elsewhere, "server": "official"}):
        with pytest.raises(mellea_api.ModelNotFoundError, match="openai_name is not set"):
            name(without, **where)
    with pytest.raises(mellea_api.ModelNotFoundError, match="no name for the model"):
        name(ModelIdentifier(ollama_name="model:1b"), **elsewhere)


def test_where_the_path_is_wrong_the_address_is_to_be_looked_at(server: OpenAIServer) -> None:
    """As of one that lacks the /v1."""
    session = start(base_url=server.base_url.removesuffix("/v1"))
    for call in (session.chat, lambda text: "".join(stream_chat(session, text))):
        with pytest.raises(mellea_api.RequestRefusedError, match="404") as caught:
            call("Hello!")
        assert "/v1" in caught.value.next_step


def test_a_compatible_server_that_needs_one_says_so(server: OpenAIServer) -> None:
    with pytest.raises(mellea_api.CredentialError, match="OPENAI_API_KEY") as caught:
        start(api_key="sk-wrong")
    assert caught.value.status == 401


def test_white_space_around_a_key_is_not_sent(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a file or a shell leaves it."""
    monkeypatch.setenv("OPENAI_API_KEY", " sk-good\n")
    assert start().chat("Hello!").content == "4"


@pytest.mark.parametrize("way", ["session", "unchecked chat", "unchecked stream", "raw", "models"])
def test_a_rejected_key_is_a_credential_error_on_every_way(server: OpenAIServer, way: str) -> None:
    def attempt() -> Any:
        if way == "session":
            return start(api_key="sk-wrong")
        if way == "models":
            return mellea_api.list_models("openai", api_key="sk-wrong")
        session = start(api_key="sk-wrong", check=False)
        if way == "raw":
            return raw(session)
        if way == "unchecked stream":
            return list(stream_chat(session, "Hello!"))
        return session.chat("Hello!")

    with pytest.raises(mellea_api.CredentialError) as caught:
        attempt()
    error = caught.value
    assert (error.status, error.field) == (401, "api_key")
    assert "OPENAI_API_KEY" in error.next_step
    assert "platform.openai.com" in error.next_step
    assert "sk-wrong" not in str(error)


# --- the model ---------------------------------------------------------------------------------


def test_a_model_that_openai_does_not_have_is_found_out_at_once(server: OpenAIServer) -> None:
    with pytest.raises(mellea_api.ModelNotFoundError, match="gpt-nix") as caught:
        start("gpt-nix", server="official")
    assert caught.value.status == 404
    assert "mellea-api models openai" in caught.value.next_step
    assert isinstance(caught.value, LookupError)


def test_a_compatible_server_says_which_it_has(openai_server: OpenAIServer) -> None:
    with pytest.raises(mellea_api.ModelNotFoundError, match="gpt-4o") as caught:
        start("gpt-4oo", base_url=openai_server.base_url, api_key="sk-good")
    assert caught.value.known is not None
    assert caught.value.known[0] == "gpt-4o"
    assert "check=False" in caught.value.next_step


def test_unchecked_it_is_found_out_by_the_first_call(server: OpenAIServer) -> None:
    session = start("gpt-nix", check=False)
    assert not [one for one in server.requests if one.path.startswith("/v1/models")]
    with pytest.raises(mellea_api.ModelNotFoundError):
        session.chat("Hello!")
    with pytest.raises(mellea_api.ModelNotFoundError):
        list(stream_chat(session, "Hello!"))


def test_a_chat_model_at_the_raw_endpoint_is_not_called_missing(server: OpenAIServer) -> None:
    with pytest.raises(mellea_api.RequestRefusedError, match="chat model"):
        raw(start("gpt-4o"))


def test_a_server_of_one_model_may_be_called_by_any_name(
    compatible_server: OpenAIServer, caplog: pytest.LogCaptureFixture
) -> None:
    """As llama.cpp may; what it answers with is said."""
    caplog.set_level("WARNING", "mellea_api")
    start("other", base_url=compatible_server.base_url)
    assert "tiny" in caplog.text
    assert "other" in caplog.text


def test_a_server_without_a_list_of_models_is_used_all_the_same() -> None:
    class NoModels(OpenAIServer):
        def handle(self, request: Any) -> Any:
            if request.path.startswith("/v1/models"):
                return faults.status(404, {"detail": "Not Found"}).handle(request)
            return super().handle(request)

    with NoModels(api_key=None, strict=False) as found:
        assert start("tiny", base_url=found.base_url).chat("Hello!").content == "4"


def test_check_is_yes_or_no(server: OpenAIServer) -> None:
    with pytest.raises(mellea_api.ConfigurationError, match="check"):
        start(check="never")
    with pytest.raises(mellea_api.ConfigurationError, match="max_retries"):
        start(max_retrys=0)


# --- what the provider refuses -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "message", "kind"),
    [
        (401, "invalid_api_key", "Incorrect API key.", mellea_api.CredentialError),
        (403, None, "You are not allowed.", mellea_api.PermissionDeniedError),
        (404, "model_not_found", "It is gone.", mellea_api.ModelNotFoundError),
        (404, None, "The model `x` does not exist.", mellea_api.ModelNotFoundError),
        (404, None, "Not Found", mellea_api.RequestRefusedError),
        (408, None, "Slow.", mellea_api.RequestTimeoutError),
        (429, "rate_limit_exceeded", "Slow down.", mellea_api.RateLimitError),
        (429, "insufficient_quota", "You exceeded your quota.", mellea_api.RateLimitError),
        (400, "context_length_exceeded", "Too long.", mellea_api.ContextLengthError),
        (400, None, "maximum context length is 8", mellea_api.ContextLengthError),
        (400, "content_filter", "No.", mellea_api.ContentRefusedError),
        (400, "content_policy_violation", "No.", mellea_api.ContentRefusedError),
        (400, "unsupported_value", "Bad temperature.", mellea_api.RequestRefusedError),
        (413, None, "Too large.", mellea_api.ContextLengthError),
        (422, None, "Unprocessable.", mellea_api.RequestRefusedError),
        (500, None, "Oops.", mellea_api.BackendUnavailableError),
        (503, None, "Overloaded.", mellea_api.BackendUnavailableError),
        (504, None, "Late.", mellea_api.RequestTimeoutError),
    ],
)
def test_each_refusal_is_its_own_error(
    server: OpenAIServer,
    status: int,
    code: str | None,
    message: str,
    kind: type[mellea_api.ProviderError],
) -> None:
    session = start()
    server.fail_next(status, error_body(message, None, code, "an_error"), times=3)
    for call in (
        lambda: session.chat("Hello!"),
        lambda: list(stream_chat(session, "Hello!")),
        lambda: raw(session),
    ):
        with pytest.raises(kind) as caught:
            call()
        assert type(caught.value) is kind
        assert caught.value.status in (status, 404)
        assert caught.value.backend == "openai"
        assert message.rstrip(".") in str(caught.value)
        assert caught.value.__cause__ is not None
    assert session.chat("Hello!").content == "4"


def test_a_rate_limit_says_how_long_to_wait(server: OpenAIServer) -> None:
    session = start()
    server.fail_next(429, headers={"retry-after": "7"})
    with pytest.raises(mellea_api.RateLimitError, match="7 s") as caught:
        session.chat("Hello!")
    assert caught.value.retry_after == 7.0
    server.fail_next(429, headers={"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"})
    with pytest.raises(mellea_api.RateLimitError) as caught:
        session.chat("Hello!")
    assert caught.value.retry_after is None or caught.value.retry_after >= 0


def test_an_error_inside_a_stream_is_an_error() -> None:
    """It comes with status 200, after text."""

    class Breaks(OpenAIServer):
        def handle(self, request: Any) -> Any:
            if not request.path.endswith("/chat/completions"):
                return super().handle(request)
            good = super().handle(request)
            bad = 'data: {"error": {"message": "The engine died.", "code": 500}}\n\n'
            good.chunks = [next(iter(good.chunks)), bad]
            return good

    with Breaks(text="one two") as found:
        session = start("gpt-4o", base_url=found.base_url, api_key="sk-good")
        with pytest.raises(mellea_api.BackendUnavailableError, match="The engine died"):
            list(stream_chat(session, "Hello!"))
        with pytest.raises(mellea_api.BackendUnavailableError, match="The engine died"):
            session.chat("Hello!", model_options={"stream": True})


@pytest.mark.parametrize("role", ['"role": null', '"refusal": null'])
def test_a_server_that_does_not_say_whose_the_answer_is_says_the_assistants(role: str) -> None:
    """As some that are compatible with OpenAI's: without it, Mellea reads no answer."""

    class Roleless(OpenAIServer):
        def handle(self, request: Any) -> Any:
            found = super().handle(request)
            if found.chunks is not None:
                found.chunks = [without(piece) for piece in found.chunks]
            elif request.path.endswith("/chat/completions"):
                found.body = without(json.dumps(found.json)).encode()
                found.json = None
            return found

    def without(text: Any) -> Any:
        return re.sub(r'"role":\s*"assistant"', role, text) if isinstance(text, str) else text

    with Roleless(text="one two", api_key=None) as found:
        session = start("gpt-4o", base_url=found.base_url)
        assert "".join(stream_chat(session, "Hello!")) == "one two"
        assert str(session.instruct("Hello!", model_options={"stream": True})) == "one two"
        assert session.chat("Hello!").content == "one two"
        assert str(session.instruct("Hello!")) == "one two"


# --- models ------------------------------------------------------------------------------------


def test_models_are_the_servers_and_labelled_so(server: OpenAIServer) -> None:
    server.models.append("ft:gpt-4o:mine")
    models = mellea_api.list_models("openai")
    assert {model.id for model in models} == set(server.models)
    assert {model.source for model in models} == {"live"}
    assert [model.id for model in models if model.default] == ["gpt-5.4-mini"]
    assert next(model for model in models if model.id == "gpt-6-luna").description


def test_a_server_without_models_has_an_empty_list() -> None:
    with OpenAIServer(models=(), api_key=None) as found:
        assert mellea_api.list_models("openai", base_url=found.base_url) == []


def test_the_catalogue_needs_nobody(server: OpenAIServer) -> None:
    models = mellea_api.list_models("openai", freshness="offline")
    assert [model.id for model in models] == [model.id for model in CATALOGUE]
    assert {model.source for model in models} == {"catalogue"}
    assert [model.default for model in models] == [True, False, False, False]
    assert server.requests == []


# --- options, by server and model --------------------------------------------------------------

WIDER = {"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1}


def test_a_compatible_server_gets_the_wider_options(compatible_server: OpenAIServer) -> None:
    session = start("tiny", base_url=compatible_server.base_url, model_options=WIDER)
    session.chat("Hello!")
    list(stream_chat(session, "Hello!"))
    for found in compatible_server.calls("/v1/chat/completions"):
        assert {name: found.json.get(name) for name in WIDER} == WIDER
    assert compatible_server.warnings == compatible_server.violations == []


def test_openai_does_not_and_that_is_said(
    server: OpenAIServer, caplog: pytest.LogCaptureFixture
) -> None:
    session = start(server="official", model_options=WIDER)
    assert session.chat("Hello!").content == "4"
    assert not set(WIDER) & set(server.last.json)
    report = mellea_api.options_report(session)
    assert report is not None
    for name in WIDER:
        decision = report.decision(name)
        assert decision is not None
        assert decision.outcome == "dropped"
        assert decision.reason
        assert name in caplog.text
    with pytest.raises(mellea_api.OptionError, match="top_k"):
        start(server="official", model_options=WIDER, unsupported="error")


EVERYTHING = {
    "temperature": 0.5,
    "top_p": 0.5,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.5,
    "stop": ["x"],
    "logprobs": True,
    "top_logprobs": 2,
    "seed": 7,
    "max_tokens": 9,
}


@pytest.mark.parametrize(
    ("model", "thinking", "dropped"),
    [
        ("gpt-4o", None, set()),
        ("gpt-4.1", "low", {"thinking"}),
        ("o3", None, set(EVERYTHING) - {"seed", "max_tokens"}),
        ("o3", "low", set(EVERYTHING) - {"seed", "max_tokens"}),
        ("gpt-5", "minimal", set(EVERYTHING) - {"seed", "max_tokens"}),
        ("gpt-5-mini", "none", {*EVERYTHING, "thinking"} - {"seed", "max_tokens"}),
        ("gpt-5.1", "none", {"presence_penalty", "frequency_penalty", "stop"}),
        ("gpt-5.1", "high", set(EVERYTHING) - {"seed", "max_tokens"}),
        ("gpt-5.2", "xhigh", set(EVERYTHING) - {"seed", "max_tokens"}),
    ],
)
def test_what_a_family_refuses_is_dropped_with_a_report_and_the_call_succeeds(
    server: OpenAIServer, model: str, thinking: str | None, dropped: set[str]
) -> None:
    options = EVERYTHING if thinking is None else EVERYTHING | {"thinking": thinking}
    session = start(model, server="official", model_options=options)
    assert session.chat("Hello!").content == "4"
    sent = server.last.json
    report = mellea_api.options_report(session)
    assert report is not None
    outcomes = {found.name: found for found in report.decisions}
    assert {name for name, found in outcomes.items() if found.outcome == "dropped"} == dropped
    assert all(outcomes[name].reason for name in dropped)
    assert set(EVERYTHING) - dropped - {"max_tokens"} <= set(sent)
    assert not (dropped - {"thinking"}) & set(sent)
    assert sent["max_completion_tokens"] == 9
    effort = thinking if thinking and "thinking" not in dropped else None
    assert sent.get("reasoning_effort") == effort
    assert server.violations == []


def test_a_compatible_server_takes_them_all_whatever_the_models_name() -> None:
    """A family is OpenAI's; a model of that name elsewhere need not refuse anything."""
    with OpenAIServer(api_key=None, strict=False, models=("o3-mini",)) as found:
        session = start("o3-mini", base_url=found.base_url, model_options=EVERYTHING)
        session.chat("Hello!")
        assert set(EVERYTHING) - {"max_tokens"} <= set(found.last.json)


def test_an_argument_that_a_list_of_models_would_pass_over_is_refused(server: OpenAIServer) -> None:
    with pytest.raises(mellea_api.ConfigurationError, match="no argument 'limit'"):
        mellea_api.list_models("openai", limit=5)
    assert server.requests == []
    assert mellea_api.list_models("openai", check=False, max_retries=1)  # these are for sessions
