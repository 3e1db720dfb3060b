"""Whether the Hub takes a token, and opens a model to it: what is asked for that, and what each answer means."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import faults
from support.hub_server import GOOD, STRANGER, HubServer
from support.probes import FAULTS

pytest.importorskip("mellea_api_hf")
pytest.importorskip("huggingface_hub")

import mellea_api

OPEN, GATED = "local/tiny", "meta-llama/Llama-3.2-3B-Instruct"
BAD = "hf_badbadbadbadbadbadbadbad"

PROGRAM = """
import json, sys, mellea_api
from mellea_api._contract.as_json import to_json

for steps in json.loads(sys.argv[1]):
    report = mellea_api.validate_credentials("hf", probe=True, **steps)
    print(to_json(report))
"""


def probe(endpoint: str, *steps: dict[str, Any], **variables: str) -> list[Any]:
    """The reports, of a process in whose environment the Hub is at `endpoint`."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(steps)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HF_ENDPOINT": endpoint, **variables},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    for token in (GOOD, STRANGER, BAD):
        assert token not in done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubServer]:
    with HubServer({OPEN: tmp_path, GATED: tmp_path}, frozenset({GATED})) as server:
        yield server


def test_each_answer_of_the_hub_has_a_status_and_is_asked_for_once(
    hub: HubServer, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    cases = [
        ({"model_id": OPEN}, "not-needed", True, "models/local/tiny/auth-check"),
        ({"model_id": OPEN, "token": GOOD}, "present", True, "models/local/tiny/auth-check"),
        ({"model_id": OPEN, "token": BAD}, "rejected", True, "models/local/tiny/auth-check"),
        ({"model_id": GATED}, "missing", True, f"models/{GATED}/auth-check"),
        ({"model_id": GATED, "token": STRANGER}, "forbidden", True, f"models/{GATED}/auth-check"),
        (
            {"model_id": "local/none", "token": GOOD},
            "unchecked",
            False,
            "models/local/none/auth-check",
        ),
        ({"model_id": "no such id"}, "unchecked", False, None),
        ({"model_id": str(folder)}, "unchecked", False, None),
        ({"model_id": str(folder), "token": GOOD}, "present", True, "whoami-v2"),
        ({"model_id": str(folder), "token": BAD}, "rejected", True, "whoami-v2"),
        ({"model_id": OPEN, "token": f"'{GOOD}'"}, "malformed", False, None),
    ]
    reports = probe(hub.url, *(steps for steps, *_ in cases))
    for report, (steps, status, checked, _) in zip(reports, cases, strict=True):
        assert (report["status"], report["checked"]) == (status, checked), (steps, report)
        assert report["message"]
    asked = [
        (found.method, found.path)
        for found in hub.requests
        if found.path != "/api/agent-harnesses"  # huggingface_hub's own, once a day
    ]
    assert asked == [("GET", f"/api/{path}") for *_, path in cases if path]


@pytest.mark.parametrize(
    ("name", "status"),
    [("dead port", "unreachable"), ("black hole", "unreachable"), ("html", "unchecked")],
)
def test_a_hub_that_misbehaves_has_a_status_and_a_reason(name: str, status: str) -> None:
    make, _ = FAULTS[name]
    with make() as server:
        (report,) = probe(server.url, {"model_id": OPEN, "token": GOOD, "timeout": 1.0})
    assert (report["status"], report["checked"]) == (status, False)
    assert report["message"]


def test_a_token_that_has_expired_is_said_to_have() -> None:
    with faults.status(401, {"error": 'User Access Token "mine" is expired'}) as server:
        (report,) = probe(server.url, {"model_id": OPEN, "token": GOOD})
    assert (report["status"], report["checked"], report["fields"][0]["status"]) == (
        "expired",
        True,
        "expired",
    )


def test_the_hub_itself_is_not_sent_what_is_no_token_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = "mirror-0123456789"
    report = mellea_api.validate_credentials("hf", OPEN, token=other)
    assert report.status == "malformed"
    assert "begin with hf_" in report.message
    with pytest.raises(mellea_api.CredentialError, match="begin with hf_"):
        mellea_api.start_session("hf", OPEN, token=other)
    # A mirror has tokens of its own.
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.invalid")
    assert mellea_api.validate_credentials("hf", OPEN, token=other).status == "present"
