"""The Hub, as the user's environment names it: a loopback server, and a process of its own for each environment.

huggingface_hub reads `HF_ENDPOINT`, `HF_HOME` and `HF_HUB_OFFLINE` when it is imported, so these cannot be changed in a
process that has imported it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.hub_server import GOOD, STRANGER, HubServer

pytestmark = [pytest.mark.usefixtures("transformers_here"), pytest.mark.slow]

OPEN, GATED = "local/tiny", "meta-llama/Llama-3.2-3B-Instruct"
BAD = "hf_badbadbadbadbadbadbadbad"

PROGRAM = """
import json, sys, warnings
warnings.simplefilter("ignore")
import mellea_api

def chat(model, **kwargs):
    session = mellea_api.start_session("hf", model, **kwargs)
    return str(session.chat("Hi", model_options={"max_tokens": 5, "temperature": 0}).content)

def models(**kwargs):
    return [[m.id, m.description, m.source, m.default] for m in mellea_api.list_models("hf", **kwargs)]

def check(**kwargs):
    report = mellea_api.validate_credentials("hf", **kwargs)
    return [report.status, report.message, report.usable]

def run(step):
    name, args, kwargs = step
    try:
        return ["ok", {"chat": chat, "models": models, "check": check}[name](*args, **kwargs)]
    except mellea_api.MelleaAPIError as error:
        return [type(error).__name__, str(error)]

