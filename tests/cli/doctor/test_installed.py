"""What `doctor` says of the distributions that are installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.fake_plugins import GOOD
from support.installing import distribution
from support.reports import row

from mellea_api._diagnosis.doctor import diagnose


def test_damaged_metadata_of_others_hide_nothing(
    doctor: Any, install: Any, only: Any, tmp_path: Path
) -> None:
    install("fake", GOOD)
    only("fake")
    distribution(tmp_path / "site", "somebody-elses", "1.0", entry_points="[a]\nno pair at all\n")
    (tmp_path / "site" / "nameless-1.0.dist-info").mkdir()
    assert row(doctor(), "backends", "fake")["state"] == "ok"


@pytest.mark.parametrize(
    ("version", "state"),
    [
        ("0.2.9", "failed"),
        ("0.3.0", "ok"),
        ("0.5.1", "ok"),
        ("99.0", "warning"),
        ("unknown", "warning"),
    ],
)
def test_mellea_is_held_to_the_versions_that_are_tested(
    only: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, state: str
) -> None:
    distribution(tmp_path, "mellea", version)
    monkeypatch.syspath_prepend(tmp_path)
    (mellea,) = [one for one in diagnose().software if one.name == "mellea"]
    assert (mellea.version, mellea.state) == (version, state)
    assert ("pip check" in mellea.next_step) == (state != "ok")


@pytest.mark.parametrize(
    ("version", "state", "words"),
    [
        ("1.9.9", "failed", "It is too old. Tested are 2.0 to 3.0."),
        ("2.0", "ok", "Tested."),
        ("3.0", "ok", "Tested."),
        ("3.0.1", "warning", "It is newer than what was tested. Tested are 2.0 to 3.0."),
        ("", "failed", "It is not installed."),
    ],
)
def test_an_sdk_is_held_to_the_versions_that_its_plugin_was_tested_with(
    doctor: Any, install: Any, only: Any, tmp_path: Path, version: str, state: str, words: str
) -> None:
    install("fake", GOOD.replace("name=name,", "name=name, tested={'an-sdk': '3.0'},"))
    metadata = tmp_path / "site/dist_fake-1.0.dist-info/METADATA"
    metadata.write_text(metadata.read_text("utf-8") + "Requires-Dist: an-sdk>=2.0,<9\n", "utf-8")
    only("fake")
    if version:
        distribution(tmp_path / "site", "an-sdk", version)
    sdk = row(doctor(), "software", "an-sdk")
    assert (sdk["version"], sdk["state"], sdk["message"]) == (version, state, words)
    assert bool(sdk["next_step"]) == (state != "ok")


def test_where_nothing_is_installed_that_is_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from mellea_api._diagnosis import doctor

    monkeypatch.setattr(doctor, "installed_entry_points", list)
    found = doctor.diagnose()
    assert not found.healthy
    assert [row.name for row in found.software if row.state == "failed"] == ["backends"]
