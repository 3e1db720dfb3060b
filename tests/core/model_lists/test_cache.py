"""What is kept of providers' answers: agrees with a plain dict, and never breaks anything."""

from __future__ import annotations

import contextlib
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
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from support.fake_plugins import described

from mellea_api import (
    BackendUnavailableError,
    ModelInfo,
    ModelNotFoundError,
    ProviderError,
    RateLimitError,
    Secret,
    Target,
)
from mellea_api.model_lists import folder as module
from mellea_api.model_lists.cache import ModelCache

CANARY = 'canary/"Zm9v"\\0123456789'


def target(**facts: Any) -> Target:
    variables = facts.pop("list_variables", ())
    return Target(descriptor=described("fake", list_variables=variables), model_id="small", **facts)


def secrets(**values: str) -> dict[str, Secret]:
    return {name: Secret(value, source="a test") for name, value in values.items()}


def lists(*names: str) -> list[ModelInfo]:
    return [ModelInfo(id=name, size="3B", source="live") for name in names]


def down(text: str = "nobody is there") -> BackendUnavailableError:
    return BackendUnavailableError(text, next_step="Start it.", backend="fake", status=503)


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def cache(folder: Path) -> ModelCache:
    return ModelCache(folder)


def key_of(cache: ModelCache, **facts: Any) -> str:
    key = cache.key(target(**facts), {})
    assert key is not None
    return key


# ------------------------------------------------------------------------ agrees with a dict

SERVERS = ("http://127.0.0.1:1", "http://127.0.0.1:2", None)
servers = st.sampled_from(SERVERS)
names = st.lists(st.text(min_size=1), max_size=3)
LIFETIME, FAILURE_LIFETIME = 100.0, 10.0


