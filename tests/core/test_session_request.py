"""A session request pickles without its credentials, or says why it does not."""

from __future__ import annotations

import copy
import io
import pickle
import threading
import traceback
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from support.fake_options import DESCRIPTOR, target

from mellea_api import OptionError, Secret, SessionRequest
from mellea_api.plugin import Target
from mellea_api.testing.strategies import json_values, option_dicts

KEY = "sk-0123456789abcdefghij"


def from_environment() -> dict[str, Secret]:
    return {"api_key": Secret(KEY, source="environment variable X")}


@given(
    options=option_dicts(DESCRIPTOR),
    settings=st.dictionaries(st.text(), json_values()),
    context=st.sampled_from(["simple", "chat"]),
    timeout=st.none() | st.floats(0.1, 100),
    run_id=st.none() | st.text(),
    protocol=st.integers(0, pickle.HIGHEST_PROTOCOL),
)
def test_it_comes_back_as_it_was(protocol: int, settings: dict[str, Any], **facts: Any) -> None:
    where = Target(descriptor=DESCRIPTOR, model_id="m", base_url="http://x", settings=settings)
    request = SessionRequest(target=where, policy="error", unknown="pass", **facts)
    assert pickle.loads(pickle.dumps(request, protocol)) == request


def test_credentials_of_the_environment_stay_behind() -> None:
    request = SessionRequest(target=target(), credentials=from_environment())
    pickled = pickle.dumps(request)
    assert KEY.encode() not in pickled
    assert pickle.loads(pickled).credentials == {}
    assert request.credential("api_key") == KEY
    assert request.credential("other") is None


def test_a_credential_that_was_an_argument_makes_it_refuse() -> None:
    given = {"api_key": Secret(KEY, source="argument")}
    with pytest.raises(TypeError, match="api_key was given as an argument") as caught:
        pickle.dumps(SessionRequest(target=target(), credentials=given))
    assert KEY not in str(caught.value)
    assert "Set the environment variable" in str(caught.value)


@pytest.mark.parametrize("live", [threading.Lock(), io.BytesIO().getbuffer(), lambda: None])
@pytest.mark.parametrize("part", ["context", "options", "settings", "session_arguments"])
def test_a_live_object_makes_it_refuse_and_say_where(part: str, live: Any) -> None:
    if part == "settings":
        request = SessionRequest(
            target=Target(descriptor=DESCRIPTOR, model_id="m", settings={"client": live})
        )
    else:
        request = SessionRequest(
            target=target(), **{part: live if part == "context" else {"client": live}}
        )
    where = "context" if part == "context" else rf"{part}\['client'\]"
    with pytest.raises(TypeError, match=f"{where} holds a live object"):
        pickle.dumps(request)


def test_a_secret_among_the_settings_makes_it_refuse_without_showing_it() -> None:
    settings = {"password": Secret(KEY, source="my file")}
    with pytest.raises(TypeError, match=r"settings\['password'\]") as caught:
        pickle.dumps(
            SessionRequest(target=Target(descriptor=DESCRIPTOR, model_id="m", settings=settings))
        )
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("name", ["default_headers", "extra_headers", "default_query"])
@pytest.mark.parametrize("key", ["Authorization", "x-api-key", "Cookie", "x-of-another-name"])
def test_a_header_that_may_be_a_secret_makes_it_refuse_without_showing_it(
    name: str, key: str
) -> None:
    def request(key: str, value: str) -> SessionRequest:
        settings = {name: {"x-team": "a", key: value}}
        return SessionRequest(target=Target(descriptor=DESCRIPTOR, model_id="m", settings=settings))

    with pytest.raises(TypeError, match=rf"settings\['{name}'\] has {key}") as caught:
        pickle.dumps(request(key, KEY))
    assert KEY not in str(caught.value)
    assert (
        pickle.loads(pickle.dumps(request("x-trace", "on"))).target.settings[name]["x-team"] == "a"
    )


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_in_this_process_keeps_its_credentials(copied: Any) -> None:
    """Copying is not sending: a plugin that copies its request must not lose the key."""
    for source in ("argument", "environment variable X"):
        request = SessionRequest(
            target=target(), credentials={"api_key": Secret(KEY, source=source)}
        )
        assert copied(request).credential("api_key") == KEY


def test_a_target_refuses_what_may_be_a_secret_as_a_request_does() -> None:
    made = Target(descriptor=DESCRIPTOR, model_id="m")
    for bad, why in (
        (evolve(made, base_url=f"http://me:{KEY}@127.0.0.1:1"), "a password in its address"),
        (evolve(made, settings={"default_headers": {"X-Api-Key": KEY}}), "has X-Api-Key"),
    ):
        for value in (bad, SessionRequest(target=bad)):
            with pytest.raises(TypeError, match=why) as caught:
                pickle.dumps(value)
            drawn = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
            frames = [frame for frame in drawn.stack if "mellea_api" in frame.filename]
            assert frames
            assert KEY not in f"{caught.value} {[frame.locals for frame in frames]}"


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_target_with_a_password_can_be_copied_in_this_process(copied: Any) -> None:
    made = Target(descriptor=DESCRIPTOR, model_id="m", base_url=f"http://me:{KEY}@h")
    assert copied(made) == made


def test_an_option_that_a_call_does_not_take_is_told_by_the_sessions_policy(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for policy, told in (("warn", 1), ("drop", 0)):
        caplog.clear()
        request = SessionRequest(target=target(), policy=policy)
        for _ in range(2):
            request.unsupported(["thinking", "documents"], "is not in its template; leave it out")
        text = "thinking, documents is not in its template; leave it out."
        assert caplog.text.count(text) == told
    with pytest.raises(OptionError) as caught:
        SessionRequest(target=target(), policy="error").unsupported(["thinking"], "is not there")
    assert caught.value.problems == (("thinking", "is not there"),)
