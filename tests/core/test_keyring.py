"""The system's keyring: asked last, of named backends alone, never for long, and never missed where it fails."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("keyring")

import keyring
import keyring.errors
from keyring.backends import fail, null
from support.canary import CANARY, drawn, found_in, shown
from support.fake_plugins import GOOD, backend, registry
from support.keyrings import MemoryKeyring

import mellea_api
from mellea_api import CredentialError, Registry, Secret
from mellea_api._credentials import system_keyring
from mellea_api._credentials.find import find_credential
from mellea_api._credentials.judge import credential_error
from mellea_api._credentials.system_keyring import KeyringUnusableError, NoKeyringError
from mellea_api.plugin import CredentialField

KEY = "sk-0123456789abcdefghij"
NEEDED = GOOD.replace('required="never"', 'required="always"')


@pytest.fixture
def held() -> Iterator[MemoryKeyring]:
    """The keyring that the library has."""
    before = keyring.get_keyring()
    made = MemoryKeyring()
    keyring.set_keyring(made)
    yield made
    made.gate.set()
    keyring.set_keyring(before)


@pytest.fixture
def needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """A registry with a backend, `fake`, that needs a key."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "plugin_that_needs_a_key.py").write_text(NEEDED)
    importlib.invalidate_caches()
    yield registry(backend("fake", "plugin_that_needs_a_key"))
    sys.modules.pop("plugin_that_needs_a_key", None)


def hold(held: MemoryKeyring, value: Any = KEY) -> None:
    held.values["mellea-api", "fake.api_key"] = value


def test_what_is_nowhere_else_is_found_in_the_keyring(
    held: MemoryKeyring, needed: Registry
) -> None:
    hold(held)
    report = mellea_api.validate_credentials("fake", registry=needed)
    assert (report.status, report.fields[0].source, report.fields[0].hint) == (
        "present",
        "keyring",
        "…ghij",
    )
    assert held.asked == ["fake.api_key"]
    assert KEY not in repr(report)


def test_it_is_not_asked_for_what_another_place_has(
    held: MemoryKeyring, needed: Registry, tmp_path: Path
) -> None:
    hold(held)
    target = needed.backend("fake").target()
    (field,) = target.descriptor.credentials
    (tmp_path / "key").write_text(KEY)
    vault = lambda query: Secret(KEY, source="vault")  # noqa: E731
    for given, environ, asked in (
        (KEY, {}, None),
        (None, {"FAKE_API_KEY": KEY}, None),
        (None, {"FAKE_API_KEY_FILE": str(tmp_path / "key")}, None),
        (None, {"FAKE_API_KEY_FILE": str(tmp_path / "none")}, None),
        (None, {}, vault),
    ):
        with pytest.MonkeyPatch.context() as patched:
            for name, value in environ.items():
                patched.setenv(name, value)
            _, found = find_credential(target, field, given, vault=asked, keyring=True)
        assert found.source != "keyring"
        assert "keyring" not in found.shadowed
    assert held.asked == []
    token = CredentialField(name="api_key", token_file=(str(tmp_path / "key"),))
    _, found = find_credential(target, token, keyring=True)
    assert found.source == f"token file {tmp_path / 'key'}"
    assert held.asked == []


def test_only_secrets_are_looked_for_under_the_name_that_the_field_gives(
    held: MemoryKeyring, needed: Registry
) -> None:
    target = needed.backend("fake").target()
    find_credential(target, CredentialField(name="project", secret=False), keyring=True)
    assert held.asked == []
    find_credential(target, CredentialField(name="api_key", entry="fake.north.key"), keyring=True)
    assert held.asked == ["fake.north.key"]


@pytest.mark.parametrize(
    "use",
    [
        lambda found: mellea_api.validate_credentials("fake", keyring=False, registry=found),
        lambda found: mellea_api.list_all_models(registry=found),
        lambda found: mellea_api.list_all_models(freshness="offline", registry=found),
        lambda found: mellea_api.explain_options("fake", {"seed": 1}, registry=found),
        lambda found: [record.name for record in found.backends()],
    ],
    ids=["not wanted", "all models", "all models offline", "explain", "backends"],
)
def test_it_is_left_alone_where_no_credential_is_needed_now(
    held: MemoryKeyring, needed: Registry, use: Callable[[Registry], Any]
) -> None:
    hold(held)
    use(needed)
    assert held.asked == []