class Kept(RuleBasedStateMachine):
    """The model: when which list, and which failure, was kept for which server."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.clock = Clock()
        self.lists: dict[str | None, tuple[float, list[str]]] = {}
        self.failures: dict[str | None, tuple[float, str]] = {}

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    @property
    def cache(self) -> ModelCache:
        """A new one for each step, as another process has it."""
        return ModelCache(
            self.root / "models",
            lifetime=LIFETIME,
            failure_lifetime=FAILURE_LIFETIME,
            clock=self.clock,
        )

    @rule(server=servers, found=names)
    def a_list_is_kept(self, server: str | None, found: list[str]) -> None:
        self.cache.keep_models(key_of(self.cache, base_url=server), lists(*found))
        self.lists[server] = (self.clock.now, found)
        self.failures.pop(server, None)

    @rule(server=servers, words=st.text(max_size=20))
    def a_failure_is_kept(self, server: str | None, words: str) -> None:
        self.cache.keep_failure(key_of(self.cache, base_url=server), down(words))
        self.failures[server] = (self.clock.now, words)

    @rule(seconds=st.sampled_from((1.0, FAILURE_LIFETIME, LIFETIME - 1.0, -5.0)))
    def time_goes_by(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(server=servers)
    def what_is_kept_is_found(self, server: str | None) -> None:
        key = key_of(self.cache, base_url=server)
        kept, failure = self.cache.models(key), self.cache.failure(key)
        if server not in self.lists:
            assert kept is None
        else:
            written, found = self.lists[server]
            age = self.clock.now - written
            assert kept is not None
            assert [model.id for model in kept.models] == found
            assert {model.source for model in kept.models} <= {"cached"}
            assert kept.age == max(0.0, age)
            assert kept.fresh == (0 <= age < LIFETIME)
        if server not in self.failures:
            assert failure is None
        else:
            written, words = self.failures[server]
            assert failure is not None
            assert failure.error.reason == words
            assert failure.fresh == (0 <= self.clock.now - written < FAILURE_LIFETIME)


TestKept = Kept.TestCase
TestKept.settings = settings(max_examples=60, stateful_step_count=20)


@pytest.mark.parametrize(
    "error",
    [
        down(),
        RateLimitError("Slow down.", next_step="Wait.", status=429, retry_after=2.5),
        ModelNotFoundError("None.", next_step="Look.", known=("a", "b"), model_id="x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_failure_keeps_its_kind_and_its_facts(cache: ModelCache, error: ProviderError) -> None:
    cache.keep_failure(key_of(cache), error)
    kept = cache.failure(key_of(cache))
    assert kept is not None
    assert type(kept.error) is type(error)
    assert str(kept.error) == str(error)
    assert {name: getattr(kept.error, name) for name in error.facts} == {
        name: getattr(error, name) for name in error.facts
    }


class ThirdPartyError(RateLimitError):
    """One that a plugin made for itself."""


def test_a_plugins_own_kind_of_failure_is_kept_as_the_kind_that_it_is(cache: ModelCache) -> None:
    cache.keep_failure(key_of(cache), ThirdPartyError("Slow.", next_step="Wait.", retry_after=1.0))
    kept = cache.failure(key_of(cache))
    assert kept is not None
    assert type(kept.error) is RateLimitError
    assert kept.error.retry_after == 1.0


def test_a_lifetime_of_zero_keeps_no_failure_as_an_answer(folder: Path) -> None:
    cache = ModelCache(folder, lifetime=0)
    cache.keep_failure(key_of(cache), down())
    kept = cache.failure(key_of(cache))
    assert kept is not None
    assert not kept.fresh


def test_what_nobody_renewed_for_a_season_goes(cache: ModelCache, folder: Path) -> None:
    old, new = key_of(cache, base_url="http://old"), key_of(cache, base_url="http://new")
    cache.keep_models(old, lists("a"))
    for path in folder.iterdir():
        os.utime(path, (0, 0))
    cache.keep_models(new, lists("b"))
    assert cache.models(old) is None
    assert cache.models(new) is not None
    assert key_of(cache, base_url="http://new") == new


# ------------------------------------------------------------------- what an answer depends on

facts = st.fixed_dictionaries(
    {
        "base_url": st.sampled_from((None, "http://a/v1", "http://b/v1", "http://u:p@a/v1")),
        "stated_server": st.sampled_from((None, "official", "compatible")),
        "settings": st.dictionaries(st.sampled_from("xy"), st.sampled_from((1, "1", None))),
        "key": st.sampled_from((None, "sk-one", "sk-two")),
    }
)


@given(one=facts, other=facts)
def test_answers_are_apart_where_anything_differs(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    with tempfile.TemporaryDirectory() as root:
        cache = ModelCache(Path(root) / "models")

        def key(found: dict[str, Any]) -> tuple[str | None, Any]:
            rest = {name: value for name, value in found.items() if name != "key"}
            given = secrets(api_key=found["key"]) if found["key"] else {}
            asked = target(**rest)
            return cache.key(asked, given), (asked.base_url, asked.server, rest["settings"], given)

        (first, what), (second, other_what) = key(one), key(other)
        assert (first == second) == (what == other_what)


def test_the_model_and_a_slash_at_the_end_do_not_matter(cache: ModelCache) -> None:
    first = cache.key(target(base_url="http://a/v1"), {})
    assert cache.key(target(base_url="http://a/v1/"), {}) == first


def test_a_variable_that_the_backend_names_matters(
    cache: ModelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_ENDPOINT", "one")
    asked, careless = target(list_variables="FAKE_*"), target()
    first, other = cache.key(asked, {}), cache.key(careless, {})
    monkeypatch.setenv("FAKE_ENDPOINT", "two")
    assert cache.key(asked, {}) != first
    assert cache.key(careless, {}) == other


def test_what_depends_on_a_live_object_is_not_kept(cache: ModelCache) -> None:
    assert cache.key(target(settings={"client": object()}), {}) is None


def test_keys_of_two_caches_cannot_be_compared(tmp_path: Path) -> None:
    one, other = ModelCache(tmp_path / "one"), ModelCache(tmp_path / "other")
    assert key_of(one) == key_of(one)
    assert key_of(one) != key_of(other)


# ------------------------------------------------------------------------------------- secrets


def test_no_secret_is_in_it_and_nobody_else_can_read_it(cache: ModelCache, folder: Path) -> None:
    given = secrets(api_key=CANARY)
    where = target(base_url="http://me:canary-password@h/v1", settings={"x": "canary-setting"})
    key = cache.key(where, given)
    assert key is not None
    cache.keep_models(key, [ModelInfo(id="a", description=f"for {CANARY}", source="live")])
    cache.keep_failure(key, down(f"no {CANARY}"))
    with cache.alone(key, 1.0):
        pass
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = list(folder.iterdir())
    assert len(files) >= 3
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        content = path.name.encode() + path.read_bytes()
        assert b"anary" not in content
        assert b"Zm9v" not in content


def test_a_folder_that_others_could_read_is_closed(folder: Path) -> None:
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    assert key_of(ModelCache(folder))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


# -------------------------------------------------------------------------- what it may meet


@pytest.fixture(autouse=True)
def nothing_reported() -> None:
    module._reported.clear()


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
from mellea_api import BackendDescriptor, BackendUnavailableError, ModelInfo, Target
from mellea_api.model_lists.cache import ModelCache

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
        "from mellea_api.model_lists.cache import ModelCache\n"
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
