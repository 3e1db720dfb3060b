"""Whatever a cache of model lists meets on disk, and whoever else writes there, it never breaks anything."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cached_lists import down, key_of, lists, target

from mellea_api._models.cache import ModelCache

# -------------------------------------------------------------------------- what it may meet


def kept(cache: ModelCache, folder: Path) -> tuple[str, Path]:
    key = key_of(cache)
    cache.keep_models(key, lists("a"))
    return key, folder / f"{key}.models.json"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe\x00",
        b"[]",
        b"null",
        b"{}",
        b"[" * 100_000,
        b'{"schema": 2, "written": 1, "models": []}',
        b'{"schema": 1, "written": "now", "models": []}',
        b'{"schema": 1, "written": NaN, "models": []}',
        b'{"schema": 1, "written": true, "models": []}',
        b'{"schema": 1, "written": 1}',
        b'{"schema": 1, "written": 1, "models": [{"id": 5}]}',
        b'{"schema": 1, "written": 1, "models": [{"id": "x", "price": 5}]}',
        b'{"schema": 1, "written": 1, "models": {"a": 1}}',
        b'{"schema": 1, "written": 1, "models": "ab"}',
    ],
    ids=lambda content: content[:45].decode("latin-1"),
)
def test_a_damaged_or_foreign_entry_is_none_and_is_said_once_and_is_replaced(
    cache: ModelCache, folder: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    key, path = kept(cache, folder)
    path.write_bytes(content)
    assert cache.models(key) is None
    assert cache.models(key) is None
    assert len(caplog.records) == 1
    assert str(folder) in caplog.text
    cache.keep_models(key, lists("b"))
    found = cache.models(key)
    assert found is not None
    assert found.models[0].id == "b"


@pytest.mark.parametrize(
    "content",
    [
        b'{"schema": 1, "written": 1, "error": {"type": "OSError", "reason": "", "next_step": ""}}',
        b'{"schema": 1, "written": 1, "error": {"type": "OptionProblem"}}',
        b'{"schema": 1, "written": 1, "error": {"type": "RateLimitError"}}',
        b'{"schema": 1, "written": 1, "error": []}',
    ],
)
def test_a_damaged_failure_is_none(cache: ModelCache, folder: Path, content: bytes) -> None:
    key = key_of(cache)
    (folder / f"{key}.failure.json").write_bytes(content)
    assert cache.failure(key) is None


@given(share=st.floats(0, 1, exclude_max=True))
def test_an_entry_that_was_cut_off_is_none(share: float) -> None:
    with tempfile.TemporaryDirectory() as root:
        cache = ModelCache(Path(root))
        key, path = kept(cache, Path(root))
        whole = path.read_bytes()
        path.write_bytes(whole[: int(share * len(whole))])
        assert cache.models(key) is None


def test_a_damaged_salt_is_replaced(cache: ModelCache, folder: Path) -> None:
    before, _ = kept(cache, folder)
    (folder / "salt").write_bytes(b"short")
    after, _ = kept(cache, folder)
    assert before != after == key_of(cache)


def use(folder: Path) -> None:
    """Everything, as one who lists models would; whatever is wrong, nothing is raised."""
    cache = ModelCache(folder)
    key = cache.key(target(), {})
    if key is None:
        return
    with cache.alone(key, 0.2):
        cache.keep_models(key, lists("a"))
        cache.keep_failure(key, down())
        cache.models(key)
        cache.failure(key)


@pytest.mark.parametrize("name", ["salt", "{key}.models.json", "{key}.failure.json", "{key}.lock"])
def test_a_folder_where_a_file_should_be_is_survived(
    cache: ModelCache, folder: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    key = key_of(cache)
    path = folder / name.format(key=key)
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    (path / "full").mkdir(parents=True)
    use(folder)
    assert len(caplog.records) == (0 if name.endswith("lock") else 1)
    assert not list(folder.glob(".new-*"))


@pytest.mark.parametrize(
    "place", ["file", "below a file", "/proc/nowhere/models", "~/.cache/without/a/home"]
)
def test_a_place_where_no_folder_can_be_is_survived(
    tmp_path: Path, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    folder = {"file": tmp_path / "file", "below a file": tmp_path / "file" / "models"}.get(
        place, Path(place)
    )
    use(folder)
    use(folder)
    assert len(caplog.records) == 1
    assert caplog.records[0].levelno == logging.WARNING
    assert not Path("~").exists()


@pytest.fixture
def nobody() -> Iterator[Path]:
    """This process as a user without rights, and a folder of that user's."""
    if not hasattr(os, "seteuid") or os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    root = Path(tempfile.mkdtemp(dir="/tmp"))
    root.chmod(0o711)
    home = root / "home"
    home.mkdir()
    os.chown(home, 65534, 65534)
    os.seteuid(65534)
    try:
        yield home
    finally:
        os.seteuid(0)
        shutil.rmtree(root)


