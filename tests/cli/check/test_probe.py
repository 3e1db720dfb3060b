"""What `check --probe` says of servers, keys, models, and of plugins that do not keep to the contract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support import faults
from support.fake_plugins import GOOD
from support.faults import black_hole, refused
from support.openai_server import OpenAIServer
from support.reports import SECRET, STEPS, step, steps


def test_a_server_that_has_the_model_is_ready(check: Any, ollama: Any, openai: Any) -> None:
    found = check("ollama", "openai", "--probe", "--timeout", "60")
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
    assert model["error"]["type"] == "ModelNotFoundError"
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
    failed = {row["name"] for row in found["backends"][0]["steps"] if row["error"]}
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
    assert step(found, "model")["error"]["type"] == "ModelNotFoundError"
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
    assert step(found, "server")["error"]["type"] == "RequestTimeoutError"


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
    assert stuck["steps"][-1]["error"]["type"] == "RequestTimeoutError"
    assert steps(found, "ollama")["model"] == "ok"


def test_a_plugin_that_hangs_while_it_is_imported_is_late_too(check: Any, install: Any) -> None:
    install("asleep", "import time; time.sleep(60)")
    found = check("asleep", "--timeout", "0.5")
    assert found["exit_code"] == 1
    assert step(found, "plugin")["error"]["type"] == "PluginError"


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
