"""What `doctor` says of conflicts, and of the variables that are set."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from support.fake_plugins import GOOD, backend, extension
from support.reports import SECRET, row

from mellea_api._diagnosis.variables import Reads, variable_findings
from mellea_api._registry.discovery import Settings
from mellea_api._registry.registry import Registry


def test_two_distributions_with_one_name_are_an_error_until_one_is_preferred(
    doctor: Any, install: Any, only: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("fake", GOOD, distribution="dist-one")
    install("fake", GOOD, distribution="dist-two")
    only("fake")
    fake = row(doctor(), "backends", "fake")
    assert (fake["state"], fake["distribution"]) == ("failed", "dist-one and dist-two")
    assert "MELLEA_API_PREFER=fake=dist-one" in fake["message"]
    monkeypatch.setenv("MELLEA_API_PREFER", "fake=dist-two")
    found = doctor()
    assert row(found, "backends", "fake")["state"] == "ok"
    assert row(found, "backends", "fake")["distribution"] == "dist-two"
    assert row(found, "variables", "MELLEA_API_PREFER")["state"] == "ok"
    monkeypatch.setenv("MELLEA_API_PREFER", "fake=dist-three")
    assert row(doctor(), "backends", "fake")["state"] == "failed"


@pytest.mark.parametrize(
    ("variable", "value", "state", "part"),
    [
        ("MELLEA_API_PREFER", "nonsense", "failed", "name=distribution"),
        ("MELLEA_API_PREFER", "two=dist-one", "ok", "used"),
        ("MELLEA_API_DISABLE", "policy", "ok", "used"),
        ("MELLEA_API_UNSUPPORTED", "never", "failed", "MELLEA_API_UNSUPPORTED='never'"),
        ("MELLEA_API_UNSUPPORTED", "error", "ok", "used"),
        ("MELLEA_API_MODELS_LIFETIME", "an hour", "failed", "MELLEA_API_MODELS_LIFETIME"),
        ("MELLEA_API_MODELS_LIFETIME", "60", "ok", "used"),
        ("MELLEA_BACKEND", "oone", "failed", "no backend 'oone'"),
        ("MELLEA_BACKEND", "watsonx", "failed", "not installed"),
        ("MELLEA_BACKEND", "two", "failed", "both bring it"),
        ("MELLEA_BACKEND", "one", "ok", "used"),
        ("MELLEA_RUN_ID", "x" * 201, "failed", "MELLEA_RUN_ID"),
        ("MELLEA_MODEL_OPTIONS", "{", "failed", "not JSON"),
        ("MELLEA_MODEL_ID", " ", "ok", "empty"),
        ("FAKE_API_KEY", "x", "ok", "api_key of fake"),
        ("FAKE_API_KEY", "", "ok", "empty"),
    ],
)
def test_a_variable_is_told_with_what_becomes_of_it(
    variable: str, value: str, state: str, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable != "MELLEA_BACKEND":
        monkeypatch.setenv("MELLEA_BACKEND", "one")
    monkeypatch.setenv(variable, value)
    entry_points = [
        backend("one", "m", "dist-one"),
        backend("two", "m", "dist-one"),
        backend("two", "n", "dist-two"),
        extension("policy", "p"),
    ]
    registry = Registry(entry_points, Settings())
    reads = Reads("api_key", ["FAKE_API_KEY"], secret=["FAKE_API_KEY"])
    findings = variable_findings(registry, {"fake": [reads]}, [])
    (found,) = [found for found in findings if found.name == variable]
    assert found.state == state
    assert part in found.message


def test_what_a_backend_cannot_take_is_told_by_its_variable(
    doctor: Any, only: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    only("ngram", "ollama", "openai")
    monkeypatch.setenv("MELLEA_BACKEND", "openai")
    monkeypatch.setenv("MELLEA_MODEL_OPTIONS", '{"temprature": 1}')
    monkeypatch.setenv("OLLAMA_HOST", "ftp://nowhere")
    monkeypatch.setenv("OPENAI_PROJECT", "one")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "two")
    monkeypatch.setenv("OPENAI_API_KEY", f"'{SECRET}'")
    monkeypatch.setenv("OPENAI_API_KEY_FILE", "nowhere")
    found = doctor()
    assert "temperature" in row(found, "variables", "MELLEA_MODEL_OPTIONS")["message"]
    assert row(found, "variables", "MELLEA_MODEL_OPTIONS")["state"] == "failed"
    assert "ftp is not http" in row(found, "variables", "OLLAMA_HOST")["message"]
    assert row(found, "variables", "OLLAMA_HOST")["state"] == "failed"
    counted = row(found, "variables", "OPENAI_PROJECT_ID")
    assert "OPENAI_PROJECT counts instead" in counted["message"]
    quoted = row(found, "variables", "OPENAI_API_KEY")
    assert quoted["state"] == "failed"
    assert "openai backend: the api_key" in quoted["message"]
    file = row(found, "variables", "OPENAI_API_KEY_FILE")
    assert file["message"] == "api_key of openai, where OPENAI_API_KEY counts instead."


def test_misspelt_variables_of_ours_are_told_with_what_was_meant(
    doctor: Any, only: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    only("openai")
    meant = {
        "MELLEA_MODELID": "MELLEA_MODEL_ID",
        "MELLEA_MODEL_OPTION": "MELLEA_MODEL_OPTIONS",
        "mellea_backend": "MELLEA_BACKEND",
        "MELLEA_API_DISABLED": "MELLEA_API_DISABLE",
    }
    for name in meant:
        monkeypatch.setenv(name, SECRET)
    for other in ("ANTHROPIC_API_KEY", "GITHUB_TOKEN", "OPENAI_APIKEY", "MELLEA_X"):
        monkeypatch.setenv(other, SECRET)
    found = {row["name"]: row for row in doctor()["variables"]}
    for name, known in meant.items():
        assert found[name]["state"] == "warning"
        assert found[name]["next_step"] == f"Did you mean {known}?"
    assert set(found) == set(meant) | {"MELLEA_API_PLUGINS"}


def test_what_mellea_reads_is_no_mistake(
    doctor: Any, only: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mellea

    (source,) = mellea.__path__
    names = {
        name
        for path in Path(source).rglob("*.py")
        for name in re.findall(r"\bMELLEA_\w*LOGS?_\w+", path.read_text("utf-8"))
    }
    if not names:
        pytest.skip("this Mellea reads no variable about its logs")
    for name in names:
        monkeypatch.setenv(name, "INFO")
    monkeypatch.setenv("MELLEA_BACKEND", "ngram")
    assert not [found for found in doctor()["variables"] if found["state"] != "ok"]


def test_what_is_switched_off_is_told_and_not_loaded(doctor: Any, only: Any) -> None:
    ollama = row(doctor(), "backends", "ollama")
    assert (ollama["state"], ollama["load_ms"]) == ("skipped", None)
    assert "MELLEA_API_PLUGINS" in ollama["message"]