FAILURES = [
    (keyring.errors.KeyringLocked("Failed to unlock the collection!"), "the keyring is locked"),
    (keyring.errors.InitError("no session"), "the keyring failed: InitError: no session"),
    (RuntimeError("org.freedesktop.DBus.Error"), "the keyring failed: RuntimeError"),
    (SystemExit(3), "the keyring failed: SystemExit"),
    (KeyboardInterrupt(), "the keyring failed: KeyboardInterrupt"),
]


@pytest.mark.parametrize(("failure", "said"), FAILURES, ids=lambda given: type(given).__name__)
def test_one_that_cannot_be_read_is_said_with_the_reason_and_the_rest_goes_on(
    held: MemoryKeyring,
    needed: Registry,
    failure: BaseException,
    said: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    held.failure = failure
    report = mellea_api.validate_credentials("fake", registry=needed)
    assert report.status == "missing"
    assert said in report.message
    assert said in report.fields[0].reason
    with pytest.raises(CredentialError, match=said):
        mellea_api.start_session("fake", registry=needed)
    optional = CredentialField(name="api_key", required="never")
    target = needed.backend("fake").target()
    _, found = find_credential(target, optional, keyring=True)
    assert credential_error(target, [found]) is None
    assert said in found.reason


def test_a_session_that_goes_on_without_it_says_so(
    held: MemoryKeyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "plugin_with_a_key.py").write_text(GOOD)
    importlib.invalidate_caches()
    found = registry(backend("fake", "plugin_with_a_key"))
    held.failure = keyring.errors.KeyringLocked()
    with caplog.at_level(logging.INFO, "mellea_api"), pytest.raises(mellea_api.PluginError):
        mellea_api.start_session("fake", registry=found)  # a fake has no sessions
    assert "no api_key for fake: the keyring is locked" in caplog.text
    sys.modules.pop("plugin_with_a_key", None)


def test_one_that_hangs_is_given_up(held: MemoryKeyring) -> None:
    hold(held)
    held.gate.clear()
    with pytest.raises(KeyringUnusableError, match=r"did not answer within 0\.05 s"):
        system_keyring.read("fake.api_key", 0.05)
    held.gate.set()
    assert system_keyring.read("fake.api_key") == KEY


def test_what_is_no_text_is_refused_without_being_shown(held: MemoryKeyring) -> None:
    hold(held, b"sk-bytes")
    with pytest.raises(KeyringUnusableError, match="gave a bytes instead of text") as caught:
        system_keyring.read("fake.api_key")
    assert "sk-" not in str(caught.value)


@pytest.mark.parametrize("kind", [fail.Keyring, null.Keyring])
def test_a_machine_without_a_keyring_has_no_value_in_it(
    held: MemoryKeyring, needed: Registry, kind: Any
) -> None:
    keyring.set_keyring(kind())
    report = mellea_api.validate_credentials("fake", registry=needed)
    assert (report.status, report.fields[0].reason) == ("missing", "")
    for use in (
        lambda: system_keyring.read("x"),
        lambda: system_keyring.write("x", Secret("y", source="a test"), 5),
        lambda: system_keyring.delete("x", 5),
    ):
        with pytest.raises(NoKeyringError, match="cannot be used"):
            use()


def test_without_the_library_there_is_none(
    needed: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)  # as if it were not installed
    assert not system_keyring.installed()
    assert mellea_api.validate_credentials("fake", registry=needed).status == "missing"
    with pytest.raises(NoKeyringError, match="not installed"):
        system_keyring.read("x")


def test_what_was_left_alone_is_said_where_something_is_missed(needed: Registry) -> None:
    report = mellea_api.validate_credentials("fake", keyring=False, registry=needed)
    assert "the keyring was not asked" in report.message
    (listing,) = mellea_api.list_all_models(registry=needed)
    assert "the keyring was not asked" in str(listing.error)


def test_a_named_backends_models_are_asked_for_with_the_key_in_it(
    held: MemoryKeyring, needed: Registry
) -> None:
    hold(held)
    assert [model.id for model in mellea_api.list_models("fake", registry=needed)] == ["small"]
    assert set(held.asked) == {"fake.api_key"}


def test_a_keyring_that_refuses_shows_nowhere_what_it_was_to_keep(held: MemoryKeyring) -> None:
    secret = Secret(CANARY, source="a test")
    held.failure = RuntimeError(f"cannot keep {CANARY}")
    with pytest.raises(KeyringUnusableError) as caught:
        system_keyring.write("fake.api_key", secret, 5)
    for where, text in (*shown(caught.value), *drawn(caught.value)):
        assert not found_in(text), where
