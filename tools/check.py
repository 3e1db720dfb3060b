#!/usr/bin/env python3
"""Run every check of this tree: `python3 tools/check.py [nox arguments]`.

Makes `.venv-tools` with nox and uv, runs the sessions of the noxfile, and ends with a table of them
and the sum of the test results. The exit code is nox's. Needs a Python 3.11 or newer with pip;
sessions that ask for another Python than those here are skipped, and the table says so.
"""

import sys

if sys.version_info < (3, 11):
    sys.exit(
        f"tools/check.py needs Python 3.11 or newer, and this is {sys.version.split()[0]}"
        f" ({sys.executable}).\nRun it with another one, for example: python3.11 tools/check.py"
    )

import json
import os
import shlex
import subprocess
import time
import venv
import xml.etree.ElementTree as ET
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".venv-tools"
REPORTS = ROOT / ".nox" / "reports"
BIN = TOOLS / ("Scripts" if os.name == "nt" else "bin")
REQUIREMENTS = ["nox[uv]>=2026.4"]

# What pip is told about the machine's package index, and uv's name for it.
PIP_TO_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "cert": "SSL_CERT_FILE",
    "trusted-host": "UV_INSECURE_HOST",
}


def make_tools():
    """Create `.venv-tools`, once for each Python and set of requirements."""
    stamp = TOOLS / "made-by"
    wanted = " ".join([sys.version.split()[0], *REQUIREMENTS])
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    print("Making .venv-tools ...", flush=True)
    venv.create(TOOLS, clear=True, with_pip=True)
    command = [str(BIN / "python"), "-m", "pip", "install", "--quiet", *REQUIREMENTS]
    subprocess.run(command, check=True)
    stamp.write_text(wanted)


def uv_settings():
    """Read pip's configuration and return it as uv's, since uv reads none of it.

    A machine that reaches packages through a mirror has usually told pip so, and pip alone. What
    the environment says to uv directly is left as it is.
    """
    command = [str(BIN / "python"), "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    settings = {}
    for line in listed.splitlines():
        key, _, value = line.partition("=")
        values = " ".join(shlex.split(value)).split()
        name = PIP_TO_UV.get(key.rsplit(".", 1)[-1])
        if name and values:
            separator = "," if name == "UV_FIND_LINKS" else " "
            settings[name] = separator.join(values)
    if "UV_INDEX" in settings:
        # pip takes the best version of all indexes; uv by default stops at the first that answers.
        settings["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return {name: value for name, value in settings.items() if name not in os.environ}


def print_sessions(report):
    """Print one line for each session: what came of it, and how long it took."""
    sessions = json.loads(report.read_text())["sessions"] if report.is_file() else []
    names = [" ".join(session.get("signatures") or [session["name"]]) for session in sessions]
    width = max(map(len, names), default=0)
    print()
    for name, session in zip(names, sessions, strict=True):
        duration = f"{session.get('duration', 0.0):7.1f} s"
        reason = session["reason"] if session["result"] == "skipped" else None
        print(f"{name:{width}}  {session['result']:8} {reason or duration}")


def sum_tests():
    """Add up the test results of all sessions, in the words of pytest."""
    total = dict.fromkeys(["tests", "failures", "errors", "skipped"], 0)
    for path in REPORTS.glob("*.xml"):
        for suite in ET.parse(path).getroot().iter("testsuite"):
            for key in total:
                total[key] += int(suite.get(key, 0))
    words = {
        "failed": total["failures"],
        "passed": total["tests"] - total["failures"] - total["errors"] - total["skipped"],
        "skipped": total["skipped"],
        "errors": total["errors"],
    }
    return ", ".join(f"{count} {word}" for word, count in words.items() if count)


def main():
    """Run nox, say what came of it, and return its exit code."""
    started = time.monotonic()
    make_tools()
    REPORTS.mkdir(parents=True, exist_ok=True)
    for old in REPORTS.iterdir():
        old.unlink()
    report = REPORTS / "sessions.json"
    command = [
        *(str(BIN / "python"), "-m", "nox", "--report", str(report)),
        *("--no-error-on-missing-interpreters", *sys.argv[1:]),
    ]
    code = subprocess.run(command, cwd=ROOT, env={**os.environ, **uv_settings()}, check=False)
    print_sessions(report)
    seconds = time.monotonic() - started
    print(f"\n==== {sum_tests() or 'no tests ran'} in {seconds:.2f}s ====", flush=True)
    return code.returncode


if __name__ == "__main__":
    sys.exit(main())
