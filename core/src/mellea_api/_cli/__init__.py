"""The command `mellea-api`.

Exit codes, the same for every command but `run`, which exits as the program does:

| code | meaning |
|---|---|
| 0 | done |
| 1 | an error of the library: the message says what to do next |
| 2 | the command line cannot be understood |
| 3 | the backend cannot be reached, has no time, or did not answer in time |
| 4 | a credential is missing, malformed, rejected, or does not allow this |
| 130 | interrupted |

Messages go to standard error, results to standard output: tables for people, plain where they
go to no terminal, and JSON with `--json`, where an error is `{"error": {"type": …, …}}`.

Nothing here imports click, rich or anything else of weight before the command runs.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Sequence

# Type checkers take it for `typing.TYPE_CHECKING`, which takes milliseconds to import.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from mellea_api._cli.program import Program

__all__ = ["main"]

_GIVEN_UP = ("mellea-api-check-", "mellea-api-models-")
"""How the names begin of threads that a command does not wait for once their time is over."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: The command line without the command's name; None for that of the process,
            which then is over with the command.

    Returns:
        The exit code.
    """
    result = _command(arguments)
    if not isinstance(result, int):
        # Out here, so that nothing of click stands between the program and Python.
        result.run()
        return 0
    # Not where a program calls this: it has more to do.
    whole_process = arguments is None
    if whole_process and any(t.name.startswith(_GIVEN_UP) for t in threading.enumerate()):
        # At the end of its time a thread may be looking up a server's name: Python would wait
        # for that, and whoever runs this as a probe would not.
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(result)
    return result


def _command(arguments: Sequence[str] | None) -> int | Program:
    try:
        import click

        from mellea_api._cli.app import app
        from mellea_api._cli.program import Program

        try:
            given = None if arguments is None else list(arguments)
            result = app.main(given, prog_name="mellea-api", standalone_mode=False)
        except click.Abort:
            return 130
        except click.ClickException as error:
            error.show()
            return error.exit_code
    except KeyboardInterrupt:
        return 130
    if isinstance(result, Program):
        return result
    return result if isinstance(result, int) else 0
