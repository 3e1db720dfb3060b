"""What is installed, from metadata alone: names, conflicts, and what the environment says."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from support.fake_plugins import backend, extension, registry

from mellea_api import BackendNotFoundError, ConfigurationError, PluginError, Registry


def test_names_are_sorted_and_iteration_and_membership_agree() -> None:
    found = registry(backend("b", "m"), backend("a", "m"), extension("c", "m"))
    assert found.names() == list(found) == ["a", "b"]
    assert "a" in found
    assert "c" not in found
    assert None not in found
    assert repr(found) == "Registry(a, b)"


def test_a_registry_of_nothing_says_so() -> None:
    assert repr(registry()) == "Registry(no backends)"
    with pytest.raises(BackendNotFoundError, match="No backend is installed"):
        registry().backend("fake")


def test_disable_switches_off_backends_and_extensions_and_says_who_did() -> None:
    found = registry(
        backend("a", "m"), backend("b", "m"), extension("p", "m"), MELLEA_API_DISABLE=" a , p,,"
    )
    assert found.names() == ["b"]
    assert [record.state for record in found.backends()] == ["disabled", "found"]
    assert [record.state for record in found.extensions()] == ["disabled"]
    with pytest.raises(BackendNotFoundError, match="MELLEA_API_DISABLE names it") as caught:
        found.backend("a")
    assert caught.value.installed == ("b",)
    assert caught.value.distribution == "dist-one"


def test_plugins_allows_only_those_backends_and_leaves_extensions_alone() -> None:
    found = registry(
        backend("a", "m"), backend("b", "m"), extension("p", "m"), MELLEA_API_PLUGINS="b"
    )
    assert found.names() == ["b"]
    assert [record.state for record in found.extensions()] == ["found"]
    with pytest.raises(BackendNotFoundError, match="MELLEA_API_PLUGINS does not name it"):
        found.backend("a")


def test_disable_wins_over_plugins() -> None:
    assert not registry(backend("a", "m"), MELLEA_API_PLUGINS="a", MELLEA_API_DISABLE="a").names()


def test_empty_variables_count_as_not_set() -> None:
    found = registry(
        backend("a", "m"), MELLEA_API_PLUGINS=" ", MELLEA_API_DISABLE="", MELLEA_API_PREFER=" "
    )
    assert found.names() == ["a"]


def test_two_distributions_with_one_name_are_a_conflict_that_names_both() -> None:
    found = registry(backend("a", "m", "dist-one"), backend("a", "n", "dist-two"))
    assert found.names() == []
    with pytest.raises(PluginError, match="dist-one and dist-two both bring it") as caught:
        found.backend("a")
    assert caught.value.distributions == ("dist-one", "dist-two")
    assert "MELLEA_API_PREFER=a=dist-one" in str(caught.value)


@pytest.mark.parametrize("wanted", ["dist-two", "Dist_Two", "dist.two", "DIST--TWO"])
def test_prefer_chooses_by_the_name_as_packaging_compares_it(wanted: str) -> None:
    found = registry(
        backend("a", "m", "dist-one"),
        backend("a", "n", "dist-two"),
        MELLEA_API_PREFER=f" a = {wanted} ",
    )
    (record,) = found.backends()
    assert record.state == "found"
    assert record.entry_point.value == "n"


def test_prefer_for_a_distribution_that_does_not_bring_it_is_a_conflict() -> None:
    found = registry(backend("a", "m", "dist-one"), MELLEA_API_PREFER="a=dist-three")
    with pytest.raises(PluginError, match="asks for it from dist-three, and it is in dist-one"):
        found.backend("a")


@pytest.mark.parametrize("text", ["a", "a=", "=b", "a=b,c", "="])
def test_a_malformed_prefer_is_an_error_that_names_the_variable(text: str) -> None:
    with pytest.raises(ConfigurationError, match="name=distribution") as caught:
        registry(MELLEA_API_PREFER=text)
    assert caught.value.variable == "MELLEA_API_PREFER"


def test_a_prefer_that_names_two_distributions_for_one_name_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="both b and c"):
        registry(MELLEA_API_PREFER="a=b,a=c")
    named_twice = registry(backend("a", "m", "b-x"), MELLEA_API_PREFER="a=b.x,a=b-x")
    assert named_twice.names() == ["a"]


def test_one_distribution_that_is_seen_twice_is_no_conflict() -> None:
    found = registry(backend("a", "m", "dist-one"), backend("a", "m", "Dist_One", version="0.9"))
    assert found.names() == ["a"]


def test_the_order_of_discovery_does_not_matter() -> None:
    entries = [
        backend("a", "m"),
        backend("a", "n", "dist-two"),
        backend("b", "m"),
        extension("p", "x"),
    ]
    results = {
        str((found.backends(), found.extensions()))
        for order in itertools.permutations(entries)
        for found in [registry(*order)]
    }
    assert len(results) == 1


def test_an_unknown_name_brings_the_nearest_and_a_known_one_its_distribution() -> None:
    found = registry(backend("ollama", "m"))
    with pytest.raises(BackendNotFoundError, match=r"Did you mean 'ollama'\?"):
        found.backend("olama")
    for name, distribution in (("hf", "mellea-api-hf"), ("huggingface", "mellea-api-hf")):
        with pytest.raises(BackendNotFoundError, match=f"pip install {distribution}") as caught:
            found.backend(name)
        assert caught.value.distribution == distribution
        assert caught.value.installed == ("ollama",)


@pytest.mark.parametrize("name", [None, 3, ["a"], "", " a"])
def test_a_name_that_is_none_is_not_found(name: object) -> None:
    with pytest.raises(BackendNotFoundError):
        registry(backend("a", "m")).backend(name)  # type: ignore[arg-type]


# --- really installed metadata -----------------------------------------------------------------


def install(
    folder: Path, name: str, entry_points: str, metadata: str | None = "", version: str = "1.0"
) -> Path:
    """Write a distribution's metadata, as pip leaves them."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    if metadata is not None:
        lines = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{metadata}"
        (info / "METADATA").write_text(lines)
    (info / "entry_points.txt").write_text(textwrap.dedent(entry_points))
    return folder


