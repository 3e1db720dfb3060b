"""What `doctor` knows by heart is what the tree says."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import jsonschema
from support.reports import REFERENCE, schema

from mellea_api._api.environment import VARIABLES
from mellea_api._diagnosis.doctor import TESTED_MELLEA
from mellea_api._registry.registry import KNOWN_DISTRIBUTIONS

ROOT = Path(__file__).resolve().parents[3]


def test_the_list_of_variables_is_that_of_the_code_and_of_the_reference() -> None:
    source = ROOT / "core/src/mellea_api"
    named = {
        name
        for path in source.rglob("*.py")
        if "_diagnosis" not in path.parts
        for name in re.findall(r"\bMELLEA_[A-Z_]+\b", path.read_text("utf-8"))
    }
    assert named - {"MELLEA_RULES"} == set(VARIABLES)  # which is a name of `mellea_api.plugin`
    documented = re.findall(
        r"^\| `(MELLEA_\w+)`", (REFERENCE / "environment.md").read_text("utf-8"), re.MULTILINE
    )
    assert set(documented) == set(VARIABLES)


def test_the_versions_that_are_tested_are_those_of_the_constraints() -> None:
    lines = [
        path.stem.removeprefix("mellea-") for path in (ROOT / "constraints").glob("mellea-*.txt")
    ]
    lines.sort(key=lambda line: [int(part) for part in line.split(".")])
    assert (lines[0], lines[-1]) == TESTED_MELLEA


def test_the_distributions_of_this_project_are_those_of_the_tree() -> None:
    names = {
        tomllib.loads(path.read_text("utf-8"))["project"]["name"]
        for folder in ("plugins", "examples")
        for path in (ROOT / folder).glob("*/pyproject.toml")
    }
    assert names == set(KNOWN_DISTRIBUTIONS.values())


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(schema("doctor"))
