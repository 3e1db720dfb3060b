"""The table of what providers answer: no row is without a test, a source or a place in the docs."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support import provider_errors as table

from mellea_api._contract import errors

ROOT = Path(__file__).resolve().parents[2]
TESTED_BY = {
    "any": "tests/integration/test_provider_errors.py",
    "ollama": "tests/integration/test_provider_errors.py",
    "openai": "tests/integration/test_provider_errors.py",
    "watsonx": "tests/plugins/watsonx/test_provider_errors.py",
    "litellm": "tests/plugins/litellm/test_provider_errors.py",
    "hf": "tests/plugins/hf/test_provider_errors.py",
}
"""Which test goes over the rows of a backend."""
FIELDS = {
    *("backend", "when", "status", "body", "headers", "stream", "raw", "fault", "source", "error"),
    *("retry_after", "known_status"),
}
ROWS = [pytest.param(row, id=f"{row['backend']}-{row['when'][:48]}") for row in table.ROWS]


@pytest.mark.parametrize("backend", sorted({row["backend"] for row in table.ROWS}))
def test_the_rows_of_a_backend_are_tested(backend: str) -> None:
    text = (ROOT / TESTED_BY[backend]).read_text("utf-8")
    asked = f'table.rows("{backend}"'
    assert asked in text or ("table.rows(*BACKENDS)" in text and f'"{backend}"' in text)


def test_no_row_is_there_twice() -> None:
    names = Counter((row["backend"], row["when"]) for row in table.ROWS)
    assert [name for name, times in names.items() if times > 1] == []


@pytest.mark.parametrize("row", ROWS)
def test_a_row_is_whole(row: dict[str, Any]) -> None:
    assert set(row) <= FIELDS
    assert row["source"].startswith(("https://", "../"))
    assert row["error"] == "none" or issubclass(getattr(errors, row["error"]), errors.ProviderError)
    assert (
        "retry_after" not in row
        or row.get("headers")
        or "retry in" in row["body"].lower()
        or ("try again in" in row["body"])
    )
    if row["body"].startswith("{") and row["backend"] != "any":
        assert json.loads(row["body"])


@pytest.mark.parametrize("row", ROWS)
def test_a_row_is_in_the_docs(row: dict[str, Any]) -> None:
    page = (ROOT / "docs/reference/errors.md").read_text("utf-8")
    assert f"[{row['when']}]({row['source']})" in page


def test_every_error_of_a_provider_is_in_some_row() -> None:
    kinds = {row["error"] for row in table.ROWS}
    known = {
        name
        for name, found in vars(errors).items()
        if isinstance(found, type) and issubclass(found, errors.ProviderError)
    }
    assert known - kinds == {"ProviderError"}
