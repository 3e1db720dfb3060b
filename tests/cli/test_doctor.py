"""`mellea-api doctor`."""

from __future__ import annotations

import json
import re
import sys
import tempfile
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fake_plugins import GOOD, backend, extension

import mellea_api
from mellea_api.diagnosis.software import OURS, TESTED_MELLEA, TESTED_PYTHON, software
from mellea_api.diagnosis.trial import Reads, Trouble
from mellea_api.diagnosis.variables import Variables, secrets_of, usable_settings
from mellea_api.environment import VARIABLES
from mellea_api.registry import Registry

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs/reference"
SECRET = "canary-0123456789-that-nobody-may-see"
OTHER_SECRET = "another-canary-of-which-only-the-plugin-knows"
EXTENSIONS = "mellea_api.extensions"
POLICY = """
from mellea_api import hookimpl

@hookimpl
def review_options(request):
    return None
"""


@cache
def schema() -> Any:
    return json.loads((REFERENCE / "doctor.schema.json").read_text("utf-8"))


@pytest.fixture
def doctor(invoke: Any) -> Any:
    """Runs `doctor --json`; returns what it prints, after holding it to the schema and its exit code."""

    def run(*arguments: str) -> Any:
        result = invoke("doctor", *arguments, "--json")
        found = json.loads(result.stdout)
        jsonschema.validate(found, schema())
        rows = [row for part in found.values() if isinstance(part, list) for row in part]
        wrong = any(row["state"] == "error" for row in rows)
        assert (result.exit_code, found["healthy"]) == (int(wrong), not wrong)
        assert result.exit_code == found["exit_code"]
        assert SECRET not in result.output
        assert result.stderr == ""
        return found

    return run


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Leaves on only these backends: the fewer are loaded, the sooner it is over."""

    def switch(*names: str) -> None:
        monkeypatch.setenv("MELLEA_API_PLUGINS", ",".join(names))

    switch("ngram")
    return switch


def row(found: Any, part: str, name: str) -> Any:
    (one,) = [row for row in found[part] if row["name"] == name]
    return one


def distribution(
    site: Path, name: str, version: str, *, entry_points: str = "", extra: str = ""
) -> None:
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (folder / "METADATA").write_text(f"{head}{extra}")
    (folder / "entry_points.txt").write_text(entry_points)


# ------------------------------------------------------------------------------- what is well


def test_what_is_installed_is_told_with_versions_and_load_times(doctor: Any) -> None:
    found = doctor()
    assert found["exit_code"] == 0
    for name in ("ngram", "ollama", "openai"):
        plugin = row(found, "backends", name)
        assert plugin["distribution"] == f"mellea-api-{name}"
        assert plugin["version"] == mellea_api.__version__
        assert plugin["contract_version"] == mellea_api.CONTRACT_VERSION
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
    assert result.stdout.splitlines()[-1] == "0 errors, 0 warnings."
    monkeypatch.setenv("MELLEA_MODELID", "primer-3")
    monkeypatch.setenv("MELLEA_RUN_ID", "a\nb")
    result = invoke("doctor")
    assert result.stdout.splitlines()[-1] == "1 error, 1 warning."
    assert "Did you mean MELLEA_MODEL_ID?" in result.stdout


def test_no_plugin_is_imported_into_the_process(doctor: Any, install: Any, only: Any) -> None:
    module = install("fake", GOOD)
    only("fake")
    assert row(doctor(), "backends", "fake")["state"] == "ok"
    assert module not in sys.modules


def test_an_alias_is_one_plugin_with_two_names(
    doctor: Any, install: Any, only: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = install("fake", GOOD.replace("name=name", 'name="fake"'))
    written = tmp_path / "site/dist_fake-1.0.dist-info/entry_points.txt"
    written.write_text(f"[mellea_api.backends]\nfake = {module}\nfaux = {module}\n")
    only("fake", "faux")
    found = row(doctor(), "backends", "fake")
    assert (found["aliases"], found["state"]) == (["faux"], "ok")
    monkeypatch.setenv("MELLEA_BACKEND", "faux")
    monkeypatch.setenv("MELLEA_MODEL_OPTIONS", '{"temprature": 1}')
    assert row(doctor(), "variables", "MELLEA_MODEL_OPTIONS")["state"] == "error"


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
        assert bad["state"] == "error"
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
    assert (newer["state"], newer["contract_version"]) == ("error", 99)
    assert "upgrade mellea-api" in newer["message"]


def test_a_module_that_is_missing_is_told_with_what_brings_it(
    doctor: Any, install: Any, only: Any
) -> None:
    install("bad", "import a_module_that_is_nowhere")
    only("bad")
    bad = row(doctor(), "backends", "bad")
    assert "a_module_that_is_nowhere" in bad["message"]
    assert bad["next_step"] == "Install it with what it needs: pip install --upgrade dist-bad"


def test_a_module_of_its_own_that_is_missing_means_a_damaged_installation(
    doctor: Any, only: Any, install: Any, tmp_path: Path
) -> None:
    module = install("bad", GOOD)
    (tmp_path / f"site/{module}.py").unlink()
    only("bad")
    bad = row(doctor(), "backends", "bad")
    assert bad["next_step"] == "Install it anew: pip install --force-reinstall dist-bad"


def test_without_a_file_of_its_own_python_starts_no_process_and_says_so(
    doctor: Any, only: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for executable in (None, "/nowhere/python"):
        monkeypatch.setattr(sys, "executable", executable)
        ngram = row(doctor(), "backends", "ngram")
        assert ngram["state"] == "warning"
        assert "No process could be started" in ngram["message"]


def test_without_a_folder_for_the_answer_it_says_so(
    doctor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container whose file system is read-only."""
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    found = doctor()
    assert found["healthy"]
    assert "No process could be started" in row(found, "backends", "ngram")["message"]


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
    assert (asleep["state"], asleep["load_ms"]) == ("error", None)
    assert "took more than 1 s" in asleep["message"]


