"""The command `doctor`."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def doctor(reported: Any) -> Any:
    """Runs `doctor --json`; returns what it prints, held to its schema and its exit code."""

    def run(*arguments: str) -> Any:
        found = reported("doctor", *arguments)
        rows = [row for part in found.values() if isinstance(part, list) for row in part]
        wrong = any(row["state"] == "failed" for row in rows)
        assert (found["exit_code"], found["healthy"]) == (int(wrong), not wrong)
        return found

    return run


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Leaves on only these backends: the fewer are loaded, the sooner it is over."""

    def switch(*names: str) -> None:
        monkeypatch.setenv("MELLEA_API_PLUGINS", ",".join(names))

    switch("ngram")
    return switch
