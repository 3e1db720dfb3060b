"""What importing, finding, listing and explaining costs: which modules are loaded, and which never."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.fake_plugins import GOOD
from support.installing import distribution

HEAVY = {
    "mellea": "seconds: it brings every SDK that is installed",
    "openai": "an SDK; a plugin imports it when a session starts",
    "ollama": "an SDK; a plugin imports it when a session starts",
    "torch": "seconds and gigabytes; only a model that runs here needs it",
    "transformers": "seconds; only a model that runs here needs it",
    "httpx": "40 ms; only what talks to a server needs it",
    "pydantic": "50 ms; Mellea's, and the SDKs'",
    "requests": "40 ms; only what talks to a server needs it",
    "hypothesis": "no dependency: only the tests of plugin authors have it",
    "rich": "30 ms; only a command that prints a table needs it",
    "click": "15 ms; only the command line needs it",
    "filelock": "nothing here needs it",
    "sqlite3": "nothing here needs it",
    "keyring": "80 ms, and a question to the desktop; only a key that is nowhere else needs it",
}
OURS = {
    "attrs": "20 ms; a program may import the library and never call it",
    "attr": "the same, under its older name",
    "pluggy": "10 ms; needed from the first plugin on",
    "importlib_metadata": "30 ms; needed when plugins are looked for",
    "importlib.metadata": "the same, of the standard library",
    "platformdirs": "5 ms; needed when models are listed",
    "inspect": "10 ms, and half of the standard library with it",
    "asyncio": "40 ms; needed by calls alone",
    "logging": "5 ms; needed when there is something to say",
    "json": "5 ms; needed by options",
    "re": "not in a bare interpreter either",
}


def loaded(program: str, *path: Path) -> set[str]:
    """Run a program in a new interpreter; return the modules that it loaded itself."""
    # Without site: .pth files of the environment import what they like.
    frame = (
        "import sys\n"
        f"sys.path[:0] = {[*map(str, path)]!r} + {[entry for entry in sys.path if entry]!r}\n"
        "before = set(sys.modules)\n"
        f"{program}\n"
        "found = sorted(set(sys.modules) - before)\n"
        "import json\n"
        "print(json.dumps(found))\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", frame],
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return set(found)


def unwanted(found: set[str], forbidden: dict[str, str]) -> dict[str, str]:
    return {name: reason for name, reason in forbidden.items() if name in found}


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A folder with an installed distribution whose plugin says when it is imported."""
    (tmp_path / "hygienic_plugin.py").write_text(GOOD)
    entry_points = "[mellea_api.backends]\nhygienic = hygienic_plugin\n"
    distribution(tmp_path, "hygienic-dist", "1.0", entry_points=entry_points)
    return tmp_path


def test_importing_loads_the_package_and_the_loader_of_its_names() -> None:
    found = loaded("import mellea_api")
    assert unwanted(found, {**HEAVY, **OURS}) == {}
    other = {name for name in found if name.partition(".")[0] not in sys.stdlib_module_names}
    assert other == {"mellea_api", "mellea_api._face"}


def test_errors_and_secrets_load_the_standard_library_only() -> None:
    """A program that catches `MelleaAPIError` pays for no more than that."""
    found = loaded("from mellea_api import MelleaAPIError, Secret, OptionError")
    names = {name.partition(".")[0] for name in found}
    assert names - sys.stdlib_module_names == {"mellea_api"}


def test_finding_imports_no_plugin(plugin: Path) -> None:
    found = loaded(
        "import mellea_api\n"
        "registry = mellea_api.Registry.discover()\n"
        "assert 'hygienic' in registry\n"
        "assert [r.entry_point.distribution for r in registry.backends() if r.name == 'hygienic']"
        " == ['hygienic-dist']\n",
        plugin,
    )
    assert "hygienic_plugin" not in found
    assert not {name for name in found if name.startswith("mellea_api_")}
    assert unwanted(found, HEAVY) == {}


@pytest.mark.parametrize(
    "use",
    [
        "mellea_api.explain_options('hygienic', {'max_new_tokens': 5, 'x': 1}, unknown='pass')",
        "mellea_api.list_all_models(freshness='offline')",
        "mellea_api.validate_credentials('hygienic', keyring=False)",
        "mellea_api.shared_registry().backend('hygienic').target('m')",
    ],
    ids=["explain", "list", "credentials", "target"],
)
def test_what_needs_no_server_imports_neither_mellea_nor_an_sdk(plugin: Path, use: str) -> None:
    found = loaded(f"import mellea_api\n{use}", plugin)
    assert "hygienic_plugin" in found
    assert unwanted(found, HEAVY) == {}


def test_a_session_request_pickles_and_comes_back_without_mellea(plugin: Path) -> None:
    found = loaded(
        "import pickle, mellea_api\n"
        "from mellea_api._api.functions import session_request\n"
        "backend = mellea_api.shared_registry().backend('hygienic')\n"
        "request = session_request(backend, 'm', model_options={'seed': 1})\n"
        "assert pickle.loads(pickle.dumps(request)) == request",
        plugin,
    )
    assert unwanted(found, HEAVY) == {}


def test_importing_starts_no_thread_and_reads_no_variable() -> None:
    loaded(
        "import os, threading\n"
        "class Environment(dict):\n"
        "    def _refuse(self, *args): raise AssertionError(args)\n"
        "    __getitem__ = get = __contains__ = __iter__ = items = keys = _refuse\n"
        "os.environ = Environment()\n"
        "import mellea_api, mellea_api._registry, mellea_api._api.functions\n"
        "assert threading.active_count() == 1"
    )
