"""Where a credential comes from: each place in its order, what is set and not used, and what a file may be."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.canary import CANARY
from support.fake_options import described

from mellea_api import ConfigurationError, CredentialFinding, Secret
from mellea_api._credentials.find import (
    MOST_BYTES,
    find_credential,
    find_credentials,
    token_path,
)
from mellea_api._secrecy.secrets import redact
from mellea_api.plugin import CredentialField, CredentialQuery, Target

FIELD = CredentialField(
    name="api_key",
    variables=("FIRST_KEY", "SECOND_KEY"),
    token_file=("$FAKE_TOKEN_PATH", "$FAKE_HOME/token"),
)
FIELDS = (FIELD, CredentialField(name="project", variables=("PROJECT",), secret=False))
KEY = "sk-0123456789abcdefghij"


def set_variables(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def target() -> Target:
    return Target(descriptor=described(credentials=FIELDS).descriptor, model_id="m")


def vault(query: CredentialQuery) -> Secret | None:
    return Secret("from-the-vault", source="vault") if query.field.name == "api_key" else None


@pytest.mark.parametrize(
    ("arguments", "environ", "with_vault", "expected"),
    [
        ({"api_key": "a" * 8}, {"FIRST_KEY": "b", "SECOND_KEY": "c"}, True, "argument"),
        ({}, {"FIRST_KEY": "b", "SECOND_KEY": "c"}, True, "environment variable FIRST_KEY"),
        ({}, {"FIRST_KEY": " ", "SECOND_KEY": "c"}, True, "environment variable SECOND_KEY"),
        ({"api_key": None}, {"SECOND_KEY": "c"}, True, "environment variable SECOND_KEY"),
        ({"api_key": ""}, {"SECOND_KEY": "c"}, True, "environment variable SECOND_KEY"),
        ({}, {}, True, "vault"),
        ({}, {}, False, None),
        ({"api_key": Secret("mine-alone", source="my file")}, {"FIRST_KEY": "b"}, True, "my file"),
    ],
)
def test_the_first_place_that_has_it_counts(
    arguments: dict[str, Any],
    environ: dict[str, str],
    with_vault: bool,
    expected: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_variables(monkeypatch, **environ)
    found, _ = find_credentials(target(), arguments, vault if with_vault else None)
    assert (found["api_key"].source if "api_key" in found else None) == expected


PLACES = [
    "argument",
    "FIRST_KEY",
    "SECOND_KEY",
    "FIRST_KEY_FILE",
    "SECOND_KEY_FILE",
    "vault",
    "token",
]


@given(there=st.sets(st.sampled_from(PLACES)))
def test_the_places_have_one_order_and_variables_and_files_that_are_not_used_are_named(
    there: set[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("sources")
    environ, names, asked = {"FAKE_HOME": str(folder)}, {}, []
    for place in PLACES:
        names[place] = place
        if place.endswith("_FILE"):
            names[place] = f"file {folder / place} ({place})"
        elif place.endswith("_KEY"):
            names[place] = f"environment variable {place}"
    names["token"] = f"token file {folder / 'token'}"
    for place in there:
        if place.endswith("_FILE") or place == "token":
            (folder / place).write_text(f"value-of-{place}\n")
        if place.endswith("_FILE"):
            environ[place] = str(folder / place)
        elif place.endswith("_KEY"):
            environ[place] = f"value-of-{place}"

    def some_vault(query: CredentialQuery) -> Secret | None:
        asked.append(query.field.name)
        return Secret("value-of-vault", source="vault") if "vault" in there else None

    with pytest.MonkeyPatch.context() as monkeypatch:
        set_variables(monkeypatch, **environ)
        secret, found = find_credential(
            target(),
            FIELD,
            "value-of-argument" if "argument" in there else None,
            vault=some_vault,
        )
    order = [place for place in PLACES if place in there]
    if not order:
        assert (secret, found.status) == (None, "missing")
        assert (found.source, found.shadowed) == ("", ())
        return
    assert secret is not None
    assert secret.reveal() == f"value-of-{order[0]}"
    assert found.status == "present"
    assert found.source == secret.source == names[order[0]]
    assert list(found.shadowed) == [names[place] for place in order[1:] if place != "vault"]
    assert asked == ([] if PLACES.index(order[0]) < PLACES.index("vault") else ["api_key"])
    assert "value-of" not in repr(found)


@given(value=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60))
def test_a_hint_is_at_most_four_characters_of_a_long_value(value: str) -> None:
    _, (found, _) = find_credentials(target(), {"api_key": value})
    shown = found.hint.removeprefix("…")
    assert len(shown) <= 4
    assert not shown or (len(value) >= 20 and value.endswith(shown))


def test_the_vault_is_not_asked_for_what_is_known() -> None:
    asked: list[str] = []

    def noting(query: CredentialQuery) -> Secret | None:
        asked.append(query.field.name)
        return None

    find_credentials(target(), {"api_key": KEY}, noting)
    assert asked == ["project"]


def test_white_space_around_a_value_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECOND_KEY", f" {KEY}\n")
    assert find_credentials(target(), {})[0]["api_key"].reveal() == KEY


@pytest.mark.parametrize("value", [3, b"sk-bytes", ["a"], True])
def test_an_argument_that_is_no_text_is_refused_without_being_shown(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="not text") as caught:
        find_credentials(target(), {"api_key": value})
    assert repr(value) not in str(caught.value)


# ------------------------------------------------------------------------------------- files


def from_file(path: object, **environ: str) -> tuple[Secret | None, CredentialFinding]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        set_variables(monkeypatch, FIRST_KEY_FILE=str(path), **environ)
        return find_credential(target(), FIELD)


@pytest.mark.parametrize(
    "content",
    [KEY, f"{KEY}\n", f"\ufeff{KEY}\r\n", f"  {KEY}\n\n"],
    ids=["bare", "line", "bom", "space"],
)
def test_a_file_holds_the_value_whatever_an_editor_left_around_it(
    content: str, tmp_path: Path
) -> None:
    path = tmp_path / "key"
    path.write_text(content, "utf-8", newline="")
    secret, found = from_file(path)
    assert secret is not None
    assert secret.reveal() == KEY
    assert found.source == f"file {path} (FIRST_KEY_FILE)"


def unusable_files(folder: Path) -> dict[str, tuple[Path, str]]:
    files = {
        "none": (folder / "none", "there is no such file"),
        "folder": (folder / "folder", "it cannot be read (Is a directory)"),
        "empty": (folder / "empty", "it is empty"),
        "blank": (folder / "blank", "it is empty"),
        "binary": (folder / "binary", "it is not UTF-8 text"),
        "utf-16": (folder / "utf-16", "it is not UTF-8 text"),
        "nul": (folder / "nul", "it is not UTF-8 text"),
        "large": (folder / "large", f"it is larger than {MOST_BYTES} bytes"),
        "pipe": (folder / "pipe", "it is not a regular file"),
        "loop": (folder / "loop", "it cannot be read"),
        "long": (folder / ("x" * 5000), "it cannot be read"),
    }
    files["folder"][0].mkdir()
    files["empty"][0].write_bytes(b"")
    files["blank"][0].write_bytes(b" \n\n")
    files["binary"][0].write_bytes(b"\xff\xfe\xfa" * 9)
    files["utf-16"][0].write_bytes(KEY.encode("utf-16"))
    files["nul"][0].write_bytes(b"sk-\x00abc")
    files["large"][0].write_bytes(b"k" * (MOST_BYTES + 1))
    os.mkfifo(files["pipe"][0])
    files["loop"][0].symlink_to(files["loop"][0])
    return files


def test_a_file_that_was_named_and_cannot_be_used_is_said_and_nothing_else_is_taken(
    tmp_path: Path,
) -> None:
    token = tmp_path / "token"
    token.write_text(KEY)
    for path, why in unusable_files(tmp_path).values():
        with pytest.MonkeyPatch.context() as monkeypatch:
            set_variables(monkeypatch, FIRST_KEY_FILE=str(path), FAKE_TOKEN_PATH=str(token))
            secret, found = find_credential(target(), FIELD, vault=vault)
        assert secret is None
        assert (found.status, found.source) == ("malformed", f"file {path} (FIRST_KEY_FILE)")
        assert why in found.reason
        assert found.shadowed == (f"token file {token}",)
        # Where another place counts, it is still named.
        secret, found = from_file(path, FIRST_KEY=KEY)
        assert secret is not None
        assert (found.source, found.status) == ("environment variable FIRST_KEY", "present")
        assert found.shadowed == (f"file {path} (FIRST_KEY_FILE)",)


def test_a_file_as_large_as_allowed_is_read(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"k" * MOST_BYTES)
    assert from_file(tmp_path / "key")[1].status == "present"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "key").chmod(0)
    assert "it cannot be read (Permission denied)" in from_file(tmp_path / "key")[1].reason


@pytest.mark.parametrize(
    "key",
    [
        KEY,
        "eyJhbGciOi.eyJzdWIi.c2lnbmF0dXJl",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "/JalrXUtnFEMIbK7MDENGabPxRfiCYEXAMPLEKEY",
        "-----BEGIN PRIVATE KEY-----\nMIIE/vQIBADANBg\n-----END PRIVATE KEY-----",
        '{"type": "service_account", "private_key": "MIIE/vQIBADANBg"}',
    ],
)
def test_a_key_in_the_place_of_a_path_is_not_shown(key: str) -> None:
    _, found = from_file(key)
    assert found.reason == "there is no such file"
    assert found.source == "file [no path] (FIRST_KEY_FILE)"
    assert key not in repr(found)


@pytest.mark.parametrize(
    "path", ["/run/secrets/nobody-mounted/it", "~/no/such/file-of-mine", "./no/such/file-here"]
)
def test_a_path_at_which_there_is_nothing_is_shown(path: str) -> None:
    assert from_file(path)[1].source == f"file {path} (FIRST_KEY_FILE)"


def test_the_users_folder_may_be_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "key").write_text(KEY)
    secret, _ = from_file("~/key")
    assert secret is not None
    assert secret.reveal() == KEY


def test_a_token_file_need_not_be_there_and_one_that_cannot_be_read_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_HOME", str(tmp_path))
    _, found = find_credential(target(), FIELD)
    assert (found.status, found.reason) == ("missing", "")
    (tmp_path / "token").write_bytes(b"\xff\xff")
    _, found = find_credential(target(), FIELD)
    assert found.status == "missing"
    assert found.reason == f"token file {tmp_path / 'token'}: it is not UTF-8 text"
    (tmp_path / "token").write_text(KEY)
    secret, _ = find_credential(target(), FIELD)
    assert secret is not None


def test_what_is_no_secret_is_shown_wherever_it_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    field = CredentialField(
        name="project", variables="PROJECT", token_file="$FAKE_HOME/project", secret=False
    )
    (tmp_path / "project").write_text("project-4711")
    monkeypatch.setenv("FAKE_HOME", str(tmp_path))
    found, _ = find_credential(target(), field)
    assert found is not None
    assert found.source == f"token file {tmp_path / 'project'}"
    assert redact("no project-4711 here") == "no project-4711 here"


def test_the_first_path_whose_variables_are_set_is_the_token_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    templates = ("$A_PATH", "$A_HOME/token", "~/.a/token")
    assert token_path(templates) == os.path.expanduser("~/.a/token")
    assert token_path(()) is None
    set_variables(monkeypatch, A_HOME="/a", A_PATH="")
    assert token_path(templates) == "/a/token"
    monkeypatch.setenv("A_PATH", "/b")
    assert token_path(templates) == "/b"


def test_what_goes_wrong_shows_no_secret_of_another_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNRELATED_PASSWORD", CANARY)
    kept = [Secret(CANARY, source="a test")]  # else it would not be known for one

    def broken_vault(query: CredentialQuery) -> Secret | None:
        raise RuntimeError("sealed")

    for argument, asked in ((3, None), (None, broken_vault)):
        with pytest.raises((ConfigurationError, RuntimeError)) as caught:
            find_credentials(target(), {"api_key": argument}, asked)
        # Without what shows errors as pickles or JSON: the vault's is no error of this library.
        for name, frame in _variables(caught.value):
            assert CANARY not in repr(frame), name
    assert kept


def _variables(error: BaseException) -> Iterator[tuple[str, Any]]:
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if "mellea_api" in frame.f_code.co_filename:
            yield from frame.f_locals.items()
