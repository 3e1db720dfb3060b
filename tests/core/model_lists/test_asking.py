"""Whom a list comes from, and that nobody holds up another one."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.fake_plugins import COUNTING, GOOD, backend, registry

import mellea_api
from mellea_api import (
    BackendNotFoundError,
    BackendUnavailableError,
    ConfigurationError,
    CredentialError,
    ModelListing,
    PluginError,
    Registry,
    RequestTimeoutError,
)
from mellea_api._models import listing

Found = Callable[..., Registry]
Asked = Callable[[], int]

HANGS = "\n@hookimpl\ndef list_models(request):\n    import time; time.sleep(60)\n"
REFUSES = "\n@hookimpl\ndef list_models(request):\n    raise ConnectionRefusedError('nobody')\n"


def one(listings: list[ModelListing], name: str = "fake") -> ModelListing:
    (found,) = [listing for listing in listings if listing.backend == name]
    return found


def source_of(models: Any) -> set[str]:
    return {model.source for model in models}


def test_the_second_question_is_answered_from_the_cache(found: Found, asked: Asked) -> None:
    made = found(fake=COUNTING)
    first = mellea_api.list_models("fake", registry=made)
    second = mellea_api.list_models("fake", registry=made)
    assert [model.id for model in first] == [model.id for model in second] == ["a", "b"]
    assert (source_of(first), source_of(second)) == ({"live"}, {"cached"})
    assert all(model.age is not None and 0 <= model.age < 60 for model in second)
    assert asked() == 1
    assert source_of(mellea_api.list_models("fake", freshness="live", registry=made)) == {"live"}
    assert asked() == 1


def test_offline_asks_nobody_and_has_what_was_last_said_or_the_catalogue(
    found: Found, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = found(fake=COUNTING)
    before = mellea_api.list_models("fake", freshness="offline", registry=made)
    assert [(model.id, model.source) for model in before] == [("small", "catalogue")]
    assert asked() == 0
    mellea_api.list_models("fake", registry=made)
    monkeypatch.setenv("MELLEA_API_MODELS_LIFETIME", "0")
    after = mellea_api.list_models("fake", freshness="offline", registry=made)
    assert [(model.id, model.source) for model in after] == [("a", "cached"), ("b", "cached")]
    assert asked() == 1


def test_a_lifetime_of_zero_asks_every_time(
    found: Found, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELLEA_API_MODELS_LIFETIME", "0")
    made = found(fake=COUNTING)
    for _ in range(2):
        mellea_api.list_models("fake", registry=made)
    assert asked() == 2


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "an hour"])
def test_a_lifetime_that_is_none_is_an_error(
    found: Found, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("MELLEA_API_MODELS_LIFETIME", value)
    with pytest.raises(ConfigurationError, match="MELLEA_API_MODELS_LIFETIME") as caught:
        mellea_api.list_models("fake", registry=found(fake=COUNTING))
    assert caught.value.variable == "MELLEA_API_MODELS_LIFETIME"


def test_what_is_no_freshness_is_an_error(found: Found) -> None:
    with pytest.raises(ConfigurationError, match="cached, live, offline"):
        mellea_api.list_models("fake", freshness="new", registry=found(fake=""))  # type: ignore[arg-type]


def test_a_failure_is_shown_with_what_was_said_before_and_the_next_question_is_asked(
    found: Found, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = found(fake=COUNTING)
    mellea_api.list_models("fake", registry=made)
    monkeypatch.setenv("MELLEA_API_MODELS_LIFETIME", "0.001")
    time.sleep(0.01)
    monkeypatch.setenv("DOWN", "nobody is there")
    failed = one(mellea_api.list_all_models(registry=made))
    assert isinstance(failed.error, BackendUnavailableError)
    assert [model.id for model in failed.models or ()] == ["a", "b"]
    assert source_of(failed.models) == {"cached"}
    assert asked() == 2
    monkeypatch.delenv("MELLEA_API_MODELS_LIFETIME")
    # For another server nothing is known.
    other = {"fake": {"x": 1}}
    failed = one(mellea_api.list_all_models(arguments=other, registry=made))
    assert failed.models is None
    monkeypatch.delenv("DOWN")
    assert source_of(mellea_api.list_models("fake", x=1, registry=made)) == {"live"}
    assert asked() == 2


def test_an_answer_to_one_key_is_none_to_another(
    found: Found, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = found(fake=COUNTING)
    mellea_api.list_models("fake", api_key="sk-of-one-user", registry=made)
    monkeypatch.setenv("DOWN", "401")
    for _ in range(2):
        with pytest.raises(BackendUnavailableError):
            mellea_api.list_models("fake", api_key="sk-of-another", registry=made)
    monkeypatch.setenv("FAKE_API_KEY", "sk-of-one-user")
    assert source_of(mellea_api.list_models("fake", registry=made)) == {"cached"}
    assert asked() == 3


def test_an_empty_list_and_one_that_asked_nobody_are_not_kept(
    found: Found, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = found(fake=COUNTING)
    monkeypatch.setenv("HAS", "")
    assert mellea_api.list_models("fake", registry=made) == []
    assert mellea_api.list_models("fake", registry=made) == []
    assert asked() == 2
    made = found(fake="")
    for _ in range(2):
        assert source_of(mellea_api.list_models("fake", registry=made)) == {"catalogue"}


def test_a_credential_that_is_missing_is_said_anew_each_time(
    tmp_path: Path, monkeypatch: Any
) -> None:
    (tmp_path / "needs_a_key.py").write_text(GOOD.replace('"never"', '"always"') + COUNTING)
    monkeypatch.syspath_prepend(tmp_path)
    made = registry(backend("fake", "needs_a_key"))
    for _ in range(2):
        with pytest.raises(CredentialError) as caught:
            mellea_api.list_models("fake", registry=made)
        assert caught.value.status is None


# ------------------------------------------------------------------------------- all at once


def test_one_that_fails_or_hangs_or_is_broken_stands_beside_the_others(
    found: Found, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "GRACE", 0.1)
    made = found(
        fake=COUNTING,
        refuses=REFUSES,
        hangs=HANGS,
        exits="\n@hookimpl\ndef list_models(request):\n    raise SystemExit(3)\n",
        broken="\nraise RuntimeError('oops')",
        stuck="\nimport time; time.sleep(60)\n",
    )
    began = time.monotonic()
    listings = mellea_api.list_all_models(timeout=5, registry=made)
    assert time.monotonic() - began < 40
    assert [listing.backend for listing in listings] == sorted(made.names())
    assert [model.id for model in one(listings).models or ()] == ["a", "b"]
    kinds = {listing.backend: type(listing.error) for listing in listings if listing.error}
    assert kinds == {
        "broken": PluginError,
        "exits": PluginError,
        "hangs": RequestTimeoutError,
        "refuses": BackendUnavailableError,
        "stuck": RequestTimeoutError,
    }
    assert all(listing.models is None for listing in listings if listing.error)


def test_aliases_are_listed_once_and_conflicts_with_their_reason(
    found: Found, asked: Asked
) -> None:
    (entry,) = [record.entry_point for record in found(fake=COUNTING).backends()]
    made = registry(
        entry,
        backend("alias", entry.value),
        backend("two", "one_module", "dist-a"),
        backend("two", "one_module", "dist-b"),
    )
    listings = mellea_api.list_all_models(registry=made)
    assert [listing.backend for listing in listings] == ["alias", "two"]
    assert isinstance(one(listings, "two").error, PluginError)
    # Who names them is given them.
    listings = mellea_api.list_all_models(["fake", "alias", "fake"], registry=made)
    assert [listing.backend for listing in listings] == ["fake", "alias"]


def test_arguments_go_to_the_backend_that_they_are_for(found: Found) -> None:
    told = (
        "\n@hookimpl\ndef list_models(request):\n"
        "    return [ModelInfo(id=f'{dict(request.target.settings)} {sorted(request.credentials)}')]\n"
    )
    made = found(one=told, two=told)
    arguments = {"two": {"api_key": "sk-0123456789", "limit": 3}}
    listings = mellea_api.list_all_models(arguments=arguments, registry=made)
    assert [listing.models[0].id for listing in listings if listing.models] == [
        "{} []",
        "{'limit': 3} ['api_key']",
    ]
    assert arguments == {"two": {"api_key": "sk-0123456789", "limit": 3}}
    for names, given in ((["three"], {}), (None, {"three": {}})):
        with pytest.raises(BackendNotFoundError):
            mellea_api.list_all_models(names, arguments=given, registry=made)


def test_inside_a_running_loop_and_from_many_threads(found: Found, asked: Asked) -> None:
    made = found(fake=COUNTING)

    async def inside() -> list[ModelListing]:
        return mellea_api.list_all_models(registry=made)

    assert one(asyncio.run(inside())).error is None
    with ThreadPoolExecutor(16) as pool:
        listings = list(pool.map(lambda _: mellea_api.list_all_models(registry=made), range(64)))
    assert {source_of(one(found).models or ()).pop() for found in listings} == {"cached"}
    assert asked() == 1


def test_a_plugin_that_hangs_does_not_keep_the_program_from_ending(
    tmp_path: Path, found: Found
) -> None:
    (entry,) = [record.entry_point for record in found(hangs=HANGS).backends()]
    program = (
        "import sys\nsys.path[:0] = sys.argv[2:]\n"
        "import mellea_api\nfrom mellea_api._models import listing\n"
        "from support.fake_plugins import backend, registry\n"
        "listing.GRACE = 0.1\n"
        "made = registry(backend('hangs', sys.argv[1]))\n"
        "(found,) = mellea_api.list_all_models(timeout=0.1, registry=made)\n"
        "print(type(found.error).__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, entry.value, *sys.path],
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert done.stdout == "RequestTimeoutError\n", done.stderr
    assert done.returncode == 0
