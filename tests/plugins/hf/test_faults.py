"""Every fault of `support.fault_table`, on the Hub: a session that is opened, a list, a probe."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.asker import Asker
from support.fault_suite import LATEST, TIMEOUT, no_secret_in
from support.fault_table import CERTIFICATES, FAULTS, Fault, Faulty, Stranger, switched
from support.hub_server import GOOD, HubServer
from support.secure import Secure, listening

pytest.importorskip("mellea_api_hf", reason="mellea-api-hf is not installed")
pytestmark = [pytest.mark.usefixtures("transformers_here"), pytest.mark.slow]

MODEL = "local/tiny"
OPERATIONS = ("open", "list", "probe")
# The answer that says yes has no content that is documented; a web page alone is none.
YES = (
    *("truncated_json", "empty_body", "plain_text", "invalid_json", "not_text"),
    *("deep_json", "huge_number_json"),
)
EXPECTED: dict[tuple[str, str], str | None] = {
    **{("probe", name): None for name in (*YES, "other_shape", "other_list", "other_null")},
}


class Server(Faulty, HubServer):
    def error_json(self, status: int) -> Any:
        return {"error": f"status {status}"}


class SecureServer(Secure, Server):
    pass


def variables(server: Server, home: Path) -> dict[str, str]:
    return {
        "HF_ENDPOINT": server.url,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_TOKEN": GOOD,
        "XDG_CACHE_HOME": str(home),
    }


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Stranger, Asker]]:
    folder = tmp_path_factory.mktemp("hub")
    with Server({MODEL: folder}) as server, Stranger(server) as stranger:
        server.secret = GOOD
        with Asker(variables(server, folder)) as asker:
            answers(asker)
            yield server, stranger, asker


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Asker]]:
    folder = tmp_path_factory.mktemp("secure")
    with contextlib.ExitStack() as stack:
        server = SecureServer({MODEL: folder})
        trust = listening(stack, server, folder)
        with Asker({**variables(server, folder), **trust}) as asker:
            answers(asker)
            yield server, asker


def answers(asker: Asker) -> None:
    """A Hub that is well is asked, and answers."""
    said = asker("list", "hf", MODEL, LATEST, {})
    assert said.get("answer") == 1, said


def check(said: dict[str, Any], fault: Fault, operation: str) -> None:
    """One typed error, in time, that shows nothing and leaves nothing."""
    kind = EXPECTED.get((operation, fault.name), fault.kind)
    assert "foreign" not in said, said["foreign"]
    assert GOOD not in f"{said}"
    if operation == "probe":
        statuses = {"CredentialError": {"rejected"}, "PermissionDeniedError": {"forbidden"}}
        allowed = statuses.get(kind or "", {"unreachable", "unchecked"})
        assert said["answer"]["status"] in (allowed if kind else allowed | {"present"}), said
        return
    assert said.get("kind") == kind, said
    assert said["message"].endswith(said["next_step"])
    assert said["next_step"]
    if fault.status is not None:
        assert said["status"] == fault.status
    if fault.hangs:
        assert said["timeout"] == TIMEOUT


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault(hub: tuple[Server, Stranger, Asker], fault: Fault, operation: str) -> None:
    server, stranger, asker = hub
    stranger.clear()
    with switched(server, fault):
        said = asker(operation, "hf", MODEL, TIMEOUT if fault.hangs else LATEST, {})
    check(said, fault, operation)
    answers(asker)
    for request in stranger.requests:
        no_secret_in(request)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("fault", CERTIFICATES, ids=str)
def test_a_certificate_that_is_wrong(
    secure: tuple[Server, Asker], fault: Fault, operation: str
) -> None:
    server, asker = secure
    before = len(server.requests)
    with switched(server, fault):
        said = asker(operation, "hf", MODEL, LATEST, {})
    assert len(server.requests) == before
    assert "certificate" in str(said).lower()
    check(said, fault, operation)
    answers(asker)
