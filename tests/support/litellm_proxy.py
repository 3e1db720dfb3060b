"""A real LiteLLM proxy in a process of its own: mock answers, and one key that it takes."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Self

KEY = "sk-proxy-good-5e8b1c"
ANSWER = "4, says the mock."
MODELS = ("mocked", "other", "limited", "full")

_AUTH = f"""
from litellm.proxy._types import ProxyException, UserAPIKeyAuth

async def check(request, api_key):
    if api_key == {KEY!r}:
        return UserAPIKeyAuth(api_key=api_key)
    raise ProxyException(
        message="Authentication Error: no such key " + api_key,
        type="auth_error", param="api_key", code=401,
    )
"""
_CONFIG = {
    "model_list": [
        {"model_name": name, "litellm_params": {"model": "openai/x", "api_key": "none", **more}}
        for name, more in {
            "mocked": {"mock_response": ANSWER},
            "other": {"mock_response": "Another."},
            "limited": {"mock_response": "litellm.RateLimitError"},
            "full": {"mock_response": "litellm.ContextWindowExceededError"},
        }.items()
    ],
    # It does not start without a master key; alone, that one would need a database to refuse others.
    "general_settings": {"custom_auth": "proxy_auth.check", "master_key": f"sk-{'5e8b1c07' * 8}"},
    "litellm_settings": {"num_retries": 0},
}


_IMPORTED = (
    *("litellm", "apscheduler", "backoff", "expression", "fastapi", "fastapi_sso", "mcp"),
    *("orjson", "redis", "semver", "uvicorn", "websockets"),
)


def available() -> str | None:
    """Why a proxy cannot be started; None if it can."""
    for name in _IMPORTED:
        if importlib.util.find_spec(name) is None:
            return f"{name} is not installed (pip install --group litellm)"
    return None


class LiteLLMProxy:
    """See the module.

    Attributes:
        base_url: Its address, for clients of OpenAI's protocol.
        log: Everything that it printed.
    """

    def __init__(self, folder: Path) -> None:
        """Starts nothing yet; the folder is for its files."""
        self._folder = folder
        self.log = folder / "proxy.log"
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self._port = found.getsockname()[1]
        self.base_url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Starts it, and waits until it answers: some ten seconds.

        Raises:
            RuntimeError: It ended, or did not answer within four minutes.
        """
        (self._folder / "proxy_auth.py").write_text(_AUTH)
        config = self._folder / "config.yaml"
        config.write_text(json.dumps(_CONFIG))  # which is YAML too
        program = Path(sys.executable).with_name("litellm")
        environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        environment |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "*"}
        # It imports soundfile, for the length of what Amazon transcribes, and does not start where
        # that has no native part: some indexes have it without. Nothing here has a sound.
        (self._folder / "soundfile.py").write_text("")
        environment["PYTHONPATH"] = str(self._folder)
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(str(program), "--config", str(config), "--telemetry", "False"),
                    *("--host", "127.0.0.1", "--port", str(self._port)),
                ],
                cwd=self._folder,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"the proxy ended: {self.log.read_text()[-2000:]}")
            if self._is_there():
                return self
            time.sleep(0.2)
        self.__exit__()
        raise RuntimeError(f"the proxy did not start: {self.log.read_text()[-2000:]}")

    def _is_there(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.base_url}/health/liveliness", timeout=2):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def __exit__(self, *_: Any) -> None:
        """Ends it."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
