"""The Hub, as the user's environment names it: a loopback server, and a process of its own for each environment.

huggingface_hub reads `HF_ENDPOINT`, `HF_HOME` and `HF_HUB_OFFLINE` when it is imported, so these cannot be changed in a
process that has imported it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.hub_server import GOOD, STRANGER, HubServer

pytestmark = [pytest.mark.usefixtures("transformers_here"), pytest.mark.slow]

OPEN, GATED = "local/tiny", "meta-llama/Llama-3.2-3B-Instruct"
RENAMED = "local/old-name"
BAD = "hf_badbadbadbadbadbadbadbad"

PROGRAM = """
import json, logging, sys, warnings
warnings.simplefilter("ignore")
logging.basicConfig(format="LOG %(message)s")
logging.getLogger("mellea_api").setLevel("INFO")
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

    def __call__(
        self, *steps: list[Any], terminal: int | None = None, **variables: str
    ) -> list[list[Any]]:
        environment = {
            **os.environ,
            "HF_HOME": str(self.home),
            "HF_ENDPOINT": self.endpoint,
            "HF_HUB_DISABLE_XET": "1",
            **variables,
        }
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, json.dumps(steps)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if terminal is None else terminal,
            text=True,
            check=False,
            env=environment,
            timeout=120,
        )
        self.said = done.stdout + (done.stderr or "")
        answers = [line for line in done.stdout.splitlines() if line.startswith("ANSWERS ")]
        assert answers, self.said
        found: list[list[Any]] = json.loads(answers[0].removeprefix("ANSWERS "))
        return found


@pytest.fixture(scope="module")
def hub(build: Callable[..., Path]) -> Iterator[HubServer]:
    with HubServer(
        {OPEN: build(), GATED: build(seed=1)}, frozenset({GATED}), {RENAMED: OPEN}
    ) as server:
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
    answers = process(
        step("chat", OPEN),
        step("models"),
        step("chat", "local/none"),
        step("chat", OPEN, revision="nosuchbranch"),
        step("chat", "no such id"),
    )
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
    assert answers[3][0] == "ModelNotFoundError"
    assert "nosuchbranch" in answers[3][1]
    assert answers[4][0] == "ModelNotFoundError"
    # Whoever waits sees why. (The bars are for terminals, and some versions show them anywhere.)
    assert f"LOG loading {OPEN}" in process.said
    assert f"LOG loaded {OPEN} on " in process.said

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

    # Nor does a Hub that is down keep anybody from what is in the cache.
    with HubServer({}) as server:
        process.endpoint = server.url
    began = time.monotonic()
    (down,) = process(step("chat", OPEN))
    assert down == ["ok", expected]
    assert "taken from the cache" in process.said
    assert time.monotonic() - began < 100  # with the import of torch, on a slow machine


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_whoever_waits_at_a_terminal_sees_how_far_it_is(hub: HubServer, tmp_path: Path) -> None:
    import fcntl
    import pty
    import struct
    import termios
    import threading

    process = Process(tmp_path / "home", hub.url)
    screen, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    seen: list[bytes] = []

    def watch() -> None:
        try:
            while piece := os.read(screen, 65536):
                seen.append(piece)
        except OSError:  # what Linux says when nobody has the terminal any more
            pass

    watcher = threading.Thread(target=watch)
    watcher.start()
    (answer,) = process(step("chat", OPEN), terminal=terminal)
    os.close(terminal)
    watcher.join(10)
    os.close(screen)
    assert answer[0] == "ok"
    shown = b"".join(seen).decode("utf-8", "replace")
    assert "model.safetensors" in shown or "Fetching" in shown, shown
    assert "100%" in shown
    assert f"LOG loaded {OPEN}" in shown


def test_a_gated_model_says_where_to_ask_for_access_and_opens_to_a_token(
    hub: HubServer, tmp_path: Path
) -> None:
    process = Process(tmp_path / "home", hub.url)
    hub.clear()
    (none, none_check, stranger, stranger_check, bad, bad_check, bad_list, good) = process(
        step("chat", GATED),
        step("check", probe=True),
        step("chat", GATED, token=STRANGER),
        step("check", probe=True, token=STRANGER),
        step("chat", OPEN, token=BAD),
        step("check", probe=True, token=BAD),
        step("models", hub=True, token=BAD),
        step("chat", GATED, token=GOOD),
    )
    page = f"https://huggingface.co/{GATED}"
    assert none[0] == "CredentialError"
    assert page in none[1]
    assert "HF_TOKEN" in none[1]
    assert none_check[1][0] == "missing"
    assert page in none_check[1][1]

    assert stranger[0] == "PermissionDeniedError"
    assert page in stranger[1]
    assert stranger_check[1][0] == "forbidden"
    assert page in stranger_check[1][1]

    assert bad[0] == "CredentialError"
    assert "rejected" in bad[1]
    assert bad_check[1][0] == "rejected"
    assert bad_list[0] == "CredentialError"

    assert good[0] == "ok"
    assert f"Bearer {GOOD}" in {request.headers.get("authorization") for request in hub.requests}
    for token in (GOOD, STRANGER, BAD):
        assert token not in process.said


def test_a_token_is_taken_from_the_environment_and_from_the_file(
    hub: HubServer, tmp_path: Path
) -> None:
    process = Process(tmp_path / "home", hub.url)
    (check,) = process(step("check", probe=True), HF_TOKEN=GOOD)
    assert check[1][0] == "present"
    assert "good" in check[1][1]
    (tmp_path / "token").write_text(f"{GOOD}\n", "utf-8")
    hub.clear()
    check, chat = process(
        step("check", probe=True), step("chat", GATED), HF_TOKEN_PATH=str(tmp_path / "token")
    )
    assert check[1][0] == "present"
    assert chat[0] == "ok"
    assert f"Bearer {GOOD}" in {request.headers.get("authorization") for request in hub.requests}
    assert GOOD not in process.said


def test_a_model_opens_by_the_name_that_it_had_before(
    hub: HubServer, tmp_path: Path, reference: Any
) -> None:
    process = Process(tmp_path / "home", hub.url)
    chat, check = process(
        step("chat", RENAMED), step("check", model_id=RENAMED, probe=True, token=GOOD)
    )
    assert chat == ["ok", reference("Hi", max_new_tokens=5, do_sample=False)]
    assert check[1][0] == "present"


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


def test_a_hub_that_is_down_is_said_to_be_soon(tmp_path: Path) -> None:
    with HubServer({}) as server:
        address = server.url
    process = Process(tmp_path / "home", address)
    began = time.monotonic()
    chat, listed, check = process(
        step("chat", OPEN), step("models", hub=True), step("check", probe=True)
    )
    assert time.monotonic() - began < 100  # with the import of torch, on a slow machine
    assert chat[0] == "BackendUnavailableError", chat
    assert "HF_ENDPOINT" in chat[1]
    assert listed[0] == "BackendUnavailableError"
    assert check[1][0] == "unreachable"
