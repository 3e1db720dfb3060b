"""What the command imports, and that it speaks the same however it is started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.faults import refused

import mellea_api

SDKS = ("mellea", "ollama", "openai", "httpx", "pydantic")
DRAWING = ("rich",)

PROBE = """
import sys
from mellea_api._cli import main
assert not {"click", "rich", "attrs"} & set(sys.modules), "imported before it runs"
try:
    main(sys.argv[2:])
finally:
    found = sorted(set(sys.argv[1].split(",")) & set(sys.modules))
    print("IMPORTED", *found, file=sys.stderr)
"""


def imported(unwanted: tuple[str, ...], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, ",".join(unwanted), *arguments],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    return done.stderr.rpartition("IMPORTED")[2].strip()


@pytest.mark.parametrize(
    "line",
    [
        "backends",
        "models --offline",
        "options ollama",
        "options ollama max_tokens=5",
        "options openai temprature=5",
        "--version",
        "--help",
        "check",
        "check --all",
        "doctor",
        "chat --help",
        "run --help",
    ],
)
def test_what_asks_nobody_imports_no_sdk(line: str) -> None:
    assert imported(SDKS, *line.split()) == ""
    assert imported((*SDKS, *DRAWING), *line.split(), "--json") == ""


@pytest.mark.parametrize("line", ["backends", "options ollama seed=1", "--help"])
def test_what_needs_no_model_list_touches_no_cache(line: str) -> None:
    assert imported(("platformdirs", "filelock", "sqlite3"), *line.split()) == ""
    assert not Path(os.environ["XDG_CACHE_HOME"], "mellea-api").exists()


def test_the_list_of_backends_imports_none_of_them() -> None:
    plugins = ("mellea_api_ollama", "mellea_api_openai", "mellea_api_ngram", "pluggy")
    plugins += (
        "mellea_api._api.functions",
        "mellea_api._contract.requests",
    )  # a quarter of what the command would cost
    assert imported(plugins, "backends") == ""
    assert imported(plugins, "backends", "--json") == ""


def test_the_script_and_the_module_are_the_same_command(command: Any) -> None:
    script = Path(sys.executable).with_name("mellea-api")
    if not script.exists():
        pytest.skip("mellea-api is not installed as a script here")
    done = subprocess.run(
        [script, "--version"], capture_output=True, check=False, text=True, timeout=60
    )
    module = command("--version")
    assert done.stdout == module.stdout == f"mellea-api, version {mellea_api.__version__}\n"
    assert done.returncode == module.returncode == 0


def test_exit_codes_of_the_process(command: Any) -> None:
    assert command("options", "ollama", "seed=1").returncode == 0
    assert command("options", "ollama", "seed=x").returncode == 1
    assert command("options").returncode == 2
    assert command("nonsense").returncode == 2
    with refused() as nobody:
        assert command("models", "ollama", "--base-url", nobody.base_url).returncode == 3
    assert command("models", "openai").returncode == 4


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    done = subprocess.run(
        f"'{sys.executable}' -m mellea_api options ollama -v | head -n 1",
        shell=True,
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


@pytest.mark.parametrize(
    ("line", "code"),
    [("models ngram <&-", 0), ("models ngram >&-", 0), ("models nix 2>&-", 1), ("chat <&-", 0)],
)
def test_a_stream_that_is_closed_is_as_an_empty_one(line: str, code: int) -> None:
    """A daemon has none of them; Python then has None in their place."""
    pytest.importorskip("mellea_api_ngram")
    done = subprocess.run(
        f"MELLEA_BACKEND=ngram '{sys.executable}' -m mellea_api {line}",
        shell=True,
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert done.returncode == code
    assert "NoneType" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_disk_that_is_full_is_one_line_of_error() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "mellea_api", "backends"],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            text=True,
            timeout=60,
        )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "No space left on device. " in line


def test_a_terminal_without_unicode_is_served_too(command: Any) -> None:
    done = command(
        *("options", "ollama", "stop=…", "--json"),
        env={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    )
    assert done.returncode == 0
    assert "\\u2026" in done.stdout
    done = command("options", "ollama", "stop=…", env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0


def test_tables_on_a_terminal_are_drawn_and_no_color_is_respected() -> None:
    pty = pytest.importorskip("pty")

    def on_a_terminal(**environment: str) -> bytes:
        terminal, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "mellea_api", "backends"],
            stdout=theirs,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "200", **environment},
        )
        os.close(theirs)
        seen = b""
        try:
            while piece := os.read(terminal, 1000):
                seen += piece
        except OSError:  # Linux ends so
            pass
        os.close(terminal)
        assert process.wait(20) == 0
        return seen

    drawn, plain = on_a_terminal(), on_a_terminal(NO_COLOR="1")
    assert b"\x1b[" in drawn
    assert "─".encode() in drawn
    assert b"\x1b" not in plain
    assert b"ollama" in plain


def test_a_program_that_calls_the_command_goes_on_after_it(tmp_path: Path) -> None:
    """Also where a thread is left that nobody waits for: only the command's own process ends so."""
    program = (
        "import threading, mellea_api._cli\n"
        "hung = threading.Event()\n"
        "threading.Thread(target=hung.wait, daemon=True, name='mellea-api-models-x').start()\n"
        "print(mellea_api._cli.main(['backends']), 'and on')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.splitlines()[-1] == "0 and on"