print("ANSWERS", json.dumps([run(step) for step in json.loads(sys.argv[1])]))
"""


def step(name: str, *args: Any, **kwargs: Any) -> list[Any]:
    return [name, list(args), kwargs]


class Process:
    """Runs steps in a Python that has the environment of a user of that Hub."""

    def __init__(self, home: Path, endpoint: str) -> None:
        self.home, self.endpoint = home, endpoint
        self.said = ""

    def __call__(self, *steps: list[Any], **variables: str) -> list[list[Any]]:
        environment = {
            **os.environ,
            "HF_HOME": str(self.home),
            "HF_ENDPOINT": self.endpoint,
            "HF_HUB_DISABLE_XET": "1",
            **variables,
        }
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, json.dumps(steps)],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            timeout=120,
        )
        self.said = done.stdout + done.stderr
        answers = [line for line in done.stdout.splitlines() if line.startswith("ANSWERS ")]
        assert answers, self.said
        found: list[list[Any]] = json.loads(answers[0].removeprefix("ANSWERS "))
        return found


@pytest.fixture(scope="module")
def hub(build: Callable[..., Path]) -> Iterator[HubServer]:
    with HubServer({OPEN: build(), GATED: build(seed=1)}, frozenset({GATED})) as server:
        yield server


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hf-home")


@pytest.fixture
def process(hub: HubServer, home: Path) -> Process:
    hub.clear()
    return Process(home, hub.url)


def test_a_public_model_is_downloaded_once_without_a_token_and_then_works_offline(
    process: Process, hub: HubServer, reference: Any
) -> None:
    answers = process(step("chat", OPEN), step("models"), step("chat", "local/none"))
    expected = reference("Hi", max_new_tokens=5, do_sample=False)
    assert answers[0] == ["ok", expected]
    weights = f"/{OPEN}/resolve/"
    assert any(weights in request.path for request in hub.requests if request.method == "GET")
    assert not [request for request in hub.requests if "authorization" in request.headers]
    # The cache first, with the size on disk; then what the catalogue has beside it.
    kind, listed = answers[1]
    assert kind == "ok"
    assert listed[0][0] == OPEN
    assert "on disk" in listed[0][1]
    assert listed[0][2] == "cached"
    assert [model[0] for model in listed if model[3]] == [GATED]
    # Nobody is told whether a model is private or not there.
    assert answers[2][0] == "ModelNotFoundError"
    assert "https://huggingface.co/local/none" in answers[2][1]
    # The bar of the download is seen.
    assert "%|" in process.said

    hub.clear()
    answers = process(
        step("chat", OPEN),
        step("chat", "local/none"),
        step("models"),
        step("models", hub=True),
        HF_HUB_OFFLINE="1",
    )
    assert answers[0] == ["ok", expected]
    assert answers[1][0] in ("BackendUnavailableError", "ModelNotFoundError")
    assert "HF_HUB_OFFLINE" in answers[1][1]
    assert answers[2][1] == listed
    assert answers[3][0] == "BackendUnavailableError"
    assert "HF_HUB_OFFLINE" in answers[3][1]
    assert hub.requests == []


def test_a_gated_model_says_where_to_ask_for_access(process: Process) -> None:
    page = f"https://huggingface.co/{GATED}"
    (chat, check) = process(step("chat", GATED), step("check", probe=True))
    assert chat[0] == "CredentialError"
    assert page in chat[1]
    assert "HF_TOKEN" in chat[1]
    assert check[0] == "ok"
    assert check[1][0] == "missing"
    assert page in check[1][1]

    (chat, check) = process(step("chat", GATED), step("check", probe=True), HF_TOKEN=STRANGER)
    assert chat[0] == "PermissionDeniedError"
    assert page in chat[1]
    assert check[1][0] == "forbidden"
    assert page in check[1][1]
    assert STRANGER not in process.said


def test_a_gated_model_is_had_with_a_token(
    process: Process, hub: HubServer, tmp_path: Path
) -> None:
    (check, chat) = process(step("check", probe=True), step("chat", GATED), HF_TOKEN=GOOD)
    assert check[1][0] == "present"
    assert "good" in check[1][1]
    assert chat[0] == "ok"
    assert {
        request.headers["authorization"]
        for request in hub.requests
        if "authorization" in request.headers
    } == {f"Bearer {GOOD}"}
    assert GOOD not in process.said


def test_a_token_is_taken_from_the_argument_and_from_the_file(
    hub: HubServer, tmp_path: Path
) -> None:
    process = Process(tmp_path / "home", hub.url)
    hub.clear()
    (argument,) = process(step("chat", GATED, token=GOOD))
    assert argument[0] == "ok"
    assert f"Bearer {GOOD}" in {request.headers.get("authorization") for request in hub.requests}
    process = Process(tmp_path / "other", hub.url)
    (tmp_path / "token").write_text(f"{GOOD}\n", "utf-8")
    hub.clear()
    check, chat = process(
        step("check", probe=True), step("chat", GATED), HF_TOKEN_PATH=str(tmp_path / "token")
    )
    assert check[1][0] == "present"
    assert chat[0] == "ok"
    assert f"Bearer {GOOD}" in {request.headers.get("authorization") for request in hub.requests}
    assert GOOD not in process.said


def test_a_token_that_the_hub_rejects_is_said_to_be(hub: HubServer, tmp_path: Path) -> None:
    process = Process(tmp_path / "home", hub.url)
    chat, check, listed = process(
        step("chat", OPEN), step("check", probe=True), step("models", hub=True), HF_TOKEN=BAD
    )
    assert chat[0] == "CredentialError", chat
    assert "HF_TOKEN" in chat[1]
    assert check[1][0] == "rejected"
    assert listed[0] == "CredentialError"
    assert BAD not in process.said


def test_the_hub_lists_its_models_when_asked(process: Process, hub: HubServer) -> None:
    everything, found, one, wrong = process(
        step("models", hub=True),
        step("models", hub="llama"),
        step("models", hub=True, limit=1),
        step("models", hubs=True),
    )
    assert {model[0] for model in everything[1]} == {OPEN, GATED}
    assert [model[0] for model in found[1]] == [GATED]
    assert "gated" in found[1][0][1]
    assert found[1][0][2] == "live"
    assert len(one[1]) == 1
    assert wrong[0] == "ConfigurationError"
    assert "hubs" in wrong[1]


def test_a_hub_that_is_down_is_said_to_be(tmp_path: Path) -> None:
    with HubServer({}) as server:
        address = server.url
    process = Process(tmp_path / "home", address)
    chat, listed, check = process(
        step("chat", OPEN), step("models", hub=True), step("check", probe=True)
    )
    assert chat[0] == "BackendUnavailableError", chat
    assert "HF_ENDPOINT" in chat[1]
    assert listed[0] == "BackendUnavailableError"
    assert check[1][0] == "unreachable"


def test_a_revision_that_is_not_there(process: Process) -> None:
    (chat,) = process(step("chat", OPEN, revision="nosuchbranch"))
    assert chat[0] == "ModelNotFoundError"
    assert "nosuchbranch" in chat[1]
