"""The suite for backends with a server, which plugin authors subclass, on the real Ollama SDK."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("mellea_api_ollama")

from support.ollama_answers import loopback_answer

from mellea_api.testing import Asked, ServerContract


class TestOllama(ServerContract):
    backend = "ollama"
    model = "tiny"
    patience = 2.0

    def answer(self, asked: Asked) -> Any:
        return loopback_answer(asked)
