"""A token is planted; every public call succeeds, and fails in each way: nothing written shows it.

huggingface_hub reads the Hub's address when it is imported, so each outcome has a process of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import faults
from support.hub_server import GOOD, HubServer

pytestmark = [pytest.mark.usefixtures("transformers_here"), pytest.mark.slow]

GATED = "meta-llama/Llama-3.2-3B-Instruct"
BAD = "hf_badbadbadbadbadbadbadbad"
TESTS = Path(__file__).resolve().parents[2]

PROGRAM = """
import json, sys, warnings
from pathlib import Path
sys.path.insert(0, sys.argv[1])
warnings.simplefilter("ignore")
from support import planting
token, model, folder = sys.argv[2:]
planted = planting.Planted(
    "hf",
    model,
    {"token": token},
    {"HF_TOKEN": token},
    {"model_options": {"max_tokens": 8}},
    canaries=lambda: (token,),
)
found = {call: planting.leaks_of_call(planted, call) for call in planting.CALLS}
for command in ("models", "check --probe", "chat"):
    found[command] = planting.leaks_of_command(planted, command, Path(folder))
print("FOUND", json.dumps(found))
"""


@contextlib.contextmanager
def hub(outcome: str, build: Callable[..., Path]) -> Iterator[str]:
    if outcome == "refused":
        with faults.refused() as nobody:
            yield nobody.url
        return
    with HubServer({GATED: build(seed=1)}, frozenset({GATED})) as server:
        yield server.url


@pytest.mark.parametrize(
    ("outcome", "token"), [("good", GOOD), ("rejected", BAD), ("refused", BAD)]
)
def test_no_call_and_no_command_shows_the_token(
    outcome: str, token: str, build: Callable[..., Path], tmp_path: Path
) -> None:
    with hub(outcome, build) as address:
        environment = {
            **os.environ,
            "HF_HOME": str(tmp_path / "home"),
            "HF_ENDPOINT": address,
            "HF_HUB_DISABLE_XET": "1",
        }
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(TESTS), token, GATED, str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            timeout=280,
        )
    answers = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
    assert answers, done.stdout + done.stderr
    found = json.loads(answers[0].removeprefix("FOUND "))
    assert {name: leaks for name, leaks in found.items() if leaks} == {}
    assert token not in done.stdout + done.stderr
