"""Every fault of `support.fault_table`, on Ollama."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.fault_suite import ANSWER, SECRET, FaultSuite, Subject
from support.fault_table import Faulty
from support.ollama_server import OllamaServer
from support.secure import Secure, listening

import mellea_api
from mellea_api import ModelNotFoundError
from mellea_api.testing import Asked, LoopbackServer, Reply

pytest.importorskip("mellea_api_ollama")


class Server(Faulty, OllamaServer):
    pass


class SecureServer(Secure, Server):
    pass


class TestFaults(FaultSuite):
    expected = {
        ("*", "status_404"): "RequestRefusedError",  # Ollama says "not found" of a missing model
    }

    @classmethod
    def make(cls, stack: ExitStack) -> Subject:
        return cls._subject(stack.enter_context(Server(text=ANSWER)))

    @classmethod
    def make_secure(cls, stack: ExitStack, folder: Path) -> Subject:
        server = SecureServer(text=ANSWER)
        return cls._subject(server, listening(stack, server, folder))

    @staticmethod
    def _subject(server: Server, environment: Mapping[str, str] = {}) -> Subject:
        subject = Subject("ollama", "tiny", server, {"base_url": server.base_url})
        subject.environment = {"OLLAMA_API_KEY": SECRET, **environment}
        return subject


def test_an_error_that_is_an_object_is_read_whatever_its_status(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def answer(asked: Asked) -> Any:
        if asked.path.endswith("show"):
            return {"details": {}}
        return Reply(status=404, body={"error": {"message": "model 'tiny' not found"}})

    with LoopbackServer(answer) as server:
        session = mellea_api.start_session("ollama", "tiny", base_url=server.address)
        with pytest.raises(ModelNotFoundError, match="model 'tiny' not found"):
            session.chat("hi")
        session.cleanup()
    assert "TypeError" not in caplog.text
