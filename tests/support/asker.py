"""A Python of its own that is asked for things, one line of JSON each, and says what came of them.

For what reads its environment when it is imported, as huggingface_hub does; and what it leaves behind is seen alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

PROGRAM = """
import io, json, logging, pickle, sys, traceback, warnings
warnings.simplefilter("ignore")
answers, sys.stdout = sys.stdout, sys.stderr
logged = io.StringIO()
logging.basicConfig(stream=logged, level="INFO")
logging.getLogger("mellea_api").setLevel("DEBUG")
import mellea_api
from support.left_over import State, nothing_left

def do(operation, backend, model, timeout, arguments):
    if operation == "open":
        mellea_api.start_session(backend, model, timeout=timeout, **arguments)
    elif operation == "list":
        return len(mellea_api.list_models(backend, timeout=timeout, hub=True, freshness="live", **arguments))
    else:
        report = mellea_api.validate_credentials(backend, model, probe=True, timeout=timeout, **arguments)
        return {"status": report.status, "said": f"{report} {report!r} {report.message}"}

for line in sys.stdin:
    logged.truncate(0)
    said = {}
    try:
        with nothing_left():
            try:
                said = {"answer": do(*json.loads(line))}
            except mellea_api.MelleaAPIError as error:
                said = {
                    "kind": type(error).__name__,
                    "message": str(error),
                    "status": getattr(error, "status", None),
                    "timeout": getattr(error, "timeout", None),
                    "next_step": error.next_step,
                    "said": "".join(traceback.format_exception(error)) + repr(error) + repr(pickle.dumps(error)),
                }
                error.__traceback__ = None
    except BaseException as error:
        said["foreign"] = "".join(traceback.format_exception(error))
    said["log"] = logged.getvalue()
    print(json.dumps(said), file=answers, flush=True)
"""


class Asker:
    """Starts with the first question, and ends with its `with` block.

    Args:
        variables: Added to this process's environment.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = dict(variables)

    def __enter__(self) -> Self:
        """Starts the process."""
        paths = [path for path in sys.path if path.endswith("tests")]
        environment = {**os.environ, **self._variables, "PYTHONPATH": os.pathsep.join(paths)}
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends it."""
        self._process.kill()
        self._process.communicate()

    def __call__(self, *question: Any) -> dict[str, Any]:
        """Ask: the operation, the backend, the model, the timeout and further arguments."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer
