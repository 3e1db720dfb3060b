"""A session beside a bare one of Mellea, on one loopback server with instant answers.

It also counts the calls of the core's functions: a number that no other program disturbs.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

import mellea
from measure import in_turns, ratio, section
from mellea.backends import ModelOption
from mellea.helpers import _run_async_in_thread

import mellea_api
from mellea_api.runtime import MelleaRuntime

MODELS = {"ollama": ("tiny", "small"), "openai": ("gpt-4o", "gpt-4o-mini")}
OURS = {"temperature": 0.7, "max_tokens": 100, "top_p": 0.9, "stop": ["END"]}
# The same, spelt so that Mellea itself sends all of it.
THEIRS = {ModelOption.MAX_NEW_TOKENS if k == "max_tokens" else k: v for k, v in OURS.items()}


@contextmanager
def server(provider: str) -> Iterator[str]:
    """Starts a loopback provider; gives its address."""
    command = [sys.executable, str(Path(__file__).with_name("server.py")), provider]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.stdin.close()


def calls(function: Callable[[], object]) -> str:
    """How often functions of the core run while one function of a program does, on any thread."""
    core = str(Path(mellea_api.__file__).parent)
    seen: Counter[str] = Counter()

    def profile(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(core):
            seen[frame.f_code.co_filename] += 1

    async def on_melleas_loop(profiler: Any) -> None:
        sys.setprofile(profiler)

    _run_async_in_thread(on_melleas_loop(profile))
    threading.setprofile(profile)  # for threads that begin meanwhile
    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
        _run_async_in_thread(on_melleas_loop(None))
    return f"{seen.total()} calls of functions in {len(seen)} files of the core"


def measure_backend(provider: str) -> list[dict[str, Any]]:
    model, other = MODELS[provider]
    where = f"{provider}, Mellea {version('mellea')}"
    with server(provider) as base_url:
        arguments: dict[str, Any] = {"base_url": base_url}
        if provider == "openai":
            arguments["api_key"] = "sk-good"

        def bare() -> Any:
            return mellea.start_session(provider, model_id=model, **arguments)

        one, control = bare(), bare()

        def open_session() -> Any:
            return mellea_api.start_session(provider, model, **arguments)

        ours = open_session()
        plain, with_options = "`session.chat`", "`session.chat` with four options"
        bare_plain, bare_options = "bare Mellea", "bare Mellea with four options"
        again = "bare Mellea on another session"
        chats = in_turns(
            {
                plain: lambda: ours.chat("Hello!"),
                bare_plain: lambda: one.chat("Hello!"),
                with_options: lambda: ours.chat("Hello!", model_options=dict(OURS)),
                bare_options: lambda: one.chat("Hello!", model_options=dict(THEIRS)),
                again: lambda: control.chat("Hello!"),
            },
            rounds=20,
            turns=50,
        )
        counts = f"A chat: {calls(lambda: ours.chat('Hello!'))}. Opening: {calls(open_session)}."
        with MelleaRuntime(provider, model, **arguments) as runtime:
            runtime.switch_model(other)
            models = [model, other]

            def switch() -> None:
                models.reverse()
                runtime.switch_model(models[1])

            back, start = "`runtime.switch_model` back", "`mellea.start_session`"
            switching = in_turns({back: switch, start: bare}, rounds=10, turns=5)
    return [
        section(
            f"A chat on {where}",
            f"{counts} The last row is Mellea against itself: what differs there is noise.",
            [
                ratio(chats, plain, bare_plain),
                ratio(chats, with_options, bare_options),
                ratio(chats, again, bare_plain),
            ],
        ),
        section(
            f"Going back to a model used before on {where}",
            "",
            [ratio(switching, back, start)],
        ),
    ]


def measure_errors() -> list[dict[str, Any]]:
    """Measures a call that ends in an error, with a large prompt."""
    large = "hello " * (1_000_000 // 6)
    with server("failing") as url:
        arguments: dict[str, Any] = {"base_url": url, "api_key": "sk-good-0123456789"}
        bare = mellea.start_session("openai", model_id="gpt-4o", max_retries=0, **arguments)
        ours = mellea_api.start_session("openai", "gpt-4o", check=False, max_retries=0, **arguments)

        def failing(session: Any, prompt: str) -> Any:
            def call() -> None:
                with suppress(Exception):
                    session.chat(prompt)

            return call

        one, other = "an error in `session.chat`, 1 MB prompt", "bare Mellea's, 1 MB prompt"
        taken = in_turns(
            {one: failing(ours, large), other: failing(bare, large)}, rounds=10, turns=5
        )
    return [
        section(f"An error on openai, Mellea {version('mellea')}", "", [ratio(taken, one, other)])
    ]


def measure() -> list[dict[str, Any]]:
    """Measures both backends."""
    logging.disable(logging.CRITICAL)
    found = [found for provider in MODELS for found in measure_backend(provider)]
    return found + measure_errors()


if __name__ == "__main__":
    json.dump(measure(), sys.stdout)