def discover(*paths: Path, **environ: str) -> tuple[list[str], str]:
    """Discover in another interpreter; return `name state distribution version summary` lines."""
    program = (
        "from mellea_api import Registry\n"
        "for record in Registry.discover().backends():\n"
        "    found = record.entry_point\n"
        "    print(record.name, record.state, found.distribution, found.version, found.summary)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), **environ},
        capture_output=True,
        text=True,
        check=True,
    )
    ours = [line for line in done.stdout.splitlines() if " mellea-api-" not in line]
    return ours, done.stderr


def test_installed_plugins_are_found_with_version_and_summary(tmp_path: Path) -> None:
    install(
        tmp_path,
        "some-dist",
        """
        [mellea_api.backends]
        one = no_such_module
        alias = no_such_module
        """,
        "Summary: A backend for tests\n",
    )
    lines, _ = discover(tmp_path)
    assert lines == [
        "alias found some-dist 1.0 A backend for tests",
        "one found some-dist 1.0 A backend for tests",
    ]


def test_of_one_distribution_installed_twice_the_first_on_the_path_counts(tmp_path: Path) -> None:
    one = install(tmp_path / "one", "some-dist", "[mellea_api.backends]\nx = m\n")
    two = install(tmp_path / "two", "Some.Dist", "[mellea_api.backends]\nx = n\n", version="2.0")
    assert discover(one, two)[0] == ["x found some-dist 1.0 "]
    assert discover(two, one)[0] == ["x found Some.Dist 2.0 "]


def test_two_installed_distributions_with_one_name_are_a_conflict(tmp_path: Path) -> None:
    install(tmp_path, "some-dist", "[mellea_api.backends]\nx = m\n")
    install(tmp_path, "other-dist", "[mellea_api.backends]\nx = m\n")
    assert discover(tmp_path)[0] == ["x conflict other-dist 1.0 "]
    assert discover(tmp_path, MELLEA_API_PREFER="x=some-dist")[0] == ["x found some-dist 1.0 "]


@pytest.mark.parametrize(
    ("entry_points", "metadata"),
    [("[mellea_api.backends]\nno pair at all\n", ""), ("[a]\nno pair at all\n", None)],
    ids=["a plugin", "anything else, without metadata"],
)
def test_a_distribution_that_cannot_be_read_hides_no_other(
    tmp_path: Path, entry_points: str, metadata: str | None
) -> None:
    install(tmp_path, "good-dist", "[mellea_api.backends]\ngood = m\n")
    install(tmp_path, "bad-dist", entry_points, metadata)
    lines, said = discover(tmp_path)
    assert lines == ["good found good-dist 1.0 "]
    assert "Cannot read the entry points of" in said


def test_a_plugin_without_metadata_is_found_all_the_same(tmp_path: Path) -> None:
    install(tmp_path, "bare-dist", "[mellea_api.backends]\nbare = m\n", None)
    assert discover(tmp_path)[0] == ["bare found an unnamed distribution  "]


def test_the_registry_does_not_change_when_something_is_installed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    before = Registry.discover()
    install(tmp_path, "late-dist", "[mellea_api.backends]\nlate = m\n")
    assert "late" not in before
    assert "late" in Registry.discover()
