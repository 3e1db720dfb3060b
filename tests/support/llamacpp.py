"""llama.cpp's own server, in this process and on a free loopback port, with the tiny model behind it.

`xllamacpp` is llama.cpp as a wheel: nothing to compile, nothing to download, ready in about 30 ms. Its server is the
real `llama-server`: it tokenizes, samples, stops and streams. It answers to any model name.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import TracebackType
from typing import Any

MODEL_ALIAS = "tiny"


def available() -> str | None:
    """Why this engine cannot run here, or None when it can."""
    missing = [
        name
        for name in ("xllamacpp", "gguf", "numpy", "tokenizers")
        if importlib.util.find_spec(name) is None
    ]
    return f"not installed: {', '.join(missing)}" if missing else None


class LlamaCppServer:
    """A context manager around `xllamacpp.Server`.

    Attributes:
        base_url: What an OpenAI client wants, for example "http://127.0.0.1:41234/v1".
        api_key: The only key that it takes; None takes any, or none.
        model: The model's name in `/v1/models`.
    """

    base_url: str
    model = MODEL_ALIAS

    def __init__(
        self,
        gguf_path: Path,
        api_key: str | None = None,
        context_length: int = 2048,
        slots: int = 1,
    ) -> None:
        """Starts nothing yet.

        Args:
            gguf_path: The model, as `tiny_model.build_gguf` writes it.
            api_key: See the class.
            context_length: Tokens of context, per slot.
            slots: Requests that generate at the same time; the others wait their turn.
        """
        self.api_key = api_key
        self._path = gguf_path
        self._context_length = context_length
        self._slots = slots
        self._server: Any = None

    def __enter__(self) -> LlamaCppServer:
        """Starts the server; `base_url` answers when this returns."""
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = str(self._path)
        params.model_alias = [MODEL_ALIAS]
        params.hostnames = ["127.0.0.1"]
        params.port = 0
        # llama.cpp divides the context between its slots.
        params.n_ctx = self._context_length * self._slots
        params.n_parallel = self._slots
        params.warmup = False
        params.ui = False
        params.verbosity = -1
        if self.api_key is not None:
            params.api_keys = [self.api_key]
        self._server = xllamacpp.Server(params)
        self.base_url = f"{self._server.listening_address}/v1"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stops the server: it ends with its last reference."""
        self._server = None
