"""Every fault of `support.fault_table`, through LiteLLM's routes."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.fault_suite import ANSWER, SECRET, FaultSuite, Subject
from support.fault_table import Faulty
from support.messages import Recorded, Reply
from support.ollama_server import OllamaServer
from support.openai_server import OpenAIServer
from support.secure import Secure, listening

pytest.importorskip("mellea_api_litellm")

pytestmark = pytest.mark.usefixtures("sdk")


class OpenAI(Faulty, OpenAIServer):
    pass


class SecureOpenAI(Secure, OpenAI):
    pass


class Ollama(Faulty, OllamaServer):
    pass


class SecureOllama(Secure, Ollama):
    pass


class Azure(OpenAI):
    """An OpenAI server at the paths of Azure's deployments, with the key in Azure's header."""

    base_path = ""

    def handle(self, request: Recorded) -> Reply:
        headers = {**request.headers, "authorization": f"Bearer {request.headers.get('api-key')}"}
        path = request.path.replace("/openai/deployments/gpt-4o", "/v1")
        return super().handle(replace(request, path=path, headers=headers))


class SecureAzure(Secure, Azure):
    pass


def subject(route: str, server: Any, environment: Mapping[str, str] = {}) -> Subject:
    """LiteLLM on a route to that server."""
    found = Subject("litellm", route, server, {"base_url": server.base_url, "api_key": SECRET})
    found.only_sessions = {"max_retries": 0}
    found.environment = dict(environment)
    found.only_lists = {"provider": route.partition("/")[0]}
    return found


# A key may be allowed to generate and not to list: the session opens, and says so.
OPENS = {("open", f"status_{code}"): None for code in (400, 403, 404)}


class TestFaultsOfAnOpenAIRoute(FaultSuite):
    expected = {
        **OPENS,
        # A page is no event, and the stream ends after it.
        ("stream", "middle_html"): "BackendUnavailableError",
    }

    @classmethod
    def make(cls, stack: ExitStack) -> Subject:
        return subject("openai/gpt-4o", stack.enter_context(OpenAI(SECRET, text=ANSWER)))

    @classmethod
    def make_secure(cls, stack: ExitStack, folder: Path) -> Subject:
        server = SecureOpenAI(SECRET, text=ANSWER)
        environment = listening(stack, server, folder)
        return subject("openai/gpt-4o", server, environment)


class TestFaultsOfAnOllamaRoute(FaultSuite):
    expected = {
        **OPENS,
        # Ollama says "not found" of a missing model.
        **dict.fromkeys(
            ((way, "status_404") for way in ("list", "chat", "stream")), "RequestRefusedError"
        ),
        # LiteLLM passes over what is no JSON, and the stream ends after it.
        ("stream", "middle_invalid_json"): "BackendUnavailableError",
        ("stream", "middle_html"): "BackendUnavailableError",
    }

    @classmethod
    def make(cls, stack: ExitStack) -> Subject:
        return subject("ollama_chat/tiny", stack.enter_context(Ollama(text=ANSWER)))

    @classmethod
    def make_secure(cls, stack: ExitStack, folder: Path) -> Subject:
        server = SecureOllama(text=ANSWER)
        environment = listening(stack, server, folder)
        return subject("ollama_chat/tiny", server, environment)


class TestFaultsOfAnAzureRoute(FaultSuite):
    # Nothing that Azure is asked for costs nothing: only calls meet a server.
    operations = ("chat", "stream")
    expected = {("stream", "middle_html"): "BackendUnavailableError"}

    @classmethod
    def make(cls, stack: ExitStack) -> Subject:
        return cls.at(stack.enter_context(Azure(SECRET, text=ANSWER)))

    @classmethod
    def make_secure(cls, stack: ExitStack, folder: Path) -> Subject:
        server = SecureAzure(SECRET, text=ANSWER)
        return cls.at(server, listening(stack, server, folder))

    @staticmethod
    def at(server: Any, environment: Mapping[str, str] = {}) -> Subject:
        found = subject("azure/gpt-4o", server, environment)
        found.only_sessions["api_version"] = "2024-10-21"
        return found
