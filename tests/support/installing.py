"""Let a project or a plugin count as installed, without building anything."""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path


def install(project: Path, into: Path) -> bool:
    """Write what an installer would write of a project's metadata.

    Args:
        project: Its `pyproject.toml`.
        into: A folder that will be on the path.

    Returns:
        Whether that was needed: one that is installed already is left alone.
    """
    about = tomllib.loads(project.read_text("utf-8"))["project"]
    if any(metadata.distributions(name=about["name"])):
        return False
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in about.get("entry-points", {}).items()
    ]
    distribution(into, about["name"], about["version"], entry_points="\n".join(lines))
    return True


def distribution(
    site: Path, name: str, version: str, *, entry_points: str = "", extra: str = ""
) -> None:
    """Write the metadata of a distribution that is installed in a folder.

    Args:
        site: The folder.
        name: The distribution's name.
        version: Its version.
        entry_points: The text of `entry_points.txt`.
        extra: Further lines of `METADATA`.
    """
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (folder / "METADATA").write_text(f"{head}{extra}")
    (folder / "entry_points.txt").write_text(entry_points)
