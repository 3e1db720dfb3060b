"""A Mellea session on a loopback provider, and what the provider saw of it."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from support.llamacpp import LlamaCppServer
from support.messages import Recorded, Reply
from support.ollama_server import OllamaServer
from support.openai_server import COMPLETION_MODELS, OpenAIServer

BackendName = Literal["ollama", "openai"]

LIMITS = {
    "/api/chat": "num_predict",
    "/api/generate": "num_predict",
    "/v1/chat/completions": "max_completion_tokens",
    "/v1/completions": "max_tokens",
}
"""Where a provider generates, and what it calls the limit there."""


class _KeepsStatuses:
    """Keeps what was answered: Mellea's strategies may go on after a call that failed."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.statuses: list[int] = []

    def handle(self, request: Recorded) -> Reply:
        reply: Reply = super().handle(request)  # type: ignore[misc]
        if request.path in LIMITS:
            self.statuses.append(reply.status)
        return reply


class _Ollama(_KeepsStatuses, OllamaServer):
    pass


class _OpenAI(_KeepsStatuses, OpenAIServer):
    pass


class Stage:
    """See the module.

    Attributes:
        backend: The backend's name.
        server: The loopback provider.
        session: Mellea's session, as `mellea_api.start_session` made it.
        call: The options to give to every call; never changed here.
    """

    def __init__(self, backend: BackendName, server: Any, session: Any) -> None:
        self.backend = backend
        self.server = server
        self.session = session
        self.call: dict[str, Any] = {}

    @property
    def requests(self) -> list[Recorded]:
        """What asked the provider to generate, oldest first."""
        return [request for request in self.server.requests if request.path in LIMITS]

    def refuse_from(self, number: int) -> None:
        """Answers the generation of that number, and those beside it or after it, with a rate limit of 7 s."""
        handle, calls = self.server.handle, itertools.count(1)

        def limited(request: Recorded) -> Reply:
            if request.path not in LIMITS or next(calls) < number:
                good: Reply = handle(request)
                return good
            return Reply(429, json=self.server.error_json(429), headers={"retry-after": "7"})

        self.server.handle = limited

    @property
    def sent(self) -> list[Mapping[str, Any]]:
        """The options of each request, where that provider has them."""
        return [
            request.json["options"] if self.backend == "ollama" else request.json
            for request in self.requests
        ]

    def limits(self) -> dict[int | None, int]:
        """How many requests carried which limit."""
        names = [LIMITS[request.path] for request in self.requests]
        found = zip(self.sent, names, strict=True)
        return dict(Counter(options.get(name) for options, name in found))

    def values(self, name: str) -> list[Any]:
        """One option of each request, oldest first; None where a request lacks it."""
        return [options.get(name) for options in self.sent]

    def problems(self) -> list[str]:
        """What a strict provider would object to, or pass over without a word."""
        found = [f"answered {status}" for status in self.server.statuses if status >= 400]
        found += [f"warning: {text}" for text in self.server.warnings]
        found += [f"violation: {text}" for text in self.server.violations]
        known = set(LIMITS.values())
        for request, options in zip(self.requests, self.sent, strict=True):
            others = known - {LIMITS[request.path]}
            found += [f"sent {name} to {request.path}" for name in others & set(options)]
            # Mellea itself sends OpenAI `tools: null` where there are none.
            missing = [name for name, value in options.items() if value is None and name != "tools"]
            found += [f"sent {name}=None" for name in missing]
            if "@@@" in json.dumps(request.json):
                found.append(f"sent an @@@ name to {request.path}")
        return found


@contextmanager
def stage(
    backend: BackendName,
    *,
    raw: bool = False,
    compatible: bool = False,
    engine: LlamaCppServer | None = None,
    text: str = "4",
    **arguments: Any,
) -> Iterator[Stage]:
    """Opens a session on a fresh loopback provider.

    Args:
        backend: Which one; OpenAI stands for OpenAI itself, with all its rules.
        raw: Whether the model must take raw completions (OpenAI's chat models do not).
        compatible: Whether OpenAI's is a server that is merely compatible.
        engine: What generates; None for canned answers.
        text: The canned answer.
        arguments: Further ones of `mellea_api.start_session`.
    """
    import mellea_api

    if backend == "ollama":
        server: Any = _Ollama(engine=engine, text=text)
        model = "tiny"
    elif compatible:
        server = _OpenAI(engine=engine, text=text, api_key=None, strict=False)
        model = "tiny"
    else:
        server = _OpenAI(engine=engine, text=text)
        model = COMPLETION_MODELS[0] if raw else "gpt-4o"
        arguments = {"api_key": "sk-good", "server": "official"} | arguments
    with server:
        session = mellea_api.start_session(backend, model, base_url=server.base_url, **arguments)
        yield Stage(backend, server, session)
