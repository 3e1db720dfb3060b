"""Every fault of `support.fault_table`, on watsonx.ai."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.fault_suite import ANSWER, SECRET, FaultSuite, Subject
from support.fault_table import Faulty, Stranger
from support.http import Recorded
from support.secure import Certificates
from support.watsonx_server import MODELS, PROJECT, SPECS_PATH, WatsonxServer
from support.watsonx_session import DEPRECATED

pytest.importorskip("mellea_api_watsonx", reason="mellea-api-watsonx is not installed")
pytest.importorskip("ibm_watsonx_ai", reason="the watsonx.ai SDK is not installed")

pytestmark = DEPRECATED

STRANGER = "stranger.example"


class Server(Faulty, WatsonxServer):
    """Behind tunnels, every host is this server: what leads to another one shows in the `host`."""

    before_error = "event: error\n"
    stranger = f"https://{STRANGER}"

    def __init__(self, certificates: Certificates) -> None:
        self.certificates = certificates
        self.show_certificate("")
        super().__init__(self.authority, ANSWER)

    def show_certificate(self, which: str) -> None:
        self.authority: Any = _Shown(self.certificates, which)

    def own_address(self, request: Recorded) -> str:
        return f"https://{request.headers['host']}"


class _Shown:
    def __init__(self, certificates: Certificates, which: str) -> None:
        self.path = certificates.path
        self._certificates, self._which = certificates, which

    def context(self, host: str) -> Any:
        return self._certificates.context(self._which, host)


class Elsewhere(Stranger):
    def __init__(self, server: Server) -> None:
        self._server_of_all = server

    @property
    def requests(self) -> list[Recorded]:
        return [
            request
            for request in self._server_of_all.requests
            if request.headers.get("host", "").startswith(STRANGER)
        ]

    def clear(self) -> None:
        self._server_of_all.clear()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class TestFaults(FaultSuite):
    operations = ("open", "open:project", "open:models", "list", "probe", "chat", "stream")

    expected = {
        # Which model is not there, watsonx.ai says with a code.
        ("*", "status_404"): "RequestRefusedError",
        # What the projects service does not know is no project.
        ("open:project", "status_400"): "CredentialError",
        ("open:project", "status_404"): "CredentialError",
        ("open:project", "status_422"): "CredentialError",
        # A page is no event, and the stream ends after it.
        ("stream", "middle_html"): "BackendUnavailableError",
    }

    @classmethod
    def make(cls, stack: ExitStack) -> Subject:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr("support.watsonx_server.API_KEY", SECRET)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(Server(Certificates(folder)))
        given = {"api_key": SECRET, "project_id": PROJECT}
        subject = Subject("watsonx", MODELS[0], server, given)
        subject.only_sessions = {"max_retries": 0}
        subject.environment = server.environment()
        subject.places = {"open:project": "/v2/projects/", "open:models": SPECS_PATH}
        subject.stranger = Elsewhere(server)
        return subject

    @classmethod
    def make_secure(cls, stack: ExitStack, folder: Path) -> Subject:
        return cls.make(stack)  # it is never reached otherwise
