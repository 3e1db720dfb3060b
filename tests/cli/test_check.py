"""`mellea-api check`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support import faults
from support.fake_plugins import GOOD
from support.faults import black_hole, refused
from support.ollama_server import OllamaServer
from support.openai_server import OpenAIServer

import mellea_api
from mellea_api.diagnosis.readiness import check_readiness

REFERENCE = Path(__file__).resolve().parents[2] / "docs/reference"
SECRET = "sk-a-canary-that-nobody-may-see-0123456789"
STEPS = ["plugin", "settings", "options", "credentials"]


@cache
def schema() -> Any:
    return json.loads((REFERENCE / "check.schema.json").read_text("utf-8"))


@pytest.fixture
def check(invoke: Any) -> Any:
    """Runs `check --json`; returns what it prints, after holding it to the schema and its exit code."""

    def run(*arguments: str) -> Any:
        result = invoke("check", *arguments, "--json")
        found = json.loads(result.stdout)
        jsonschema.validate(found, schema())
        assert result.stderr == ""
        assert result.exit_code == found["exit_code"]
        assert found["ready"] == (found["exit_code"] == 0)
        assert SECRET not in result.output
        return found

    return run


def steps(found: Any, backend: str = "") -> dict[str, str]:
    """The state of each step of one backend, or of the only one."""
    (one,) = [row for row in found["backends"] if not backend or row["backend"] == backend]
    return {step["step"]: step["state"] for step in one["steps"]}


def step(found: Any, name: str) -> Any:
    (backend,) = found["backends"]
    (one,) = [step for step in backend["steps"] if step["step"] == name]
    return one


@pytest.fixture
def ollama(monkeypatch: pytest.MonkeyPatch) -> Iterator[OllamaServer]:
    with OllamaServer(["granite4:micro", "tiny"]) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.base_url)
        yield server


@pytest.fixture
def openai(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-good")
        yield server


# ------------------------------------------------------------------------ which backend is meant


def test_without_a_name_it_is_the_runtimes_backend(
    check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (found,) = check()["backends"]
    assert found["backend"] == "ollama"
    monkeypatch.setenv("MELLEA_BACKEND", "ngram")
    monkeypatch.setenv("MELLEA_MODEL_ID", "primer-3")
    (found,) = check()["backends"]
    assert (found["backend"], found["model_id"], found["base_url"]) == ("ngram", "primer-3", None)
    assert "MELLEA_MODEL_ID" in found["steps"][1]["message"]


def test_the_environments_model_and_options_are_those_of_its_backend_alone(
    check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELLEA_MODEL_ID", "primer-3")
    monkeypatch.setenv("MELLEA_BACKEND", "ngram")
    monkeypatch.setenv("MELLEA_MODEL_OPTIONS", '{"temperature": 9}')
    found = check("ollama", "ngram")
    assert [row["model_id"] for row in found["backends"]] == ["granite4:micro", "primer-3"]
    assert steps(found, "ollama")["options"] == "ok"
    assert steps(found, "ngram")["options"] == "failed"


def test_what_is_given_wins(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MELLEA_MODEL_ID", "other")
    (found,) = check("ollama", "--model", "tiny", "--base-url", "http://u:p@127.0.0.1:1")[
        "backends"
    ]
    assert found["model_id"] == "tiny"
    assert found["base_url"] == "http://[secret]@127.0.0.1:1"


def test_all_is_all_that_are_installed_and_what_is_not_set_up_counts(
    invoke: Any, check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELLEA_API_PLUGINS", "ngram,ollama,openai")
    mellea_api.refresh()
    found = check("--all")
    assert [row["backend"] for row in found["backends"]] == ["ngram", "ollama", "openai"]
    assert [row["exit_code"] for row in found["backends"]] == [0, 0, 4]
    assert found["exit_code"] == 4
    with refused() as nobody:
        monkeypatch.setenv("OLLAMA_HOST", nobody.base_url)
        found = check("--all", "--probe")
    assert [row["exit_code"] for row in found["backends"]] == [0, 3, 4]
    assert found["exit_code"] == 4  # a server may come back, a key does not
    monkeypatch.setenv("MELLEA_API_DISABLE", "openai")
    mellea_api.refresh()
    assert check("--all")["exit_code"] == 0
    monkeypatch.setenv("MELLEA_API_DISABLE", "ngram,ollama,openai")
    mellea_api.refresh()
    result = invoke("check", "--all")
    assert result.exit_code == 1
    assert "No backend is installed" in result.stderr


@pytest.mark.parametrize(
    "line",
    [
        "--all ollama",
        "--all --model tiny",
        "ollama openai --base-url http://127.0.0.1:1",
        "--timeout 0",
        "--timeout x",
        "--timeout nan",
        "--timeout inf",
        "--timeout 1e10",
    ],
)
def test_wrong_usage_is_told_apart(invoke: Any, line: str) -> None:
    assert invoke("check", *line.split()).exit_code == 2


# ------------------------------------------------------------------------------- without a probe


def test_a_backend_that_is_set_up_is_ready_and_nobody_is_asked(check: Any, ollama: Any) -> None:
    found = check("ollama")
    assert steps(found) == dict.fromkeys(STEPS, "ok")
    assert found["probed"] is False
    assert ollama.requests == []


def test_a_missing_key_is_told_with_where_it_belongs(invoke: Any, check: Any) -> None:
    found = check("openai")
    assert found["exit_code"] == 4
    assert step(found, "credentials")["error"] == "CredentialError"
    result = invoke("check", "openai")
    assert "OPENAI_API_KEY" in result.stderr


def test_bad_options_do_not_hide_what_else_is_wrong(
    check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELLEA_BACKEND", "openai")
    monkeypatch.setenv("MELLEA_MODEL_OPTIONS", '{"temprature": 0.5}')
    found = check()
    assert found["exit_code"] == 1  # and not 4: what needs a person more
    assert steps(found)["credentials"] == "failed"
    assert "did you mean `temperature`?" in step(found, "options")["message"].replace("'", "`")
    assert "MELLEA_MODEL_OPTIONS" in step(found, "options")["message"]


def test_options_that_will_not_be_sent_are_a_warning_or_where_told_a_failure(
    check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELLEA_BACKEND", "ngram")
    monkeypatch.setenv("MELLEA_MODEL_OPTIONS", '{"thinking": true, "temperature": 0}')
    found = check()
    assert found["ready"]
    assert step(found, "options")["state"] == "warning"
    assert "thinking" in step(found, "options")["message"]
    monkeypatch.setenv("MELLEA_API_UNSUPPORTED", "error")
    assert steps(check())["options"] == "failed"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MELLEA_MODEL_OPTIONS", "{"),
        ("MELLEA_RUN_ID", "a\nb"),
        ("MELLEA_API_UNSUPPORTED", "maybe"),
        ("OLLAMA_HOST", "ftp://nowhere"),
        ("MELLEA_BACKEND", "olama"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named(
    check: Any, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    found = check()
    assert found["exit_code"] == 1
    (backend,) = found["backends"]
    failed = [step for step in backend["steps"] if step["state"] == "failed"]
    assert failed
    assert all(variable in step["message"] for step in failed)


@pytest.mark.parametrize(
    "source", ["raise RuntimeError('oops')", "import sys; sys.exit(7)", "def :", "import nothing_"]
)
def test_a_broken_plugin_is_a_failure_with_its_reason(
    invoke: Any, check: Any, install: Any, source: str
) -> None:
    install("bad", f"print('noise')\n{source}")
    found = check("bad", "ngram")
    assert found["exit_code"] == 1
    assert steps(found, "bad") == {"plugin": "failed"}
    assert steps(found, "ngram")["credentials"] == "ok"
    assert "Traceback" not in invoke("check", "bad").output


def test_names_in_conflict_and_names_of_nobody_fail(check: Any, install: Any) -> None:
    install("fake", GOOD, distribution="dist-one")
    install("fake", GOOD, distribution="dist-two")
    assert step(check("fake"), "plugin")["error"] == "PluginError"
    assert step(check("watson"), "plugin")["error"] == "BackendNotFoundError"
    assert "fake" in [row["backend"] for row in check("--all")["backends"]]


# ---------------------------------------------------------------------------------- with a probe


def test_a_server_that_has_the_model_is_ready(check: Any, ollama: Any, openai: Any) -> None:
    found = check("ollama", "openai", "--probe")
    assert found["probed"] is True
    assert steps(found, "ollama") == dict.fromkeys([*STEPS, "server", "model"], "ok")
    assert steps(found, "openai") == dict.fromkeys([*STEPS, "server", "model"], "ok")
    paid = ("/api/chat", "/api/generate", "/api/pull", "/chat/completions")
    assert not [r.path for r in (*ollama.requests, *openai.requests) if r.path.endswith(paid)]


@pytest.mark.usefixtures("ollama")
def test_a_tag_may_be_left_out_as_ollama_does(check: Any) -> None:
    assert check("ollama", "--probe", "--model", "tiny")["ready"]


@pytest.mark.usefixtures("ollama", "openai")
def test_a_model_that_is_not_there_is_told_with_what_is(check: Any) -> None:
    found = check("ollama", "--probe", "--model", "granite4:mikro")
    assert found["exit_code"] == 1
    model = step(found, "model")
    assert model["error"] == "ModelNotFoundError"
    assert "granite4:micro" in model["message"]
    assert "ollama pull granite4:mikro" in model["next_step"]
    assert step(check("openai", "--probe", "--model", "gpt-0"), "model")["state"] == "failed"


def test_a_server_of_one_model_may_answer_to_any_name(
    check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with OpenAIServer(api_key=None, strict=False) as one:
        one.models[:] = ["tiny"]
        monkeypatch.setenv("OPENAI_BASE_URL", one.base_url)
        found = check("openai", "--probe", "--model", "other")
    assert found["ready"]
    assert step(found, "model")["state"] == "warning"


@pytest.mark.usefixtures("openai")
def test_a_rejected_key_is_a_failure_of_the_credentials(
    check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    assert check("openai")["ready"]  # nobody was asked
    found = check("openai", "--probe")
    assert found["exit_code"] == 4
    assert {row["state"] for row in found["backends"][0]["steps"] if row["error"]} == {"failed"}
    failed = {row["step"] for row in found["backends"][0]["steps"] if row["error"]}
    assert failed == {"credentials"}


@pytest.mark.parametrize("backend", ["ollama", "openai"])
def test_a_dead_port_is_a_server_that_cannot_be_reached(
    check: Any, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    with refused() as nobody:
        found = check(backend, "--probe", "--base-url", nobody.base_url)
    assert found["exit_code"] == 3
    assert nobody_failed_but(found, "server")
    told = step(found, "credentials")["message"]
    assert ("api_key from environment variable OPENAI_API_KEY" in told) == (backend == "openai")


def nobody_failed_but(found: Any, name: str) -> bool:
    return [key for key, state in steps(found).items() if state == "failed"] == [name]


@pytest.mark.parametrize("backend", ["ollama", "openai"])
@pytest.mark.parametrize(
    ("status", "code", "states"),
    [
        (403, 4, {"credentials": "failed"}),
        (404, 0, {"credentials": "warning", "server": "ok", "model": "skipped"}),
        (429, 3, {"credentials": "warning", "server": "failed"}),
        (503, 3, {"credentials": "skipped", "server": "failed"}),
    ],
)
def test_what_a_server_answers_decides(
    check: Any, backend: str, status: int, code: int, states: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("OLLAMA_API_KEY", SECRET)
    with faults.status(status, {"error": "not this"}) as server:
        found = check(backend, "--probe", "--base-url", server.base_url)
    assert found["exit_code"] == code
    assert {name: state for name, state in steps(found).items() if name in states} == states


def test_a_key_that_may_not_list_may_be_good_for_the_rest(check: Any, install: Any) -> None:
    install("fake", GOOD + LISTS.format("raise PermissionDeniedError('Not you.', next_step='')"))
    found = check("fake", "--probe")
    assert found["ready"]
    assert step(found, "model")["state"] == "skipped"
    install("fair", GOOD + LISTS.format("raise CredentialError('Who are you?', next_step='')"))
    assert check("fair", "--probe")["exit_code"] == 4


LISTS = """
from mellea_api import CredentialError, PermissionDeniedError

