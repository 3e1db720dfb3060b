"""Whole processes: importing, discovering, explaining, and listing on the command line."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from measure import Ratio, clean_environment, processes, ratio, section

PYTHON = sys.executable
BIN = Path(PYTHON).parent

BARE = "the bare interpreter"
LIBRARIES = "its four libraries"
OPTIONS = "{'temperature': 0.7, 'max_tokens': 100, 'top_p': 0.9, 'stop': ['END']}"

CODE = {
    BARE: "pass",
    "`import mellea_api`": "import mellea_api",
    LIBRARIES: "import pluggy, attrs, importlib_metadata",
    "`Registry.discover()`": "import mellea_api; mellea_api.Registry.discover()",
    "`explain_options`": f"import mellea_api; mellea_api.explain_options('openai', {OPTIONS})",
    "`import llm`": "import llm",
    "`import mellea`": "import mellea",
    "`import any_llm`": "import any_llm",
    "`import litellm`": "import litellm",
}
OURS = "`mellea-api backends`"
THEIRS = "`llm models list`"


def measure(rounds: int = 15) -> list[dict[str, Any]]:
    """Measures everything in one run."""
    contenders = {name: [PYTHON, "-c", code] for name, code in CODE.items()} | {
        OURS: [str(BIN / "mellea-api"), "backends"],
        THEIRS: [str(BIN / "llm"), "models", "list"],
    }
    with tempfile.TemporaryDirectory() as scratch:
        processor, clock = processes(contenders, clean_environment(scratch), rounds=rounds)

    def compared(ours: str, *others: str) -> list[Ratio]:
        return [
            found
            for theirs in others
            for found in (
                ratio(processor, ours, theirs),
                replace(ratio(clock, ours, theirs), theirs=f"{theirs}, by the clock"),
            )
        ]

    others = (BARE, LIBRARIES, "`import llm`", "`import mellea`")
    heavy = ("`import any_llm`", "`import litellm`")
    return [
        section(
            "Importing the library",
            "The libraries are pluggy, attrs and importlib_metadata.",
            compared("`import mellea_api`", BARE, LIBRARIES),
        ),
        section(
            "Finding plugins, and explaining options, in a fresh process",
            "With all plugins installed, and the import included; the others are imports alone.",
            [
                *compared("`Registry.discover()`", *others, *heavy),
                *compared("`explain_options`", *others, *heavy),
            ],
        ),
        section(
            "Listing on the command line",
            "With all plugins installed here, and none beside its own there.",
            compared(OURS, THEIRS, BARE),
        ),
    ]


if __name__ == "__main__":
    json.dump(measure(), sys.stdout)
