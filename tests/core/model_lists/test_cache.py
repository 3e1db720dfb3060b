"""What is kept of providers' answers: agrees with a plain dict, and holds no secret."""

from __future__ import annotations

import shutil
import stat
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from support.cached_lists import key_of, lists, target

from mellea_api import ModelInfo, Secret
from mellea_api._models.cache import ModelCache

CANARY = 'canary/"Zm9v"\\0123456789'


def secrets(**values: str) -> dict[str, Secret]:
    return {name: Secret(value, source="a test") for name, value in values.items()}


# ------------------------------------------------------------------------ agrees with a dict


SERVERS = ("http://127.0.0.1:1", "http://127.0.0.1:2", None)
servers = st.sampled_from(SERVERS)
names = st.lists(st.text(min_size=1), max_size=3)
LIFETIME = 100.0


class Kept(RuleBasedStateMachine):
    """The model: when which list was kept for which server."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.now = 1_800_000_000.0
        self.lists: dict[str | None, tuple[float, list[str]]] = {}
        self.patched = pytest.MonkeyPatch()
        self.patched.setattr(time, "time", lambda: self.now)

    def teardown(self) -> None:
        self.patched.undo()
        shutil.rmtree(self.root)

    @property
    def cache(self) -> ModelCache:
        """A new one for each step, as another process has it."""
        return ModelCache(self.root / "models", lifetime=LIFETIME)

    @rule(server=servers, found=names)
    def a_list_is_kept(self, server: str | None, found: list[str]) -> None:
        self.cache.keep(key_of(self.cache, base_url=server), lists(*found))
        self.lists[server] = (self.now, found)

    @rule(seconds=st.sampled_from((1.0, LIFETIME - 1.0, -5.0)))
    def time_goes_by(self, seconds: float) -> None:
        self.now += seconds

    @rule(server=servers)
    def what_is_kept_is_found(self, server: str | None) -> None:
        kept = self.cache.models(key_of(self.cache, base_url=server))
        if server not in self.lists:
            assert kept is None
            return
        written, found = self.lists[server]
        age = self.now - written
        assert kept is not None
        assert [model.id for model in kept.models] == found
        assert {model.source for model in kept.models} <= {"cached"}
        assert {model.age for model in kept.models} <= {max(0.0, age)}
        assert kept.fresh == (0 <= age < LIFETIME)


TestKept = Kept.TestCase
TestKept.settings = settings(max_examples=60, stateful_step_count=20)


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


def test_another_cache_of_the_same_user_has_the_same_keys(tmp_path: Path) -> None:
    assert key_of(ModelCache(tmp_path / "one")) == key_of(ModelCache(tmp_path / "other"))


# ------------------------------------------------------------------------------------- secrets


def test_no_secret_is_in_it_and_nobody_else_can_read_it(cache: ModelCache, folder: Path) -> None:
    given = secrets(api_key=CANARY)
    where = target(base_url="http://me:canary-password@h/v1", settings={"x": "canary-setting"})
    key = cache.key(where, given)
    assert key is not None
    cache.keep(key, [ModelInfo(id="a", description=f"for {CANARY}", source="live")])
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = list(folder.iterdir())
    assert len(files) == 1
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        content = path.name.encode() + path.read_bytes()
        assert b"anary" not in content
        assert b"Zm9v" not in content


@pytest.mark.parametrize(("mode", "used"), [(0o777, False), (0o770, False), (0o755, True)])
def test_a_folder_that_was_there_stays_as_it_is_and_is_used_if_nobody_else_writes_there(
    folder: Path, mode: int, used: bool
) -> None:
    folder.mkdir()
    folder.chmod(mode)
    cache = ModelCache(folder)
    cache.keep("key", lists("a"))
    assert stat.S_IMODE(folder.stat().st_mode) == mode
    assert bool(list(folder.iterdir())) is used
    (folder / "key.json").write_text('{"schema": 2, "written": 1, "models": []}')
    assert (cache.models("key") is not None) is used
