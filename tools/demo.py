#!/usr/bin/env python3
"""Run Mellea's first program on a backend that needs no server: `python3 tools/demo.py`.

Makes `.venv-demo`, installs the core and the embedded n-gram backend with pip, and runs
`examples/first_program.py`. Needs a Python 3.11 or newer with pip. A second run installs nothing as
long as the sources are the same.
"""

import sys

if sys.version_info < (3, 11):
    sys.exit(
        f"tools/demo.py needs Python 3.11 or newer, and this is {sys.version.split()[0]}"
        f" ({sys.executable}).\nRun it with another one, for example: python3.11 tools/demo.py"
    )

import hashlib
import os
import subprocess
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / ".venv-demo"
PYTHON = DEMO / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
CONSTRAINTS = ROOT / "constraints" / "mellea-0.8.0.txt"
DISTRIBUTIONS = [ROOT / "core", ROOT / "examples" / "ngram"]


def fingerprint():
    """Hash everything that the environment is made from, this Python included."""
    digest = hashlib.sha256(sys.version.encode())
    sources = [CONSTRAINTS]
    for folder in DISTRIBUTIONS:
        sources += [folder / "pyproject.toml"]
        sources += sorted(p for p in (folder / "src").rglob("*") if "__pycache__" not in p.parts)
    for path in sources:
        if path.is_file():
            digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def make_environment():
    """Create `.venv-demo` and install into it, unless it is already what it would become."""
    stamp, wanted = DEMO / "made-from", fingerprint()
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    if not PYTHON.exists() or not stamp.is_file():
        print("Making .venv-demo ...", flush=True)
        venv.create(DEMO, clear=True, with_pip=True)
    stamp.unlink(missing_ok=True)
    print("Installing the core and the n-gram backend (a minute, the first time) ...", flush=True)
    pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run(
        [*pip, "-c", str(CONSTRAINTS), *(str(folder) for folder in DISTRIBUTIONS)], check=True
    )
    stamp.write_text(wanted)


def main():
    """Run the program and return its exit code."""
    make_environment()
    program = ROOT / "examples" / "first_program.py"
    print(f"$ MELLEA_BACKEND=ngram python {program.relative_to(ROOT)}", flush=True)
    # Nothing else that the environment says about Mellea is meant for this program.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MELLEA_")}
    environment["MELLEA_BACKEND"] = "ngram"
    return subprocess.run([str(PYTHON), str(program)], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
