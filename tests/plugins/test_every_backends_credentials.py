"""What holds of the credentials of every backend that is installed, whoever wrote it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import mellea_api
from mellea_api._credentials.judge import is_required
from mellea_api.plugin import CredentialField, Target

BACKENDS = mellea_api.shared_registry().names()
every_backend = pytest.mark.parametrize("name", BACKENDS)
HEAVY = ("mellea", "openai", "ollama", "ibm_watsonx_ai", "litellm", "torch", "transformers")


def fields(name: str) -> list[tuple[Target, CredentialField]]:
    """The secret fields of the backend's catalogue, each with the model that it is for."""
    backend = mellea_api.shared_registry().backend(name)
    targets = [backend.target(model.id) for model in backend.descriptor.models[:6]]
    found = {
        field: target
        for target in targets
        for field in target.descriptor.credentials
        if field.secret
    }
    return [(target, field) for field, target in found.items()]


def value(field: CredentialField) -> str:
    """A value that may be right: of the form that the field names."""
    beginning = {"hf_.+": "hf_"}.get(field.pattern, "sk-") if field.pattern else ""
    return f"{beginning}canary-not-for-anybody-{field.name}-0123"


def finding(name: str, target: Target, field: CredentialField) -> Any:
    report = mellea_api.validate_credentials(name, target.model_id)
    assert value(field) not in repr(report)
    (found,) = [one for one in report.fields if one.name == field.name]
    return found


@every_backend
def test_every_variable_may_name_a_file_and_is_shadowed_by_itself(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for target, field in fields(name):
        (tmp_path / "secret").write_text(f"{value(field)}\n")
        for variable in field.variables:
            with monkeypatch.context() as patch:
                patch.setenv(f"{variable}_FILE", str(tmp_path / "secret"))
                file = f"file {tmp_path / 'secret'} ({variable}_FILE)"
                found = finding(name, target, field)
                assert (found.status, found.source, found.hint) == ("present", file, "…0123")
                patch.setenv(variable, value(field))
                found = finding(name, target, field)
                assert found.source == f"environment variable {variable}"
                assert found.shadowed == (file,)


@every_backend
@pytest.mark.parametrize("spoil", ["'{}'", "Bearer {}", "{} {}", "caf\xe9-{}"])
def test_what_cannot_be_right_stops_a_session_before_anybody_is_asked(
    name: str, spoil: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test that left this machine would fail; one that asked loopback is told by no server being there."""
    for target, field in fields(name):
        for others in target.descriptor.credentials:
            if is_required(others, target) and others is not field and others.variables:
                monkeypatch.setenv(others.variables[0], "something")
        spoilt = spoil.format(*[value(field)] * 2)
        report = mellea_api.validate_credentials(
            name, target.model_id, probe=True, **{field.name: spoilt}
        )
        assert (report.status, report.checked) == ("malformed", False)
        with pytest.raises(mellea_api.CredentialError) as caught:
            mellea_api.start_session(name, target.model_id, **{field.name: spoilt})
        assert str(caught.value) == report.message
        assert value(field) not in str(caught.value)


@every_backend
def test_a_variable_that_nothing_replaced_is_no_credential(name: str) -> None:
    for target, field in fields(name):
        for given in ("${SECRET}", "<token>"):
            report = mellea_api.validate_credentials(name, target.model_id, **{field.name: given})
            assert report.status == "malformed", (target.model_id, given)


@every_backend
def test_every_secret_has_a_place_of_its_own_in_the_keyring(name: str) -> None:
    from mellea_api._credentials.system_keyring import entry

    entries = [entry(target, field) for target, field in fields(name)]
    assert len(set(entries)) == len(entries)
    assert all(one and one == one.strip() for one in entries)


@every_backend
def test_every_form_says_where_it_was_read_and_is_no_sentence(name: str) -> None:
    for _, field in fields(name):
        if field.pattern:
            assert field.pattern_source
            assert field.pattern_words
            assert not field.pattern_words.endswith(".")


def test_reports_without_a_probe_import_no_sdk_and_no_mellea() -> None:
    program = (
        "import sys, mellea_api\n"
        "for name in mellea_api.shared_registry():\n"
        "    assert mellea_api.validate_credentials(name, keyring=False).message\n"
        f"print(sorted({set(HEAVY)!r} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
