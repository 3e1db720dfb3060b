"""`mellea-api run`: a program written for Mellea, on the registry."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import click

_EXECVE: Final = os.name == "posix"
"""Windows starts a new process instead of replacing this one, and ends this one at once."""


class _RunCommand(click.Command):
    """Leaves the whole line to Python, but for a request for help."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ours = args[:1] in ([], ["-h"], ["--help"])
        return super().parse_args(ctx, args if ours else ["--", *args])


@click.command(cls=_RunCommand)
@click.option("-m", metavar="MODULE", expose_value=False, help="Run a module, as python -m does.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="PROGRAM.py [ARGS]...")
def run(arguments: Sequence[str]) -> None:
    """Run PROGRAM.py as Python would, with all installed backends behind `start_session`.

    For that program and the Python processes that it starts, `mellea.start_session`,
    `mellea.stdlib.session.start_session` and `start_backend` are those of this library: the same
    model options mean the same on every backend. Unknown options are passed on to the provider.
    The program's arguments, exit code and tracebacks are its own.
    """
    if not arguments:
        raise click.UsageError("Name a program, or a module with -m.")
    first = arguments[0]
    if first.startswith("-") and first != "--" and not first.startswith("-m"):
        raise click.NoSuchOption(first)  # Python's own flags are those of this process
    # Python's -E, and -I with it, would ignore our PYTHONPATH too: what they ignore is taken out
    # instead.
    ignored = "PYTHON" if sys.flags.ignore_environment else "\0"
    environment = {key: value for key, value in os.environ.items() if not key.startswith(ignored)}
    site = str(Path(__file__).parent / "_site")  # our `sitecustomize`, which runs first
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (site, environment.get("PYTHONPATH"))))
    command = [sys.executable, *_flags(), *arguments]
    if _EXECVE:
        os.execve(sys.executable, command, environment)
    sys.exit(_exit_code_of(command, environment))


def _flags() -> list[str]:
    """Return the flags that this Python was started with, for the program's.

    Raises:
        click.UsageError: For -S, which turns `sitecustomize` off.
    """
    import subprocess

    if sys.flags.no_site:
        raise click.UsageError("Python's -S turns off what `run` needs: leave it out.")
    # Private, but what multiprocessing starts its children with.
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    if sys.flags.isolated:
        flags += ["-P", "-s"]
    if getattr(sys.stdout, "write_through", False):
        flags.append("-u")
    return [flag for flag in flags if flag not in ("-E", "-I")]


def _exit_code_of(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command to its end where a process cannot be replaced."""
    import signal
    import subprocess

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the program's: it gets it too
    code = subprocess.call(command, env=environment)
    return code - 2**32 if code >= 2**31 else code  # Python takes it signed, Windows does not