def test_a_plugin_that_imports_its_sdk_at_once_is_a_warning(
    doctor: Any, install: Any, only: Any
) -> None:
    install("heavy", f"import ollama\n{GOOD}")
    only("heavy")
    found = doctor()
    assert found["healthy"]
    assert row(found, "backends", "heavy")["state"] == "warning"
    assert "imports ollama" in row(found, "backends", "heavy")["message"]


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


# --------------------------------------------------------------------- conflicts and settings


def test_two_distributions_with_one_name_are_an_error_until_one_is_preferred(
    doctor: Any, install: Any, only: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("fake", GOOD, distribution="dist-one")
    install("fake", GOOD, distribution="dist-two")
    only("fake")
    fake = row(doctor(), "backends", "fake")
    assert (fake["state"], fake["distribution"]) == ("error", "dist-one and dist-two")
    assert "MELLEA_API_PREFER=fake=dist-one" in fake["message"]
    monkeypatch.setenv("MELLEA_API_PREFER", "fake=dist-two")
    found = doctor()
    assert row(found, "backends", "fake")["state"] == "ok"
    assert row(found, "backends", "fake")["distribution"] == "dist-two"
    assert row(found, "variables", "MELLEA_API_PREFER")["state"] == "ok"
    monkeypatch.setenv("MELLEA_API_PREFER", "fake=dist-three")
    assert row(doctor(), "backends", "fake")["state"] == "error"


@pytest.mark.parametrize(
    ("variable", "value", "state", "part"),
    [
        ("MELLEA_API_PREFER", "one=dist-one", "warning", "nothing to prefer"),
        ("MELLEA_API_PREFER", "oone=x", "warning", "did you mean one?"),
        ("MELLEA_API_PREFER", "nonsense", "error", "name=distribution"),
        ("MELLEA_API_PREFER", "two=dist-one", "ok", "used"),
        ("MELLEA_API_DISABLE", "watson", "warning", "'watson'"),
        ("MELLEA_API_DISABLE", "policy", "ok", "used"),
        ("MELLEA_API_PLUGINS", "one,policy", "warning", "'policy'"),
        ("MELLEA_API_UNSUPPORTED", "never", "error", "MELLEA_API_UNSUPPORTED='never'"),
        ("MELLEA_API_UNSUPPORTED", "error", "ok", "used"),
        ("MELLEA_API_MODELS_LIFETIME", "an hour", "error", "MELLEA_API_MODELS_LIFETIME"),
        ("MELLEA_API_MODELS_LIFETIME", "60", "ok", "used"),
        ("MELLEA_BACKEND", "oone", "error", "no backend 'oone'"),
        ("MELLEA_BACKEND", "watsonx", "error", "not installed"),
        ("MELLEA_BACKEND", "two", "error", "both bring it"),
        ("MELLEA_BACKEND", "one", "ok", "used"),
        ("MELLEA_RUN_ID", "x" * 201, "error", "MELLEA_RUN_ID"),
        ("MELLEA_MODEL_OPTIONS", "{", "error", "not JSON"),
        ("MELLEA_MODEL_ID", " ", "ok", "empty"),
        ("FAKE_API_KEY", "x", "ok", "api_key of fake"),
        ("FAKE_API_KEY", "", "ok", "empty"),
    ],
)
def test_a_variable_is_told_with_what_becomes_of_it(
    variable: str, value: str, state: str, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    entry_points = [
        backend("one", "m", "dist-one"),
        backend("two", "m", "dist-one"),
        backend("two", "n", "dist-two"),
        extension("policy", "p"),
    ]
    environ = {
        variable: value,
        **({} if variable == "MELLEA_BACKEND" else {"MELLEA_BACKEND": "one"}),
    }
    registry = Registry(entry_points, usable_settings(environ))
    findings = Variables(environ, registry, entry_points, {"fake": READS}, []).findings()
    (found,) = [found for found in findings if found.name == variable]
    assert found.state == state
    assert part in found.message


def test_what_a_backend_cannot_take_is_told_by_its_variable(
    doctor: Any, only: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    only("ngram", "ollama", "openai")
    monkeypatch.setenv("MELLEA_BACKEND", "openai")
    monkeypatch.setenv("MELLEA_MODEL_OPTIONS", '{"temprature": 1}')
    monkeypatch.setenv("OLLAMA_HOST", "ftp://nowhere")
    monkeypatch.setenv("OPENAI_PROJECT", "one")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "two")
    monkeypatch.setenv("OPENAI_API_KEY", f"'{SECRET}'")
    monkeypatch.setenv("OPENAI_API_KEY_FILE", "nowhere")
    found = doctor()
    assert "temperature" in row(found, "variables", "MELLEA_MODEL_OPTIONS")["message"]
    assert row(found, "variables", "MELLEA_MODEL_OPTIONS")["state"] == "error"
    assert "ftp is not http" in row(found, "variables", "OLLAMA_HOST")["message"]
    assert row(found, "variables", "OLLAMA_HOST")["state"] == "error"
    counted = row(found, "variables", "OPENAI_PROJECT_ID")
    assert "OPENAI_PROJECT counts instead" in counted["message"]
    quoted = row(found, "variables", "OPENAI_API_KEY")
    assert quoted["state"] == "error"
    assert "api_key of openai cannot be used" in quoted["message"]
    file = row(found, "variables", "OPENAI_API_KEY_FILE")
    assert file["message"] == "api_key of openai, where OPENAI_API_KEY counts instead."


def test_variables_that_nobody_reads_are_told_with_what_was_meant(
    doctor: Any, only: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    only("openai")
    meant = {
        "MELLEA_MODELID": "MELLEA_MODEL_ID",
        "MELLEA_MODEL_OPTION": "MELLEA_MODEL_OPTIONS",
        "mellea_backend": "MELLEA_BACKEND",
        "MELLEA_API_DISABLED": "MELLEA_API_DISABLE",
        "OPENAI_APIKEY": "OPENAI_API_KEY",
        "OPENAI_BASEURL": "OPENAI_BASE_URL",
    }
    for name in meant:
        monkeypatch.setenv(name, SECRET)
    for other in ("ANTHROPIC_API_KEY", "GITHUB_TOKEN", "OPENAI_LOG"):
        monkeypatch.setenv(other, SECRET)
    found = {row["name"]: row for row in doctor()["variables"]}
    for name, known in meant.items():
        assert found[name]["state"] == "warning"
        assert found[name]["next_step"] == f"Did you mean {known}?"
    assert not {"ANTHROPIC_API_KEY", "GITHUB_TOKEN", "OPENAI_LOG"} & set(found)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)  # so the other one is in reserve
    assert "OPENAI_APIKEY" not in str(doctor())


def test_what_mellea_reads_is_no_mistake(
    doctor: Any, only: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mellea

    (source,) = mellea.__path__
    names = {
        name
        for path in Path(source).rglob("*.py")
        for name in re.findall(r"\bMELLEA_\w*LOGS?_\w+", path.read_text("utf-8"))
    }
    if not names:
        pytest.skip("this Mellea reads no variable about its logs")
    for name in names:
        monkeypatch.setenv(name, "INFO")
    monkeypatch.setenv("MELLEA_BACKEND", "ngram")
    for found in doctor()["variables"]:
        assert found["state"] == "ok"


def test_a_default_backend_that_is_not_there_is_a_warning(doctor: Any, only: Any) -> None:
    found = doctor()
    assert row(found, "variables", "MELLEA_BACKEND")["state"] == "warning"
    assert found["healthy"]


def test_what_is_switched_off_is_told_and_not_loaded(doctor: Any, only: Any) -> None:
    ollama = row(doctor(), "backends", "ollama")
    assert (ollama["state"], ollama["load_ms"]) == ("off", None)
    assert "MELLEA_API_PLUGINS" in ollama["message"]


# --------------------------------------------------------------------------- what is installed


def test_damaged_metadata_are_told_and_hide_nothing(
    doctor: Any, install: Any, only: Any, tmp_path: Path
) -> None:
    install("fake", GOOD)
    only("fake")
    site = tmp_path / "site"
    distribution(
        site, "mellea-api-damaged", "1.0", entry_points="[mellea_api.backends]\nno pair at all\n"
    )
    distribution(site, "somebody-elses", "1.0", entry_points="[a]\nno pair at all\n")
    (site / "nameless-1.0.dist-info").mkdir()
    found = doctor()
    assert row(found, "software", "mellea-api-damaged")["state"] == "error"
    assert row(found, "software", "somebody-elses")["state"] == "warning"
    assert any("nameless-1.0" in row["message"] for row in found["software"])
    assert row(found, "backends", "fake")["state"] == "ok"


def test_what_a_plugin_asks_for_and_does_not_get_is_an_error(
    doctor: Any, install: Any, only: Any, tmp_path: Path
) -> None:
    install("fake", GOOD)
    only("fake")
    written = tmp_path / "site/dist_fake-1.0.dist-info/METADATA"
    asked = (
        "mellea-api<0.0.1",
        "nowhere-to-be-had>=2; python_version > '3'",
        "not-asked-for; extra == 'more'",
        "pluggy[nonsense]>=1",
        "still-in-the-making>=1",
        "odd-version>=1",
        "openai>=1; python_version < '3'",
        "(((",
    )
    written.write_text(written.read_text() + "".join(f"Requires-Dist: {one}\n" for one in asked))
    distribution(tmp_path / "site", "still-in-the-making", "2.0rc1")
    distribution(tmp_path / "site", "odd-version", "unknown")
    found = doctor()
    assert row(found, "software", "still-in-the-making")["state"] == "ok"
    assert "unknown is installed" in row(found, "software", "odd-version")["message"]
    missing = row(found, "software", "nowhere-to-be-had")
    assert (missing["state"], missing["version"]) == ("error", "")
    assert "dist-fake asks for nowhere-to-be-had>=2, and it is not installed" in missing["message"]
    wrong = [one for one in found["software"] if one["name"] == "mellea-api"]
    assert [one["state"] for one in wrong] == ["ok", "error"]
    assert "not-asked-for" not in {one["name"] for one in found["software"]}


def test_an_sdk_that_an_extra_brings_is_missed_too(
    doctor: Any, install: Any, only: Any, tmp_path: Path
) -> None:
    install("fake", GOOD)
    only("fake")
    site = tmp_path / "site"
    distribution(
        site,
        "a-framework",
        "1.0",
        extra="Provides-Extra: sdk\nRequires-Dist: the-sdk>=1; extra == 'sdk'\nRequires-Dist: never-mind\n",
    )
    written = site / "dist_fake-1.0.dist-info/METADATA"
    written.write_text(written.read_text() + "Requires-Dist: a-framework[sdk]\n")
    found = doctor()
    assert "a-framework asks for" not in str(found)
    assert row(found, "software", "the-sdk")["state"] == "error"
    assert "never-mind" not in str(found)


@pytest.mark.parametrize(
    ("version", "state"),
    [
        ("0.2.9", "error"),
        ("0.3.0", "ok"),
        ("0.5.1", "ok"),
        ("99.0", "warning"),
        ("unknown", "warning"),
    ],
)
def test_mellea_is_held_to_the_versions_that_are_tested(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, state: str
) -> None:
    installed = metadata.version("mellea")
    distribution(tmp_path, "mellea", version)
    monkeypatch.syspath_prepend(tmp_path)
    found = [one for one in software([]) if one.name == "mellea"]
    assert (found[0].version, found[0].state) == (version, state)
    assert ("more than once" in found[-1].message) == (version != installed)


def test_a_plugin_of_this_project_has_the_cores_version(
    doctor: Any, install: Any, only: Any
) -> None:
    install("fake", GOOD, distribution="mellea-api-watsonx")
    only("fake")
    fake = row(doctor(), "backends", "fake")
    assert fake["state"] == "warning"
    assert mellea_api.__version__ in fake["message"]


def test_where_nothing_is_installed_that_is_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from mellea_api.diagnosis import doctor

    monkeypatch.setattr(doctor, "installed_entry_points", list)
    found = doctor.diagnose()
    assert not found.healthy
    assert [row.name for row in found.software if row.state == "error"] == ["backends"]


# ------------------------------------------------------------------------------------ secrets


def test_no_secret_is_shown_whoever_says_it(
    doctor: Any, invoke: Any, install: Any, only: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("bad", f"import os\nraise RuntimeError('key ' + os.environ['FAKE_API_KEY'])\n{GOOD}")
    install("good", GOOD.replace("FAKE_API_KEY", "GOOD_CODE"))
    install("talks", "import os\nraise RuntimeError(os.environ['GOOD_CODE'])")
    only("bad", "good", "talks", "ollama", "openai")
    for name in ("FAKE_API_KEY", "OPENAI_API_KEY", "OPENAI_APIKEY"):
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv("GOOD_CODE", OTHER_SECRET)  # a secret because the plugin says so
    monkeypatch.setenv("OLLAMA_HOST", f"ftp://me:{SECRET}@nowhere")
    monkeypatch.setenv("MELLEA_MODEL_OPTIONS", f'{{"api_key": "{SECRET}"}}')
    found = doctor()
    assert "[secret]" in row(found, "backends", "bad")["message"]
    assert "[secret]" in row(found, "backends", "talks")["message"]
    assert row(found, "variables", "OLLAMA_HOST")["state"] == "error"
    result = invoke("doctor")
    assert result.exit_code == 1
    assert SECRET not in result.output
    assert OTHER_SECRET not in result.output + json.dumps(found)


# -------------------------------------------------------------------------- names of variables

READS = [Reads(name="FAKE_API_KEY", what="api_key", secret=True)]


def told(environ: dict[str, str], *troubles: Trouble) -> dict[str, str]:
    registry = Registry.discover(entry_points=[], environ={})
    found = Variables(environ, registry, [], {"fake": READS}, troubles).findings()
    return {row.name: row.next_step for row in found}


@given(st.sampled_from([*VARIABLES, "FAKE_API_KEY"]), st.data())
def test_an_underscore_too_many_or_too_few_is_seen_through(name: str, data: Any) -> None:
    positions = [at for at, letter in enumerate(name) if letter == "_"]
    at = data.draw(st.sampled_from(positions))
    for wrong in (name[:at] + name[at + 1 :], name[:at] + "_" + name[at:], name.lower()):
        assert told({wrong: "x"})[wrong] == f"Did you mean {name}?"


@given(
    st.dictionaries(st.text("ABCDEFGH_", min_size=1, max_size=12), st.text(max_size=20), max_size=5)
)
def test_variables_of_others_are_none_of_its_business(environ: dict[str, str]) -> None:
    assert told(environ) == {}


@pytest.mark.parametrize(
    "name", ["A_KEY", "APIKEY", "x_token", "DB_PASSWORD", "MYSQL_PWD", "MY_AUTH", "SECRETS"]
)
def test_what_may_be_a_secret_is_taken_for_one(name: str) -> None:
    assert [secret.reveal() for secret in secrets_of({name: SECRET, "LANG": "en_US.UTF-8"})] == [
        SECRET
    ]


@pytest.mark.parametrize(
    "name",
    ["PWD", "OLDPWD", "SSH_AUTH_SOCK", "HF_TOKEN_PATH", "A_KEY_FILE", "CREDENTIALS_DIRECTORY"],
)
def test_what_names_a_place_is_not(name: str) -> None:
    assert secrets_of({name: "/there/project"}) == []
    assert secrets_of({name: SECRET}, known=[name])


# --------------------------------------------------------------------- what it takes for known


def test_the_list_of_variables_is_that_of_the_code_and_of_the_reference() -> None:
    source = ROOT / "core/src/mellea_api"
    named = {
        name
        for path in source.rglob("*.py")
        if "diagnosis" not in path.parts
        for name in re.findall(r"\bMELLEA_[A-Z_]+\b", path.read_text("utf-8"))
    }
    assert named == set(VARIABLES)
    documented = re.findall(
        r"^\| `(MELLEA_\w+)`", (REFERENCE / "environment.md").read_text("utf-8"), re.MULTILINE
    )
    assert set(documented) == set(VARIABLES)


def test_the_versions_that_are_tested_are_those_of_the_constraints() -> None:
    lines = [
        path.stem.removeprefix("mellea-") for path in (ROOT / "constraints").glob("mellea-*.txt")
    ]
    lines.sort(key=lambda line: [int(part) for part in line.split(".")])
    assert (lines[0], lines[-1]) == TESTED_MELLEA
    project = tomllib.loads((ROOT / "core/pyproject.toml").read_text("utf-8"))["project"]
    pythons = [
        tuple(map(int, found[1].split(".")))
        for line in project["classifiers"]
        if (found := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", line))
    ]
    assert (min(pythons), max(pythons)) == TESTED_PYTHON


def test_the_distributions_of_this_project_are_those_of_the_tree() -> None:
    names = {
        tomllib.loads(path.read_text("utf-8"))["project"]["name"]
        for folder in ("plugins", "examples")
        for path in (ROOT / folder).glob("*/pyproject.toml")
    }
    assert names == set(OURS)


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