@hookimpl
def list_models(request):
    {}
"""


def test_a_model_that_is_missed_while_a_key_is_tried_is_a_failure(check: Any, install: Any) -> None:
    """As on a hub, which opens models one by one and has no list of all."""
    says = "raise ModelNotFoundError('It has no such model.', next_step='Look for it.')"
    install("hub", f"{GOOD}from mellea_api import ModelNotFoundError\n\n{PROBES.format(says)}")
    found = check("hub", "--probe")
    assert found["exit_code"] == 1
    assert step(found, "model")["error"] == "ModelNotFoundError"
    assert step(found, "credentials")["state"] == "skipped"
    assert check("hub")["ready"]


PROBES = """
@hookimpl
def validate_credentials(request):
    if request.probe:
        {}
"""


def test_a_catalogue_says_nothing_of_what_is_there(check: Any) -> None:
    found = check("ngram", "--probe", "--model", "nothing-of-the-kind")
    assert steps(found)["model"] == "skipped"
    assert "server" not in steps(found)


@pytest.mark.parametrize("fault", ["html", "invalid_json", "other_shape_json"])
def test_what_is_no_such_server_is_a_failure(check: Any, fault: str) -> None:
    with getattr(faults, fault)() as server:
        found = check("ollama", "--probe", "--base-url", server.base_url)
    assert found["exit_code"] in (1, 3)
    assert not found["ready"]


@pytest.mark.usefixtures("ollama", "openai")
def test_a_backend_that_never_answers_holds_up_nobody(check: Any) -> None:
    with black_hole() as nobody:
        found = check("ollama", "--base-url", nobody.base_url, "--probe", "--timeout", "3")
    assert found["exit_code"] == 3
    assert steps(found)["credentials"] == "skipped"  # nothing is wrong with them
    assert step(found, "server")["error"] == "RequestTimeoutError"


HANGING = """
@hookimpl
def validate_credentials(request):
    import time
    if request.probe:
        time.sleep(60)
