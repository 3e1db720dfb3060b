"""Providers that open a session well, and misbehave from then on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from support import faults
from support.http import LoopbackServer
from support.messages import Recorded, Reply
from support.ollama_server import OllamaServer
from support.openai_server import OpenAIServer

BACKENDS = ("ollama", "openai")
MODELS = {"ollama": "tiny", "openai": "gpt-4o"}
KEY = "sk-good"


class _TurnsBad:
    """Does what another server does, once it is told which."""

    fault: LoopbackServer | None = None

    def handle(self, request: Recorded) -> Reply:
        if self.fault is not None:
            return self.fault.handle(request)
        reply: Reply = super().handle(request)  # type: ignore[misc]
        return reply


class _Ollama(_TurnsBad, OllamaServer):
    pass


class _OpenAI(_TurnsBad, OpenAIServer):
    pass


class Provider:
    """A good provider with a switch.

    Attributes:
        backend: `ollama` or `openai`.
        server: The loopback server.
    """

    def __init__(self, backend: str, stack: ExitStack, server: Any) -> None:
        self.backend = backend
        self.server = server
        self._stack = stack

    @property
    def model(self) -> str:
        """A model that it has."""
        return MODELS[self.backend]

    def arguments(self, **more: Any) -> dict[str, Any]:
        """What a session or a runtime on it is given."""
        found: dict[str, Any] = {"base_url": self.server.base_url}
        if self.backend == "openai":
            found |= {"api_key": KEY, "max_retries": 0}
        return found | more

    def session(self, **more: Any) -> Any:
        """A session on it."""
        import mellea_api

        return mellea_api.start_session(self.backend, self.model, **self.arguments(**more))

    def turn_bad(self, name: str) -> None:
        """Misbehave from now on, as the fault of that name does."""
        if name == "refused":
            self._stack.close()
        elif name == "black_hole":
            self.server.latency = 3600.0
        else:
            self.server.fault = faults.BY_NAME[name]()

    def turn_good(self) -> None:
        """Behave again, after any fault but `refused`."""
        self.server.latency = 0.0
        self.server.fault = None


@contextmanager
def provider(backend: str, **arguments: Any) -> Iterator[Provider]:
    """Start a provider.

    Args:
        backend: `ollama` or `openai`.
        arguments: Of its loopback server.
    """
    kind: Any = {"ollama": _Ollama, "openai": _OpenAI}[backend]
    with ExitStack() as stack:
        yield Provider(backend, stack, stack.enter_context(kind(**arguments)))
