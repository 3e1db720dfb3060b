"""`mellea-api backends`."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from support.fake_plugins import GOOD

EXTENSIONS = "mellea_api.extensions"


def states(found: Any, kind: str = "backends") -> dict[str, str]:
    return {row["name"]: row["state"] for row in found[kind]}


def test_lists_what_is_installed_without_importing_it(invoke_json: Any, install: Any) -> None:
    module = install("fake", GOOD)
    found = invoke_json("backends")
    assert states(found)["fake"] == states(found)["ollama"] == "found"
    assert module not in sys.modules
    row = next(row for row in found["backends"] if row["name"] == "fake")
    assert row == {
        "name": "fake",
        "state": "found",
        "distribution": "dist-fake",
        "version": "1.0",
        "summary": "A test's own.",
        "reason": "",
    }


def test_the_table_is_plain_where_it_goes_to_no_terminal(invoke: Any) -> None:
    result = invoke("backends")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["backend", "state", "distribution", "version", "summary"]
    assert {line.split()[0] for line in lines[1:]} >= {"ngram", "ollama", "openai"}
    assert "\x1b" not in result.stdout


def test_extensions_are_listed_too(invoke_json: Any, install: Any) -> None:
    install("policy", "raise RuntimeError('oops')", group=EXTENSIONS)
    assert states(invoke_json("backends"), "extensions") == {"policy": "found"}


def test_conflicts_and_what_is_switched_off_say_why(
    invoke_json: Any, install: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("fake", GOOD, distribution="dist-one")
    monkeypatch.setenv("MELLEA_API_DISABLE", "openai")
    install("fake", GOOD, distribution="dist-two")
    rows = {row["name"]: row for row in invoke_json("backends")["backends"]}
    assert rows["fake"]["state"] == "conflict"
    assert "MELLEA_API_PREFER=fake=dist-one" in rows["fake"]["reason"]
    assert rows["openai"]["state"] == "disabled"


def test_a_malformed_variable_is_an_error_that_names_it(
    command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELLEA_API_PREFER", "nonsense")
    done = command("backends", "--json")
    assert done.returncode == 1
    assert '"variable": "MELLEA_API_PREFER"' in done.stdout
    assert done.stderr == ""
