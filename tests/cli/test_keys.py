"""`mellea-api keys`, on a keyring in a file."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("keyring")

KEY = "sk-0123456789abcdefghij"
TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture
def in_file(tmp_path: Path, command: Any) -> Any:
    """Runs `mellea-api keys` with the keyring of `tests/support/keyrings.py` in a file."""

    def run(*arguments: str, **settings: Any) -> Any:
        environment = {
            "PYTHON_KEYRING_BACKEND": "support.keyrings.FileKeyring",
            "TEST_KEYRING": str(tmp_path / "keyring.json"),
            "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]),
            **settings.pop("env", {}),
        }
        return command("keys", *arguments, env=environment, **settings)

    return run


def stored(tmp_path: Path) -> list[list[str]]:
    found: list[list[str]] = json.loads((tmp_path / "keyring.json").read_text("utf-8"))
    return found


def test_a_key_is_set_listed_by_its_end_used_and_deleted(
    in_file: Any, command: Any, tmp_path: Path
) -> None:
    done = in_file("set", "openai", input=f"{KEY}\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert "openai.api_key" in done.stdout
    assert stored(tmp_path) == [["mellea-api", "openai.api_key", KEY]]

    assert "…ghij" in in_file("list", "openai").stdout
    listed = in_file("list").stdout
    assert re.search(r"^openai +api_key +yes +…ghij$", listed, re.MULTILINE)
    assert KEY not in listed

    # What `check` says is what a session would do.
    environment = {
        "PYTHON_KEYRING_BACKEND": "support.keyrings.FileKeyring",
        "TEST_KEYRING": str(tmp_path / "keyring.json"),
        "PYTHONPATH": str(TESTS),
    }
    done = command("check", "openai", "--json", env=environment)
    assert '"source": "keyring"' in done.stdout
    assert KEY not in done.stdout + done.stderr
    done = command("check", "--all", "--json", env=environment)  # it was not named
    assert '"source": "keyring"' not in done.stdout
    assert "the keyring was not asked" in done.stdout

    done = in_file("delete", "openai")
    assert (done.returncode, done.stderr) == (0, "")
    assert stored(tmp_path) == []
    done = in_file("delete", "openai")
    assert done.returncode == 4
    assert "holds no openai.api_key" in done.stderr
    assert "mellea-api keys set openai api_key" in done.stderr


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (f'"{KEY}"', "quotes"),
        (f"Bearer {KEY}", "Bearer"),
        ("${OPENAI_API_KEY}", "placeholder"),
        (f"{KEY} {KEY}", "white space"),
    ],
)
def test_what_cannot_be_a_key_is_not_kept(
    in_file: Any, tmp_path: Path, given: str, why: str
) -> None:
    done = in_file("set", "openai", input=given)
    assert done.returncode == 4
    assert why in done.stderr
    assert KEY not in done.stderr
    assert not (tmp_path / "keyring.json").exists()


@pytest.mark.parametrize(
    ("arguments", "given", "said"),
    [
        (("set", "openai"), "", "Nothing was given"),
        (("set", "openai"), "k" * 70_000, "not a credential"),
        (("set", "openai", "project"), KEY, "no secret project"),
        (("set", "ngram"), KEY, "has no secrets"),
        (("set", "openai", "api_key", KEY), "", "unexpected extra argument"),
        (("list", "--model", "x"), "", "--model needs BACKEND"),
    ],
)
def test_wrong_usage_is_said(
    in_file: Any, arguments: tuple[str, ...], given: str, said: str, tmp_path: Path
) -> None:
    done = in_file(*arguments, input=given)
    assert done.returncode == 2
    assert said in done.stderr
    assert not (tmp_path / "keyring.json").exists()


def test_a_machine_without_a_keyring_is_told_what_to_do_instead(in_file: Any) -> None:
    for kind, name in (("fail", "set"), ("fail", "list"), ("null", "delete")):
        environment = {"PYTHON_KEYRING_BACKEND": f"keyring.backends.{kind}.Keyring"}
        done = in_file(name, "openai", input=KEY, env=environment)
        assert done.returncode == 1, (name, done)
        assert "The keyring cannot be used" in done.stderr
        assert "_FILE" in done.stderr
        assert KEY not in done.stderr


def test_without_the_library_the_pip_line_is_given(in_file: Any, tmp_path: Path) -> None:
    # As if it were not installed: what is None among the modules cannot be imported.
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['keyring'] = None\n")
    done = in_file("list", env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1
    assert 'pip install "mellea-api[keyring]"' in done.stderr


def test_the_backends_name_may_be_unknown(in_file: Any) -> None:
    done = in_file("delete", "opnai")
    assert done.returncode == 1
    assert "Did you mean 'openai'?" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such terminals")
def test_on_a_terminal_the_value_is_asked_for_and_not_shown(tmp_path: Path) -> None:
    import pty
    import termios

    os.environ |= {
        "PYTHON_KEYRING_BACKEND": "support.keyrings.FileKeyring",
        "TEST_KEYRING": str(tmp_path / "keyring.json"),
        "PYTHONPATH": str(TESTS),
    }
    program = [sys.executable, "-m", "mellea_api", "keys", "set", "openai"]
    parent, terminal = pty.openpty()
    with subprocess.Popen(
        program, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True
    ) as process:
        os.close(terminal)
        shown = b""
        while b"Value of openai.api_key" not in shown:
            shown += os.read(parent, 1024)
        # What is typed before the terminal stops to echo is thrown away, as getpass has it.
        while termios.tcgetattr(parent)[3] & termios.ECHO:
            time.sleep(0.01)
        os.write(parent, f"{KEY}\n".encode())
        with contextlib.suppress(OSError):  # how the end of a terminal reads
            while more := os.read(parent, 1024):
                shown += more
    os.close(parent)
    assert process.returncode == 0, shown
    assert KEY.encode() not in shown
    assert stored(tmp_path) == [["mellea-api", "openai.api_key", KEY]]
