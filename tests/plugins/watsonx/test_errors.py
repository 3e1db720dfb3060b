"""Whatever goes wrong ends in one typed error that says what to do next, and shows no secret."""

from __future__ import annotations

import json
import logging
import pickle
import time
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from support.http import Reply
from support.tunnel import Authority
from support.watsonx_server import (
    API_KEY,
    CHAT_PATH,
    GENERATION_PATH,
    PROJECT,
    SPECS_PATH,
    STREAM_PATH,
    TOKEN_PATH,
    WatsonxServer,
    error_body,
)
from support.watsonx_session import DEPRECATED, start, write

pytest.importorskip("mellea_api_watsonx", reason="mellea-api-watsonx is not installed")
pytest.importorskip("ibm_watsonx_ai", reason="the watsonx.ai SDK is not installed")
pytest.importorskip("trustme", reason="trustme, which makes certificates, is not installed")

import mellea_api
from mellea_api import stream_chat
from mellea_api._contract import errors

pytestmark = DEPRECATED

HTML = Reply(
    200, body=b"<!DOCTYPE html><html>Sign in</html>", headers={"content-type": "text/html"}
)
NOT_FOUND_PAGE = Reply(
    404, body=b"<!DOCTYPE html><html>Not found</html>", headers={"content-type": "text/html"}
)
PROJECT_PATH = f"/v2/projects/{PROJECT}"


def chat(session: Any) -> Any:
    return session.chat("?")


def stream(session: Any) -> Any:
    return list(stream_chat(session, "?"))


def raw(session: Any) -> Any:
    return write(session, "?")


WAYS: list[Any] = [
    pytest.param(chat, CHAT_PATH, id="chat"),
    pytest.param(stream, STREAM_PATH, id="stream"),
    pytest.param(raw, GENERATION_PATH, id="raw"),
]
Way = Callable[[Any], Any]


# ------------------------------------------------------------------------- opening a session


def test_a_bad_key_is_a_credential_error(watsonx: WatsonxServer) -> None:
    with pytest.raises(errors.CredentialError, match="could not be found") as caught:
        start(api_key="wrong-key-00112233445566")
    error = caught.value
    assert error.field == "api_key"
    assert "BXNIM0415E" in str(error)
    assert "WATSONX_API_KEY" in str(error)
    assert "https://cloud.ibm.com/iam/apikeys" in str(error)
    assert watsonx.paths() == [TOKEN_PATH]


def test_a_project_that_is_not_there_is_a_credential_error_that_names_it(
    watsonx: WatsonxServer,
) -> None:
    with pytest.raises(errors.CredentialError, match="WATSONX_PROJECT_ID") as caught:
        start(project_id="99999999-0000-4000-8000-000000000000")
    assert caught.value.field == "project_id"
    assert caught.value.variables == ("WATSONX_PROJECT_ID",)


def test_a_project_of_somebody_else_is_not_permitted(watsonx: WatsonxServer) -> None:
    watsonx.project_status = 403
    with pytest.raises(errors.PermissionDeniedError, match="WATSONX_PROJECT_ID") as caught:
        start()
    assert "Access control" in str(caught.value)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(429, errors.RateLimitError), (500, errors.BackendUnavailableError)],
)
def test_a_projects_service_in_trouble_is_no_wrong_project(
    watsonx: WatsonxServer, status: int, kind: type[Exception]
) -> None:
    watsonx.project_status = status
    with pytest.raises(kind):
        start()


@pytest.mark.parametrize("path", [TOKEN_PATH, PROJECT_PATH, SPECS_PATH])
def test_a_web_page_instead_of_an_answer_is_called_that(watsonx: WatsonxServer, path: str) -> None:
    watsonx.answers[path] = HTML
    with pytest.raises(errors.AnswerError):
        start()


@pytest.mark.parametrize("path", [TOKEN_PATH, PROJECT_PATH, SPECS_PATH])
def test_json_of_another_service_is_no_answer(watsonx: WatsonxServer, path: str) -> None:
    watsonx.answers[path] = Reply(json={"unexpected": []})
    with pytest.raises(errors.AnswerError):
        start()


@pytest.mark.parametrize("path", [TOKEN_PATH, PROJECT_PATH, SPECS_PATH])
def test_a_service_that_is_down_is_unavailable(watsonx: WatsonxServer, path: str) -> None:
    watsonx.answers[path] = Reply(503, text="upstream connect error")
    with pytest.raises((errors.BackendUnavailableError, errors.AnswerError)) as caught:
        start()
    assert path == PROJECT_PATH or isinstance(caught.value, errors.BackendUnavailableError)


