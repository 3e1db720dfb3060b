"""Credentials in files: those that a container mounts, and those that an SDK's login leaves."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping, Sequence
from typing import Final

MOST_BYTES: Final = 64 * 1024
"""More than any credential has; a wrong path may name anything."""
_SHORTEST_SECRET: Final = 16
# One that begins so, or whose folder is there. A slash alone is in many a secret in base64 too.
_PATH: Final = re.compile(r"(?:~\w*|\.{1,2}|[A-Za-z]:|/[\w.-]+)[/\\][^\r\n]*")
_VARIABLE: Final = re.compile(r"\$(\w+)")


class UnusableFileError(ValueError):
    """A file that holds no credential; says why, and nothing of what is in it."""


def read(path: str) -> str:
    """Return the text of a file that holds one credential.

    Args:
        path: Its path; `~` stands for the user's folder.

    Raises:
        FileNotFoundError: If there is no such file.
        UnusableFileError: If it cannot be read, is empty, no regular file, larger than
            `MOST_BYTES`, or no text (UTF-8).
    """
    # Without waiting: nobody may be writing to a named pipe.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        with open(os.path.expanduser(path), "rb", opener=lambda p, _: os.open(p, flags)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UnusableFileError("it is no regular file")
            held = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise
    except IsADirectoryError:
        raise UnusableFileError("it is no regular file") from None
    except OSError as error:
        raise UnusableFileError(f"it cannot be read ({error.strerror or error})") from None
    except ValueError as error:
        if isinstance(error, UnusableFileError):
            raise
        raise UnusableFileError("that is no path") from None  # a NUL in it
    if len(held) > MOST_BYTES:
        raise UnusableFileError(f"it is larger than {MOST_BYTES} bytes")
    try:
        text = held.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise UnusableFileError("it is no text in UTF-8")
    if not text.strip():
        raise UnusableFileError("it is empty")
    return text


def shown_path(path: str) -> str:
    """Return a path as it may be shown; not what may be a secret in the place of a path.

    >>> shown_path("/secrets/key"), shown_path("sk-0123456789abcdefghij")
    ('/secrets/key', '[no path]')
    >>> shown_path("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    '[no path]'
    """
    if len(path) < _SHORTEST_SECRET or _PATH.fullmatch(path) or os.path.exists(path):
        return path
    folder = os.path.dirname(path).strip("/\\")
    return path if folder and os.path.isdir(folder) else "[no path]"


def token_path(templates: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """Return where an SDK keeps a token.

    Args:
        templates: Paths in which `$NAME` stands for a variable. The first whose variables are
            all set is the one that counts.
        environ: The environment.

    >>> token_path(("$A_TOKEN_PATH", "$A_HOME/token", "~/.a/token"), {"A_HOME": "/a"})
    '/a/token'
    """
    for template in templates:
        names = _VARIABLE.findall(template)
        if all(environ.get(name) for name in names):
            path = _VARIABLE.sub(lambda found: environ[found[1]], template)
            return os.path.expanduser(os.path.expandvars(path))
    return None
