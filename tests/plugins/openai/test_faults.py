"""Every fault of `support.fault_table`, on OpenAI."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.fault_suite import ANSWER, SECRET, FaultSuite, Subject
from support.fault_table import Faulty
from support.openai_server import OpenAIServer
from support.secure import Secure, listening

pytest.importorskip("mellea_api_openai")


class Server(Faulty, OpenAIServer):
    pass


class SecureServer(Secure, Server):
    pass


class TestFaults(FaultSuite):
    expected = {
        # A key may be allowed to generate and not to list: the session opens, and says so.
        ("open", "status_400"): None,
        ("open", "status_403"): None,
        # A page is no event, and the stream ends after it.
        ("stream", "middle_html"): "BackendUnavailableError",
    }

    @classmethod
    def make(cls, stack: ExitStack) -> Subject:
        return cls._subject(stack.enter_context(Server(SECRET, text=ANSWER)))

    @classmethod
    def make_secure(cls, stack: ExitStack, folder: Path) -> Subject:
        server = SecureServer(SECRET, text=ANSWER)
        return cls._subject(server, listening(stack, server, folder))

    @staticmethod
    def _subject(server: Server, environment: Mapping[str, str] = {}) -> Subject:
        given = {"base_url": server.base_url, "api_key": SECRET}
        subject = Subject("openai", "gpt-4o", server, given)
        subject.only_sessions = {"max_retries": 0}
        subject.environment = dict(environment)
        return subject
