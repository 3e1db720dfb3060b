"""Opening a session: what is asked, once; on which loops it works; the list of models; the credentials."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.left_over import nothing_left
from support.watsonx_server import (
    API_KEY,
    CHAT_PATH,
    PROJECT,
    SPECS_PATH,
    TOKEN_PATH,
    WatsonxServer,
    spec,
)
from support.watsonx_session import DEPRECATED, said, start, write

pytest.importorskip("mellea_api_watsonx", reason="mellea-api-watsonx is not installed")
pytest.importorskip("ibm_watsonx_ai", reason="the watsonx.ai SDK is not installed")
pytest.importorskip("trustme", reason="trustme, which makes certificates, is not installed")

import mellea_api
from mellea_api._contract.errors import ConfigurationError, CredentialError, ModelNotFoundError
from mellea_api.runtime import MelleaRuntime

pytestmark = DEPRECATED

PROJECT_PATH = f"/v2/projects/{PROJECT}"
CPD = "https://cpd.example.com"


def test_a_session_takes_one_token_one_project_and_one_list(watsonx: WatsonxServer) -> None:
    session = start()
    assert watsonx.paths() == [TOKEN_PATH, PROJECT_PATH, SPECS_PATH]
    assert set(watsonx.tunnels) == {
        "iam.cloud.ibm.com",
        "api.dataplatform.cloud.ibm.com",
        "us-south.ml.cloud.ibm.com",
    }
    watsonx.clear()
    session.chat("?")
    asyncio.run(session.achat("?"))
    write(session, "?")
    assert [path for path in watsonx.paths() if not path.startswith("/ml/v1/text/")] == []


def test_validate_false_does_not_ask_for_the_models(watsonx: WatsonxServer) -> None:
    session = start("some/unlisted-model", validate=False)
    assert watsonx.paths() == [TOKEN_PATH, PROJECT_PATH]
    with pytest.raises(ModelNotFoundError, match="some/unlisted-model"):
        session.chat("?")


def test_the_environment_says_all_that_is_needed(
    watsonx: WatsonxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATSONX_API_KEY", API_KEY)
    monkeypatch.setenv("WATSONX_PROJECT_ID", PROJECT)
    monkeypatch.setenv("WATSONX_URL", "https://eu-de.ml.cloud.ibm.com/")
    assert said(mellea_api.start_session("watsonx").chat("?")) == "The answer is 4."
    assert watsonx.last.headers["host"] == "eu-de.ml.cloud.ibm.com"
    assert "api.eu-de.dataplatform.cloud.ibm.com" in watsonx.tunnels


@pytest.mark.parametrize("missing", ["api_key", "project_id"])
def test_a_missing_credential_is_named_before_anybody_is_asked(
    watsonx: WatsonxServer, missing: str
) -> None:
    with pytest.raises(CredentialError, match=f"WATSONX_{missing.upper()}"):
        start(**{missing: None})
    assert not watsonx.requests


def test_a_wrong_region_is_explained_before_anybody_is_asked(watsonx: WatsonxServer) -> None:
    with pytest.raises(ConfigurationError, match=r"Did you mean https://eu-gb\.ml\.cloud"):
        start(base_url="https://eu-gbx.ml.cloud.ibm.com")
    assert not watsonx.requests
    assert not watsonx.tunnels


def test_a_region_without_https_is_explained_without_asking_for_a_user_name(
    watsonx: WatsonxServer,
) -> None:
    with pytest.raises(ConfigurationError, match=r"Did you mean https://eu-gb\.ml\.cloud"):
        start(base_url="eu-gb.ml.cloud.ibm.com")
    assert not watsonx.tunnels


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [({"validate": "no"}, "validate='no'"), ({"max_retrys": 3}, "Did you mean 'max_retries'")],
)
def test_a_wrong_argument_is_explained(
    watsonx: WatsonxServer, arguments: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        start(**arguments)


def test_an_unknown_model_is_answered_with_those_that_are_there(watsonx: WatsonxServer) -> None:
    with pytest.raises(ModelNotFoundError, match="granite-3-3-8b-instruct") as caught:
        start("ibm/granite-3-3-8b")
    assert caught.value.known is not None
    assert caught.value.known[0] == "ibm/granite-3-3-8b-instruct"
    assert CHAT_PATH not in watsonx.paths()


def test_a_model_on_a_later_page_of_the_list_is_found(watsonx: WatsonxServer) -> None:
    watsonx.page = 2
    start("openai/gpt-oss-120b")
    assert len(watsonx.calls(SPECS_PATH)) == 2


def test_a_model_that_is_to_be_withdrawn_is_warned_of(
    watsonx: WatsonxServer, caplog: pytest.LogCaptureFixture
) -> None:
    stages = [{"id": "deprecated"}, {"id": "withdrawn", "start_date": "2999-01-31"}]
    watsonx.models["ibm/old"] = spec("ibm/old", lifecycle=stages)
    with caplog.at_level(logging.WARNING, "mellea_api"):
        start("ibm/old")
    assert "ibm/old deprecated" in caplog.text
    assert "withdrawn on 2999-01-31." in caplog.text
    days = {model.id: model.shutdown for model in mellea_api.list_models("watsonx")}
    assert days["ibm/old"] == "2999-01-31"
    assert days["ibm/granite-3-3-8b-instruct"] is None


def test_models_are_listed_for_everybody_and_without_a_paid_call(watsonx: WatsonxServer) -> None:
    watsonx.page = 3
    watsonx.models["ibm/embedding"] = spec("ibm/embedding", functions=[{"id": "embedding"}])
    for name, day in (("gone", None), ("past", "2025-01-31")):
        stage = {"id": "withdrawn", "start_date": day}
        watsonx.models[f"ibm/{name}"] = spec(f"ibm/{name}", lifecycle=[stage, "odd"])
    watsonx.models["ibm/bare"] = {"model_id": "ibm/bare"}
    found = mellea_api.list_models("watsonx")
    assert set(watsonx.paths()) == {SPECS_PATH}
    assert not any("authorization" in request.headers for request in watsonx.requests)
    assert [model.id for model in found] == [
        "ibm/bare",
        "ibm/granite-3-3-8b-instruct",
        "ibm/granite-4-micro-3b-instruct",
        "meta-llama/llama-3-2-3b-instruct",
        "openai/gpt-oss-120b",
    ]
    model = found[1]
    assert (model.size, model.context_length, model.source) == ("8B", 131072, "live")
    assert model.description == "The model ibm/granite-3-3-8b-instruct."
    assert [one.id for one in found if one.default] == ["ibm/granite-3-3-8b-instruct"]


def test_the_list_of_a_region_is_kept(watsonx: WatsonxServer) -> None:
    given = {"api_key": API_KEY, "project_id": PROJECT}
    first = mellea_api.list_models("watsonx", **given)
    asked = len(watsonx.requests)
    second = mellea_api.list_models("watsonx", **given)
    assert len(watsonx.requests) == asked
    assert [model.id for model in second] == [model.id for model in first]
    assert {model.source for model in second} == {"cached"}
    mellea_api.list_models("watsonx", base_url="https://eu-de.ml.cloud.ibm.com", **given)
    assert len(watsonx.requests) > asked


def test_the_catalogue_is_listed_without_a_network(watsonx: WatsonxServer) -> None:
    found = mellea_api.list_models("watsonx", freshness="offline")
    assert found[0].id == "ibm/granite-3-3-8b-instruct"
    assert not watsonx.tunnels


def test_a_session_works_from_any_event_loop_and_thread(watsonx: WatsonxServer) -> None:
    session = start()

    async def several() -> list[str]:
        return [said(one) for one in await asyncio.gather(*(session.achat("?") for _ in range(3)))]

    def in_a_thread(_: int) -> list[str]:
        return asyncio.run(several())

    assert asyncio.run(several()) == asyncio.run(several())
    with ThreadPoolExecutor(3) as threads:
        answers = list(threads.map(in_a_thread, range(3)))
    assert {text for texts in answers for text in texts} == {"The answer is 4."}
    assert said(session.chat("?")) == "The answer is 4."
    assert len(watsonx.calls(TOKEN_PATH)) == 1


def test_a_token_is_renewed_on_whatever_loop_it_runs_out(watsonx: WatsonxServer) -> None:
    watsonx.lifetime = 30  # the SDK renews a token a minute before its end: at every call
    session = start()

    async def several() -> None:
        await asyncio.gather(*(session.achat("?") for _ in range(4)))

    asyncio.run(several())
    asyncio.run(several())
    assert len(watsonx.calls(CHAT_PATH)) == 8
    assert len(watsonx.calls(TOKEN_PATH)) > 1


def test_what_is_kept_for_a_loop_goes_with_the_loop(watsonx: WatsonxServer) -> None:
    session = start()
    asyncio.run(session.achat("?"))
    with nothing_left():
        for _ in range(5):
            asyncio.run(session.achat("?"))
    assert said(session.chat("?")) == "The answer is 4."


def test_a_runtime_switches_between_models_and_back(watsonx: WatsonxServer) -> None:
    with _runtime() as runtime:
        runtime.chat("?")
        runtime.switch_model("openai/gpt-oss-120b")
        runtime.chat("?")
        runtime.switch_model("ibm/granite-3-3-8b-instruct")
        runtime.chat("?")
    assert [request.json["model_id"] for request in watsonx.written()] == [
        "ibm/granite-3-3-8b-instruct",
        "openai/gpt-oss-120b",
        "ibm/granite-3-3-8b-instruct",
    ]
    assert len(watsonx.calls(TOKEN_PATH)) == 2


def _runtime() -> MelleaRuntime:
    import os

    os.environ |= {"WATSONX_API_KEY": API_KEY, "WATSONX_PROJECT_ID": PROJECT}
    return MelleaRuntime("watsonx")


def test_closing_a_session_leaves_no_thread_waiting(watsonx: WatsonxServer) -> None:
    session = start()
    session.chat("?")
    session.cleanup()
    getattr(session.backend, "close", lambda: None)()
    assert not [thread for thread in threading.enumerate() if thread.name == "mellea-api-ask"]


# ------------------------------------------------------------------------------- credentials


def test_credentials_are_tried_only_when_asked_for(watsonx: WatsonxServer) -> None:
    given = {"api_key": API_KEY, "project_id": PROJECT}
    assert mellea_api.validate_credentials("watsonx", **given).status == "present"
    assert not watsonx.requests
    report = mellea_api.validate_credentials("watsonx", probe=True, **given)
    assert (report.status, report.usable) == ("present", True)
    assert watsonx.paths() == [TOKEN_PATH, PROJECT_PATH]


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"api_key": "wrong-key-00112233445566"}, "rejected"),
        ({"project_id": "99999999-0000-4000-8000-000000000000"}, "rejected"),
        ({"api_key": None}, "missing"),
    ],
)
def test_a_probe_says_what_is_wrong(
    watsonx: WatsonxServer, given: dict[str, str | None], status: str
) -> None:
    arguments = {"api_key": API_KEY, "project_id": PROJECT} | given
    report = mellea_api.validate_credentials("watsonx", probe=True, **arguments)
    assert (report.status, report.usable) == (status, False)
    assert "WATSONX_" in report.message


def test_a_probe_tells_forbidden_from_unreachable(watsonx: WatsonxServer) -> None:
    given = {"api_key": API_KEY, "project_id": PROJECT}
    watsonx.project_status = 403
    report = mellea_api.validate_credentials("watsonx", probe=True, **given)
    assert report.status == "forbidden"
    watsonx.refuse_tunnels = 502
    report = mellea_api.validate_credentials("watsonx", probe=True, **given)
    assert report.status == "unreachable"


# ---------------------------------------------------------------------- Cloud Pak for Data


def test_cloud_pak_for_data_is_logged_in_to_with_a_user_name(watsonx: WatsonxServer) -> None:
    session = start(base_url=CPD, username="me")
    assert said(session.chat("?")) == "The answer is 4."
    assert watsonx.paths() == [
        "/ml/wml_services/v2/version",
        "/icp4d-api/v1/authorize",
        PROJECT_PATH,
        SPECS_PATH,
        CHAT_PATH,
    ]
    assert watsonx.calls(SPECS_PATH)[0].headers["authorization"].startswith("Bearer ")
    assert set(watsonx.tunnels) == {"cpd.example.com"}


def test_cloud_pak_for_data_without_a_user_name_is_an_error_that_asks_for_one(
    watsonx: WatsonxServer,
) -> None:
    with pytest.raises(CredentialError, match="WATSONX_USERNAME"):
        start(base_url=CPD)
    assert not watsonx.requests


def test_models_of_cloud_pak_for_data_are_listed_with_its_token(watsonx: WatsonxServer) -> None:
    found = mellea_api.list_models(
        "watsonx", base_url=CPD, api_key=API_KEY, project_id=PROJECT, username="me"
    )
    assert len(found) == 4
    assert "authorization" in watsonx.last.headers


@pytest.mark.parametrize("server", [None, "official"])
def test_cloud_pak_for_data_lists_its_models_for_nobody_without_credentials(
    watsonx: WatsonxServer, server: str | None
) -> None:
    more = {} if server is None else {"server": server}
    with pytest.raises(CredentialError, match="WATSONX_API_KEY"):
        mellea_api.list_models("watsonx", base_url=CPD, **more)
    assert not watsonx.requests


def test_the_sdks_own_retries_are_left_to_a_program_alone(watsonx: WatsonxServer) -> None:
    from mellea_api._cli.takeover import start_session

    given = {"api_key": API_KEY, "project_id": PROJECT, "model_id": "ibm/granite-3-3-8b-instruct"}
    assert start_session("watsonx", **given).backend._retries["max_retries"] is None
    told = start_session("watsonx", **given, max_retries=1)
    assert told.backend._retries["max_retries"] == 1
    assert start().backend._retries["max_retries"] == 0


BY_HAND = """
from mellea import MelleaSession
from mellea.backends.watsonx import WatsonxAIBackend

for _ in range(2):
    backend = WatsonxAIBackend("ibm/granite-3-3-8b-instruct", model_options={"max_tokens": 3})
    assert isinstance(backend, WatsonxAIBackend)
    print(MelleaSession(backend).chat("?").content)
"""


def test_a_backend_that_a_program_builds_by_hand_is_the_registrys(
    watsonx: WatsonxServer, tmp_path: Path
) -> None:
    """Its key and its project come from the variables that Mellea reads, too; its option means the same."""
    program = tmp_path / "program.py"
    program.write_text(BY_HAND)
    variables = {"WATSONX_API_KEY": API_KEY, "WATSONX_PROJECT_ID": PROJECT}
    done = subprocess.run(
        [sys.executable, "-m", "mellea_api", "run", str(program)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **variables},
        timeout=120,
    )
    assert done.stdout == "The answer is\n" * 2, done.stderr
    assert done.stderr.count("WatsonxAIBackend is built on the watsonx backend") == 1
    assert [call.json["max_completion_tokens"] for call in watsonx.calls(CHAT_PATH)] == [3, 3]
