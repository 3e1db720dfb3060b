"""What a command prints: tables for people, JSON for programs, errors for both."""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

import click

from mellea_api._contract import errors
from mellea_api._secrecy.secrets import printable, redact

Function = TypeVar("Function", bound=Callable[..., Any])

_UNAVAILABLE: Final = (
    errors.BackendUnavailableError,
    errors.RequestTimeoutError,
    errors.RateLimitError,
)
_CREDENTIALS: Final = (errors.CredentialError, errors.PermissionDeniedError)


def exit_code(*failures: BaseException | None) -> int:
    """Return the exit code that tells scripts what kind of error it was, 0 for none.

    Of several, what a person must fix counts before what may pass.
    """
    codes = {
        3 if isinstance(error, _UNAVAILABLE) else 4 if isinstance(error, _CREDENTIALS) else 1
        for error in failures
    }
    return next((code for code in (1, 4, 3) if code in codes), 0)


Columns = dict[str, str | Callable[[Any], Any]]
"""The columns of a table: for each title, the attribute or key of a row, or a function of it."""


class Output:
    """Prints the results of one command.

    Args:
        as_json: Whether a program reads them.
        debug: Whether errors are shown with their traceback.
    """

    def __init__(self, *, as_json: bool = False, debug: bool = False) -> None:
        self.as_json = as_json
        self.debug = debug

    def show(self, data: Mapping[str, Any], *tables: tuple[Iterable[Any], Columns]) -> None:
        """Print results: as JSON for programs, or as tables for people.

        Args:
            data: The results; values of this library in it become JSON.
            tables: The same results as rows, each with the columns to print; a table without
                rows is left out.
        """
        if self.as_json:
            self.data(data)
            return
        first = True
        for rows, columns in tables:
            cells = [[_cell(row, column) for column in columns.values()] for row in rows]
            if cells:
                if not first:
                    self.line()
                self._table(list(columns), cells)
                first = False

    def data(self, value: Any, *, indent: int | None = 2) -> None:
        """Print a value as JSON."""
        from mellea_api._contract.as_json import to_json  # slower than all of `backends`

        encoding = getattr(sys.stdout, "encoding", None) or ""
        unicode = encoding.lower().replace("-", "") == "utf8"
        text = to_json(value, indent=indent, ascii_only=not unicode)
        if printable(text) != text:
            text = to_json(value, indent=indent, ascii_only=True)
        click.echo(text)

    def line(self, text: str = "") -> None:
        """Print a line of the result; JSON goes without it."""
        if not self.as_json:
            click.echo(printable(text))

    def remark(self, text: str) -> None:
        """Print a line beside the result that JSON has in it."""
        if not self.as_json:
            self.note(text)

    def nothing_installed(self) -> None:
        """Say that there is no backend."""
        from mellea_api._diagnosis.findings import INSTALL

        self.note(f"No backend is installed. {INSTALL}")

    def note(self, text: str) -> None:
        """Print a line beside the result, on standard error."""
        click.echo(printable(text), err=True)

    def _table(self, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table, without the columns in which all rows are empty.

        A terminal gets a drawn table that wraps; elsewhere a row is a plain line.
        """
        shown = [i for i in range(len(titles)) if any(row[i] for row in rows)]
        titles = [titles[i] for i in shown]
        rows = [[row[i] for i in shown] for row in rows]
        dumb = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        if dumb or not sys.stdout.isatty():
            lines = [titles, *rows]
            widths = [max(len(line[i]) for line in lines) for i in range(len(titles))]
            for line in lines:
                padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
                click.echo("  ".join(padded).rstrip())
            return
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(*titles, box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for row in rows:
            table.add_row(*map(Text, row))  # as Text, since brackets would be taken for markup
        Console().print(table)

    def trace(self, error: BaseException) -> None:
        """Print the traceback of an error, if --debug asks for it."""
        if self.debug:
            self.note(redact("".join(traceback.format_exception(error))).rstrip())

    def error(self, error: Exception) -> None:
        """Print an error: for people on standard error, for programs as the result."""
        self.trace(error)
        if not isinstance(error, errors.MelleaAPIError):
            reason = f"{type(error).__name__}: {error}".rstrip(".")
            step = "This is unexpected; --debug shows where it happened."
            error = errors.MelleaAPIError(f"{reason}.", next_step=step)
        if self.as_json:
            self.data({"error": error})
            return
        problems = getattr(error, "problems", None) or ()
        if len(problems) < 2:
            self.note(f"Error: {error}")
        else:
            listed = "".join(f"\n  {problem.path} {problem.message}" for problem in problems)
            self.note(f"Error: {error.reason.partition(': ')[0]}:{listed}\n{error.next_step}")


def _cell(row: Any, column: str | Callable[[Any], Any]) -> str:
    if isinstance(column, str):
        value = row[column] if isinstance(row, dict) else getattr(row, column)
    else:
        value = column(row)
    return " ".join(printable("" if value is None else str(value)).split())


def _open_what_is_closed() -> None:
    """Open all three streams: Python has None for those that a daemon or a shell closed."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nothing = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115 - stays open to the end
            setattr(sys, name, nothing)


def command(function: Function, *, json_too: bool = True) -> Function:
    """Give a command `--json` and `--debug`, an `Output` as first argument, and exit codes."""

    @click.option("--debug", is_flag=True, help="Show tracebacks of errors.")
    @functools.wraps(function)
    def run(*args: Any, debug: bool, as_json: bool = False, **kwargs: Any) -> Any:
        _open_what_is_closed()
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        output = Output(as_json=as_json, debug=debug)
        context = click.get_current_context()
        try:
            return function(output, *args, **kwargs)
        except KeyboardInterrupt:
            context.exit(130)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            output.error(error)
            context.exit(exit_code(error))

    json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
    return json_option(run) if json_too else run  # type: ignore[return-value]
