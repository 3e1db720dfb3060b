"""Every code block of the documentation runs, and prints what the page says it prints.

The info string of a fence says what is done with it:

- `python`: executed; the blocks of one page share their names, as in one program.
- `python file=NAME`, `toml file=NAME`, …: written to the page's folder. A `pyproject.toml` counts
  as installed: its entry points are found, and its `src` is imported from.
- `sh`: run by bash in that folder.
- `text output`: what the block before it prints; `...` stands for anything.
- `with=openai`, `with=compatible`: OPENAI_BASE_URL and OPENAI_API_KEY name a loopback server.
- `with=hf`, `with=watsonx`, `with=litellm`: from here on this plugin counts as installed. Its SDK
  need not be there, so a block that opens a session on it cannot be run.
- `python signature`, `text help`: written by `docs/generate.py`, see `test_reference.py`.
- `not-run: REASON`: cannot be run by a test.

Ollama is a loopback server throughout. The addresses that pages use are those of loopback servers
while they run, and turned back in what is printed.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import json
import logging
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.installing import install
from support.ollama_server import OllamaServer
from support.openai_server import OpenAIServer

ROOT = Path(__file__).resolve().parents[2]
LARGE = ("hf", "watsonx", "litellm")
DISTRIBUTIONS = (
    *("core", "plugins/ollama", "plugins/openai", "examples/ngram", "examples/llama_server"),
    *(f"plugins/{name}" for name in LARGE),
)
PAGES = [
    ROOT / "README.md",
    *(ROOT / folder / "README.md" for folder in DISTRIBUTIONS),
    *sorted((ROOT / "docs").rglob("*.md")),
]
FENCE = re.compile(
    r"^```(?P<language>\w*)[ ]*(?P<info>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
GENERATED = ("signature", "help")


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    where: str
    language: str
    info: str
    text: str

    @property
    def not_run(self) -> str | None:
        """Why it is not run, or None if it is."""
        found = re.search(r"not-run:?(.*)", self.info)
        return found[1].strip() if found else None

    def value(self, name: str) -> str | None:
        """The value of `name=` in the info string."""
        found = re.search(rf"\b{name}=(\S+)", self.info)
        return found[1] if found else None

    @property
    def words(self) -> set[str]:
        return set(self.info.split())


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text("utf-8")
    name = page.relative_to(ROOT)
    return [
        Block(
            f"{name}:{text.count(chr(10), 0, m.start()) + 1}", m["language"], m["info"], m["text"]
        )
        for m in FENCE.finditer(text)
    ]


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


@dataclass
class Workshop:
    """Where the blocks of one page run.

    Attributes:
        folder: The page's folder.
        settings: Environment variables by the name in `with=`.
        addresses: The real address of each that the pages use.
    """

    folder: Path
    settings: Mapping[str, Mapping[str, str]]
    addresses: Mapping[str, str]
    monkeypatch: pytest.MonkeyPatch

    def run(self, block: Block, names: dict[str, object]) -> str:
        """Do what a block is for; return what it printed."""
        text = block.text
        for documented, real in self.addresses.items():
            text = text.replace(documented, real)
        file = block.value("file")
        if block.value("with") in LARGE:
            self.plug_in(str(block.value("with")))
        with self.monkeypatch.context() as patch:
            for name, value in self.settings.get(block.value("with") or "", {}).items():
                patch.setenv(name, value)
            if file is not None:
                self.write(file, text)
                printed = ""
            elif block.language == "python":
                printed = self.python(block, text, names)
            else:
                printed = self.shell(block, text)
        for documented, real in self.addresses.items():
            printed = printed.replace(real, documented)
        return printed

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        if path.name == "pyproject.toml":
            self.install(path)

    def install(self, path: Path) -> None:
        """Make the metadata that an installer makes of a project, without building anything."""
        installed = path.parent / "src"
        install(path, installed)
        self.import_from(installed)

    def plug_in(self, name: str) -> None:
        """Let one of the large plugins count as installed, if it is not."""
        into = self.folder / "installed" / name
        if not into.exists() and install(ROOT / "plugins" / name / "pyproject.toml", into):
            self.import_from(ROOT / "plugins" / name / "src")
            self.import_from(into)

    def import_from(self, installed: Path) -> None:
        """Put a folder on the path, here and in subprocesses."""
        self.monkeypatch.syspath_prepend(str(installed))
        known = os.environ.get("PYTHONPATH")
        self.monkeypatch.setenv(
            "PYTHONPATH", os.pathsep.join(filter(None, (str(installed), known)))
        )
        import mellea_api

        mellea_api.refresh()

    def python(self, block: Block, text: str, names: dict[str, object]) -> str:
        # Empty lines before it, so that a traceback names the line of the page.
        line = int(block.where.rpartition(":")[2])
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("\n" * line + text, block.where, "exec"), names)
        return printed.getvalue()

    def shell(self, block: Block, text: str) -> str:
        bin_folder = Path(sys.executable).parent
        environment = {
            **os.environ,
            "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
            "COLUMNS": "100",
            # Mellea logs to standard output; the variable's name changed on its way to 0.8.
            "MELLEA_LOG_LEVEL": "ERROR",
            "MELLEA_LOGS_LEVEL": "ERROR",
            "NO_COLOR": "1",
        }
        done = subprocess.run(
            ["bash", "-e", "-c", text],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{block.where}: {done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    import mellea_api
    from mellea_api._sessions._mellea.sessions import loggers as mellea_loggers
    from mellea_api_ollama.models import CATALOGUE

    answer = "2 + 2 is 4."
    models = [model.id for model in CATALOGUE]
    before = set(sys.modules)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    own = logging.getLogger("mellea_api")
    own_handlers = list(own.handlers)
    levels = {logger: logger.level for logger in mellea_loggers()}
    for noisy in levels:
        noisy.setLevel(logging.ERROR)
    with (
        OllamaServer(models=models, text=answer) as ollama,
        OpenAIServer(text=answer) as openai,
        OpenAIServer(api_key=None, strict=False, models=["tiny"], text=answer) as compatible,
    ):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("OLLAMA_HOST", ollama.base_url)
        yield Workshop(
            tmp_path,
            {
                "openai": {"OPENAI_BASE_URL": openai.base_url, "OPENAI_API_KEY": "sk-good"},
                "compatible": {"OPENAI_BASE_URL": compatible.base_url},
            },
            {
                "http://127.0.0.1:11434": ollama.base_url,
                "http://127.0.0.1:8000/v1": compatible.base_url,
                "https://api.openai.com/v1": openai.base_url,
            },
            monkeypatch,
        )
    monkeypatch.undo()  # what was installed is gone
    mellea_api.refresh()
    root.handlers[:] = handlers
    root.setLevel(level)
    own.handlers[:] = own_handlers
    for noisy, its in levels.items():
        noisy.setLevel(its)
    for name in set(sys.modules) - before:
        origin = getattr(sys.modules[name], "__file__", None)
        if origin and Path(origin).is_relative_to(tmp_path):
            del sys.modules[name]


def run_blocks(blocks: Iterable[Block], workshop: Workshop) -> None:
    """Run the blocks of one page, and hold what they print to what the page says."""
    names: dict[str, object] = {"__name__": "__main__"}
    printed = ""
    checker = doctest.OutputChecker()
    for block in blocks:
        if block.not_run is not None or block.words & set(GENERATED):
            continue
        if "output" in block.words:
            wanted = "\n".join(line.rstrip() for line in block.text.splitlines()).strip()
            got = "\n".join(line.rstrip() for line in printed.splitlines()).strip()
            assert checker.check_output(wanted + "\n", got + "\n", doctest.ELLIPSIS), (
                f"{block.where} says:\n{wanted}\nand what is printed is:\n{got}"
            )
        else:
            printed = workshop.run(block, names)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_blocks_of_a_page_run_and_print_what_it_says(page: Path, workshop: Workshop) -> None:
    run_blocks(blocks_of(page), workshop)


@pytest.mark.parametrize(
    ("block", "printed"),
    [
        (Block("page:1", "python", "", "print(1)\n"), "2"),
        (Block("page:1", "sh", "", "echo 1\n"), "1 2"),
        (Block("page:1", "python", "file=a.py", "print(1)\n"), "1"),
    ],
    ids=["python", "sh", "file"],
)
def test_a_page_that_says_something_else_is_noticed(
    block: Block, printed: str, workshop: Workshop
) -> None:
    with pytest.raises(AssertionError, match="and what is printed is"):
        run_blocks([block, Block("page:4", "text", "output", f"{printed}\n")], workshop)


def test_a_shell_command_that_fails_is_noticed(workshop: Workshop) -> None:
    with pytest.raises(AssertionError, match="page:1"):
        run_blocks([Block("page:1", "sh", "", "false\ntrue\n")], workshop)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.where)
def test_a_block_says_what_is_done_with_it(block: Block) -> None:
    """No block escapes by its language or a misspelt word."""
    if block.not_run is not None:
        assert block.not_run, "a block that is not run says why"
        return
    known = {word for word in block.words if re.match(r"(file|with)=\S+$", word)}
    assert block.words - known <= {"output", *GENERATED}, block.info
    if block.value("file"):
        parse = {"toml": tomllib.loads, "json": json.loads}.get(block.language)
        assert parse is None or parse(block.text)
    elif block.language == "text":
        assert block.words & {"output", "help"}
    else:
        assert block.language in ("python", "sh"), block.language


def test_most_blocks_are_run() -> None:
    not_run = [block for block in BLOCKS if block.not_run is not None]
    assert len(not_run) * 6 <= len(BLOCKS), [block.where for block in not_run]
