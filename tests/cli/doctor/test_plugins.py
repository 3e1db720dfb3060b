"""What `doctor` says of the plugins and extensions that are installed."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from support.fake_plugins import GOOD
from support.reports import row

import mellea_api
import mellea_api.plugin

EXTENSIONS = "mellea_api.extensions"
POLICY = """
from mellea_api.plugin import hookimpl

@hookimpl
def review_options(request):
    return None
"""


# ------------------------------------------------------------------------------- what is well


def test_what_is_installed_is_told_with_versions_and_load_times(doctor: Any) -> None:
    found = doctor()
    assert found["exit_code"] == 0
    for name in ("ngram", "ollama", "openai"):
        plugin = row(found, "backends", name)
        assert plugin["distribution"] == f"mellea-api-{name}"
        assert plugin["version"] == mellea_api.__version__
        assert plugin["contract_version"] == 2
        assert plugin["state"] == "ok"
        assert plugin["load_ms"] > 0
    assert [one["name"] for one in found["software"][:3]] == ["python", "mellea-api", "mellea"]
    assert row(found, "software", "openai")["version"]
    assert found["variables"] == []


def test_the_table_says_how_many_problems_there_are(
    invoke: Any, only: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELLEA_BACKEND", "ngram")
    result = invoke("doctor")
    assert result.stdout.splitlines()[-1] == "0 failures, 0 warnings."
    monkeypatch.setenv("MELLEA_MODELID", "primer-3")
    monkeypatch.setenv("MELLEA_RUN_ID", "a\nb")
    result = invoke("doctor")
    assert result.stdout.splitlines()[-1] == "1 failure, 1 warning."
    assert "Did you mean MELLEA_MODEL_ID?" in result.stdout


def test_no_plugin_is_imported_into_the_process(doctor: Any, install: Any, only: Any) -> None:
    module = install("fake", GOOD)
    only("fake")
    assert row(doctor(), "backends", "fake")["state"] == "ok"
    assert module not in sys.modules


def test_an_alias_is_tried_by_its_own_name(
    doctor: Any, install: Any, only: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = install("fake", GOOD)
    written = tmp_path / "site/dist_fake-1.0.dist-info/entry_points.txt"
    written.write_text(f"[mellea_api.backends]\nfake = {module}\nfaux = {module}\n")
    only("fake", "faux")
    found = doctor()
    assert [row(found, "backends", name)["state"] for name in ("fake", "faux")] == ["ok", "ok"]
    monkeypatch.setenv("MELLEA_BACKEND", "faux")
    monkeypatch.setenv("MELLEA_MODEL_OPTIONS", '{"temprature": 1}')
    assert row(doctor(), "variables", "MELLEA_MODEL_OPTIONS")["state"] == "failed"


# ---------------------------------------------------------------------------- broken plugins


BROKEN = {
    "raise RuntimeError('oops')": "RuntimeError: oops",
    "import sys; sys.exit(7)": "SystemExit: 7",
    "def :": "SyntaxError",
    "x = 1": "it lacks the required hook describe_backend",
    "import os; os._exit(3)": "ended the process: exit code 3",
    "import os, signal; os.kill(os.getpid(), signal.SIGKILL)": "signal SIGKILL",
    "raise KeyboardInterrupt": "ended the process",
    f"{GOOD}\ndef list_model(request): ...\nlist_model = hookimpl(list_model)": "did you mean list_models",
    GOOD.replace("name=name", 'name="other"'): "calls itself 'other'",
    GOOD.replace("return BackendDescriptor(", "return dict("): "returned a dict",
}


def test_broken_plugins_are_told_each_with_its_reason_and_what_to_do(
    doctor: Any, install: Any, only: Any
) -> None:
    names = [f"bad{number}" for number in range(len(BROKEN))]
    for name, source in zip(names, BROKEN, strict=True):
        install(name, f"print('noise')\n{source}")
    only(*names, "ngram")
    found = doctor()
    for name, source in zip(names, BROKEN, strict=True):
        bad = row(found, "backends", name)
        assert bad["state"] == "failed"
        assert BROKEN[source] in bad["message"]
        assert f"dist-{name}" in bad["message"]
        assert bad["next_step"]
    assert row(found, "backends", "ngram")["state"] == "ok"


def test_a_plugin_of_another_contract_is_told_with_its_version(
    doctor: Any, install: Any, only: Any
) -> None:
    install("newer", GOOD.replace("name=name,", "name=name, contract_version=99,"))
    only("newer")
    newer = row(doctor(), "backends", "newer")
    assert newer["state"] == "failed"
    assert "99" in newer["message"]
    assert "upgrade mellea-api" in newer["message"]


def test_a_module_that_is_missing_is_told_with_what_brings_it(
    doctor: Any, install: Any, only: Any
) -> None:
    install("bad", "import a_module_that_is_nowhere")
    only("bad")
    bad = row(doctor(), "backends", "bad")
    assert "a_module_that_is_nowhere" in bad["message"]
    assert bad["next_step"] == (
        "Install it again, with what it needs: pip install --force-reinstall dist-bad"
    )


def test_a_module_of_its_own_that_is_missing_means_a_damaged_installation(
    doctor: Any, only: Any, install: Any, tmp_path: Path
) -> None:
    module = install("bad", GOOD)
    (tmp_path / f"site/{module}.py").unlink()
    only("bad")
    bad = row(doctor(), "backends", "bad")
    assert bad["next_step"].endswith("pip install --force-reinstall dist-bad")


def test_without_a_file_of_its_own_python_starts_no_process_and_says_so(
    doctor: Any, only: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for executable in (None, "/nowhere/python"):
        monkeypatch.setattr(sys, "executable", executable)
        ngram = row(doctor(), "backends", "ngram")
        assert ngram["state"] == "warning"
        assert "no process could be started" in ngram["message"]


def test_without_a_folder_for_the_answer_it_says_so(
    doctor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container whose file system is read-only."""
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    found = doctor()
    assert found["healthy"]
    assert "no process could be started" in row(found, "backends", "ngram")["message"]


