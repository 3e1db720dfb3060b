"""The tree keeps its promises: one version, complete distributions, nothing of anybody's machine."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
DISTRIBUTIONS = sorted(
    path.parent.relative_to(ROOT).as_posix()
    for pattern in ("core", "plugins/*", "examples/*")
    for path in ROOT.glob(f"{pattern}/pyproject.toml")
)
PLUGINS = [folder for folder in DISTRIBUTIONS if folder != "core"]
CONSTRAINTS = sorted(path.name for path in (ROOT / "constraints").glob("*.txt"))


@cache
def project(folder: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / folder / "pyproject.toml").read_text("utf-8"))["project"]


def package(folder: str) -> str:
    return project(folder)["name"].replace("-", "_")


def tracked_files() -> list[Path]:
    """What git holds, or what the tree holds where there is no git to ask."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached"]
    try:
        listed = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    except (OSError, subprocess.CalledProcessError):
        listed = ""
    names = [name for name in listed.split("\0") if name]
    if not names:
        made = re.compile(r"^(\.(?!ci|github|gitignore).*|__pycache__|build|dist|.*\.egg-info)$")
        names = [
            str(path.relative_to(ROOT))
            for path in ROOT.rglob("*")
            if not any(made.match(part) for part in path.relative_to(ROOT).parts)
        ]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def test_the_tree_holds_the_core_and_its_plugins() -> None:
    assert {"core", "plugins/ollama", "plugins/openai", "examples/ngram"} <= set(DISTRIBUTIONS)


def test_all_distributions_have_one_version() -> None:
    versions = {folder: project(folder)["version"] for folder in DISTRIBUTIONS}
    assert len(set(versions.values())) == 1, versions


def test_the_changelog_is_open_for_the_next_change() -> None:
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


@pytest.mark.parametrize("folder", DISTRIBUTIONS)
@pytest.mark.parametrize("name", ["README.md", "LICENSE", "src/{package}/py.typed"])
def test_a_distribution_is_complete(folder: str, name: str) -> None:
    assert (ROOT / folder / name.format(package=package(folder))).is_file()


@pytest.mark.parametrize("folder", [name for name in PLUGINS if name.startswith("plugins/")])
def test_who_has_read_one_plugin_finds_the_way_in_all(folder: str) -> None:
    found = {path.stem for path in (ROOT / folder / "src" / package(folder)).glob("*.py")}
    assert found >= {"__init__", "options", "models"}


