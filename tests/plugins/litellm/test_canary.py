"""A secret is planted; every public call and command succeeds, and fails in each way: nothing written shows it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import faults, planting
from support.canary import CANARY
from support.openai_server import OpenAIServer
from support.planting import Planted

pytest.importorskip("mellea_api_litellm")

pytestmark = pytest.mark.usefixtures("sdk")


STAGES: dict[str, Callable[[], Any]] = {
    "good": lambda: OpenAIServer(api_key=CANARY),
    "rejected": lambda: faults.repeating(401),
    "forbidden": lambda: faults.repeating(403),
    "limited": lambda: faults.repeating(429),
    "down": lambda: faults.repeating(500),
    "a web page": faults.html,
    "refused": faults.refused,
}


@contextlib.contextmanager
def planted(outcome: str) -> Iterator[Planted]:
    """A secret, and a provider at which it leads to that outcome."""
    with STAGES[outcome]() as server:
        url = server.base_url
        yield Planted(
            "litellm",
            "openai/gpt-4o",
            {"api_key": CANARY, "base_url": url},
            {"OPENAI_API_KEY": CANARY, "OPENAI_BASE_URL": url, "OPENAI_API_BASE": url},
        )


@pytest.mark.parametrize("outcome", STAGES)
@pytest.mark.parametrize("call", planting.CALLS)
def test_no_call_shows_the_secret(outcome: str, call: str) -> None:
    with planted(outcome) as secret:
        assert planting.leaks_of_call(secret, call) == []


@pytest.mark.parametrize("outcome", ["good", "rejected", "refused"])
@pytest.mark.parametrize("command", ["models", "check --probe", "chat", "run"])
def test_no_command_shows_it(outcome: str, command: str, tmp_path: Path) -> None:
    with planted(outcome) as secret:
        assert planting.leaks_of_command(secret, command, tmp_path) == []
