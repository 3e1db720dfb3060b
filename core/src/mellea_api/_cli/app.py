"""The commands, and what they have in common on the command line."""

from __future__ import annotations

import click

from mellea_api._cli.backends import backends
from mellea_api._cli.chat import chat
from mellea_api._cli.check import check
from mellea_api._cli.doctor import doctor
from mellea_api._cli.keys import keys
from mellea_api._cli.models import models
from mellea_api._cli.options import options
from mellea_api._cli.run import run


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done; 1 an error, with what to do next; 2 wrong usage; 3 the backend "
    "cannot be reached or is late; 4 credentials; 130 interrupted. `run` exits as the program "
    "does.",
)
@click.version_option(package_name="mellea-api", prog_name="mellea-api")
def app() -> None:
    """LLM backends for Mellea: list them, ask them, and run programs on them."""


for _command in (backends, models, options, check, doctor, keys, chat, run):
    app.add_command(_command)
