"""`mellea-api chat`: one prompt, or a conversation."""

from __future__ import annotations

import contextlib
import functools
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from mellea_api._cli.output import Output, command
from mellea_api._cli.values import parse_assignments, timeout_option
from mellea_api._contract.errors import MelleaAPIError
from mellea_api._secrecy.secrets import printable

if TYPE_CHECKING:
    from mellea_api.runtime import MelleaRuntime


@click.command()
@click.argument("prompt", required=False)
@click.option("--backend", "-b", metavar="NAME", help="Else MELLEA_BACKEND, else the default one.")
@click.option(
    *("--model", "-m", "model_id"),
    metavar="MODEL",
    help="Else MELLEA_MODEL_ID, else the backend's default.",
)
@click.option(
    "--option",
    "-o",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="A model option, such as system_prompt; over those of MELLEA_MODEL_OPTIONS. May be "
    "repeated.",
)
@click.option("--base-url", metavar="URL", help="The server.")
@timeout_option("Time for each whole answer.", default=None)
@click.option("--stream/--no-stream", default=True, help="Print the answer as it is written.")
@click.option(
    "--unsupported",
    type=click.Choice(["warn", "error", "drop"]),
    help="What to do about options that the backend does not have.",
)
@command
def chat(
    output: Output,
    prompt: str | None,
    assignments: Sequence[str],
    stream: bool,
    **settings: Any,
) -> None:
    """Send PROMPT to a model and print its answer; `-` reads the prompt from standard input.

    Without PROMPT it is a conversation, and each line of standard input is a message. Ctrl-C
    ends an answer, Ctrl-D the conversation. With --json each answer is one line of JSON.
    """
    options = parse_assignments(assignments)
    if prompt == "-":
        prompt = sys.stdin.read()
    if prompt is not None and not prompt.strip():
        raise click.UsageError("The prompt is empty.")
    with _mellea_on_stderr(output.debug):
        from mellea_api.runtime import MelleaRuntime

        with MelleaRuntime(model_options=options, context="chat", **settings) as runtime:
            answer = functools.partial(_answer, output, runtime, stream=stream)
            if prompt is not None:
                answer(prompt)
            else:
                _converse(output, runtime, answer)


@contextlib.contextmanager
def _mellea_on_stderr(debug: bool) -> Iterator[None]:
    """Keep standard output for the answer: Mellea logs to it by default."""
    from mellea_api._sessions._mellea.sessions import loggers as mellea_loggers

    with contextlib.ExitStack() as stack:
        with contextlib.redirect_stdout(sys.stderr):  # while Mellea is imported
            loggers = mellea_loggers()
        for logger in loggers:
            stack.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.INFO if debug else logging.WARNING)
            for handler in logger.handlers:
                if type(handler) is logging.StreamHandler:
                    # Not setStream(): it flushes the old one, which may be closed by now.
                    stack.callback(setattr, handler, "stream", handler.stream)
                    handler.stream = sys.stderr
        yield


def _answer(output: Output, runtime: MelleaRuntime, prompt: str, *, stream: bool) -> None:
    """Send a message, and print the answer."""
    if output.as_json:
        from mellea_api._sessions.adoption import options_report

        answer = {
            "backend": runtime.backend,
            "model_id": runtime.model_id,
            "text": runtime.chat(prompt),
            "options": options_report(runtime.session),
        }
        output.data(answer, indent=None)
    elif not stream:
        output.line(runtime.chat(prompt))
    else:
        _print_pieces(runtime.stream(prompt))


def _print_pieces(pieces: Iterator[str]) -> None:
    terminal = sys.stdout.isatty()
    last = ""
    try:
        for piece in pieces:
            last = piece or last
            click.echo(printable(piece) if terminal else piece, nl=False)
        last = last or " "  # an empty answer is a line too; a failed one is not
    finally:
        pieces.close()  # type: ignore[attr-defined]
        if last and not last.endswith("\n"):
            click.echo()


def _converse(output: Output, runtime: MelleaRuntime, answer: Callable[[str], None]) -> None:
    person = sys.stdin.isatty()
    if person:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401 - gives input() a history and line editing
        output.note(f"{runtime.model_id} on {runtime.backend}; Ctrl-D ends the conversation.")
    while True:
        try:
            line = input("> ") if person else next(sys.stdin)
        except (EOFError, StopIteration):
            if person:
                output.note("")
            return
        except KeyboardInterrupt:
            if not person:
                raise
            output.note("")  # drops the line, as a shell does
            continue
        if not line.strip():
            continue
        try:
            answer(line.rstrip("\r\n"))
        except KeyboardInterrupt:
            output.note("(stopped; the conversation goes on without it)")
        except MelleaAPIError as error:
            if not person:
                raise
            output.error(error)
