"""Break lines of the library one at a time, and list those that no test notices.

`nox -s mutants` calls it; `python tools/mutants.py [--count 300] [--seed 1] [--only GLOB]`. For
each mutant it runs the tests of the broken module alone, in a copy of the tree, so it lists a line
that only other tests cover, too. Read each survivor once. A change that nobody can see is no fault.

A run may be stopped: `--results FILE` keeps what was found, and the next run goes on from there.
`--numbers 1-150` and `--numbers 151-300`, each with its own file, run beside each other. A mutant
of a plugin that is not installed is left for another environment. To try survivors again after
writing a test, delete their lines from the file.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import importlib
import importlib.util
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
CORE = "core/src/mellea_api"
BY_HAND = "plugins/test_provider_options.py"


def _of(plugin: str, kinds: str) -> str:
    return " ".join(f"plugins/{plugin}/test_{kind}.py" for kind in kinds.split())


OPENAI_CALLS = _of("openai", "servers session server_contract credentials")
OPENAI_RULES = f"{BY_HAND} {_of('openai', 'options_signature table')}"
OLLAMA_CALLS = _of("ollama", "servers session credentials table server_contract")
OLLAMA_RULES = f"{BY_HAND} {_of('ollama', 'options_signature table')}"
WATSONX_RULES = f"{BY_HAND} {_of('watsonx', 'options_signature table wire')}"
HF_RULES = f"{BY_HAND} {_of('hf', 'options_signature table effects')}"
LITELLM_RULES = f"{BY_HAND} {_of('litellm', 'options table wire')}"


# Which tests in `tests/` know a module, the likeliest to fail first, since a mutant is dead at
# the first failure. The tables of faults are left out: they take minutes.
SUITES = {
    f"{CORE}/_options/*": f"core/options/test_[lnp]*.py {BY_HAND} core/options/test_h*.py",
    f"{CORE}/_credentials/*": "core/test_credential*.py core/test_keyring.py",
    f"{CORE}/_secrecy/*": "core/test_secrets.py core/test_veil.py core/test_logs.py",
    f"{CORE}/_contract/refusals.py": "core/test_refusals.py core/test_translation.py",
    f"{CORE}/_contract/said.py": "core/test_waiting.py",
    f"{CORE}/_contract/errors.py": "core/test_errors.py core/test_refusals.py",
    f"{CORE}/_provider/answers.py": "core/test_http.py core/test_translation.py",
    f"{CORE}/_provider/exceptions.py": "core/test_translation.py core/test_refusals.py",
    f"{CORE}/_provider/http.py": "core/test_http.py core/test_translation.py",
    f"{CORE}/_openai_protocol/[es]*.py": OPENAI_CALLS,
    f"{CORE}/_openai_protocol/*": f"{OPENAI_RULES} {OPENAI_CALLS}",
    "plugins/openai/src/*/families.py": OPENAI_RULES,
    "plugins/openai/src/*": f"{_of('openai', 'retirements')} {OPENAI_CALLS}",
    "plugins/ollama/src/*/options.py": OLLAMA_RULES,
    "plugins/ollama/src/*": OLLAMA_CALLS,
    "plugins/watsonx/src/*/options.py": WATSONX_RULES,
    "plugins/hf/src/*/options.py": HF_RULES,
    "plugins/litellm/src/*/options.py": LITELLM_RULES,
}
# What takes seconds to import is imported once, for all mutants.
SLOW = ("mellea.backends.ollama", "mellea.backends.openai")
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


def how_many(file: str) -> int:
    """Returns how many changes to a file this tool knows."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return sum(1 for node in _code(tree) for _ in changes(node))


