"""Call a function in a fresh interpreter, and keep what it says.

An import cannot be abandoned: it may hold the lock that every other import waits for, exit, or
crash the interpreter, and what it leaves behind stays. So a plugin that nobody trusts yet is
imported in a process of its own. Only there is it known how long the import takes.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from mellea_api._provider.folder import OwnFolder

# The parent's path, so that both find the same plugin; -P, because Python would add to it.
_CODE: Final = (
    "import json, sys; job = json.loads(sys.argv[1]); sys.path[:] = job['path']; "
    "from mellea_api._provider.apart import _run; _run(**job)"
)


class NotStartedError(RuntimeError):
    """The interpreter could not be started."""


class FailedApartError(RuntimeError):
    """The function did not return: it took too long, or the process ended; says how.

    Args:
        how: The end of a sentence.
        stderr: What the process wrote to standard error.
    """

    def __init__(self, how: str, stderr: str = "") -> None:
        super().__init__(how)
        self.stderr = stderr


def call_apart(function: Callable[..., Any], timeout: float, *arguments: Any) -> Any:
    """Call a function in a fresh interpreter, and return what it returns.

    Args:
        function: A function of a module. It takes and returns JSON.
        timeout: Seconds that it may take, with the start of the process.
        arguments: Its arguments.

    Raises:
        NotStartedError: If there is no process, as on a file system that is read-only.
        FailedApartError: If it did not return.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="mellea-api-") as folder:
            answer, errors = Path(folder) / "answer.json", Path(folder) / "stderr"
            job = {
                "path": sys.path,
                "function": [function.__module__, function.__name__],
                "arguments": arguments,
                "answer": str(answer),
            }
            # A file, since a process that the function has started would keep a pipe open.
            with errors.open("wb") as stderr:
                done = subprocess.run(
                    [sys.executable, "-P", "-c", _CODE, json.dumps(job)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=stderr,
                    timeout=timeout,
                    check=False,
                )
            if answer.exists():
                return json.loads(answer.read_text("utf-8"))
            said = errors.read_text("utf-8", "replace").strip()
    except subprocess.TimeoutExpired:
        raise FailedApartError(f"took more than {timeout:g} s") from None
    except (OSError, TypeError) as error:  # an embedded Python does not know its own file
        raise NotStartedError(f"no process could be started: {error}") from None
    raise FailedApartError(f"ended the process: {_ending(done.returncode)}", said)


def ask_apart(
    function: Callable[[str], Any], question: str, *, folder: str, timeout: float, here: bool
) -> Any:
    """Return an answer that was kept, or else ask a function in a fresh interpreter.

    This is for what follows from the software that is installed, and takes an import of seconds.
    An answer is kept in the user's cache folder, for this and other processes.

    Args:
        function: A function of a module. It takes a text and returns JSON.
        question: Its argument.
        folder: Under which name answers are kept: with the version of all that they follow from.
        timeout: Seconds that it may take.
        here: Whether to ask in this process instead, which has the import behind it. Such an
            answer is not kept: the program may have changed what was imported.

    Raises:
        RuntimeError: If it did not return; says why. Its `stderr` is what the process wrote there.
    """
    import platformdirs

    files = OwnFolder(platformdirs.user_cache_path("mellea-api", appauthor=False) / folder)
    name = f"{hashlib.sha256(question.encode()).hexdigest()}.json"
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):  # none, or damaged
        return json.loads(files.read(name))[question]
    if here:
        return function(question)
    answer = call_apart(function, timeout, question)
    with contextlib.suppress(OSError):
        files.keep(name, json.dumps({question: answer}))
    return answer


def _ending(code: int) -> str:
    try:
        return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def _run(path: object, function: list[str], arguments: list[Any], answer: str) -> None:
    """Call the function, write its answer, and end the process, which is the new one."""
    module, name = function
    returned = getattr(importlib.import_module(module), name)(*arguments)
    written = Path(f"{answer}.part")
    written.write_text(json.dumps(returned), "utf-8")
    written.rename(answer)
    os._exit(0)  # whatever threads and exit handlers the function has left