"""


@pytest.mark.usefixtures("ollama")
def test_a_plugin_that_hangs_is_late_and_the_others_are_there(check: Any, install: Any) -> None:
    install("stuck", GOOD + HANGING)
    assert check("ollama", "--probe")["ready"]  # its SDK is imported now, however long that took
    found = check("stuck", "ollama", "--probe", "--timeout", "3")
    assert found["exit_code"] == 3
    (stuck, _) = found["backends"]
    assert [step["state"] for step in stuck["steps"]] == ["ok", "ok", "ok", "failed"]
    assert stuck["steps"][-1]["error"] == "RequestTimeoutError"
    assert steps(found, "ollama")["model"] == "ok"


def test_a_plugin_that_hangs_while_it_is_imported_is_late_too(check: Any, install: Any) -> None:
    install("asleep", "import time; time.sleep(60)")
    found = check("asleep", "--timeout", "0.5")
    assert found["exit_code"] == 1
    assert step(found, "plugin")["error"] == "PluginError"


@pytest.mark.parametrize(
    "body",
    [
        "raise KeyboardInterrupt",
        "return 7",
        "return request",
    ],
)
def test_whatever_a_plugin_does_there_is_a_report(check: Any, install: Any, body: str) -> None:
    install("odd", GOOD + f"\n@hookimpl\ndef validate_credentials(request):\n    {body}\n")
    found = check("odd", "--probe")
    assert found["exit_code"] == 1
    assert step(found, "credentials")["state"] == "failed"
    assert "\n" not in step(found, "credentials")["message"]


@pytest.mark.parametrize("raised", ["ValueError('a\\nb')", "SystemExit(9)"])
def test_a_plugin_that_fails_to_ask_is_a_warning_in_one_line(
    check: Any, install: Any, raised: str
) -> None:
    install("odd", GOOD + f"\n@hookimpl\ndef validate_credentials(request):\n    raise {raised}\n")
    found = check("odd", "--probe")
    assert step(found, "credentials")["state"] == "warning"
    assert "\n" not in step(found, "credentials")["message"]


@pytest.mark.usefixtures("openai")
def test_where_a_credential_comes_from_is_told_and_what_it_shadows(
    check: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text(f"{SECRET}\n")
    monkeypatch.setenv("OPENAI_API_KEY_FILE", str(tmp_path / "key"))
    found = check("openai")
    assert "from environment variable OPENAI_API_KEY" in step(found, "credentials")["message"]
    (field,) = [one for one in found["backends"][0]["credentials"]["fields"] if one["source"]]
    assert [one for one in field["shadowed"] if "OPENAI_API_KEY_FILE" in one]
    monkeypatch.delenv("OPENAI_API_KEY")
    assert check("openai", "--probe")["exit_code"] == 4


def test_a_malformed_key_is_a_failure_without_asking(
    check: Any, openai: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f"'{SECRET}'")
    found = check("openai", "--probe")
    assert found["exit_code"] == 4
    assert found["backends"][0]["credentials"]["status"] == "malformed"
    assert openai.requests == []


@pytest.mark.parametrize(
    ("hook", "variable"),
    [
        ("describe_backend(name)", "FAKE_API_KEY"),  # by its name; nothing else is known by then
        ("validate_credentials(request)", "FAKE_API_KEY"),
        ("validate_credentials(request)", "FAKE_CODE"),
        ("list_models(request)", "FAKE_CODE"),
        ("normalize_options(request)", "FAKE_CODE"),
    ],
)
def test_no_secret_is_shown_whoever_says_it(
    check: Any, invoke: Any, install: Any, hook: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    says = f"\n@hookimpl\ndef {hook}:\n    import os\n    raise OSError('key ' + os.environ[{variable!r}])\n"
    install("talks", GOOD.replace("FAKE_API_KEY", variable) + says)
    monkeypatch.setenv(variable, SECRET)
    monkeypatch.setenv("MELLEA_BACKEND", "talks")
    monkeypatch.setenv("MELLEA_MODEL_OPTIONS", '{"seed": 1}')
    assert "key [secret]" in str(check("--probe"))
    assert SECRET not in invoke("check", "--probe").output


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


# -------------------------------------------------------------------------------- as a function


def test_the_function_takes_a_registry_of_its_own() -> None:
    empty = mellea_api.Registry.discover(entry_points=[], environ={})
    found = check_readiness(["a", "b", "a"], registry=empty)
    assert [row.backend for row in found.backends] == ["a", "b"]
    assert not found.ready
    assert not check_readiness([], registry=empty).ready


def test_the_schema_is_one_and_refuses_what_is_not_in_it() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"ready": True}, schema())
