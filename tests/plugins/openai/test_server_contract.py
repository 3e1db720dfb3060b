"""The suite for backends with a server, which plugin authors subclass, on the real OpenAI SDK."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("mellea_api_openai")

from mellea_api.testing import Asked, ServerContract, openai_answer


class TestOpenAI(ServerContract):
    backend = "openai"
    path = "/v1"
    model = "tiny"
    patience = 1.0

    def answer(self, asked: Asked) -> Any:
        return openai_answer(asked)
