"""What is said of credentials: which are required, what is missing or wrong, and what a provider answered."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from attrs import evolve
from support.fake_options import described

from mellea_api import (
    AnswerError,
    BackendUnavailableError,
    CredentialError,
    ModelNotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestTimeoutError,
)
from mellea_api._contract.as_json import to_json
from mellea_api._contract.requests import CredentialRequest
from mellea_api._credentials.find import find_credentials
from mellea_api._credentials.judge import (
    credential_error,
    is_required,
    missing_error,
    report_from_error,
    report_from_fields,
)
from mellea_api.plugin import CredentialField, Target

FIELDS = (
    CredentialField(
        name="api_key", variables=("FIRST_KEY", "SECOND_KEY"), required="official", help="See it."
    ),
    CredentialField(name="project", variables=("PROJECT",), secret=False, required="never"),
)
KEY = "sk-0123456789abcdefghij"


def target(base_url: str | None = None) -> Target:
    made = described(credentials=FIELDS, official_hosts=("api.fake.example",))
    return Target(descriptor=made.descriptor, model_id="m", base_url=base_url)


def request(
    arguments: dict[str, Any] | None = None,
    environ: dict[str, str] | None = None,
    where: Target | None = None,
) -> CredentialRequest:
    where = where or target()
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, value in (environ or {}).items():
            monkeypatch.setenv(name, value)
        secrets, findings = find_credentials(where, arguments or {})
    return CredentialRequest(target=where, credentials=secrets, findings=findings)


def test_a_field_may_be_required_by_the_official_server_alone() -> None:
    key, project = FIELDS
    assert is_required(key, target())
    assert is_required(key, target("https://api.fake.example/v1"))
    assert not is_required(key, target("http://127.0.0.1:8000/v1"))
    assert not is_required(key, target("https://api.fake.example.evil.invalid/v1"))
    assert not is_required(key, target("https://api.fake.example@evil.invalid/v1"))
    assert not is_required(project, target())


def test_the_error_for_a_missing_one_names_the_places_and_the_help() -> None:
    error = missing_error(target(), FIELDS[0])
    assert "looked at FIRST_KEY, SECOND_KEY" in error.reason
    assert error.next_step == "Set FIRST_KEY, or pass api_key=. See it."
    bare = missing_error(target(), CredentialField(name="token"))
    assert bare.next_step == "Pass token=."


def test_the_error_for_several_names_all_of_them() -> None:
    fields = (FIELDS[0], evolve(FIELDS[1], required="always", help="See it."))
    where = evolve(target(), descriptor=evolve(target().descriptor, credentials=fields))
    error = credential_error(where, request(where=where).findings)
    assert error is not None
    assert "no api_key (looked at FIRST_KEY, SECOND_KEY), no project" in error.reason
    assert error.next_step == (
        "Set FIRST_KEY, or pass api_key=. Set PROJECT, or pass project=. See it."
    )
    assert error.variables == ("FIRST_KEY", "SECOND_KEY", "PROJECT")
    assert credential_error(where, request(where=where).findings, needed=False) is None


def test_the_report_shows_where_each_came_from_and_no_secret() -> None:
    report = report_from_fields(request({"api_key": KEY}, {"PROJECT": "blue"}))
    assert (report.status, report.usable, report.checked) == ("present", True, False)
    key, project = report.fields
    assert (key.status, key.source, key.hint) == ("present", "argument", "…ghij")
    assert (project.source, project.hint) == ("environment variable PROJECT", "blue")
    assert report.message == "All that is needed is there; it was not tried."


def test_the_report_of_a_probe_that_no_hook_can_make_blames_the_plugin() -> None:
    report = report_from_fields(evolve(request({"api_key": KEY}), probe=True))
    assert report.message == "All that is needed is there; the fake plugin cannot try it."


def test_the_report_of_a_missing_one_says_what_to_do() -> None:
    report = report_from_fields(request())
    assert (report.status, report.usable) == ("missing", False)
    assert "Set FIRST_KEY" in report.message
    elsewhere = report_from_fields(request(where=target("http://127.0.0.1:1/v1")))
    assert (elsewhere.status, elsewhere.usable) == ("not-needed", True)


def test_a_malformed_one_is_reported_and_stops_a_session_with_the_same_words() -> None:
    environ = {"FIRST_KEY": f"Bearer {KEY}", "PROJECT": "blue"}
    report = report_from_fields(request(environ=environ))
    assert (report.status, report.usable, report.checked) == ("malformed", False, False)
    assert report.fields[0].hint == ""
    assert report.fields[0].source == "environment variable FIRST_KEY"
    assert "begins with 'Bearer'" in report.fields[0].reason
    assert report.fields[1].status == "present"
    for needed in (True, False):
        error = credential_error(target(), request(environ=environ).findings, needed=needed)
        assert error is not None
        assert str(error) == report.message
        assert (error.field, error.status) == ("api_key", None)
    assert "environment variable FIRST_KEY" in report.message
    assert KEY not in report.message


def error(kind: Any, reason: str = "No.", **facts: Any) -> Any:
    return kind(reason, next_step="Do it.", backend="fake", **facts)


@pytest.mark.parametrize(
    ("failure", "status", "checked"),
    [
        (error(CredentialError, status=401), "rejected", True),
        (error(CredentialError, "The key has expired.", status=401), "expired", True),
        (error(PermissionDeniedError, status=403), "forbidden", True),
        (error(PermissionDeniedError, "Token expired", status=403), "expired", True),
        (error(BackendUnavailableError), "unreachable", False),
        (error(RequestTimeoutError), "unreachable", False),
        (error(RateLimitError, status=429), "unchecked", False),
        (error(AnswerError), "unchecked", False),
        (error(ModelNotFoundError, status=404), "unchecked", False),
    ],
)
def test_what_a_provider_answers_becomes_a_status(failure: Any, status: str, checked: bool) -> None:
    report = report_from_error(request({"api_key": KEY}), failure)
    assert (report.status, report.checked) == (status, checked)
    assert report.message == str(failure)
    assert report.fields[0].source == "argument"
    assert report.usable == (status == "unchecked")


def test_who_sent_nothing_and_is_refused_misses_something() -> None:
    asked = request(where=target("http://127.0.0.1:1/v1"))
    report = report_from_error(asked, error(CredentialError, status=401))
    assert (report.status, report.checked) == ("missing", True)
    report = report_from_error(request({"api_key": KEY}), error(CredentialError, field="user"))
    assert (report.status, report.checked) == ("missing", False)


def test_the_field_that_a_provider_names_is_the_one_that_is_marked() -> None:
    asked = request({"api_key": KEY, "project": "blue"})
    report = report_from_error(
        asked, error(CredentialError, "No such project.", status=404, field="project")
    )
    assert [found.status for found in report.fields] == ["present", "rejected"]
    assert report.fields[1].reason == "No such project."


def test_a_provider_that_takes_them_makes_them_checked() -> None:
    report = request({"api_key": KEY}).accepted("It takes them.")
    assert (report.status, report.checked, report.message) == ("present", True, "It takes them.")
    local = target("http://127.0.0.1:1/v1")
    assert request(where=local).accepted("It is there.").status == "not-needed"
    report = request({"api_key": KEY}).unchecked("Nobody knows.")
    assert (report.status, report.checked, report.usable) == ("unchecked", False, True)


@pytest.mark.parametrize("key", [KEY, f"Bearer {KEY}", f"{KEY} {KEY}"])
def test_a_report_holds_no_secret_in_any_form(key: str) -> None:
    report = report_from_fields(request({"api_key": key}))
    text = to_json(report)
    for shown in (repr(report), str(report), text, pickle.dumps(report).decode("latin-1")):
        assert KEY not in shown
        assert KEY[3:13] not in shown
    assert pickle.loads(pickle.dumps(report)) == report
    assert KEY not in repr(request({"api_key": key}))
    assert KEY not in repr(find_credentials(target(), {"api_key": key}))
