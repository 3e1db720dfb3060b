"""The reference says what the code says."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import attrs
import pytest
from generator.backends import descriptor, use_sources
from generator.pages import render
from support.installing import install

import mellea_api
import mellea_api.plugin
from mellea_api import hookspecs
from mellea_api._contract import errors
from mellea_api._contract.refusals import ErrorRequest
from mellea_api._contract.reports import CredentialStatus
from mellea_api._options.canonical import CANONICAL

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
HOOKS = [name for name, value in vars(hookspecs).items() if hasattr(value, "mellea_api_spec")]
BACKENDS = ("ollama", "openai", "watsonx", "hf", "ngram")  # litellm's follow from the route
LARGE = ("watsonx", "hf", "litellm")


def text_of(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


def rows_of(text: str, *head: str) -> list[list[str]]:
    """The rows of the table with this head."""
    start = text.index(f"| {' | '.join(head)} |")
    lines = text[start:].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]


# ---------------------------------------------------------------------------- generated parts


@pytest.fixture(scope="session")
def out_of_date() -> str:
    """What the generator says of all pages, in a process of its own, as people run it."""
    command = [sys.executable, str(DOCS / "generate.py"), "--check"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.stderr == ""
    return found.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_the_generated_parts_of_a_page_are_up_to_date(page: Path, out_of_date: str) -> None:
    name = page.relative_to(DOCS.parent).as_posix()
    assert f"out of date: {name}\n" not in out_of_date, "run `python docs/generate.py`"


def test_the_generator_says_when_a_page_is_out_of_date() -> None:
    text = text_of("reference/options.md").replace(
        "| `temperature` | number |", "| `temperature` | text |"
    )
    assert render(text) == text_of("reference/options.md")
    signature = "```python signature\nmellea_api.refresh(anything)\n```"
    assert "refresh() -> Registry" in render(signature)


def test_the_generator_can_be_run_as_a_program() -> None:
    command = [sys.executable, str(DOCS / "generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# --------------------------------------------------------------------------------- signatures


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented_with_its_exact_signature(hook: str) -> None:
    found = inspect.signature(getattr(hookspecs, hook))
    parameters = ", ".join(f"{p.name}: {p.annotation}" for p in found.parameters.values())
    line = f"def {hook}({parameters}) -> {found.return_annotation}"
    assert f"## {hook}\n\n```python signature\n{line}\n```\n" in text_of("hooks.md")


def test_only_hooks_that_exist_are_documented() -> None:
    assert re.findall(r"^def (\w+)", text_of("hooks.md"), re.MULTILINE) == HOOKS


def documented(dotted: str) -> list[str]:
    """The names of the parameters in a documented signature, in order."""
    for page in PAGES:
        text = page.read_text("utf-8")
        found = re.search(
            rf"^(?:async )?{re.escape(dotted)}\((.*?)\)(?: ->.*)?$\n```",
            text,
            re.MULTILINE | re.DOTALL,
        )
        if found is not None:
            # Commas inside brackets are no ends of parameters.
            flat = re.sub(r"\[[^\]]*\]", "", re.sub(r"\[[^\[\]]*\]", "", found[1]))
            flat = re.sub(r"\{.*?\}|\(.*?\)|\"[^\"]*\"", "x", flat)
            parts = [part.strip() for part in flat.split(",") if part.strip()]
            return [re.split(r"[:=\s]", part)[0] for part in parts]
    raise AssertionError(f"{dotted} is not documented")


PUBLIC = sorted(
    (set(mellea_api.__all__) | set(mellea_api.plugin.__all__)) - {"__version__", "hookimpl"}
)


@pytest.mark.parametrize("name", [n for n in PUBLIC if n not in vars(errors)])
def test_every_public_name_is_documented_with_its_parameters(name: str) -> None:
    face = "mellea_api" if name in mellea_api.__all__ else "mellea_api.plugin"
    found = getattr(importlib.import_module(face), name)
    if not callable(found):
        assert f"### `{name}`\n" in text_of("reference/api.md")
        return
    parameters = list(inspect.signature(found).parameters.values())
    private = {
        field.alias
        for field in (attrs.fields(found) if attrs.has(found) else ())
        if field.name.startswith("_")
    }
    wanted: list[str] = []
    for parameter in parameters:
        if parameter.name in private:
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in wanted:
            wanted.append("*")
        stars = "**" if parameter.kind is parameter.VAR_KEYWORD else ""
        wanted.append(stars + parameter.name)
    assert documented(f"{face}.{name}") == wanted


def test_every_public_member_of_the_main_classes_is_documented() -> None:
    from mellea_api.runtime import MelleaRuntime

    text = text_of("reference/api.md")
    for cls in (MelleaRuntime, mellea_api.Registry, mellea_api.Secret):
        for name, member in vars(cls).items():
            if not name.startswith("_") and (
                callable(member) or isinstance(member, property | classmethod)
            ):
                assert f"### `{cls.__name__}.{name}`" in text, f"{cls.__name__}.{name}"


def test_the_fields_of_every_value_class_are_explained() -> None:
    """Each field stands in the docstring that the page is made from."""
    text = text_of("reference/api.md")
    for name in PUBLIC:
        cls = getattr(mellea_api if name in mellea_api.__all__ else mellea_api.plugin, name)
        if isinstance(cls, type) and attrs.has(cls):
            face = "mellea_api" if name in mellea_api.__all__ else "mellea_api.plugin"
            part = text.split(f"<!-- generated: {face}.{name} -->")[1].split("generated: end")[0]
            explained = set(vars(cls.__base__)) if cls.__base__.__name__ in PUBLIC else set()
            for field in attrs.fields(cls):
                if field.name.startswith("_") or field.name in explained:
                    continue
                assert f"- `{field.name}`: " in part, f"{name}.{field.name}"


# --------------------------------------------------------------------------------------- errors


def test_every_error_is_in_the_table_with_its_facts() -> None:
    rows = {
        row[0].strip("`"): row
        for row in rows_of(
            text_of("reference/errors.md"),
            "error",
            "is a",
            "attributes, beside `reason` and `next_step`",
            "",
        )
    }
    for name, cls in vars(errors).items():
        if isinstance(cls, type) and issubclass(cls, errors.MelleaAPIError):
            assert re.findall(r"`(\w+)`", rows[name][2]) == list(cls.facts)


ANSWERS = [
    (401, "no", "HTTP 401"),
    (403, "no", "HTTP 403"),
    (404, "model 'x' not found", "HTTP 404, if the text speaks of a model"),
    (408, "late", "HTTP 408, 504"),
    (504, "late", "HTTP 408, 504"),
    (429, "slow down", "HTTP 429"),
    (500, "oops", "HTTP 500 to 599, but 504"),
    (503, "oops", "HTTP 500 to 599, but 504"),
    (
        400,
        "the context length is exceeded",
        "HTTP 400 to 499 otherwise, if the text speaks of the context's length",
    ),
    (
        400,
        "content filter",
        "HTTP 400 to 499 otherwise, if the text speaks of a content filter or policy",
    ),
    (404, "no such page", "HTTP 400 to 499 otherwise"),
    (422, "no", "HTTP 400 to 499 otherwise"),
]


@pytest.mark.parametrize(("status", "said", "row"), ANSWERS)
def test_an_answer_becomes_the_error_that_the_table_names(status: int, said: str, row: str) -> None:
    table = dict(map(tuple, rows_of(text_of("reference/errors.md"), "answer", "error")))
    target = mellea_api.shared_registry().backend("openai").target()
    request = ErrorRequest(target=target, operation="call", error=RuntimeError(said))
    error = request.answered(status, said)
    assert table[row].startswith(f"`{type(error).__name__}`")


def test_the_table_of_answers_has_no_row_that_is_not_tried() -> None:
    rows = rows_of(text_of("reference/errors.md"), "answer", "error")
    assert [row[0] for row in rows] == list(dict.fromkeys(row for _, _, row in ANSWERS))


# --------------------------------------------------------------------------------- credentials


def test_the_statuses_of_credentials_are_those_of_the_code() -> None:
    rows = rows_of(text_of("how-to/credentials.md"), "status", "meaning", "usable")
    assert [row[0].strip("`") for row in rows] == list(get_args(CredentialStatus))
    for row in rows:
        report = mellea_api.CredentialReport(backend="x", status=row[0].strip("`"))
        assert report.usable == (row[2] == "yes")


# --------------------------------------------------------------------------------- environment


def variables_in_code() -> set[str]:
    found = set()
    for path in (ROOT / "core/src").rglob("*.py"):
        found |= set(re.findall(r"\bMELLEA_(?:API_)?[A-Z][A-Z_]*[A-Z]\b", path.read_text("utf-8")))
    found.discard("MELLEA_RULES")  # a name of the author's face
    for path in (ROOT / "plugins").rglob("*.py"):
        if path.parts[-2] in ("mellea_api_hf", "mellea_api_watsonx"):
            names = r"\b(?:HF|XDG|WX|WATSONX)_[A-Z_]*[A-Z]\b"
            found |= set(re.findall(names, path.read_text("utf-8")))
    for backend in BACKENDS:
        described = descriptor(backend)
        found |= set(described.base_url_variables)
        found |= {name for field in described.credentials for name in field.variables}
    return found


def test_the_environment_variables_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| (`[A-Z_`, ]+`) \|", text_of("reference/environment.md"), re.MULTILINE)
    documented = {name for row in rows for name in re.findall(r"[A-Z_]{3,}", row)}
    assert documented == variables_in_code()


# -------------------------------------------------------------------------------------- options

SAMPLES: dict[str, Any] = {
    "temperature": 0.5,
    "max_tokens": 10,
    "top_p": 0.5,
    "stop": ["x"],
    "top_k": 5,
    "min_p": 0.1,
    "seed": 1,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.5,
    "repetition_penalty": 1.1,
    "system_prompt": "Be brief.",
    "context_window": 2048,
    "thinking": "high",
    "stream": True,
    "stream_timeout": 5,
    "tools": [],
    "tool_choice": "auto",
    "logprobs": True,
    "top_logprobs": 2,
}
TABLES = [
    ("ollama", None, "ollama-common"),
    ("openai", None, "openai-official-common"),
    ("openai", "http://127.0.0.1:8000/v1", "openai-compatible-common"),
    ("watsonx", None, "watsonx-common"),
    ("hf", None, "hf-common"),
    ("ngram", None, "ngram-common"),
]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[mellea_api.Registry]:
    """A registry with the large plugins, whether or not they are installed."""
    use_sources()
    folder = tmp_path_factory.mktemp("installed")
    for name in LARGE:
        install(ROOT / "plugins" / name / "pyproject.toml", folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield mellea_api.Registry.discover()


@pytest.mark.parametrize("option", CANONICAL)
@pytest.mark.parametrize(("backend", "base_url", "part"), TABLES, ids=[t[2] for t in TABLES])
def test_the_table_of_a_backend_says_what_becomes_of_an_option(
    backend: str, base_url: str | None, part: str, option: str, registry: mellea_api.Registry
) -> None:
    """The table is made from the rules; this asks the pipeline."""
    text = text_of("reference/options.md").split(f"<!-- generated: {part} -->")[1]
    rows = {
        row[0].strip("`"): row for row in rows_of(text, "option", "chat endpoint", "raw endpoint")
    }
    # A model that is in no family, so that the general rules hold.
    model = "some-new-model" if backend in ("openai", "watsonx") else None
    for endpoint, cell in zip(("chat", "completion"), rows[option][1:], strict=True):
        report = mellea_api.explain_options(
            backend,
            {option: SAMPLES[option]},
            model,
            base_url,
            endpoint=endpoint,
            registry=registry,
        )
        decision = report.decision(option)
        assert decision is not None
        if decision.outcome == "dropped":
            older = re.match(r"needs (Mellea [\d.]+ or newer), and", decision.reason)
            unsaid = "has no such option" in decision.reason and "no such option there" in cell
            assert unsaid or (older[1] if older else f"not supported: {decision.reason}") in cell
        elif decision.outcome == "converted" and option in ("tools", "stream"):
            assert "kept" in cell or "converted" in cell  # an empty list: nothing is sent
        else:
            assert decision.outcome in cell
            assert not decision.wire or f"`{decision.wire}`" in cell


def test_the_overview_agrees_with_the_tables_of_the_backends() -> None:
    text = text_of("reference/options.md")
    columns, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.split("<!-- generated: overview -->\n\n")[1].split("\n\n")[0].splitlines()
    ]
    assert [row[0].strip("`") for row in rows[1:]] == list(CANONICAL)
    titles = ("ollama", "openai, official", "openai, compatible", "watsonx", "hf", "ngram")
    for title, part in zip(
        titles,
        ("ollama", "openai-official", "openai-compatible", "watsonx", "hf", "ngram"),
        strict=True,
    ):
        section = text.split(f"<!-- generated: {part}-common -->")[1]
        table = rows_of(section, "option", "chat endpoint", "raw endpoint")
        for row, (option, chat, _) in zip(rows[1:], table, strict=True):
            for said in row[columns.index(title)].split("<br>"):
                assert said.partition(" (")[0].partition(" `")[0] in chat, (title, option)


def test_every_reason_in_the_overview_is_pointed_at() -> None:
    part = text_of("reference/options.md").split("<!-- generated: overview -->")[1]
    table, reasons = part.split("<!-- generated: end -->")[0].strip().split("\n\n")
    numbers = [int(number) for number in re.findall(r"^(\d+)\. ", reasons, re.MULTILINE)]
    pointed = {int(n) for found in re.findall(r" \(([\d, ]+)\)", table) for n in found.split(", ")}
    assert numbers == sorted(pointed) == list(range(1, len(numbers) + 1))


def test_every_common_option_is_tried() -> None:
    assert list(SAMPLES) == list(CANONICAL)


# ---------------------------------------------------------------------------------------- links


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    found = set()
    for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        found.add(plain)
    return found


LINKED = [
    *(
        path
        for pattern in (
            "README.md",
            "[a-z]*/README.md",
            "plugins/*/README.md",
            "examples/*/README.md",
        )
        for path in sorted(ROOT.glob(pattern))
    ),
    *PAGES,
]


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, pending = set(), [ROOT / "README.md"]
    while pending:
        page = pending.pop()
        if page in reached or page.suffix != ".md" or not page.is_file():
            continue
        reached.add(page)
        links = re.findall(r"\]\((?![a-z]+:)([^)#\s]+)", page.read_text("utf-8"))
        pending += [(page.parent / link).resolve() for link in links]
    assert set(PAGES) <= reached
