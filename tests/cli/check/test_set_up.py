"""What `check` says without asking anybody."""

from __future__ import annotations

from typing import Any

import pytest
from support.fake_plugins import GOOD
from support.reports import STEPS, step, steps


def test_a_backend_that_is_set_up_is_ready_and_nobody_is_asked(check: Any, ollama: Any) -> None:
    found = check("ollama")
    assert steps(found) == dict.fromkeys(STEPS, "ok")
    assert found["probed"] is False
    assert ollama.requests == []


def test_a_missing_key_is_told_with_where_it_belongs(invoke: Any, check: Any) -> None:
    found = check("openai")
    assert found["exit_code"] == 4
    assert step(found, "credentials")["error"]["type"] == "CredentialError"
    result = invoke("check", "openai")
    assert "OPENAI_API_KEY" in result.stderr


def test_bad_options_do_not_hide_what_else_is_wrong(
    check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELLEA_BACKEND", "openai")
    monkeypatch.setenv("MELLEA_MODEL_OPTIONS", '{"temprature": 0.5}')
    found = check()
    assert found["exit_code"] == 1  # and not 4: what needs a person more
    assert steps(found)["credentials"] == "failed"
    assert "did you mean `temperature`?" in step(found, "options")["message"].replace("'", "`")
    assert "MELLEA_MODEL_OPTIONS" in step(found, "options")["message"]


def test_options_that_will_not_be_sent_are_a_warning_or_where_told_a_failure(
    check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELLEA_BACKEND", "ngram")
    monkeypatch.setenv("MELLEA_MODEL_OPTIONS", '{"thinking": true, "temperature": 0}')
    found = check()
    assert found["ready"]
    assert step(found, "options")["state"] == "warning"
    assert "thinking" in step(found, "options")["message"]
    monkeypatch.setenv("MELLEA_API_UNSUPPORTED", "error")
    assert steps(check())["options"] == "failed"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MELLEA_MODEL_OPTIONS", "{"),
        ("MELLEA_RUN_ID", "a\nb"),
        ("MELLEA_API_UNSUPPORTED", "maybe"),
        ("OLLAMA_HOST", "ftp://nowhere"),
        ("MELLEA_BACKEND", "olama"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named(
    check: Any, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    found = check()
    assert found["exit_code"] == 1
    (backend,) = found["backends"]
    failed = [step for step in backend["steps"] if step["state"] == "failed"]
    assert failed
    assert all(variable in step["message"] for step in failed)


@pytest.mark.parametrize(
    "source", ["raise RuntimeError('oops')", "import sys; sys.exit(7)", "def :", "import nothing_"]
)
def test_a_broken_plugin_is_a_failure_with_its_reason(
    invoke: Any, check: Any, install: Any, source: str
) -> None:
    install("bad", f"print('noise')\n{source}")
    found = check("bad", "ngram")
    assert found["exit_code"] == 1
    assert steps(found, "bad") == {"plugin": "failed"}
    assert steps(found, "ngram")["credentials"] == "ok"
    assert "Traceback" not in invoke("check", "bad").output


def test_names_in_conflict_and_names_of_nobody_fail(check: Any, install: Any) -> None:
    install("fake", GOOD, distribution="dist-one")
    install("fake", GOOD, distribution="dist-two")
    assert step(check("fake"), "plugin")["error"]["type"] == "PluginError"
    assert step(check("watson"), "plugin")["error"]["type"] == "BackendNotFoundError"
    assert "fake" in [row["backend"] for row in check("--all")["backends"]]
