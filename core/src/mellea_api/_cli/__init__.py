"""The command `mellea-api`.

Exit codes, the same for every command but `run`, which exits as the program does:

| code | meaning |
|---|---|
| 0 | done |
| 1 | an error of the library: the message says what to do next |
| 2 | the command line cannot be understood |
| 3 | the backend cannot be reached, limits the rate, or did not answer in time |
| 4 | a credential is missing, malformed, rejected, or does not allow this |
| 130 | interrupted |

Messages go to standard error, results to standard output: tables for people (plain lines unless
it is a terminal), and JSON with `--json`, where an error is `{"error": {"type": …, …}}`.

Nothing here imports click, rich or anything else that is slow before the command runs.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Sequence

_ABANDONED = ("mellea-api-check-", "mellea-api-models-")
"""How the names begin of threads that a command does not wait for once their time is over."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: The command line without the command's name; None for that of the process,
            which then ends with the command.

    Returns:
        The exit code.
    """
    code = _run(arguments)
    if arguments is None and any(t.name.startswith(_ABANDONED) for t in threading.enumerate()):
        # A thread whose time is over may still be looking up a server's name. Python would wait
        # for it; a monitor that runs this command as a probe would not.
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    return code


def _run(arguments: Sequence[str] | None) -> int:
    try:
        import click

        from mellea_api._cli.app import app

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
    return result if isinstance(result, int) else 0
