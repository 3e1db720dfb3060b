"""What is kept of providers' answers: agrees with a plain dict, and holds no secret."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from support.cached_lists import down, key_of, lists, target

from mellea_api import ModelInfo, ModelNotFoundError, ProviderError, RateLimitError, Secret
from mellea_api._models.cache import ModelCache

CANARY = 'canary/"Zm9v"\\0123456789'


def secrets(**values: str) -> dict[str, Secret]:
    return {name: Secret(value, source="a test") for name, value in values.items()}


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


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
