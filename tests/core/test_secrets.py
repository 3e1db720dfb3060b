"""A secret is shown nowhere, and masked where a text repeats it."""

from __future__ import annotations

import copy
import gc
import json
import logging
import pickle
import threading
import traceback
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fake_options import target

from mellea_api import MelleaAPIError, Secret, SessionRequest
from mellea_api._secrecy import secrets
from mellea_api._secrecy.logs import mask_sdk_records, register_sdk
from mellea_api._secrecy.secrets import redact
from mellea_api.plugin import CredentialRequest, ModelsRequest

TEXT = "sk-not-for-anybody-0123456789"


@pytest.fixture
def secret() -> Secret:
    return Secret(f"  {TEXT}\n", source="argument")


def test_a_secret_is_revealed_only_when_asked_for(secret: Secret) -> None:
    assert secret.reveal() == TEXT
    assert secret.hint == "…6789"
    assert Secret("short", source="x").hint == ""
    assert bool(secret)
    assert not Secret("  ", source="x")


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        "{}".format,
        "{!r}".format,
        "{:>40}".format,
        lambda secret: f"{secret}",
        lambda secret: "%s %r" % (secret, secret),  # noqa: UP031 - one of the ways
        lambda secret: str([secret, {"key": secret}, (secret,)]),
        lambda secret: str(ValueError(secret)),
    ],
)
def test_no_way_of_showing_shows_it(secret: Secret, show: Any) -> None:
    assert TEXT not in show(secret)
    assert "[secret]" in show(secret)


def test_it_is_in_no_log_record(secret: Secret, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("some.program").warning("the key is %s %r", secret, {"key": secret})
    assert TEXT not in caplog.text


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_it_does_not_pickle_and_says_what_to_do(secret: Secret, protocol: int) -> None:
    with pytest.raises(TypeError, match="Set the environment variable") as caught:
        pickle.dumps({"key": [secret]}, protocol)
    assert TEXT not in str(caught.value)


def test_it_is_no_json_and_has_no_attributes_to_list(secret: Secret) -> None:
    with pytest.raises(TypeError):
        json.dumps(secret)
    assert not hasattr(secret, "__dict__")


def test_it_copies_as_itself(secret: Secret) -> None:
    assert copy.copy(secret) is secret
    assert copy.deepcopy([secret])[0] is secret


def test_it_equals_only_a_secret_with_the_same_text(secret: Secret) -> None:
    assert secret == Secret(TEXT, source="elsewhere")
    assert secret != Secret("other-text", source="argument")
    assert secret != TEXT
    assert hash(secret) != hash(TEXT)


@pytest.mark.parametrize("value", [None, 3, b"sk-bytes", ["a"]])
def test_it_is_text(value: Any) -> None:
    with pytest.raises(TypeError, match="a secret is text"):
        Secret(value, source="argument")


@pytest.mark.parametrize("kind", [SessionRequest, ModelsRequest, CredentialRequest])
def test_requests_do_not_show_it(secret: Secret, kind: Any) -> None:
    request = kind(target=target(), credentials={"api_key": secret})
    assert TEXT not in repr(request)
    assert TEXT not in str(attrs.asdict(request))


# --- redaction ---------------------------------------------------------------------------------


@given(
    st.text(alphabet=st.characters(codec="ascii", exclude_characters=" []"), min_size=8).map(
        str.strip
    ),
    st.text(),
    st.text(),
)
def test_a_living_secret_is_masked_in_any_text(text: str, before: str, after: str) -> None:
    if len(text) < 8 or text in "[secret]":
        return
    secret = Secret(text, source="argument")
    assert secret.reveal() not in redact(f"{before}{text}{after}").replace("[secret]", "\0")


def test_a_secret_is_masked_as_long_as_any_object_with_its_text_lives() -> None:
    one, other = Secret(TEXT, source="argument"), Secret(TEXT, source="environment variable X")
    del one
    gc.collect()
    assert redact(f"key {TEXT}") == "key [secret]"
    del other
    gc.collect()
    assert redact(f"key {TEXT}") == f"key {TEXT}"


def test_the_longer_of_two_secrets_is_masked_as_a_whole() -> None:
    kept = [Secret("abcdefgh", source="x"), Secret("abcdefghijkl", source="y")]
    assert redact("abcdefghijkl abcdefgh") == "[secret] [secret]"
    del kept


def test_a_very_short_secret_does_not_destroy_messages() -> None:
    kept = Secret("a", source="argument")
    assert redact("a backend") == "a backend"
    del kept


def test_secrets_come_and_go_while_others_are_masked() -> None:
    stop = threading.Event()
    failures: list[BaseException] = []

    def churn() -> None:
        try:
            while not stop.is_set():
                for number in range(50):
                    Secret(f"secret-number-{number}", source="argument")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=churn) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(300):
        redact("some text")
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures


