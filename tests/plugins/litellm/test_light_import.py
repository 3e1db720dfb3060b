"""Nothing but a session, or asking a server, imports LiteLLM in the process: it takes four seconds."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import pytest

pytest.importorskip("mellea_api_litellm")

if importlib.util.find_spec("litellm") is None:
    pytest.skip("LiteLLM is not installed", allow_module_level=True)

HEAVY = {
    "litellm": "takes four seconds to import",
    "mellea": "is for sessions",
    "openai": "is LiteLLM's business",
    "httpx": "is for asking a server",
}
PROGRAM = """
import json, sys
import mellea_api
mellea_api.explain_options("litellm", {"temperature": 0.5, "top_k": 3}, "anthropic/claude-x")
mellea_api.explain_options("litellm", {"max_tokens": 5}, "gpt-4o", endpoint="completion")
mellea_api.list_models("litellm", freshness="offline", timeout=120)
mellea_api.list_models("litellm", provider="mistral", freshness="offline", timeout=120)
mellea_api.validate_credentials("litellm", "watsonx/ibm/granite-3-3-8b-instruct")
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


@pytest.mark.slow
def test_explaining_listing_and_looking_for_credentials_import_no_sdk() -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    imported = set(json.loads(run.stdout))
    assert not imported & set(HEAVY), {name: HEAVY[name] for name in imported & set(HEAVY)}


@pytest.mark.slow
@pytest.mark.usefixtures("sdk")
@pytest.mark.parametrize(
    "program",
    [
        "import mellea_api_litellm.session",
        # Mellea 0.6 imports LiteLLM itself, before the plugin does.
        "import mellea_api as m; m.start_session('litellm', 'gpt-4o', mock_response='4').chat('?')",
    ],
)
def test_importing_litellm_through_the_plugin_asks_nobody(program: str) -> None:
    """LiteLLM's list of models comes from its package."""
    before = (
        "import os, socket\n"
        "def refuse(*_): os._exit(9)\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
    )
    after = "\nimport litellm\nassert len(litellm.model_cost) > 1000\n"
    run = subprocess.run(
        [sys.executable, "-c", before + program + after],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == ""
