"""Whatever a cache of model lists meets on disk, and whoever else writes there, it never breaks anything."""

from __future__ import annotations

import json
import logging
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cached_lists import key_of, lists

from mellea_api._models.cache import ModelCache

# -------------------------------------------------------------------------- what it may meet


def kept(cache: ModelCache, folder: Path) -> tuple[str, Path]:
    key = key_of(cache)
    cache.keep(key, lists("a"))
    return key, folder / f"{key}.json"


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
        b'{"schema": 9, "written": 1, "models": []}',
        b'{"schema": 2, "written": "now", "models": []}',
        b'{"schema": 2, "written": NaN, "models": []}',
        b'{"schema": 2, "written": true, "models": []}',
        b'{"schema": 2, "written": 1}',
        b'{"schema": 2, "written": 1, "models": [{"id": 5}]}',
        b'{"schema": 2, "written": 1, "models": [{"id": "x", "price": 5}]}',
        b'{"schema": 2, "written": 1, "models": {"a": 1}}',
        b'{"schema": 2, "written": 1, "models": "ab"}',
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
    cache.keep(key, lists("b"))
    found = cache.models(key)
    assert found is not None
    assert found.models[0].id == "b"


@given(share=st.floats(0, 1, exclude_max=True))
def test_an_entry_that_was_cut_off_is_none(share: float) -> None:
    with tempfile.TemporaryDirectory() as root:
        cache = ModelCache(Path(root))
        key, path = kept(cache, Path(root))
        whole = path.read_bytes()
        path.write_bytes(whole[: int(share * len(whole))])
        assert cache.models(key) is None


def use(folder: Path) -> None:
    """Everything, as one who lists models would; whatever is wrong, nothing is raised."""
    cache = ModelCache(folder)
    key = key_of(cache)
    cache.keep(key, lists("a"))
    cache.models(key)


def test_a_folder_where_a_file_should_be_is_survived(
    cache: ModelCache, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / f"{key_of(cache)}.json" / "full").mkdir(parents=True)
    use(folder)
    assert len(caplog.records) == 1
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
    cache.keep(key, lists("new"))
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
    assert "another user" in caplog.text


def test_a_link_that_somebody_else_made_is_not_followed(nobody: Path) -> None:
    documents = nobody / "documents"
    documents.mkdir()
    documents.chmod(0o755)
    (documents / "thesis.tex").write_text("written long ago")
    os.utime(documents / "thesis.tex", (0, 0))
    link = nobody / "models"
    link.symlink_to(documents)
    use(link)
    assert (documents / "thesis.tex").exists()
    assert stat.S_IMODE(documents.stat().st_mode) == 0o755  # by a link of one's own, too
    link.unlink()
    os.seteuid(0)
    link.symlink_to(documents)
    os.seteuid(65534)
    before = sorted(documents.iterdir())
    ModelCache(link).keep("new", lists("a"))
    assert sorted(documents.iterdir()) == before


def test_nor_is_one_on_the_way_to_the_folder(nobody: Path, caplog: Any) -> None:
    documents = nobody / "documents"
    documents.mkdir()
    link = nobody / "mellea-api"
    link.symlink_to(documents)
    use(link / "models")  # by a link of one's own
    assert (documents / "models").is_dir()
    os.seteuid(0)
    os.chown(link, 65533, 65533, follow_symlinks=False)
    os.seteuid(65534)
    shutil.rmtree(documents / "models")
    use(link / "models")
    assert not list(documents.iterdir())
    assert "belongs to another user" in caplog.text


# ------------------------------------------------------------------------------ many processes


WORKER = """
import random, sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
from mellea_api.plugin import BackendDescriptor, Target
from mellea_api import ModelInfo
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
    cache.keep(key, [ModelInfo(id=f"{me}-{step}", source="live")] * 50)
    kept = cache.models(key)
    assert kept is not None and len(kept.models) == 50 and len({m.id for m in kept.models}) == 1
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
    assert len({keys for keys, _ in outcomes}) == 1
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
        "cache.keep(sys.argv[2], [ModelInfo(id='half')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", killed, str(folder), key, *sys.path], timeout=60, check=False
    )
    assert done.returncode == -9
    found = cache.models(key)
    assert found is not None
    assert found.models[0].id == "a"
    cache.keep(key, lists("b"))
    assert json.loads(path.read_bytes())["models"][0]["id"] == "b"
