"""What must not be imported, and is where it costs: seconds, and 337 MB."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("mellea_api_watsonx", reason="mellea-api-watsonx is not installed")

PROGRAM = """
import sys
import mellea_api
mellea_api.explain_options("watsonx", {"temperature": 0, "max_tokens": 5, "thinking": True})
mellea_api.explain_options("watsonx", {"top_p": 0.5}, endpoint="completion")
assert mellea_api.list_models("watsonx", freshness="offline")
assert mellea_api.validate_credentials("watsonx").status == "missing"
heavy = {
    "ibm_watsonx_ai": "the SDK takes seconds",
    "pandas": "the SDK imports it",
    "mellea": "half a second",
    "httpx": "only a call needs it",
}
print([name for name in heavy if name in sys.modules])
"""


def test_explaining_and_describing_import_neither_the_sdk_nor_mellea() -> None:
    command = [sys.executable, "-W", "error", "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == "[]"
