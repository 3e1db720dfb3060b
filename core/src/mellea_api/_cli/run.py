"""`mellea-api run`: a program written for Mellea, on the registry."""

from __future__ import annotations

import os
from collections.abc import Sequence

import click

from mellea_api._cli.program import Program


class _RunCommand(click.Command):
    """Takes nothing that stands behind the program's name for an option of its own."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        first = next((i for i, arg in enumerate(args) if not arg.startswith("-")), len(args))
        for i, arg in enumerate(args[:first]):
            if arg == "--":
                break
            if arg.startswith("-m") and (arg != "-m" or i + 1 < len(args)):
                end = i + (2 if arg == "-m" else 1)
                args = [*args[:end], "--", *args[end:]]
                break
        return super().parse_args(ctx, args)


@click.command(cls=_RunCommand, context_settings={"allow_interspersed_args": False})
@click.option("-m", "module", metavar="MODULE", help="Run a module, as python -m does.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="PROGRAM.py [ARGS]...")
def run(module: str | None, arguments: Sequence[str]) -> Program:
    """Run PROGRAM.py as Python would, with all installed backends behind `start_session`.

    For that program, `mellea.start_session`, `mellea.stdlib.session.start_session` and
    `start_backend` are those of this library: the same model options mean the same on every
    backend. Options that nobody knows are passed on to the provider. The program's arguments,
    exit code and tracebacks are its own.
    """
    if module is not None:
        return Program(module=module, arguments=arguments)
    if not arguments:
        raise click.UsageError("Name a program, or a module with -m.")
    path = arguments[0]
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise click.UsageError(
            f"Cannot open {os.path.abspath(path)!r}: {error.strerror}."
        ) from None
    return Program(path=path, arguments=arguments[1:])
