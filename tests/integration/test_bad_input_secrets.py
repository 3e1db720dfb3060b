"""A key is in no output of anything that fails, also where the provider repeats it."""

from __future__ import annotations

import asyncio
import base64
import logging
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from support import faults
from support.canary import CANARY, found_in, shown
from support.faults import FaultServer
from support.messages import Reply
from support.openai_schema import error_body
from support.openai_server import OpenAIServer

pytest.importorskip("mellea_api_ollama")
pytest.importorskip("mellea_api_openai")

import mellea_api
from mellea_api import stream_chat
from mellea_api.runtime import MelleaRuntime
from mellea_api.testing import Asked, LoopbackServer
from mellea_api.testing import Reply as Answer

TIMEOUT = 1.0


@pytest.fixture
def clean(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> Callable[[BaseException], None]:
    """Fails where the key was shown anywhere."""
    # Not the root: below httpx, each header of an answer is logged, whatever is in it.
    for name in ("mellea_api", "openai", "httpx", "ollama", "mellea", "asyncio"):
        caplog.set_level(logging.DEBUG, name)

    def check(error: BaseException) -> None:
        assert isinstance(error, mellea_api.MelleaAPIError), repr(error)
        found = dict(shown(error))
        captured = capfd.readouterr()
        found |= {"stdout": captured.out, "stderr": captured.err}
        for record in caplog.records:
            text = f"{record.getMessage()} {record.args!r} {record.exc_text or ''}"
            if record.exc_info and record.exc_info[1]:
                text += "".join(traceback.format_exception(record.exc_info[1]))
            found[f"log {record.name}"] = found.get(f"log {record.name}", "") + text
        assert [name for name, text in found.items() if found_in(text)] == []

    return check


def raw(session: Any) -> Any:
    from mellea.core import CBlock

    return asyncio.run(session.backend.generate_from_raw([CBlock("x")], ctx=session.ctx))


def start(url: str, key: Any = CANARY, **arguments: Any) -> Any:
    arguments = {"api_key": key, "max_retries": 0} | arguments
    return mellea_api.start_session("openai", "gpt-4o", base_url=url, **arguments)


def failing(url: str, key: Any = CANARY) -> dict[str, Callable[[], Any]]:
    """All that can be done with a server and fail."""

    def unchecked() -> Any:
        return start(url, key, check=False, timeout=TIMEOUT)

    def runtime(**more: Any) -> MelleaRuntime:
        return MelleaRuntime("openai", api_key=key, base_url=url, timeout=TIMEOUT, **more)

    return {
        "session": lambda: start(url, key, timeout=TIMEOUT),
        "models": lambda: mellea_api.list_models(
            "openai", api_key=key, base_url=url, timeout=TIMEOUT
        ),
        "chat": lambda: unchecked().chat("Hello!"),
        "instruct": lambda: unchecked().instruct("Hello!"),
        "achat": lambda: asyncio.run(unchecked().achat("Hello!")),
        "stream": lambda: list(stream_chat(unchecked(), "Hello!")),
        "raw": lambda: raw(unchecked()),
        "runtime": runtime,
        "runtime chat": lambda: runtime(check=False, max_retries=0).chat("Hello!"),
        "runtime stream": lambda: list(runtime(check=False, max_retries=0).stream("Hello!")),
    }


WAYS = tuple(failing(""))


@pytest.mark.parametrize("given", ["argument", "Secret", "environment"])
@pytest.mark.parametrize("way", WAYS)
def test_a_rejected_key_is_not_shown(
    monkeypatch: pytest.MonkeyPatch,
    clean: Callable[[BaseException], None],
    way: str,
    given: str,
) -> None:
    if given == "environment":
        monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    keys = {"argument": CANARY, "Secret": mellea_api.Secret(CANARY, source="a test")}
    with OpenAIServer(echo_key=True) as server:
        with pytest.raises(mellea_api.CredentialError) as caught:
            failing(server.base_url, keys.pop(given, None))[way]()
        assert any(CANARY in found.headers.get("authorization", "") for found in server.requests)
    clean(caught.value)


def repeating(kind: str) -> FaultServer:
    """A server that repeats the key in whatever it answers."""
    bodies = {
        "html": lambda key: Reply(body=f"<html>{key}</html>".encode()),
        "text": lambda key: Reply(text=key),
        "json": lambda key: Reply(json={key: key}),
        "invalid json": lambda key: Reply(
            body=f'{{"a": {key}'.encode(), headers={"content-type": "application/json"}
        ),
        "400": lambda key: Reply(400, json=error_body(key, key, key, key)),
        "403": lambda key: Reply(403, json=error_body(key, key, key, key)),
        "404": lambda key: Reply(404, json=error_body(f"model {key} not found", None, None, "")),
        "429": lambda key: Reply(429, json={"error": key}, headers={"retry-after": "7"}),
        "500": lambda key: Reply(500, text=key),
        "header": lambda key: Reply(500, json={}, headers={"x-key": key}),
    }
    return FaultServer(
        lambda request: bodies[kind](
            request.headers.get("authorization", "Bearer ").removeprefix("Bearer ")
        )
    )


@pytest.mark.parametrize("way", ["session", "models", "chat", "stream", "raw"])
@pytest.mark.parametrize(
    "kind",
    ["html", "text", "json", "invalid json", "400", "403", "404", "429", "500", "header"],
)
def test_what_the_provider_repeats_is_masked(
    clean: Callable[[BaseException], None], kind: str, way: str
) -> None:
    with repeating(kind) as server:
        try:
            failing(server.base_url)[way]()
        except Exception as error:
            failure = error
        else:
            assert kind in ("403", "400", "404"), "it passed for an answer"
            assert way == "session"  # which goes on where the list of models is forbidden
            return
    clean(failure)


FAULTS = [
    *((fault, way) for fault in ("refused", "truncated_json", "status_500") for way in WAYS),
    *(("black_hole", way) for way in ("session", "models", "stream")),
]


@pytest.mark.parametrize(("fault", "way"), FAULTS)
def test_no_other_failure_shows_it(
    clean: Callable[[BaseException], None], fault: str, way: str
) -> None:
    with faults.named(fault) as url, pytest.raises(mellea_api.MelleaAPIError) as caught:
        failing(url)[way]()
    clean(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [
        {"model_options": {"temperature": 9}},
        {"frobnicate": 1},
        {"timeout": -1},
        {"context_type": "endless"},
        {"url": "http://127.0.0.1:port"},
        {"server": "mine"},
    ],
)
def test_no_bad_argument_beside_it_shows_it(
    clean: Callable[[BaseException], None], arguments: dict[str, Any]
) -> None:
    arguments = dict(arguments)
    with OpenAIServer(api_key=CANARY) as server, pytest.raises(mellea_api.MelleaAPIError) as caught:
        start(arguments.pop("url", server.base_url), **arguments)
    clean(caught.value)


def test_what_is_no_text_is_not_shown(clean: Callable[[BaseException], None]) -> None:
    with pytest.raises(mellea_api.ConfigurationError, match="api_key") as caught:
        start("http://127.0.0.1:9/v1", api_key=[CANARY])
    clean(caught.value)


def test_objects_that_hold_it_do_not_show_it(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """A good session, with everything logged that our loggers and Mellea's log."""
    caplog.set_level(logging.DEBUG)
    with OpenAIServer(api_key=CANARY) as server:
        runtime = MelleaRuntime("openai", base_url=server.base_url, api_key=CANARY)
        assert runtime.chat("Hello!") == "4"
        report = mellea_api.validate_credentials("openai", api_key=CANARY)
        backend = runtime.session.backend
        shown = [
            repr(runtime),
            str(runtime),
            repr(vars(runtime)),
            repr(backend),
            repr(vars(backend).get("_mellea_api")),
            repr(runtime.session),
            repr(report),
            repr(mellea_api.options_report(runtime.session)),
            caplog.text,
            *capfd.readouterr(),
        ]
        runtime.cleanup()
    assert [text for text in shown if CANARY in text] == []


def test_a_key_in_an_address_is_not_shown(clean: Callable[[BaseException], None]) -> None:
    """As some gateways want it."""
    password = CANARY.replace("/", "-")
    with faults.named("refused") as url:
        for backend, kind in (
            ("ollama", mellea_api.BackendUnavailableError),
            ("openai", mellea_api.BackendUnavailableError),
        ):
            with pytest.raises(kind) as caught:
                mellea_api.start_session(backend, base_url=url.replace("//", f"//user:{password}@"))
            clean(caught.value)
            assert password not in "".join(text for _, text in shown(caught.value))
    with pytest.raises(mellea_api.ConfigurationError) as wrong:
        mellea_api.start_session("ollama", base_url=f"http://user:{password}@127.0.0.1:port")
    assert password not in "".join(text for _, text in shown(wrong.value))


WRONG: dict[str, Callable[[], Any]] = {
    "base_url": lambda: mellea_api.start_session("openai", base_url="http://127.0.0.1:port"),
    "model_id": lambda: mellea_api.start_session("openai", 3),
    "OPENAI_BASE_URL": lambda: MelleaRuntime("openai"),
    "MELLEA_MODEL_OPTIONS": MelleaRuntime,
    "MELLEA_API_UNSUPPORTED": lambda: mellea_api.start_session("openai", "gpt-4o", check=False),
    "MELLEA_API_PREFER": mellea_api.refresh,
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_value_does_not_show_the_rest_of_the_environment(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    monkeypatch.setenv("DATABASE_URL", f"postgres:{CANARY}")
    if what.isupper():
        monkeypatch.setenv(what, "http://[")
    with pytest.raises(mellea_api.ConfigurationError, match=what) as caught:
        WRONG[what]()
    assert [name for name, text in shown(caught.value) if CANARY in text] == []


ADDRESSES: dict[str, Callable[[str], Any]] = {
    "a session": lambda url: mellea_api.start_session("openai", "gpt-4o", base_url=url),
    "a runtime": lambda url: MelleaRuntime("ollama", base_url=url),
    "a list": lambda url: mellea_api.list_models("openai", base_url=url),
    "options": lambda url: mellea_api.explain_options("openai", {}, base_url=url),
    "no server": lambda url: mellea_api.start_session("ngram", base_url=url),
}


@pytest.mark.parametrize("letter", "/?# \"'[")
@pytest.mark.parametrize("way", ADDRESSES)
def test_a_password_that_is_not_encoded_is_shown_nowhere(way: str, letter: str) -> None:
    """Nobody can tell where it ends, so that no server is called, and all before the @ is masked."""
    url = f"http://me:{letter}{CANARY}@127.0.0.1:1"
    with pytest.raises(mellea_api.ConfigurationError, match=r"127\.0\.0\.1:1") as caught:
        ADDRESSES[way](url)
    assert [name for name, text in shown(caught.value) if CANARY in text] == []
    report = mellea_api.check_readiness("openai", base_url=url)
    assert CANARY not in repr(report)


@pytest.mark.parametrize("url", ["http://{}/v1", "{}", "http://me:a@b@{}/v1", "http://{}/@cf/meta"])
def test_an_address_with_an_at_that_is_where_it_may_be_is_called(url: str) -> None:
    with faults.named("refused") as server:
        host = server.removeprefix("http://").partition("/")[0]
        with pytest.raises(mellea_api.BackendUnavailableError, match=host):
            mellea_api.start_session("ollama", base_url=url.format(host))


@pytest.mark.parametrize("url", ["http:/127.0.0.1:1", "https//127.0.0.1:1", "http:/me:x@h"])
def test_a_slash_that_is_missing_is_noticed(url: str) -> None:
    with pytest.raises(mellea_api.ConfigurationError, match="there is no ://"):
        mellea_api.start_session("ollama", base_url=url)


def test_a_key_in_the_query_of_an_address_is_not_shown(
    clean: Callable[[BaseException], None],
) -> None:
    """SDKs lose a query, or write the path behind it: the address is refused."""
    with faults.named("refused") as url:
        for backend in ("openai", "ollama"):
            with pytest.raises(
                mellea_api.ConfigurationError, match=r"api-version=7.*query"
            ) as wrong:
                mellea_api.start_session(
                    backend, base_url=f"{url}?api-version=7&api-key={CANARY}", api_key="x"
                )
            clean(wrong.value)
        session = start(url, "x", check=False, default_query={"api-key": CANARY})
        with pytest.raises(mellea_api.BackendUnavailableError) as caught:
            session.chat("Hello!")
        clean(caught.value)


@pytest.mark.parametrize("unknown", ["error", "pass"])
@pytest.mark.parametrize("options", [{"api_key": CANARY}, {"extra": {"api_key": CANARY}}])
@pytest.mark.parametrize("backend", ["ollama", "openai"])
def test_a_key_among_the_options_is_refused(
    backend: str, options: dict[str, Any], unknown: str
) -> None:
    """Reports show options, and a provider would find it in the JSON."""
    with pytest.raises(mellea_api.OptionError, match=r"api_key.* is a credential") as caught:
        mellea_api.start_session(backend, model_options=options, api_key="sk-x", unknown=unknown)
    assert not found_in(f"{caught.value} {caught.value!r} {caught.value.problems!r}")


SENT: dict[str, Callable[[str], dict[str, Any]]] = {
    "X-Api-Key": lambda key: {"X-Api-Key": key},
    "Authorization": lambda key: {"Authorization": f"Bearer {key}"},
    "a name that says nothing": lambda key: {"X-Team": key},
}


@pytest.mark.parametrize("name", SENT)
@pytest.mark.parametrize("backend", ["ollama", "openai"])
def test_a_key_in_a_header_is_not_shown_where_the_server_repeats_it(
    backend: str, name: str
) -> None:
    def repeat(asked: Asked) -> Answer:
        repeated = " ".join(value for _, value in asked.headers.items())
        return Answer(status=403, body={"error": {"message": f"no: {repeated}"}})

    key = "gateway-0123456789abcdef"  # and no secret by any other way
    # Ollama's backend takes no headers: it must not show what it refuses.
    setting = {"ollama": "headers", "openai": "default_headers"}[backend]

    def chat(url: str) -> None:
        given = {setting: SENT[name](key), "timeout": TIMEOUT}
        mellea_api.start_session(backend, "m", base_url=url, **given).chat("Hello!")

    with LoopbackServer(repeat) as server, pytest.raises(mellea_api.MelleaAPIError) as caught:
        chat(server.address)
    assert ("[secret]" in str(caught.value)) is (backend == "openai")
    assert not [where for where, text in shown(caught.value) if key in text]


def test_a_password_of_an_address_is_not_shown_where_the_server_repeats_it() -> None:
    password = "pa/ss-word-1234"
    told = base64.b64encode(f"me:{password}".encode()).decode()

    def repeat(asked: Asked) -> Answer:
        return Answer(status=403, body={"error": {"message": f"no: {password} {told}"}})

    with LoopbackServer(repeat) as server:
        url = server.address.replace("//", "//me:pa%2Fss-word-1234@")
        with pytest.raises(mellea_api.MelleaAPIError) as caught:
            mellea_api.list_models("openai", base_url=url)
    assert "no: [secret] [secret]" in str(caught.value)
    assert not [text for _, text in shown(caught.value) if password in text or told in text]
