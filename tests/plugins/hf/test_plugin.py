"""The plugin as a package: light to find, clear where something is missing."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.installing import distribution

import mellea_api

pytest.importorskip("mellea_api_hf", reason="mellea-api-hf is not installed")

FORBIDDEN = {
    "mellea": "it costs half a second",
    "torch": "it costs seconds",
    "transformers": "it costs seconds",
    "huggingface_hub": "it reads the environment when it is imported",
    "asyncio": "only a call needs it",
}
GATED = "meta-llama/Llama-3.2-3B-Instruct"


def test_finding_listing_and_explaining_import_no_sdk() -> None:
    program = (
        "import sys, mellea_api\n"
        "assert {'hf', 'huggingface'} <= set(mellea_api.shared_registry())\n"
        "assert mellea_api.list_models('hf', freshness='offline')\n"
        "assert mellea_api.validate_credentials('hf')\n"
        "assert mellea_api.explain_options('hf', {'temperature': 0, 'max_tokens': 5}).wire\n"
        f"print([name for name in {list(FORBIDDEN)} if name in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert found.stdout.strip() == "[]", (FORBIDDEN, found.stdout, found.stderr)


def test_the_alias_is_the_same_backend() -> None:
    one, other = (mellea_api.shared_registry().backend(name) for name in ("hf", "huggingface"))
    assert other.descriptor.name == "huggingface"
    assert one.descriptor.options == other.descriptor.options
    assert one.descriptor.default_model == GATED


@pytest.mark.parametrize(
    ("variables", "source"),
    [
        ({"HF_TOKEN": "hf_fromtheenvironment123"}, "environment variable HF_TOKEN"),
        (
            {"HUGGING_FACE_HUB_TOKEN": "hf_fromtheoldername1234567"},
            "environment variable HUGGING_FACE_HUB_TOKEN",
        ),
        ({"HF_TOKEN_PATH": "{folder}/token"}, "token file {folder}/token"),
        ({"HF_HOME": "{folder}"}, "token file {folder}/token"),
        ({"XDG_CACHE_HOME": "{folder}/.."}, "token file {folder}/token"),
    ],
)
def test_the_token_is_found_where_huggingface_hub_finds_it(
    variables: dict[str, str], source: str, tmp_path: Path
) -> None:
    folder = tmp_path / "huggingface"
    folder.mkdir()
    (folder / "token").write_text("hf_fromthetokenfile12345\n", "utf-8")
    for name, value in variables.items():
        os.environ[name] = value.format(folder=folder)
    report = mellea_api.validate_credentials("hf")
    (field,) = report.fields
    wanted = source.format(folder=folder)
    assert field.status == "present"
    assert field.source.replace("huggingface/../", "") == wanted
    assert "hf_from" not in repr(report)


def test_without_a_token_public_models_can_be_had() -> None:
    report = mellea_api.validate_credentials("hf")
    assert report.usable
    assert report.status == "not-needed"


def test_a_token_in_no_file_that_can_be_read_is_none(tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(b"\xff\xfe\x00")
    os.environ["HF_HOME"] = str(tmp_path)
    assert mellea_api.validate_credentials("hf").status == "not-needed"


def test_an_address_is_refused_since_models_run_here() -> None:
    with pytest.raises(mellea_api.ConfigurationError, match="calls no server"):
        mellea_api.start_session("hf", base_url="http://127.0.0.1:1/")


def installed(folder: Path, **versions: str) -> dict[str, str]:
    """The environment of a process that finds these versions installed, whatever else is."""
    for name, version in versions.items():
        distribution(folder, name, version)
    return {**os.environ, "PYTHONPATH": str(folder)}


@pytest.mark.parametrize("mellea", ["0.3.0", "0.6.0"])
@pytest.mark.parametrize("way", ["mellea_api.start_session", "MelleaRuntime"])
def test_a_transformers_that_mellea_does_not_run_on_is_answered_with_the_pip_line(
    mellea: str, way: str, tmp_path: Path
) -> None:
    """Before anything is imported: Mellea would crash on it in the first call, or while it is imported."""
    program = (
        "import sys, mellea_api\n"
        "from mellea_api.runtime import MelleaRuntime\n"
        "try:\n"
        f"    {way}('hf', {str(tmp_path)!r})\n"
        "except mellea_api.PluginError as error:\n"
        "    print(error, 'torch' in sys.modules)\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env=installed(tmp_path, transformers="5.17.0", mellea=mellea),
    )
    line = f'pip install "mellea[hf]=={mellea}" "transformers>=4.53.2,<5"'
    assert line in found.stdout, found.stderr
    assert f"Mellea {mellea} does not run on transformers 5.17.0" in found.stdout
    assert found.stdout.rstrip().endswith("False")


def test_a_transformers_that_mellea_runs_on_is_let_pass(tmp_path: Path) -> None:
    program = "import mellea_api; mellea_api.start_session('hf', '/no/such/folder')"
    found = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env=installed(tmp_path, transformers="4.57.6", mellea="0.3.0"),
    )
    assert "does not run on" not in found.stderr
    assert found.returncode == 1


@pytest.mark.usefixtures("transformers_here")
class TestModels:
    """What is said of a model that cannot be had, or of a setting that is wrong."""

    @pytest.mark.parametrize("name", ["/no/such/folder", "./none", "~/none/at/all"])
    def test_a_folder_that_is_not_there(self, name: str) -> None:
        with pytest.raises(mellea_api.ModelNotFoundError, match="no folder"):
            mellea_api.start_session("hf", name)

    def test_a_folder_without_a_model(self, tmp_path: Path) -> None:
        with pytest.raises(mellea_api.ModelNotFoundError, match=r"config\.json"):
            mellea_api.start_session("hf", str(tmp_path))

    def test_a_model_of_an_unknown_architecture(self, tmp_path: Path, tiny: Path) -> None:
        import shutil

        folder = Path(shutil.copytree(tiny, tmp_path / "odd"))
        config = json.loads((folder / "config.json").read_text("utf-8"))
        config |= {"model_type": "nosuchthing", "architectures": ["NoSuchForCausalLM"]}
        (folder / "config.json").write_text(json.dumps(config), "utf-8")
        with pytest.raises(mellea_api.MelleaAPIError, match=r"(?i)upgrade transformers"):
            mellea_api.start_session("hf", str(folder))

    @pytest.mark.parametrize(
        "settings",
        [
            {"device": 5},
            {"dtype": True},
            {"revision": 1},
            {"trust_remote_code": "yes"},
            {"share": "no"},
            {"use_cachs": True},
        ],
    )
    def test_a_wrong_setting_is_named_before_anything_is_loaded(
        self, settings: dict[str, Any], tiny: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "mellea_api")
        with pytest.raises(mellea_api.ConfigurationError, match=next(iter(settings))):
            mellea_api.start_session("hf", str(tiny), **settings)
        assert "loading" not in caplog.text

    def test_a_setting_of_mellea_reaches_it(self, tiny: Path) -> None:
        session = mellea_api.start_session("hf", str(tiny), use_caches=False)
        assert session.backend._use_caches is False

    def test_a_model_without_a_chat_template_says_so(
        self, build: Callable[..., Path], tmp_path: Path
    ) -> None:
        import shutil

        folder = Path(shutil.copytree(build(), tmp_path / "base"))
        config = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
        del config["chat_template"]
        (folder / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
        session = mellea_api.start_session("hf", str(folder))
        with pytest.raises(mellea_api.RequestRefusedError, match="Instruct"):
            session.chat("Hi", model_options={"max_tokens": 2})


BY_HAND = """
import sys
from mellea import MelleaSession
from mellea.backends.huggingface import LocalHFBackend

def ask(backend):
    assert isinstance(backend, LocalHFBackend)
    options = {"max_tokens": 3, "temperature": 0}
    return MelleaSession(backend).chat("Hi", model_options=options).content

one = LocalHFBackend(sys.argv[1])
held = (one._tokenizer, one._model, one._device)
print(ask(one) == ask(LocalHFBackend(sys.argv[1], custom_config=held)) != "")
"""


@pytest.mark.slow
def test_a_backend_that_a_program_builds_by_hand_is_the_registrys(
    tiny: Path, tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(BY_HAND)
    done = subprocess.run(
        [sys.executable, "-m", "mellea_api", "run", str(program), str(tiny)],
        capture_output=True,
        text=True,
        check=False,
        timeout=480,
    )
    assert done.stdout == "True\n", done.stderr
    assert done.stderr.count("LocalHFBackend is built on the huggingface backend") == 1
