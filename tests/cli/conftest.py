"""What the tests of the command share."""

from __future__ import annotations

import inspect
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support import installing
from support.reports import SECRET, schema

pytest.importorskip("mellea_api_ollama")
pytest.importorskip("mellea_api_openai")
pytest.importorskip("mellea_api_ngram")

from click.testing import CliRunner, Result

import mellea_api
from mellea_api._cli.app import app

_numbers = itertools.count()

Install = Callable[..., str]
Invoke = Callable[..., Result]


@pytest.fixture
def invoke() -> Invoke:
    """Runs the command in this process: the arguments as one text per word."""

    # Before click 8.2 standard error is apart only where that is asked for; since then, always.
    mixes = "mix_stderr" in inspect.signature(CliRunner).parameters
    runner = CliRunner(mix_stderr=False) if mixes else CliRunner()

    def run(*arguments: str, stdin: str | None = None) -> Result:
        return runner.invoke(
            app, list(arguments), input=stdin, prog_name="mellea-api", catch_exceptions=False
        )

    return run


@pytest.fixture
def invoke_json(invoke: Invoke) -> Callable[..., Any]:
    """Runs the command with --json, and returns what it prints."""

    def run(*arguments: str) -> Any:
        return json.loads(invoke(*arguments, "--json").stdout)

    return run


@pytest.fixture
def reported(invoke: Invoke) -> Callable[..., Any]:
    """Runs a command with --json; returns what it prints, held to its schema and its exit code."""

    def run(name: str, *arguments: str) -> Any:
        result = invoke(name, *arguments, "--json")
        found = json.loads(result.stdout)
        jsonschema.validate(found, schema(name))
        assert result.stderr == ""
        assert result.exit_code == found["exit_code"]
        assert SECRET not in result.output
        return found

    return run


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a distribution with one plugin, as pip would: a module and its metadata."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", str(site))

    def write(
        name: str, source: str, *, distribution: str = "", group: str = "mellea_api.backends"
    ) -> str:
        module = f"installed_plugin_{next(_numbers)}"
        (site / f"{module}.py").write_text(source)
        installing.distribution(
            site,
            distribution or f"dist-{name}",
            "1.0",
            entry_points=f"[{group}]\n{name} = {module}\n",
            extra="Summary: A test's own.\n",
        )
        mellea_api.refresh()
        return module

    return write


@pytest.fixture
def command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the installed command in a process of its own."""

    def run(*arguments: str, **settings: Any) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **settings.pop("env", {})}
        return subprocess.run(
            [sys.executable, "-m", "mellea_api", *arguments],
            capture_output=True,
            check=False,
            text=True,
            timeout=60,
            env=environment,
            **settings,
        )

    return run