def test_a_plugin_leaves_nothing_that_is_waited_for(doctor: Any, install: Any, only: Any) -> None:
    """Its threads go on, and so do the processes that it has started."""
    starts = "import subprocess, sys, threading, time\n"
    process = "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(20)'])\n"
    thread = "threading.Thread(target=time.sleep, args=[20]).start()\n"
    install("busy", starts + process + thread + GOOD)
    only("busy")
    assert row(doctor(), "backends", "busy")["state"] == "ok"


def test_a_plugin_is_looked_for_where_this_process_would(
    doctor: Any, install: Any, only: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On its path as it is now, and nowhere else: not in the folder that somebody is in."""
    install("fake", GOOD)
    only("fake")
    monkeypatch.delenv("PYTHONPATH")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "json.py").write_text("raise RuntimeError('not the library')")
    assert row(doctor(), "backends", "fake")["state"] == "ok"


def test_a_plugin_that_hangs_is_given_up(doctor: Any, install: Any, only: Any) -> None:
    install("asleep", "import time; time.sleep(100)")
    only("asleep")
    asleep = row(doctor("--timeout", "1"), "backends", "asleep")
    assert (asleep["state"], asleep["load_ms"]) == ("failed", None)
    assert "took more than 1 s" in asleep["message"]


def test_a_broken_extension_is_told_with_what_it_means(
    doctor: Any, install: Any, only: Any
) -> None:
    install("policy", POLICY, group=EXTENSIONS)
    good = row(doctor(), "extensions", "policy")
    assert (good["state"], good["contract_version"]) == ("ok", None)
    install("broken", "raise RuntimeError('oops')", group=EXTENSIONS)
    found = doctor()
    assert "No session starts" in row(found, "extensions", "broken")["message"]
    assert row(found, "extensions", "policy")["state"] == "ok"