def test_a_folder_that_cannot_be_written_is_still_read(
    nobody: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = ModelCache(nobody)
    key, path = kept(cache, nobody)
    nobody.chmod(0o500)
    use(nobody)
    cache.keep_models(key, lists("new"))
    found = ModelCache(nobody).models(key_of(cache))
    assert found is not None
    assert found.models[0].id == "a"
    assert len(caplog.records) == 1
    nobody.chmod(0o700)
    path.chmod(0)
    assert cache.models(key) is None


def test_a_folder_of_somebody_else_is_not_used(
    nobody: Path, caplog: pytest.LogCaptureFixture
) -> None:
    os.seteuid(0)
    foreign = nobody / "models"
    foreign.mkdir(mode=0o777)
    foreign.chmod(0o777)
    os.seteuid(65534)
    use(foreign)
    assert list(foreign.iterdir()) == []
    os.seteuid(0)
    (foreign / "salt").write_bytes(b"known to somebody else".ljust(32))
    (foreign / "salt").chmod(0o644)
    os.seteuid(65534)
    assert ModelCache(foreign).key(target(), {}, make=False) is None
    assert "another user" in caplog.text


# ------------------------------------------------------------------------------ many processes


WORKER = """
import random, sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
from mellea_api.plugin import BackendDescriptor, Target
from mellea_api import BackendUnavailableError, ModelInfo
from mellea_api._models.cache import ModelCache

cache, me = ModelCache(Path(sys.argv[1])), sys.argv[2]
descriptor = BackendDescriptor(name="fake", summary="", default_model="small")
keys = {cache.key(Target(descriptor=descriptor, model_id="m", base_url=f"http://h{n}"), {})
        for n in range(3)}
assert len(keys) == 3 and None not in keys
chance = random.Random(me)
for step in range(40):
    key = chance.choice(sorted(keys))
    # Each list says who wrote it in all its names: a mixture would show.
    cache.keep_models(key, [ModelInfo(id=f"{me}-{step}", source="live")] * 50)
    if chance.random() < 0.2:
        cache.keep_failure(key, BackendUnavailableError(me * 500, next_step=me, backend="fake"))
    kept, failure = cache.models(key), cache.failure(key)
    assert kept is not None and len(kept.models) == 50 and len({m.id for m in kept.models}) == 1
    assert failure is None or len(set(failure.error.reason)) == 1
print(*sorted(keys))
"""


def test_many_processes_write_and_read_at_once(folder: Path) -> None:
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(folder), str(number), *sys.path],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(8)
    ]
    outcomes = [worker.communicate(timeout=100) for worker in workers]
    assert [errors for _, errors in outcomes] == [""] * 8
    assert len({keys for keys, _ in outcomes}) == 1, "one of them made a salt of its own"
    assert not list(folder.glob(".new-*"))


def test_a_process_that_dies_while_it_writes_spoils_nothing(folder: Path) -> None:
    cache = ModelCache(folder)
    key, path = kept(cache, folder)
    killed = (
        "import os, sys\nsys.path[:0] = sys.argv[3:]\n"
        "from pathlib import Path\nfrom mellea_api import ModelInfo\n"
        "from mellea_api._models.cache import ModelCache\n"
        "os.replace = lambda *places: os.kill(os.getpid(), 9)\n"
        "cache = ModelCache(Path(sys.argv[1]))\n"
        "with cache.alone(sys.argv[2], 5):\n"
        "    cache.keep_models(sys.argv[2], [ModelInfo(id='half')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", killed, str(folder), key, *sys.path], timeout=60, check=False
    )
    assert done.returncode == -9
    found = cache.models(key)
    assert found is not None
    assert found.models[0].id == "a"
    with cache.alone(key, 60.0):  # its lock is gone with it
        cache.keep_models(key, lists("b"))
    assert json.loads(path.read_bytes())["models"][0]["id"] == "b"
