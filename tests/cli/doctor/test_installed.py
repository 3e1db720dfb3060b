"""What `doctor` says of the distributions that are installed."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from support.fake_plugins import GOOD
from support.installing import distribution
from support.reports import row

import mellea_api
from mellea_api._diagnosis.software import software


def test_damaged_metadata_are_told_and_hide_nothing(
    doctor: Any, install: Any, only: Any, tmp_path: Path
) -> None:
    install("fake", GOOD)
    only("fake")
    site = tmp_path / "site"
    distribution(
        site, "mellea-api-damaged", "1.0", entry_points="[mellea_api.backends]\nno pair at all\n"
    )
    distribution(site, "somebody-elses", "1.0", entry_points="[a]\nno pair at all\n")
    (site / "nameless-1.0.dist-info").mkdir()
    found = doctor()
    assert row(found, "software", "mellea-api-damaged")["state"] == "error"
    assert row(found, "software", "somebody-elses")["state"] == "warning"
    assert any("nameless-1.0" in row["message"] for row in found["software"])
    assert row(found, "backends", "fake")["state"] == "ok"


def test_what_a_plugin_asks_for_and_does_not_get_is_an_error(
    doctor: Any, install: Any, only: Any, tmp_path: Path
) -> None:
    install("fake", GOOD)
    only("fake")
    written = tmp_path / "site/dist_fake-1.0.dist-info/METADATA"
    asked = (
        "mellea-api<0.0.1",
        "nowhere-to-be-had>=2; python_version > '3'",
        "not-asked-for; extra == 'more'",
        "pluggy[nonsense]>=1",
        "still-in-the-making>=1",
        "odd-version>=1",
        "openai>=1; python_version < '3'",
        "(((",
    )
    written.write_text(written.read_text() + "".join(f"Requires-Dist: {one}\n" for one in asked))
    distribution(tmp_path / "site", "still-in-the-making", "2.0rc1")
    distribution(tmp_path / "site", "odd-version", "unknown")
    found = doctor()
    assert row(found, "software", "still-in-the-making")["state"] == "ok"
    assert "unknown is installed" in row(found, "software", "odd-version")["message"]
    missing = row(found, "software", "nowhere-to-be-had")
    assert (missing["state"], missing["version"]) == ("error", "")
    assert "dist-fake asks for nowhere-to-be-had>=2, and it is not installed" in missing["message"]
    wrong = [one for one in found["software"] if one["name"] == "mellea-api"]
    assert [one["state"] for one in wrong] == ["ok", "error"]
    assert "not-asked-for" not in {one["name"] for one in found["software"]}


def test_an_sdk_that_an_extra_brings_is_missed_too(
    doctor: Any, install: Any, only: Any, tmp_path: Path
) -> None:
    install("fake", GOOD)
    only("fake")
    site = tmp_path / "site"
    distribution(
        site,
        "a-framework",
        "1.0",
        extra="Provides-Extra: sdk\nRequires-Dist: the-sdk>=1; extra == 'sdk'\nRequires-Dist: never-mind\n",
    )
    written = site / "dist_fake-1.0.dist-info/METADATA"
    written.write_text(written.read_text() + "Requires-Dist: a-framework[sdk]\n")
    found = doctor()
    assert "a-framework asks for" not in str(found)
    assert row(found, "software", "the-sdk")["state"] == "error"
    assert "never-mind" not in str(found)


@pytest.mark.parametrize(
    ("version", "state"),
    [
        ("0.2.9", "error"),
        ("0.3.0", "ok"),
        ("0.5.1", "ok"),
        ("99.0", "warning"),
        ("unknown", "warning"),
    ],
)
def test_mellea_is_held_to_the_versions_that_are_tested(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, state: str
) -> None:
    installed = metadata.version("mellea")
    distribution(tmp_path, "mellea", version)
    monkeypatch.syspath_prepend(tmp_path)
    found = [one for one in software([]) if one.name == "mellea"]
    assert (found[0].version, found[0].state) == (version, state)
    assert ("more than once" in found[-1].message) == (version != installed)


def test_a_plugin_of_this_project_has_the_cores_version(
    doctor: Any, install: Any, only: Any
) -> None:
    install("fake", GOOD, distribution="mellea-api-watsonx")
    only("fake")
    fake = row(doctor(), "backends", "fake")
    assert fake["state"] == "warning"
    assert mellea_api.__version__ in fake["message"]


def test_where_nothing_is_installed_that_is_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from mellea_api._diagnosis import doctor

    monkeypatch.setattr(doctor, "installed_entry_points", list)
    found = doctor.diagnose()
    assert not found.healthy
    assert [row.name for row in found.software if row.state == "error"] == ["backends"]
