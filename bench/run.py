"""Measures everything and writes RESULTS.md; `nox -s bench` calls it with what it needs installed.

`python bench/run.py [--older PYTHON] [--out FILE]`: PYTHON is an interpreter in whose environment
an older Mellea is installed; sessions are measured there too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from measure import Ratio

HERE = Path(__file__).resolve().parent
COMPETITORS = ("mellea", "litellm", "any-llm-sdk", "llm")


def measured(script: str, python: str = sys.executable) -> list[dict[str, Any]]:
    """Runs one script in a process of its own; returns its tables."""
    print(f"measuring: {script} ...", file=sys.stderr, flush=True)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [python, str(HERE / script)],
        capture_output=True,
        text=True,
        env=environ,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{script} failed:\n{done.stderr}")
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def table(section: dict[str, Any]) -> str:
    """One section of the page."""
    lines = [f"## {section['title']}", ""]
    if section["note"]:
        lines += [section["note"], ""]
    head = section.get("head", ("what", "against", "ratio", "least to greatest"))
    lines += [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    lines += section.get("rows") or [Ratio(**found).row() for found in section["ratios"]]
    return "\n".join(lines)


def page(sections: list[dict[str, Any]], load: float) -> str:
    """The whole page."""
    versions = ", ".join(f"{name} {version(name)}" for name in COMPETITORS)
    how = (
        "Written by `nox -s bench`; [README.md](README.md) says how each is measured. A ratio "
        "below 1 means that what stands first took less time. The median of the rounds of one "
        "run stands first, then the least and the greatest round."
    )
    where = (
        f"CPython {platform.python_version()} on {platform.system()}, {os.cpu_count()} "
        "processors shared with other work the whole time (load average "
        f"{load:.1f} at the start): the machine was noisy and the extremes are wide, so look at "
        f"the medians. Beside {versions}."
    )
    return "\n\n".join(["# Results", how, where, *map(table, sections)])


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--older", help="an interpreter that has an older Mellea")
    parser.add_argument("--out", type=Path, default=HERE / "RESULTS.md")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    sections = measured("commands.py") + measured("options.py") + measured("sessions.py")
    sections += measured("loop.py")
    if arguments.older:
        sections += measured("sessions.py", arguments.older)
    arguments.out.write_text(page(sections, load) + "\n", encoding="utf-8")
    print(f"wrote {arguments.out.name}", file=sys.stderr)


if __name__ == "__main__":
    main()