def mutants(file: str, wanted: set[int]) -> Iterator[Mutant]:
    """Yields those changes to a file."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    at = -1
    for node in list(_code(tree)):
        for change in changes(node):
            at += 1
            if at not in wanted:
                continue
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
    elif isinstance(node, ast.Return) and node.value and ast.unparse(node.value) != "None":
        yield {"value": ast.Constant(None)}
    elif isinstance(node, ast.Tuple) and isinstance(node.ctx, ast.Load) and len(node.elts) > 1:
        yield {"elts": node.elts[1:]}
        yield {"elts": node.elts[:-1]}
    elif isinstance(node, ast.Call) and node.keywords:
        yield {"keywords": node.keywords[:-1]}


def suite(file: str) -> tuple[str, ...]:
    """Returns the tests that know a file."""
    for pattern, tests in SUITES.items():
        if fnmatchcase(file, pattern):
            found = (path for test in tests.split() for path in sorted(ROOT.glob(f"tests/{test}")))
            return tuple(path.relative_to(ROOT).as_posix() for path in found)
    return ()


def draw(count: int, seed: int, first: int, last: int) -> list[Mutant]:
    """Returns some of as many mutants, in the order of their files and lines."""
    files = [*sorted(ROOT.glob("core/src/**/*.py")), *sorted(ROOT.glob("plugins/*/src/**/*.py"))]
    names = [path.relative_to(ROOT).as_posix() for path in files]
    every = [(name, at) for name in names if suite(name) for at in range(how_many(name))]
    drawn = random.Random(seed).sample(every, min(count, len(every)))
    print(f"{len(drawn)} of {len(every)} mutants, seed {seed}", flush=True)
    drawn = sorted(drawn)[first - 1 : last]
    wanted = {name: {at for file, at in drawn if file == name} for name, _ in drawn}
    return [mutant for name, places in wanted.items() for mutant in mutants(name, places)]


class KillersFirst:
    """Has tests that found a mutant before run first, and the others in any order."""

    def __init__(self, found: Path) -> None:
        self.found = found
        found.touch()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Sorts the tests."""
        killers = self.found.read_text(encoding="utf-8").splitlines()
        random.Random(1).shuffle(items)
        items.sort(key=lambda item: -killers.count(item.nodeid))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Notes what failed."""
        if report.failed:
            with self.found.open("a", encoding="utf-8") as file:
                file.write(f"{report.nodeid}\n")


class Tree:
    """A copy of the tree, and the tests in it, each run in a process forked from this one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".*", "__pycache__"))
        for name in SLOW:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        # Mellea's own modules start a thread, which a fork would lose.
        for name in [name for name in sys.modules if name.partition(".")[0] == "mellea"]:
            del sys.modules[name]

    def passes(self, tests: tuple[str, ...], limit: float | None) -> bool | None:
        """Returns whether tests pass, or None where they take longer."""
        child = multiprocessing.get_context("fork").Process(target=self._run, args=[tests])
        child.start()
        child.join(limit)
        ended = child.exitcode
        # Also what the tests started and left behind.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid or 0, signal.SIGKILL)
        child.join()
        return None if ended is None else ended == 0

    def _run(self, tests: tuple[str, ...]) -> None:
        os.setsid()
        os.chdir(self.folder)
        for number in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
        sources = [str(path) for path in self.folder.glob("*/src")]
        sources += [str(path) for path in self.folder.glob("plugins/*/src")]
        sys.path[:0] = sources
        os.environ |= {"PYTHONPATH": os.pathsep.join(sources), "PYTHONDONTWRITEBYTECODE": "1"}
        os.environ |= {"TEST_EXAMPLES": "25", "CI": "1"}
        sys.dont_write_bytecode = True
        order = KillersFirst(self.folder / "killers")
        # What was imported before, pytest cannot rewrite.
        early = "ignore::pytest.PytestAssertRewriteWarning"
        os._exit(pytest.main(["-x", "-q", "-W", early, "-p", "no:cacheprovider", *tests], [order]))

    def outcome(self, mutant: Mutant, limit: float) -> str:
        """Returns what the tests make of a mutant."""
        path = self.folder / mutant.file
        good = path.read_text(encoding="utf-8")
        path.write_text(mutant.source, encoding="utf-8")
        passes = self.passes(suite(mutant.file), limit)
        path.write_text(good, encoding="utf-8")
        return {True: "survives", False: "killed", None: "timeout"}[passes]


def main() -> None:
    """Draws mutants, tries each, and prints the survivors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300, help="how many to draw")
    parser.add_argument("--seed", type=int, default=1, help="which ones")
    parser.add_argument("--only", default="*", help="of those drawn, those in files of this glob")
    parser.add_argument("--numbers", default="1-", help="of those drawn, from one to another")
    parser.add_argument("--results", type=Path, help="a file to add to, and to go on from")
    given = parser.parse_args()
    low, _, high = given.numbers.partition("-")
    first, last = int(low), int(high or given.count)
    known: dict[str, str] = {}
    if given.results and given.results.exists():
        for line in given.results.read_text(encoding="utf-8").splitlines():
            found = json.loads(line)
            known[found["mutant"]] = found["outcome"]
    outcomes: Counter[str] = Counter()
    limits: dict[tuple[str, ...], float] = {}
    with tempfile.TemporaryDirectory() as folder:
        tree = Tree(Path(folder) / "tree")
        for number, mutant in enumerate(draw(given.count, given.seed, first, last), first):
            if not fnmatchcase(mutant.file, given.only):
                continue
            shown = f"{mutant.file}:{mutant.line}: {mutant.before}  ->  {mutant.after}"
            outcome, seconds = known.get(shown), 0.0
            package = mutant.file.partition("/src/")[2].partition("/")[0]
            if not outcome and not importlib.util.find_spec(package):
                outcome = "not installed"
            elif not outcome:
                tests, start = suite(mutant.file), time.monotonic()
                if tests not in limits:
                    if not tree.passes(tests, None):
                        sys.exit(f"fails without any mutant: {' '.join(tests)}")
                    limits[tests] = 60 + 3 * (time.monotonic() - start)
                start = time.monotonic()
                outcome = tree.outcome(mutant, limits[tests])
                seconds = round(time.monotonic() - start, 1)
                if given.results:
                    result = {"number": number, "mutant": shown, "outcome": outcome}
                    with given.results.open("a", encoding="utf-8") as file:
                        file.write(json.dumps({**result, "seconds": seconds}) + "\n")
            outcomes[outcome] += 1
            if outcome == "survives":
                print(f"{number} survives: {shown}", flush=True)
            print(f"{number} {outcome} {seconds}", dict(outcomes), file=sys.stderr, flush=True)
    print(", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items())))


if __name__ == "__main__":
    main()
