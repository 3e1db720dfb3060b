"""What becomes of an option is what the provider's own documentation says: `support/provider_options.toml`.

The tables of each plugin are proved against the rules they are written from. These rows were written by hand.
"""

from __future__ import annotations

import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

import mellea_api

TABLES = tomllib.loads(
    Path(__file__).parent.with_name("support").joinpath("provider_options.toml").read_text()
)["table"]
ROWS = [
    pytest.param(
        table,
        row,
        id=f"{table['backend']}-{table['model']}-{table.get('endpoint', 'chat')}-{row['given']}",
    )
    for table in TABLES
    for row in table["rows"]
]


@pytest.mark.parametrize(("table", "row"), ROWS)
def test_an_option_reaches_the_provider_as_its_documentation_has_it(
    table: dict[str, Any], row: dict[str, Any]
) -> None:
    if table["backend"] not in mellea_api.shared_registry().names():
        pytest.skip(f"the plugin for {table['backend']} is not installed")
    if Version(version("mellea")) < Version(row.get("mellea", "0")):
        pytest.skip(f"Mellea below {row['mellea']} cannot send it")
    target = {name: table[name] for name in ("base_url", "server", "endpoint") if name in table}
    options, model = row["given"], table["model"]

    def explain() -> mellea_api.NormalizedOptions:
        return mellea_api.explain_options(table["backend"], options, model, **target)

    if "refused" in row:
        with pytest.raises(mellea_api.OptionError) as refused:
            explain()
        assert [problem.path for problem in refused.value.problems] == [row["refused"]]
        return
    report = explain()
    assert report.wire == row["sent"]
    dropped = [found.name for found in report.decisions if found.outcome == "dropped"]
    assert dropped == row.get("dropped", [])


def test_every_row_has_a_source_and_a_date() -> None:
    for table in TABLES:
        assert table["source"].strip()
        assert table["read"].year >= 2026
