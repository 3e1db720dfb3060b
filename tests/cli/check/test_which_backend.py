"""Which backends, model and options `check` looks at."""

from __future__ import annotations

from typing import Any

import pytest
from support.faults import refused
from support.reports import steps

import mellea_api


def test_without_a_name_it_is_the_runtimes_backend(
    check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (found,) = check()["backends"]
    assert found["backend"] == "ollama"
    monkeypatch.setenv("MELLEA_BACKEND", "ngram")
    monkeypatch.setenv("MELLEA_MODEL_ID", "primer-3")
    (found,) = check()["backends"]
    assert (found["backend"], found["model_id"], found["base_url"]) == ("ngram", "primer-3", None)
    assert "MELLEA_MODEL_ID" in found["steps"][1]["message"]


def test_the_environments_model_and_options_are_those_of_its_backend_alone(
    check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELLEA_MODEL_ID", "primer-3")
    monkeypatch.setenv("MELLEA_BACKEND", "ngram")
    monkeypatch.setenv("MELLEA_MODEL_OPTIONS", '{"temperature": 9}')
    found = check("ollama", "ngram")
    assert [row["model_id"] for row in found["backends"]] == ["granite4:micro", "primer-3"]
    assert steps(found, "ollama")["options"] == "ok"
    assert steps(found, "ngram")["options"] == "failed"


def test_what_is_given_wins(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MELLEA_MODEL_ID", "other")
    (found,) = check("ollama", "--model", "tiny", "--base-url", "http://u:p@127.0.0.1:1")[
        "backends"
    ]
    assert found["model_id"] == "tiny"
    assert found["base_url"] == "http://[secret]@127.0.0.1:1"


def test_all_is_all_that_are_installed_and_what_is_not_set_up_counts(
    invoke: Any, check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELLEA_API_PLUGINS", "ngram,ollama,openai")
    mellea_api.refresh()
    found = check("--all")
    assert [row["backend"] for row in found["backends"]] == ["ngram", "ollama", "openai"]
    assert [row["exit_code"] for row in found["backends"]] == [0, 0, 4]
    assert found["exit_code"] == 4
    with refused() as nobody:
        monkeypatch.setenv("OLLAMA_HOST", nobody.base_url)
        found = check("--all", "--probe")
    assert [row["exit_code"] for row in found["backends"]] == [0, 3, 4]
    assert found["exit_code"] == 4  # a server may come back, a key does not
    monkeypatch.setenv("MELLEA_API_DISABLE", "openai")
    mellea_api.refresh()
    assert check("--all")["exit_code"] == 0
    monkeypatch.setenv("MELLEA_API_DISABLE", "ngram,ollama,openai")
    mellea_api.refresh()
    result = invoke("check", "--all")
    assert result.exit_code == 1
    assert "No backend is installed" in result.stderr


@pytest.mark.parametrize(
    "line",
    [
        "--all ollama",
        "--all --model tiny",
        "ollama openai --base-url http://127.0.0.1:1",
        "--timeout 0",
        "--timeout x",
        "--timeout nan",
        "--timeout inf",
        "--timeout 1e10",
    ],
)
def test_wrong_usage_is_told_apart(invoke: Any, line: str) -> None:
    assert invoke("check", *line.split()).exit_code == 2
