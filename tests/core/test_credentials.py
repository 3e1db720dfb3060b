"""Where a credential comes from: the argument, the variables in order, then the vault."""

from __future__ import annotations

from typing import Any

import pytest
from support.fake_options import described

from mellea_api import ConfigurationError, CredentialField, CredentialQuery, Secret, Target
from mellea_api.credentials import is_required, missing_error, report_from_fields, resolve
from mellea_api.requests import CredentialRequest

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


def vault(query: CredentialQuery) -> Secret | None:
    return Secret("from-the-vault", source="vault") if query.field.name == "api_key" else None


@pytest.mark.parametrize(
    ("arguments", "environ", "with_vault", "expected"),
    [
        ({"api_key": "a" * 8}, {"FIRST_KEY": "b", "SECOND_KEY": "c"}, True, "argument"),
        ({}, {"FIRST_KEY": "b", "SECOND_KEY": "c"}, True, "environment variable FIRST_KEY"),
        ({}, {"FIRST_KEY": " ", "SECOND_KEY": "c"}, True, "environment variable SECOND_KEY"),
        ({"api_key": None}, {"SECOND_KEY": "c"}, True, "environment variable SECOND_KEY"),
        ({"api_key": ""}, {"SECOND_KEY": "c"}, True, "environment variable SECOND_KEY"),
        ({}, {}, True, "vault"),
        ({}, {}, False, None),
        ({"api_key": Secret("mine-alone", source="my file")}, {"FIRST_KEY": "b"}, True, "my file"),
    ],
)
def test_the_first_place_that_has_it_counts(
    arguments: dict[str, Any], environ: dict[str, str], with_vault: bool, expected: str | None
) -> None:
    found = resolve(target(), arguments, vault if with_vault else None, environ)
    assert (found["api_key"].source if "api_key" in found else None) == expected


def test_the_vault_is_not_asked_for_what_is_known() -> None:
    asked: list[str] = []

    def noting(query: CredentialQuery) -> Secret | None:
        asked.append(query.field.name)
        return None

    resolve(target(), {"api_key": KEY}, noting, {})
    assert asked == ["project"]


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECOND_KEY", f" {KEY}\n")
    assert resolve(target(), {})["api_key"].reveal() == KEY


@pytest.mark.parametrize("value", [3, b"sk-bytes", ["a"], True])
def test_an_argument_that_is_no_text_is_refused_without_being_shown(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="not text") as caught:
        resolve(target(), {"api_key": value}, None, {})
    assert repr(value) not in str(caught.value)


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


def test_the_report_shows_where_each_came_from_and_no_secret() -> None:
    found = resolve(target(), {"api_key": KEY}, None, {"PROJECT": "blue"})
    report = report_from_fields(CredentialRequest(target=target(), credentials=found))
    assert (report.status, report.usable) == ("present", True)
    key, project = report.fields
    assert (key.status, key.source, key.hint) == ("present", "argument", "…ghij")
    assert (project.source, project.hint) == ("environment variable PROJECT", "blue")
    assert KEY not in repr(report)


def test_the_report_of_a_missing_one_says_what_to_do() -> None:
    report = report_from_fields(CredentialRequest(target=target()))
    assert (report.status, report.usable) == ("missing", False)
    assert "Set FIRST_KEY" in report.message
    elsewhere = report_from_fields(CredentialRequest(target=target("http://127.0.0.1:1/v1")))
    assert (elsewhere.status, elsewhere.usable) == ("not-needed", True)