def test_an_error_that_a_finalizer_makes_in_the_middle_of_it_holds_up_nobody(
    secret: Secret,
) -> None:
    """The garbage collector may run one wherever something is made, also while secrets are."""
    made: list[str] = []

    def make() -> None:
        with secrets._live_lock:
            Secret("sk-another-one", source="a finalizer")
            made.append(str(MelleaAPIError(secret.reveal(), next_step="Nothing.")))

    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    thread.join(20)
    assert made == ["[secret] Nothing."]


def test_what_is_kept_beside_secrets_and_is_none_is_not_masked() -> None:
    project = Secret("project-4711", source="environment variable PROJECT", masked=False)
    assert redact("no project-4711 here") == "no project-4711 here"
    assert project.reveal() == "project-4711"


def test_a_word_that_a_key_stands_for_does_not_vanish_from_messages() -> None:
    """A server that wants no key is often given its own name."""
    key = Secret("ollama", source="environment variable OPENAI_API_KEY")
    assert redact("the ollama server") == "the ollama server"
    assert key


@pytest.mark.parametrize("name", ["httpx", "httpcore.http11", "openai._base_client", "mellea_api"])
def test_no_record_of_an_sdk_shows_a_living_secret(
    caplog: pytest.LogCaptureFixture, name: str
) -> None:
    secret = Secret("logged-secret-0123456789", source="a test")
    sdk = logging.getLogger(name)
    register_sdk("mellea_api_openai", ["openai"])
    mask_sdk_records()
    with caplog.at_level(logging.DEBUG, name):
        sdk.debug("headers: %r", {"x-key": secret.reveal()})
        sdk.info("GET %s", "http://me:password@127.0.0.1/v1")
        sdk.info("nothing %s", "secret")
    assert [record.getMessage() for record in caplog.records] == [
        "headers: {'x-key': '[secret]'}",
        "GET http://[secret]@127.0.0.1/v1",
        "nothing secret",
    ]
    assert secret.reveal() not in repr([vars(record) for record in caplog.records])


def test_an_exception_on_a_record_of_an_sdk_is_text_and_the_sdk_keeps_its_object(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Some handlers print the variables of its frames."""
    secret = Secret("logged-secret-0123456789", source="a test")
    sdk = logging.getLogger("openai._base_client")
    register_sdk("mellea_api_openai", ["openai"])
    mask_sdk_records()

    def send(key: str) -> None:
        raise ValueError(f"no answer to {key}")

    with caplog.at_level(logging.DEBUG, sdk.name):
        try:
            send(secret.reveal())
        except ValueError as error:
            sdk.debug("failed", exc_info=True)
            kept = traceback.format_exception(error)
    (record,) = caplog.records
    assert record.exc_info is None
    assert "in send" in (record.exc_text or "")
    assert "ValueError: no answer to [secret]" in (record.exc_text or "")
    assert secret.reveal() not in repr(vars(record))
    assert "in send" in kept[-2]


def test_the_records_of_a_third_partys_sdk_are_masked_once_its_plugin_names_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    secret = Secret("logged-secret-0123456789", source="a test")
    sdk = logging.getLogger("somebodys_sdk.transport")
    stranger = logging.getLogger("a_stranger")
    register_sdk("a_plugin_of_somebody", ["somebodys_sdk"])
    mask_sdk_records()
    with caplog.at_level(logging.DEBUG):
        sdk.info("sent %s", secret.reveal())
        stranger.info("sent %s", secret.reveal())
    said = {record.name: record.getMessage() for record in caplog.records}
    assert said == {
        "somebodys_sdk.transport": "sent [secret]",
        "a_stranger": f"sent {secret.reveal()}",
    }