def test_a_refused_proxy_is_unavailable_and_named(
    watsonx: WatsonxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    with pytest.raises(errors.BackendUnavailableError, match="HTTPS_PROXY"):
        start()


@pytest.mark.parametrize("status", [403, 407, 502])
def test_a_proxy_that_opens_no_tunnel_makes_it_unavailable(
    watsonx: WatsonxServer, status: int
) -> None:
    watsonx.refuse_tunnels = status
    with pytest.raises(errors.BackendUnavailableError):
        start()
    assert not watsonx.requests


def test_an_untrusted_certificate_ends_the_session_before_the_key_is_sent(
    watsonx: WatsonxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK by itself would go on unchecked: `GlobalHttpxSettings.verify = False`."""
    monkeypatch.delenv("WX_CLIENT_VERIFY_REQUESTS")
    with pytest.raises(errors.BackendUnavailableError, match="certificate"):
        start()
    assert not watsonx.requests
    from ibm_watsonx_ai._wrappers.httpx import GlobalHttpxSettings

    assert GlobalHttpxSettings.verify is not False


def test_certificates_are_taken_from_the_sdks_own_variable(
    watsonx: WatsonxServer, monkeypatch: pytest.MonkeyPatch, authority: Authority
) -> None:
    monkeypatch.setenv("WX_CLIENT_VERIFY_REQUESTS", "false")
    start().chat("?")
    monkeypatch.setenv("WX_CLIENT_VERIFY_REQUESTS", str(authority.path.with_name("missing.pem")))
    with pytest.raises(errors.ConfigurationError, match="WX_CLIENT_VERIFY_REQUESTS"):
        start()


def test_a_timeout_ends_the_opening_of_a_session(watsonx: WatsonxServer) -> None:
    watsonx.latency = 5
    began = time.monotonic()
    with pytest.raises(errors.RequestTimeoutError, match=r"within 0\.3 s"):
        start(timeout=0.3)
    assert time.monotonic() - began < 3


def test_models_cannot_be_listed_where_nobody_answers(watsonx: WatsonxServer) -> None:
    given = {"api_key": API_KEY, "project_id": PROJECT}
    watsonx.answers[SPECS_PATH] = Reply(500, json=error_body(500, "internal", "Oops"))
    with pytest.raises(errors.BackendUnavailableError, match="Oops"):
        mellea_api.list_models("watsonx", freshness="live", **given)
    watsonx.answers[SPECS_PATH] = Reply(json={"resources": [{"id": "no model"}]})
    with pytest.raises(errors.AnswerError, match="cannot be read"):
        mellea_api.list_models("watsonx", freshness="live", **given)


def test_a_web_site_is_no_cloud_pak_for_data(watsonx: WatsonxServer) -> None:
    watsonx.answers["/ml/wml_services/v2/version"] = NOT_FOUND_PAGE
    with pytest.raises(errors.AnswerError, match=r"https://www\.example\.com"):
        start(base_url="https://www.example.com", username="me")


def test_a_cloud_pak_for_data_that_is_down_is_unavailable(
    watsonx: WatsonxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    with pytest.raises(errors.BackendUnavailableError):
        start(base_url="https://cpd.example.com", username="me")


def test_govcloud_asks_for_a_consent(watsonx: WatsonxServer) -> None:
    with pytest.raises(errors.ConfigurationError, match="WATSONX_ACCEPT_GOV_ENV"):
        start(base_url="https://wxai.ibmforusgov.com")
    assert not watsonx.requests


# ------------------------------------------------------------------------------ calling a model


@pytest.mark.parametrize(("way", "path"), WAYS)
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, errors.CredentialError),
        (429, errors.RateLimitError),
        (500, errors.BackendUnavailableError),
        (503, errors.BackendUnavailableError),
        (504, errors.RequestTimeoutError),
    ],
)
def test_a_status_is_the_same_error_on_every_way(
    watsonx: WatsonxServer, way: Way, path: str, status: int, kind: type[errors.ProviderError]
) -> None:
    session = start(max_retries=0)
    watsonx.fail_next(status, path=path)
    with pytest.raises(kind) as caught:
        way(session)
    assert caught.value.status == status
    assert way(session)  # the session is none the worse


@pytest.mark.parametrize(("way", "path"), WAYS)
@pytest.mark.parametrize(
    ("status", "code", "message", "kind", "hint"),
    [
        (
            403,
            "no_associated_service_instance_error",
            f"project_id {PROJECT} is not associated with a WML instance",
            errors.PermissionDeniedError,
            "does not permit this",
        ),
        (
            403,
            "token_quota_reached",
            "Request of 1 token(s) from quota was rejected",
            errors.RateLimitError,
            "quota",
        ),
        (
            404,
            "model_not_supported",
            "Model 'x' is not supported",
            errors.ModelNotFoundError,
            "mellea-api models watsonx",
        ),
        (
            404,
            "model_no_support_for_function",
            "Model 'x' does not support function 'text_chat'",
            errors.RequestRefusedError,
            "does not support function",
        ),
        (
            400,
            "invalid_input_argument",
            "the number of input tokens 9000 cannot exceed the total tokens limit 8192",
            errors.ContextLengthError,
            "too long",
        ),
        (
            400,
            "invalid_request_entity",
            "max_tokens: json type error",
            errors.RequestRefusedError,
            "mellea-api options watsonx",
        ),
    ],
)
def test_what_watsonx_says_is_understood(
    watsonx: WatsonxServer,
    way: Way,
    path: str,
    status: int,
    code: str,
    message: str,
    kind: type[errors.ProviderError],
    hint: str,
) -> None:
    session = start(max_retries=0)
    watsonx.fail_next(status, json=error_body(status, code, message), path=path)
    with pytest.raises(kind) as caught:
        way(session)
    assert hint in str(caught.value)
    assert message.rstrip(".")[-20:] in str(caught.value)


def test_a_rate_limit_says_when_to_try_again(watsonx: WatsonxServer) -> None:
    session = start(max_retries=0)
    watsonx.fail_next(429, headers={"retry-after": "7"})
    with pytest.raises(errors.RateLimitError, match="in 7 s") as caught:
        session.chat("?")
    assert caught.value.retry_after == 7


@pytest.mark.parametrize(("way", "path"), WAYS)
def test_the_sdk_tries_again_where_it_is_told_to(
    watsonx: WatsonxServer, way: Way, path: str
) -> None:
    """Left alone, SDK 1.8.1 ends every second try of a chat with a RuntimeError."""
    session = start(max_retries=3, delay_time=0.01)
    watsonx.fail_next(429, times=2, path=path)
    assert way(session)
    assert len(watsonx.calls(path)) == 3


@pytest.mark.parametrize(("way", "path"), WAYS)
def test_a_web_page_instead_of_the_models_answer_is_called_that(
    watsonx: WatsonxServer, way: Way, path: str
) -> None:
    session = start(max_retries=0)
    for page in (HTML, NOT_FOUND_PAGE):
        watsonx.answers[path] = page
        with pytest.raises(errors.AnswerError):
            way(session)


@pytest.mark.parametrize(("way", "path"), WAYS)
def test_json_of_another_shape_is_no_answer_of_a_model(
    watsonx: WatsonxServer, way: Way, path: str
) -> None:
    session = start(max_retries=0)
    for body in ({"unexpected": []}, [], {"choices": [], "results": []}):
        watsonx.answers[path] = Reply(json=body)
        with pytest.raises(errors.AnswerError):
            way(session)


def test_an_error_in_the_middle_of_a_stream_is_an_error(watsonx: WatsonxServer) -> None:
    session = start(max_retries=0)
    failure = error_body(500, "downstream_request_failed", "the model went away")
    watsonx.answers[STREAM_PATH] = Reply(
        chunks=[
            'event: message\ndata: {"choices":[{"index":0,"delta":{"content":"The"}}]}\n\n',
            f"event: error\ndata: {json.dumps(failure)}\n\n",
        ],
        headers={"content-type": "text/event-stream"},
    )
    with pytest.raises(errors.BackendUnavailableError, match="the model went away"):
        stream(session)


def test_nonsense_in_the_middle_of_a_stream_is_an_error(watsonx: WatsonxServer) -> None:
    session = start(max_retries=0)
    watsonx.answers[STREAM_PATH] = Reply(
        chunks=["data: {not json\n\n"], headers={"content-type": "text/event-stream"}
    )
    with pytest.raises(errors.AnswerError):
        stream(session)


@pytest.mark.parametrize(("way", "path"), WAYS)
def test_a_connection_that_breaks_off_is_unavailable(
    watsonx: WatsonxServer, way: Way, path: str
) -> None:
    session = start(max_retries=0)
    watsonx.answers[path] = Reply(
        body=b'{"choices"', headers={"content-length": "1000"}, reset=True
    )
    with pytest.raises(errors.BackendUnavailableError):
        way(session)


@pytest.mark.parametrize(("way", "path"), WAYS)
def test_a_timeout_is_a_deadline_for_the_whole_call(
    watsonx: WatsonxServer, way: Way, path: str
) -> None:
    session = start(timeout=0.5)
    watsonx.latency = 3
    began = time.monotonic()
    with pytest.raises(errors.RequestTimeoutError):
        way(session)
    assert time.monotonic() - began < 2.5


# --------------------------------------------------------------------------------------- secrets


def test_a_secret_is_in_no_error_log_or_repr(
    watsonx: WatsonxServer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    canary = "canary-key-00aa11bb22cc33dd44ee55ff"
    watsonx.echo_key = True
    with caplog.at_level(logging.DEBUG):
        with pytest.raises(errors.CredentialError) as caught:
            start(api_key=canary)
        report = mellea_api.validate_credentials(
            "watsonx", api_key=canary, project_id=PROJECT, probe=True
        )
    shown = [
        str(caught.value),
        repr(caught.value),
        "".join(traceback.format_exception(caught.value)),
        str(report),
        caplog.text,
        *capfd.readouterr(),
    ]
    assert not [text for text in shown if canary in text]
    assert canary.encode() not in pickle.dumps(caught.value)


def test_a_working_session_keeps_the_key_to_itself(
    watsonx: WatsonxServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        session = start()
        session.chat("?")
    held = {name: str(value) for name, value in vars(session.backend).items()}
    assert API_KEY not in f"{held}{session!r}{session.backend!r}{caplog.text}"
    assert API_KEY not in str(vars(session.backend._creds))
