"""What the tests of the commands that report look for in a report."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

SECRET = "sk-a-canary-that-nobody-may-see-0123456789"
STEPS = ["plugin", "settings", "options", "credentials"]
"""The steps of `check` without a probe."""
REFERENCE = Path(__file__).resolve().parents[2] / "docs/reference"


@cache
def schema(command: str) -> Any:
    """The documented JSON Schema of what a command prints with --json."""
    return json.loads((REFERENCE / f"{command}.schema.json").read_text("utf-8"))


def steps(found: Any, backend: str = "") -> dict[str, str]:
    """The state of each step of one backend, or of the only one."""
    (one,) = [row for row in found["backends"] if not backend or row["backend"] == backend]
    return {step["name"]: step["state"] for step in one["steps"]}


def step(found: Any, name: str) -> Any:
    """One step of the only backend."""
    (backend,) = found["backends"]
    (one,) = [step for step in backend["steps"] if step["name"] == name]
    return one


def row(found: Any, part: str, name: str) -> Any:
    """One row of a part of what `doctor` found."""
    (one,) = [row for row in found[part] if row["name"] == name]
    return one
