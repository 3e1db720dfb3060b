"""Whether watsonx.ai takes a key and has the project: what is asked for that, and what each answer means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support import faults
from support.http import Reply
from support.watsonx_server import API_KEY, PROJECT, WatsonxServer

pytest.importorskip("mellea_api_watsonx")
pytest.importorskip("ibm_watsonx_ai")
pytest.importorskip("trustme")

import mellea_api

TOKEN, PROJECT_LOOK = "/identity/token", f"/v2/projects/{PROJECT}"
CPD = "https://cpd.example.com"


def probe(**arguments: Any) -> Any:
    given = {"api_key": API_KEY, "project_id": PROJECT, "probe": True} | arguments
    report = mellea_api.validate_credentials("watsonx", **given)
    assert API_KEY not in repr(report)
    assert report.message
    return report


def test_the_key_and_the_project_are_tried_and_nothing_else(watsonx: WatsonxServer) -> None:
    report = probe()
    assert (report.status, report.checked, report.usable) == ("present", True, True)
    assert [(found.method, found.path) for found in watsonx.requests] == [
        ("POST", TOKEN),
        ("GET", PROJECT_LOOK),
    ]


def test_a_bad_key_and_a_bad_project_are_told_apart(watsonx: WatsonxServer) -> None:
    report = probe(api_key="wrong-key-00112233445566")
    assert (report.status, report.checked) == ("rejected", True)
    assert watsonx.paths() == [TOKEN]
    report = probe(project_id="99999999-0000-4000-8000-000000000000")
    assert (report.status, report.checked) == ("rejected", True)
    statuses = {field.name: field.status for field in report.fields}
    assert statuses == {"api_key": "present", "project_id": "rejected", "username": "not-needed"}


@pytest.mark.parametrize(
    ("status", "expected", "checked"),
    [(403, "forbidden", True), (429, "unchecked", False), (500, "unreachable", False)],
)
def test_a_project_that_is_not_given_out_has_a_status(
    watsonx: WatsonxServer, status: int, expected: str, checked: bool
) -> None:
    watsonx.project_status = status
    report = probe()
    assert (report.status, report.checked) == (expected, checked)


def test_a_web_page_in_the_place_of_an_answer_is_no_yes(watsonx: WatsonxServer) -> None:
    page = Reply(body=b"<html>Sign in</html>", headers={"content-type": "text/html"})
    for path in (TOKEN, PROJECT_LOOK):
        watsonx.answers = {path: page}
        report = probe()
        assert (report.status, report.checked) == ("unchecked", False), path


@pytest.mark.parametrize("kind", ["refused", "black_hole"])
def test_who_cannot_be_reached_in_time_is_unreachable(
    watsonx: WatsonxServer, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    with getattr(faults, kind)() as proxy:
        for name in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, proxy.url)
        report = probe(timeout=1.0)
    assert (report.status, report.checked) == ("unreachable", False)
    assert watsonx.requests == []


@pytest.mark.parametrize(
    "given", [{"api_key": None}, {"project_id": None}, {"api_key": "'quoted'"}]
)
def test_what_is_missing_or_malformed_is_not_tried(
    watsonx: WatsonxServer, given: dict[str, Any]
) -> None:
    report = probe(**given)
    assert report.status == ("malformed" if given == {"api_key": "'quoted'"} else "missing")
    assert watsonx.requests == []


def test_a_name_is_missed_before_anybody_is_asked_on_cloud_pak_for_data_alone(
    watsonx: WatsonxServer,
) -> None:
    for wanted in (True, False):
        report = probe(base_url=CPD, probe=wanted)
        assert report.status == "missing"
        assert "WATSONX_USERNAME" in report.message
    assert watsonx.requests == []
    report = probe(base_url=CPD, username="me")
    assert (report.status, report.checked) == ("present", True)
    assert probe(probe=False).status == "present"


def test_a_key_may_be_in_a_file(
    watsonx: WatsonxServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(f"{API_KEY}\n")
    monkeypatch.setenv("WATSONX_APIKEY_FILE", str(tmp_path / "key"))
    report = probe(api_key=None)
    assert (report.status, report.checked) == ("present", True)
    assert report.fields[0].source == f"file {tmp_path / 'key'} (WATSONX_APIKEY_FILE)"
