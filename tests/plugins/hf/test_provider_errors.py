"""Each row of hf in the table of errors: what transformers, torch and the Hub really raise."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import provider_errors as table
from support.hub_server import GOOD, STRANGER, HubServer
from support.messages import Recorded, Reply

import mellea_api

pytestmark = pytest.mark.usefixtures("transformers_here")

SHORT = 128
"""Tokens that the model's context holds."""
AT_START = ", when the session starts"
HERE = [row for row in table.rows("hf") if not row.values[0].get("status")]
ON_THE_HUB = [row for row in table.rows("hf") if row.values[0].get("status")]
GATED = "meta-llama/Llama-3.2-3B-Instruct"

Build = Callable[..., Path]


def check(error: Any, row: dict[str, Any]) -> None:
    assert type(error).__name__ == row["error"], repr(error)
    assert error.backend == "hf"
    assert error.model_id
    assert error.next_step
    assert str(error).endswith(error.next_step)
    assert error.status is None


def too_long(build: Build, tmp_path: Path, way: Callable[[Any], Any]) -> None:
    session = mellea_api.start_session("hf", str(build(context_length=SHORT)))
    table_prompt = "word " * 3 * SHORT

    class Longer:
        """The session, asked at length."""

        def __getattr__(self, name: str) -> Any:
            return getattr(session, name)

        def chat(self, _: str) -> Any:
            return session.chat(table_prompt)

    way(Longer() if way is table.chat else session)


def allocating(error: Exception | None) -> Callable[..., None]:
    def start(build: Build, tmp_path: Path, way: Callable[[Any], Any]) -> None:
        """A generation that asks for more memory than there is: torch itself refuses it."""
        import torch

        session = mellea_api.start_session("hf", str(build()), share=False)

        def hungry(*_: Any) -> None:
            if error is not None:
                raise error
            torch.empty(10**15, dtype=torch.uint8)

        handle = session.backend._model.register_forward_pre_hook(hungry)
        try:
            way(session)
        finally:
            handle.remove()

    return start


def cuda(build: Build, tmp_path: Path, way: Callable[[Any], Any]) -> None:
    import torch

    allocating(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))(
        build, tmp_path, way
    )


def no_template(build: Build, tmp_path: Path, way: Callable[[Any], Any]) -> None:
    folder = shutil.copytree(build(), tmp_path / "model")
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    file = folder / "tokenizer_config.json"
    without = {**json.loads(file.read_text("utf-8")), "chat_template": None}
    file.write_text(json.dumps(without), "utf-8")
    way(mellea_api.start_session("hf", str(folder)))


def no_token(build: Build, tmp_path: Path, way: Callable[[Any], Any]) -> None:
    way(mellea_api.start_session("hf", str(build(template=""))))


def unknown_argument(build: Build, tmp_path: Path, way: Callable[[Any], Any]) -> None:
    session = mellea_api.start_session("hf", str(build()))
    session.chat("Hi", model_options={"extra": {"no_such_name": 1}, "max_tokens": 2})


def no_model(build: Build, tmp_path: Path, way: Callable[[Any], Any]) -> None:
    mellea_api.start_session("hf", str(tmp_path))


def no_architecture(build: Build, tmp_path: Path, way: Callable[[Any], Any]) -> None:
    folder = shutil.copytree(build(), tmp_path / "model")
    file = folder / "config.json"
    other = {**json.loads(file.read_text("utf-8")), "model_type": "nosuch"}
    file.write_text(json.dumps(other), "utf-8")
    mellea_api.start_session("hf", str(folder))


def no_name(build: Build, tmp_path: Path, way: Callable[[Any], Any]) -> None:
    mellea_api.start_session("hf", "a//b c")


DONE: dict[str, Callable[[Build, Path, Callable[[Any], Any]], None]] = {
    "the prompt is longer than the model's context": too_long,
    "the memory does not hold what a generation needs": allocating(None),
    "the accelerator's memory is full": cuda,
    "the model has no chat template": no_template,
    "a prompt without a token, which a template may make of any": no_token,
    "an argument that generate() does not know": unknown_argument,
    "a folder without a model" + AT_START: no_model,
    "an architecture that transformers does not know" + AT_START: no_architecture,
    "what no model can be called" + AT_START: no_name,
}


@pytest.mark.parametrize("row", HERE)
def test_what_happens_in_the_process_is_its_error(
    row: dict[str, Any], build: Build, tmp_path: Path
) -> None:
    with pytest.raises(mellea_api.MelleaAPIError) as caught:
        DONE[row["when"]](build, tmp_path, table.chat)
    check(caught.value, row)


@pytest.mark.parametrize("way", table.WAYS)
def test_the_memorys_end_is_the_same_on_every_way(build: Build, tmp_path: Path, way: str) -> None:
    row = table.named("hf", "the memory does not hold what a generation needs")
    with pytest.raises(mellea_api.BackendUnavailableError, match="memory") as caught:
        allocating(None)(build, tmp_path, table.WAYS[way])
    check(caught.value, row)


# ------------------------------------------------------------------------------------ the Hub

PROGRAM = """
import json, sys, warnings
warnings.simplefilter("ignore")
import mellea_api
found = {}
for when, model, given in json.loads(sys.argv[1]):
    try:
        mellea_api.start_session("hf", model, **given)
    except mellea_api.MelleaAPIError as error:
        found[when] = [type(error).__name__, error.status, getattr(error, "retry_after", None),
                       str(error).endswith(error.next_step) and bool(error.next_step)]
print("FOUND", json.dumps(found))
"""
ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "the Hub does not have the model": ("local/none", {}),
    "the Hub does not know the token": ("local/tiny", {"token": "hf_badbadbadbadbadbadbadbad"}),
    "a gated model and no token": (GATED, {}),
    "a gated model and somebody who was not let in": (GATED, {"token": STRANGER}),
    "too many downloads from the Hub": ("local/limited", {"token": GOOD}),
    "the Hub failed": ("local/down", {"token": GOOD}),
}


class Hub(HubServer):
    """A Hub that limits the rate for one model, and fails for another."""

    def handle(self, request: Recorded) -> Reply:
        """See the base class."""
        for name, row in (
            ("local/limited", "too many downloads"),
            ("local/down", "the Hub failed"),
        ):
            if name in request.path:
                (found,) = [one for one in table.ROWS if one["when"].startswith(row)]
                return Reply(found["status"], text=found["body"], headers=found.get("headers", {}))
        return super().handle(request)


@pytest.fixture(scope="module")
def found(build: Build, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """What starting each session ended in, in a process of its own: the Hub is named at import."""
    models = {name: build() for name in ("local/tiny", GATED)}
    with Hub(models, frozenset({GATED})) as server:
        steps = [(when, *asked) for when, asked in ASKED.items()]
        environment = {
            **os.environ,
            "HF_HOME": str(tmp_path_factory.mktemp("home")),
            "HF_ENDPOINT": server.url,
            "HF_HUB_DISABLE_XET": "1",
        }
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, json.dumps(steps)],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            timeout=120,
        )
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")] or [done]
    answers: dict[str, list[Any]] = json.loads(str(line).removeprefix("FOUND "))
    return answers


@pytest.mark.slow
@pytest.mark.parametrize("row", ON_THE_HUB)
def test_what_the_hub_answers_is_its_error(
    row: dict[str, Any], found: dict[str, list[Any]]
) -> None:
    assert found[row["when"].removesuffix(AT_START)] == [
        row["error"],
        row["status"],
        row.get("retry_after"),
        True,
    ]
