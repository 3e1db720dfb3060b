"""The house: who may import whom, and how high it is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    source for place in ("core", "plugins/*", "examples/*") for source in ROOT.glob(f"{place}/src")
)
FACES = frozenset(f"mellea_api{face}" for face in ("", ".plugin", ".runtime", ".testing"))
FLOORS = 9
BACKENDS = re.compile(r"\b(ollama|openai|watsonx|hugging_?face|hf|litellm|ngram)\b", re.IGNORECASE)
NAMED_IN = {
    # Behind BackendNotFoundError: which distribution brings the backend.
    "_registry/registry.py",
    # The default of MELLEA_BACKEND.
    "_api/environment.py",
}


@cache
def modules() -> Mapping[str, Path]:
    """Every module of the distributions by its dotted name."""
    found = {}
    for source in SOURCES:
        for path in source.rglob("*.py"):
            parts = path.relative_to(source).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(tree: ast.AST, names: Mapping[str, Path]) -> Iterator[str]:
    """The modules of ours that a module imports, in functions and for type checkers as well."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in names:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in names else str(node.module)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in names)


@cache
def arrows() -> Mapping[str, frozenset[str]]:
    """From each module to those that it imports."""
    names = modules()
    return {
        name: frozenset(imported(ast.parse(path.read_text()), names)) - {name}
        for name, path in names.items()
    }


def room(module: str) -> str:
    """What a reader sees as one thing: a file or a folder of the core, or a plugin."""
    top, *inside = module.split(".")
    return f"{top}.{inside[0]}" if top == "mellea_api" and inside else top


def test_no_module_imports_one_that_imports_it() -> None:
    try:
        TopologicalSorter(arrows()).prepare()
    except CycleError as error:
        raise AssertionError(" imports ".join(error.args[1])) from None


def test_the_house_has_few_floors() -> None:
    between: dict[str, set[str]] = {}
    for module, others in arrows().items():
        below = between.setdefault(room(module), set())
        below |= {room(other) for other in others} - {room(module)}
    floors: dict[str, int] = {}
    for name in TopologicalSorter(between).static_order():
        floors[name] = 1 + max((floors[below] for below in between[name]), default=0)
    highest = max(floors, key=lambda name: floors[name])
    assert floors[highest] <= FLOORS, sorted(floors.items(), key=lambda item: item[1])


def test_plugins_and_examples_import_the_faces_alone() -> None:
    beyond = {
        (module, other)
        for module, others in arrows().items()
        for other in others
        if not module.startswith("mellea_api.")
        and module != "mellea_api"
        and room(other).startswith("mellea_api")
        and other.partition(".")[0] == "mellea_api"
        and other not in FACES
    }
    assert not sorted(beyond)


@pytest.mark.parametrize(
    "page",
    [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_a_page_shows_the_faces_alone(page: Path) -> None:
    shown = re.findall(r"^\s*(?:from|import) (mellea_api[\w.]*)", page.read_text(), re.MULTILINE)
    assert {name for name in shown if name.startswith("mellea_api.")} <= FACES


def test_private_modules_list_no_names() -> None:
    """What a face does not list is private, so that a second list says nothing."""
    listing = {
        module
        for module, path in modules().items()
        if module.startswith("mellea_api.")
        and module not in {*FACES, "mellea_api.hookspecs"}
        and re.search(r"^__all__\b", path.read_text(), re.MULTILINE)
    }
    assert not listing


def test_packages_pass_no_names_on() -> None:
    passing = {
        module
        for module, path in modules().items()
        if path.name == "__init__.py"
        and module.startswith("mellea_api._")
        and any(
            isinstance(node, ast.Import | ast.ImportFrom) and "__future__" not in ast.unparse(node)
            for node in ast.parse(path.read_text()).body
        )
    }
    assert not passing - {"mellea_api._cli"}


def texts(tree: ast.Module) -> Iterator[str]:
    """The texts and names that code uses, without what is only said in docstrings."""
    said = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node.value
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_the_core_knows_no_backend_by_name() -> None:
    """What it must know of one, the backend's descriptor says."""
    core = ROOT / "core/src/mellea_api"
    naming = {
        (place, text[:60])
        for path in core.rglob("*.py")
        if not (place := path.relative_to(core).as_posix()).startswith(
            ("_openai_protocol/", "testing/")
        )
        and place not in NAMED_IN
        for text in texts(ast.parse(path.read_text()))
        if BACKENDS.search(text)
    }
    assert not sorted(naming)
