"""A folder of this user alone, which may be missing, damaged or read-only: then it is done without.

Files are replaced as a whole, so that a reader sees the old one or the new one.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mellea_api._secrecy.logs import logger

_FORGOTTEN_AFTER: Final = 90 * 24 * 3600.0
"""Seconds after which a file that nobody wrote again is removed."""

_reported: Final[set[Path]] = set()


class Folder:
    """Reads and writes the files of one folder, and raises nothing of what may be wrong with it.

    Args:
        path: Where it is. It is made when something is first written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, name: str) -> bytes | None:
        """Return what a file holds; None if it is not there, or cannot be read."""
        try:
            return (self.path / name).read_bytes() if self._is_ours() else None
        except FileNotFoundError:
            return None
        except OSError as error:
            self.report(f"{name} cannot be read: {error.strerror}")
            return None

    def write(self, name: str, content: bytes) -> None:
        """Replace a file, if that can be done."""
        if not self.make():
            return
        try:
            # For this user alone: mkstemp makes it with mode 0600.
            handle, new = tempfile.mkstemp(dir=self.path, prefix=".new-")
        except OSError as error:
            self.report(f"nothing can be written there: {error.strerror}")
            return
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.replace(new, self.path / name)
        except OSError as error:
            self.report(f"{name} cannot be written: {error.strerror}")
            with contextlib.suppress(OSError):
                os.unlink(new)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with contextlib.suppress(OSError):
            (self.path / name).unlink(missing_ok=True)

    @contextlib.contextmanager
    def alone(self, name: str, patience: float) -> Iterator[bool]:
        """Keep other processes and threads from doing the same at the same time.

        Args:
            name: What is to be done alone.
            patience: Seconds to wait for others.

        Yields:
            Whether nobody else is at it; where a file system knows no locks, nobody can tell.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(str(self.path / f"{name}.lock"), mode=0o600)
        alone = True
        with contextlib.ExitStack() as stack:
            try:
                lock.acquire(timeout=patience)
            except Timeout:
                alone = False
            except (OSError, NotImplementedError):
                pass
            else:
                stack.callback(lock.release)
            yield alone

    def make(self) -> bool:
        """Make the folder if need be; return whether it is there, and this user's alone."""
        if not self.path.is_absolute():
            self.report("there is no home to keep it in")
            return False
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._is_ours():
                return False
            if self.path.stat().st_mode & 0o077:
                self.path.chmod(0o700)
        except OSError as error:
            self.report(f"it cannot be made: {error.strerror}")
            return False
        return True

    def _is_ours(self) -> bool:
        """Whether nobody else put there what is there, as in a cache below a shared `/tmp`."""
        if not self.path.is_absolute():
            return False
        if hasattr(os, "geteuid") and self.path.stat().st_uid != os.geteuid():
            self.report("it belongs to another user")
            return False
        return True

    def forget_old(self, but: str) -> None:
        """Remove the files, but one, that nobody wrote for a season."""
        with contextlib.suppress(OSError):
            for entry in list(os.scandir(self.path)):
                age = time.time() - entry.stat(follow_symlinks=False).st_mtime
                if age > _FORGOTTEN_AFTER and entry.name != but:
                    os.unlink(entry.path)

    def report(self, problem: str) -> None:
        """Say once in a process what is wrong."""
        if self.path not in _reported:
            _reported.add(self.path)
            logger.warning(
                "The cache of model lists in %s does not work, and is done without: %s.",
                *(self.path, problem),
            )
