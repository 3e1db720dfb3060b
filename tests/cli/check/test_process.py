"""`check` as a process, as a container runs it, and as a function."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import pytest
from support.fake_plugins import GOOD
from support.faults import black_hole, refused
from support.reports import schema

import mellea_api
from mellea_api._diagnosis.readiness import check_readiness

# ------------------------------------------------------------- the process, as a container runs it


def test_a_ready_process_says_so_and_nothing_on_standard_error(command: Any, ollama: Any) -> None:
    done = command("check", "--probe", "ollama")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^ollama +model +ok ", done.stdout, re.MULTILINE)


def test_a_process_that_is_not_ready_gives_one_line_of_reason(command: Any) -> None:
    with refused() as nobody:
        address = nobody.base_url
        done = command("check", "--probe", "ollama", env={"OLLAMA_HOST": address})
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        f"not ready: ollama: server: Cannot reach the ollama server at {address}"
    )


def test_a_process_ends_at_its_time_whatever_hangs(command: Any, install: Any) -> None:
    """Also where a thread is left that Python itself would wait for, longer than this test does."""
    install("stuck", GOOD + WORKER)
    with black_hole() as nobody:
        done = command(
            *("check", "--probe", "ollama", "stuck", "--timeout", "3"),
            env={"OLLAMA_HOST": nobody.base_url},
        )
    assert done.returncode == 3
    assert [line.split(":")[1].strip() for line in done.stderr.splitlines()] == ["ollama", "stuck"]


WORKER = """
@hookimpl
def list_models(request):
    import time
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(1) as pool:
        pool.submit(time.sleep, 600).result()
"""


def test_a_malformed_variable_about_plugins_is_one_line_too(command: Any) -> None:
    done = command("check", env={"MELLEA_API_PREFER": "nonsense"})
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


def test_what_it_cannot_even_begin_with_is_json_of_the_schema_too(command: Any) -> None:
    done = command("check", "--json", env={"MELLEA_API_PREFER": "nonsense"})
    assert done.returncode == 1
    found = json.loads(done.stdout)
    jsonschema.validate(found, schema("check"))
    assert "MELLEA_API_PREFER" in found["error"]["message"]
    for both in ({**found, "ready": False}, {}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(both, schema("check"))


# -------------------------------------------------------------------------------- as a function


def test_the_function_takes_a_registry_of_its_own() -> None:
    empty = mellea_api.Registry.discover(entry_points=[])
    found = check_readiness(["a", "b", "a"], registry=empty)
    assert [row.backend for row in found.backends] == ["a", "b"]
    assert not found.ready
    assert not check_readiness([], registry=empty).ready


def test_the_schema_is_one_and_refuses_what_is_not_in_it() -> None:
    jsonschema.Draft202012Validator.check_schema(schema("check"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"ready": True}, schema("check"))