@pytest.mark.parametrize("folder", DISTRIBUTIONS)
def test_a_distribution_carries_the_license_of_the_tree(folder: str) -> None:
    assert (ROOT / folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert project(folder)["license"] == "Apache-2.0"


@pytest.mark.parametrize("folder", DISTRIBUTIONS)
def test_a_distribution_asks_for_the_pythons_that_are_tested(folder: str) -> None:
    assert project(folder)["requires-python"] == ">=3.11"


@pytest.mark.parametrize("folder", DISTRIBUTIONS)
def test_every_requirement_has_a_lower_bound(folder: str) -> None:
    for text in project(folder)["dependencies"]:
        requirement = Requirement(text)
        assert any(spec.operator in (">=", "~=") for spec in requirement.specifier), text


@pytest.mark.parametrize("folder", PLUGINS)
def test_a_plugin_accepts_the_core_of_this_tree_and_no_other_minor_line(folder: str) -> None:
    requirements = map(Requirement, project(folder)["dependencies"])
    (core,) = [r for r in requirements if r.name == "mellea-api"]
    version = Version(project("core")["version"])
    assert str(core.specifier) == f"~={version.major}.{version.minor}"
    assert core.specifier.contains(version)


@pytest.mark.parametrize("folder", PLUGINS)
def test_a_plugin_names_its_module_as_a_backend(folder: str) -> None:
    backends = project(folder)["entry-points"]["mellea_api.backends"]
    assert {value.partition(":")[0] for value in backends.values()} == {package(folder)}
    assert package(folder) == f"mellea_api_{min(backends, key=len)}".replace("-", "_")


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_a_constraints_file_holds_exact_versions_and_nothing_else(name: str) -> None:
    """No address, no hash, no path: the file means the same on every index."""
    lines = (ROOT / "constraints" / name).read_text("utf-8").splitlines()
    if name.startswith("newest-"):
        assert re.fullmatch(r"# The newest versions of 20\d\d-\d\d-\d\d\.", lines.pop(0))
    else:
        assert f"mellea=={name.rpartition('-')[2].removesuffix('.txt')}" in lines  # hf-0.8.0.txt
    for line in lines:
        requirement = Requirement(line)
        assert requirement.url is None
        assert [spec.operator for spec in requirement.specifier] == ["=="], line


@pytest.mark.parametrize("folder", DISTRIBUTIONS)
@pytest.mark.parametrize("name", CONSTRAINTS)
def test_the_constraints_pin_what_a_distribution_asks_for(folder: str, name: str) -> None:
    own = name.rpartition("-")[0] if not name.startswith("newest-") else name[7:-4]
    pins = pinned(name)
    for requirement in map(Requirement, project(folder)["dependencies"]):
        if requirement.name != "mellea-api" and (own in folder or requirement.name in pins):
            assert all(requirement.specifier.contains(v) for v in pins[requirement.name])


@cache
def pinned(name: str) -> dict[str, list[str]]:
    """The versions in a constraints file: several where Pythons differ."""
    pins: dict[str, list[str]] = {}
    for line in (ROOT / "constraints" / name).read_text("utf-8").splitlines():
        if not line.startswith("#"):
            pin = Requirement(line)
            pins.setdefault(pin.name, []).append(next(iter(pin.specifier)).version)
    return pins


@pytest.mark.parametrize("folder", [folder for folder in PLUGINS if "ngram" not in folder])
def test_a_plugin_says_which_sdks_it_was_tested_with(folder: str) -> None:
    """The newest, as `mellea-api doctor` knows them; and in its requirements the oldest."""
    file = ROOT / f"constraints/newest-{Path(folder).name}.txt"
    newest = pinned(file.name if file.exists() else "newest-mellea.txt")
    source = (ROOT / folder / "src" / package(folder) / "__init__.py").read_text("utf-8")
    found = re.search(r"\btested=(\{.*?\})", source)
    if found is None:  # built on OpenAICompatible
        place = ROOT / "core/src/mellea_api/_openai_protocol/declaration.py"
        found = re.search(r"lambda: (\{.*?\})", place.read_text("utf-8"))
    assert found is not None
    tested = ast.literal_eval(found[1])
    assert tested
    assert {name: [version] for name, version in tested.items()} == {
        name: newest[name] for name in tested
    }
    bounds = {one.name: one.specifier for one in map(Requirement, project(folder)["dependencies"])}
    for name, version in tested.items():
        assert any(one.operator == ">=" for one in bounds[name]), name
        assert bounds[name].contains(version)


# An absolute path is one that nothing precedes which could make it part of an URL or of a longer path.
MACHINE = re.compile(
    rb"(?<![\w.:/~}\)>-])/(?:home|root|Users|tmp|work|workspace|mnt|media|opt|srv|data|var/folders)/\w"
    rb"|file:///\w"
    rb"|(?i:[^/]\b[a-z]:\\users\\)"
)
# A name followed by a dot and a top-level domain, in the places where packages are served from.
REGISTRY = re.compile(
    rb"(?i:pythonhosted\.org|pypi\.org/(?!project/)|pypi\.python\.org"
    rb"|download\.pytorch\.org|/simple/?[\"'\s]|artifactory|--(?:extra-)?index-url[ =]\w)"
)


@pytest.mark.parametrize("pattern", [MACHINE, REGISTRY], ids=["machine", "registry"])
def test_nothing_names_a_machines_paths_or_a_package_registry(pattern: re.Pattern[bytes]) -> None:
    found = []
    for path in tracked_files():
        if path == Path(__file__).resolve():
            continue
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            if pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line[:100]!r}")
    assert not found, "\n".join(found)


@pytest.mark.parametrize("text", [b"x = '/home/me/a'", b"see /tmp/v/bin", b"file:///opt/x"])
def test_the_search_for_machine_paths_finds_them(text: bytes) -> None:
    assert MACHINE.search(text)


@pytest.mark.parametrize("text", [b"http://127.0.0.1/home/x", b"~/src/x", b"{tmp}/data/x"])
def test_the_search_for_machine_paths_passes_what_is_none(text: bytes) -> None:
    assert not MACHINE.search(text)


def test_no_test_folder_is_a_package() -> None:
    """With `--import-mode=importlib` it need not be, and an `__init__.py` would make names clash."""
    assert not list((ROOT / "tests").rglob("__init__.py"))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no executable bit")
@pytest.mark.parametrize("name", [".ci/run", "tools/check.py", "tools/demo.py"])
def test_a_script_can_be_executed(name: str) -> None:
    assert (ROOT / name).stat().st_mode & 0o100
