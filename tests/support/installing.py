"""Let a project count as installed, without building anything."""

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
    folder = into / f"{about['name'].replace('-', '_')}-{about['version']}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n"
    )
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in about.get("entry-points", {}).items()
    ]
    (folder / "entry_points.txt").write_text("\n".join(lines))
    return True
