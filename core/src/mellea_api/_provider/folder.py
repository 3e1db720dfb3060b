"""A folder for files that this and other processes of the user may read, and nobody else change."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path


class OwnFolder:
    """A folder of this user's. Safe to use from many threads and processes.

    A file is written beside its place and moved there: a reader sees the old one or the new one.

    Args:
        path: Where it is. It is made when something is first kept, for its owner alone.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, name: str) -> bytes:
        """Return what a file holds.

        Raises:
            OSError: If it cannot be read, or the folder is not safe.
        """
        self._check()
        return (self._path / name).read_bytes()

    def keep(self, name: str, text: str) -> None:
        """Write a file, or replace it.

        Raises:
            OSError: If it cannot be written, or the folder is not safe.
        """
        self._check()
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, new = tempfile.mkstemp(dir=self._path, prefix=".new-")  # with mode 0600
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(new, self._path / name)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(new)
            raise

    def _check(self) -> None:
        """Raise unless nobody else owns the folder, writes to it, or leads to it.

        A folder that is not there yet is safe, unless somebody else's link leads to its place.
        """
        if not self._path.is_absolute():
            raise PermissionError("there is no home to keep it in")
        if not hasattr(os, "geteuid"):
            return
        links = (place for place in self._path.parents if place.is_symlink())
        owners = {place.lstat().st_uid for place in links} - {0}
        shared = 0
        if os.path.lexists(self._path):
            owners |= {self._path.lstat().st_uid, self._path.stat().st_uid}
            shared = self._path.stat().st_mode & 0o022
        if owners - {os.geteuid()}:
            raise PermissionError("it, or a link to it, belongs to another user")
        if shared:
            raise PermissionError("others may write to it")
