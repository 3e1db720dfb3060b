"""Break lines of the library one at a time, and list those that no test notices.

`nox -s mutants` calls it; `python tools/mutants.py [--count 300] [--seed 1] [--only GLOB]`. It
works in a copy of the tree. For each mutant it runs the tests of the broken module alone, so it
lists a line that only other tests cover, too. Read each survivor once. A change that nobody can
see is no fault.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.util
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
CORE = "core/src/mellea_api"
BY_HAND = "plugins/test_provider_options.py"
# Which tests in `tests/` know a module, quickest first; a mutant is dead at the first failure.
SUITES = {
    f"{CORE}/_options/*": f"core/options {BY_HAND}",
    f"{CORE}/_credentials/*": "core/test_credential*.py core/test_keyring.py",
    f"{CORE}/_secrecy/*": "core/test_secrets.py core/test_veil.py core/test_logs.py",
    f"{CORE}/_contract/refusals.py": "core/test_refusals.py core/test_translation.py",
    f"{CORE}/_contract/said.py": "core/test_waiting.py",
    f"{CORE}/_contract/errors.py": "core/test_errors.py core/test_refusals.py",
    f"{CORE}/_provider/*": "core/test_translation.py core/test_http.py core/test_refusals.py",
    f"{CORE}/_openai_protocol/*": f"{BY_HAND} plugins/openai",
    "plugins/openai/src/*": f"{BY_HAND} plugins/openai",
    "plugins/ollama/src/*": f"{BY_HAND} plugins/ollama",
    "plugins/watsonx/src/*/options.py": f"{BY_HAND} plugins/watsonx",
    "plugins/hf/src/*/options.py": f"{BY_HAND} plugins/hf",
    "plugins/litellm/src/*/options.py": f"{BY_HAND} plugins/litellm",
}
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
}


class Mutant(NamedTuple):
    """One change to one file."""

    file: str
    line: int
    before: str
    after: str
    source: str


def mutants(file: str) -> Iterator[Mutant]:
    """Yields every change to a file that this tool knows."""
    text = (ROOT / file).read_text(encoding="utf-8")
    tree = ast.parse(text)
    for node in list(_code(tree)):
        for change in changes(node):
            before = ast.unparse(node)
            saved = copy.copy(node.__dict__)
            node.__dict__.update(change)
            after = ast.unparse(node)
            source = ast.unparse(tree)
            node.__dict__.clear()
            node.__dict__.update(saved)
            yield Mutant(file, getattr(node, "lineno", 0), before, after, source)


def _code(node: ast.AST) -> Iterator[ast.AST]:
    """Yields what runs: no annotations, and no types."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns") or _is_type(node):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _code(child)


def _is_type(node: ast.AST) -> bool:
    return isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Literal"


def changes(node: ast.AST) -> Iterator[dict[str, object]]:
    """Yields the fields of a node that make a mutant of it."""
    if isinstance(node, ast.Compare):
        for at, operator in enumerate(node.ops):
            if type(operator) in SWAPS:
                ops: list[ast.AST] = list(node.ops)
                ops[at] = SWAPS[type(operator)]()
                yield {"ops": ops}
    elif isinstance(node, ast.BoolOp | ast.BinOp) and type(node.op) in SWAPS:
        yield {"op": SWAPS[type(node.op)]()}
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield {"value": not node.value}
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield {"value": node.value + 1}
    elif isinstance(node, ast.If | ast.IfExp):
        yield {"test": ast.UnaryOp(ast.Not(), node.test)}
    elif isinstance(node, ast.Return) and node.value is not None:
        yield {"value": ast.Constant(None)}
    elif isinstance(node, ast.Tuple) and isinstance(node.ctx, ast.Load) and len(node.elts) > 1:
        yield {"elts": node.elts[1:]}
        yield {"elts": node.elts[:-1]}
    elif isinstance(node, ast.Call) and node.keywords:
        yield {"keywords": node.keywords[:-1]}


def suite(file: str) -> list[str] | None:
    """Returns the tests that know a file."""
    for pattern, tests in SUITES.items():
        if fnmatchcase(file, pattern):
            found = [path for test in tests.split() for path in ROOT.glob(f"tests/{test}")]
            return [path.relative_to(ROOT).as_posix() for path in found]
    return None


def killed(mutant: Mutant, tests: list[str], tree: Path, timeout: float) -> bool:
    """Returns whether a test fails, or does not end, where a file is broken."""
    path = tree / mutant.file
    good = path.read_text(encoding="utf-8")
    sources = [str(folder) for folder in (*tree.glob("core/src"), *tree.glob("plugins/*/src"))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sources), "TEST_EXAMPLES": "25"}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "CI": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    path.write_text(mutant.source, encoding="utf-8")
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        return True
    finally:
        path.write_text(good, encoding="utf-8")
    return done.returncode != 0


def main() -> None:
    """Draws mutants, tries each, and prints the survivors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300, help="how many to draw")
    parser.add_argument("--seed", type=int, default=1, help="which ones")
    parser.add_argument("--only", default="*", help="files, as a glob")
    parser.add_argument("--timeout", type=float, default=900, help="seconds for one mutant")
    given = parser.parse_args()
    every: list[Mutant] = []
    for path in sorted(ROOT.glob("core/src/**/*.py")) + sorted(ROOT.glob("plugins/*/src/**/*.py")):
        file = path.relative_to(ROOT).as_posix()
        package = file.partition("/src/")[2].partition("/")[0]
        if importlib.util.find_spec(package) and fnmatchcase(file, given.only) and suite(file):
            every += mutants(file)
    drawn = random.Random(given.seed).sample(every, min(given.count, len(every)))
    print(f"{len(drawn)} of {len(every)} mutants, seed {given.seed}", flush=True)
    alive = 0
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".*", "__pycache__"))
        for number, mutant in enumerate(drawn, 1):
            tests = suite(mutant.file)
            assert tests is not None
            if not killed(mutant, tests, tree, given.timeout):
                alive += 1
                print(f"survives: {mutant.file}:{mutant.line}: {mutant.before}  ->  {mutant.after}")
            print(f"{number} tried, {alive} alive", file=sys.stderr, flush=True)
    print(f"{alive} of {len(drawn)} survive")


if __name__ == "__main__":
    main()
