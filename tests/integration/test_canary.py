"""A secret is planted; every public call and command succeeds, and fails in each way: nothing written shows it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import faults, planting
from support.canary import CANARY
from support.ollama_server import OllamaServer
from support.openai_server import OpenAIServer
from support.planting import Planted

pytest.importorskip("mellea_api_ollama")
pytest.importorskip("mellea_api_openai")

Stage = Callable[[], contextlib.AbstractContextManager[Any]]


FAILING: dict[str, Stage] = {
    "rejected": lambda: faults.repeating(401),
    "forbidden": lambda: faults.repeating(403),
    "limited": lambda: faults.repeating(429),
    "down": lambda: faults.repeating(500),
    "a web page": faults.html,
    "refused": faults.refused,
    "cut": lambda: faults.truncated_json(cut_connection=True),
}
GOOD: dict[str, Stage] = {
    "openai": lambda: OpenAIServer(api_key=CANARY),
    "ollama": lambda: OllamaServer(models=["granite4:micro"]),
}


def openai(url: str) -> Planted:
    return Planted(
        "openai",
        "gpt-4o",
        {"api_key": CANARY, "base_url": url},
        {"OPENAI_API_KEY": CANARY, "OPENAI_BASE_URL": url},
        {"check": False, "max_retries": 0},
    )


def ollama(url: str) -> Planted:
    """Ollama has no key: a proxy before it may want a password."""
    address = url.replace("//", f"//user:{CANARY}@")
    return Planted("ollama", "granite4:micro", {"base_url": address}, {"OLLAMA_HOST": address})


PLANTED = {"openai": openai, "ollama": ollama}


@contextlib.contextmanager
def planted(backend: str, outcome: str) -> Iterator[Planted]:
    """A secret, and a provider at which it leads to that outcome."""
    stage = GOOD[backend] if outcome == "good" else FAILING[outcome]
    with stage() as server:
        yield PLANTED[backend](server.base_url)


backends = pytest.mark.parametrize("backend", PLANTED)
every_outcome = pytest.mark.parametrize("outcome", ["good", *FAILING])
main_outcomes = pytest.mark.parametrize("outcome", ["good", "rejected", "a web page", "refused"])


@backends
@every_outcome
@pytest.mark.parametrize("call", planting.CALLS)
def test_no_call_shows_the_secret(backend: str, outcome: str, call: str) -> None:
    with planted(backend, outcome) as secret:
        assert planting.leaks_of_call(secret, call) == []


@backends
@main_outcomes
@pytest.mark.parametrize("call", ["chat", "a_runtime", "list_models", "probe", "a_request"])
def test_no_call_shows_it_from_the_environment(backend: str, outcome: str, call: str) -> None:
    with planted(backend, outcome) as secret:
        assert planting.leaks_of_call(secret, call, "environment") == []


@backends
@pytest.mark.parametrize("outcome", ["rejected", "refused"])
def test_no_tool_that_draws_tracebacks_draws_it(backend: str, outcome: str) -> None:
    with planted(backend, outcome) as secret:
        assert planting.leaks_of_call(secret, "chat", tools=True) == []


@backends
@main_outcomes
@pytest.mark.parametrize("command", planting.COMMANDS)
def test_no_command_shows_it(backend: str, outcome: str, command: str, tmp_path: Path) -> None:
    with planted(backend, outcome) as secret:
        assert planting.leaks_of_command(secret, command, tmp_path) == []


@backends
@pytest.mark.parametrize("outcome", ["good", "rejected"])
@pytest.mark.parametrize("more", ["--json", "--debug"])
@pytest.mark.parametrize("command", ["models", "check --probe"])
def test_no_command_shows_it_to_a_program_or_a_developer(
    backend: str, outcome: str, command: str, more: str, tmp_path: Path
) -> None:
    with planted(backend, outcome) as secret:
        assert planting.leaks_of_command(secret, command, tmp_path, more) == []
