"""`mellea-api chat`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.faults import refused
from support.ollama_server import OllamaServer
from support.openai_server import OpenAIServer

TEXT = "one two three four five six"


@pytest.fixture
def server() -> Iterator[OllamaServer]:
    with OllamaServer(text=TEXT) as running:
        yield running


@pytest.fixture
def chat(server: OllamaServer, invoke: Any) -> Any:
    """Runs `mellea-api chat` on the server, in this process."""

    def run(*arguments: str, stdin: str | None = None) -> Any:
        where = ("-b", "ollama", "-m", "tiny", "--base-url", server.base_url)
        return invoke("chat", *where, *arguments, stdin=stdin)

    return run


def sent(server: OllamaServer) -> list[Any]:
    return [request.json for request in server.calls("/api/chat")]


def test_one_prompt_prints_the_answer_and_nothing_else(chat: Any, server: OllamaServer) -> None:
    done = chat("Count.", "-o", "max_tokens=3", "-o", "system_prompt=Be brief.")
    assert (done.exit_code, done.stdout) == (0, "one two three\n")
    (body,) = sent(server)
    assert body["stream"] is True
    assert body["options"] == {"num_predict": 3}
    assert [message["role"] for message in body["messages"]] == ["system", "user"]


def test_on_openai_too(command: Any, openai_server: OpenAIServer) -> None:
    """Mellea's own backend logs on standard output; that is for the answer alone."""
    openai_server.script.text = TEXT
    for arguments in ((), ("--no-stream",)):
        done = command(
            *("chat", "Count.", "-b", "openai", "--base-url", openai_server.base_url, *arguments),
            env={"OPENAI_API_KEY": "sk-good"},
        )
        assert (done.returncode, done.stdout) == (0, TEXT + "\n")


def test_without_streaming(chat: Any, server: OllamaServer) -> None:
    assert chat("Count.", "--no-stream").stdout == TEXT + "\n"
    assert not sent(server)[0].get("stream")


def test_a_dash_reads_the_prompt_from_standard_input(chat: Any, server: OllamaServer) -> None:
    assert chat("-", stdin="Two\nlines.\n").stdout == TEXT + "\n"
    assert sent(server)[0]["messages"][-1]["content"] == "Two\nlines.\n"


def test_each_line_is_a_turn_of_one_conversation(chat: Any, server: OllamaServer) -> None:
    done = chat(stdin="One.\n\nTwo.\n")
    assert (done.exit_code, done.stdout) == (0, f"{TEXT}\n{TEXT}\n")
    assert [message["content"] for message in sent(server)[-1]["messages"]] == [
        "One.",
        TEXT,
        "Two.",
    ]


def test_json_has_the_answer_and_what_became_of_the_options(chat: Any) -> None:
    done = chat("--json", "-o", "max_tokens=2", stdin="One.\nTwo.\n")
    first, second = map(json.loads, done.stdout.splitlines())
    assert (first["text"], first["backend"], first["model_id"]) == ("one two", "ollama", "tiny")
    assert first["options"]["wire"] == second["options"]["wire"] == {"options": {"num_predict": 2}}


def test_the_environment_of_the_runtime_counts(
    invoke: Any, server: OllamaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELLEA_BACKEND", "ollama")
    monkeypatch.setenv("MELLEA_MODEL_ID", "tiny")
    monkeypatch.setenv("MELLEA_MODEL_OPTIONS", '{"max_tokens": 1, "seed": 3}')
    monkeypatch.setenv("OLLAMA_HOST", server.base_url)
    done = invoke("chat", "Count.", "-o", "num_predict=2")
    assert done.stdout == "one two\n"
    assert sent(server)[0]["options"] == {"num_predict": 2, "seed": 3}


def test_unsupported_options_are_told_and_the_policy_counts(
    chat: Any, command: Any, server: OllamaServer
) -> None:
    where = ("-b", "ollama", "-m", "tiny", "--base-url", server.base_url)
    told = command("chat", *where, "Count.", "-o", "tool_choice=auto")
    assert (told.returncode, told.stdout) == (0, TEXT + "\n")
    assert "tool_choice" in told.stderr
    assert chat("Count.", "-o", "tool_choice=auto", "--unsupported", "error").exit_code == 1
    assert chat("Count.", "-o", "tool_choice=auto", "--unsupported", "drop").stderr == ""


def test_errors_are_messages_with_exit_codes(chat: Any, invoke: Any) -> None:
    with refused() as nobody:
        down = invoke("chat", "Hi.", "-b", "ollama", "--base-url", nobody.base_url)
    assert down.exit_code == 3
    assert down.stdout == ""
    assert "ollama serve" in down.stderr
    missing = chat("Hi.", "-m", "nope", "--json")
    assert missing.exit_code == 1
    assert json.loads(missing.stdout)["error"]["type"] == "ModelNotFoundError"
    assert invoke("chat", "Hi.", "-b", "openai").exit_code == 4
    assert chat("Hi.", "-o", "temperature=9").exit_code == 1
    assert chat("  ").exit_code == 2
    for done in (down, missing):
        assert "Traceback" not in done.stderr


def test_what_fails_has_no_line_of_its_own_and_an_empty_answer_has_one(
    chat: Any, server: OllamaServer
) -> None:
    server.fail_next(500)
    done = chat("Hi.")
    assert (done.exit_code, done.stdout) == (3, "")
    server.script.text = ""
    for arguments in ((), ("--no-stream",)):
        assert chat("Hi.", *arguments).stdout == "\n"


def test_a_late_answer_has_its_exit_code(chat: Any, server: OllamaServer) -> None:
    server.chunk_delay = 1
    assert chat("Hi.", "--timeout", "1").exit_code == 3


def test_a_secret_that_a_server_repeats_is_not_shown(command: Any) -> None:
    with OpenAIServer(echo_key=True) as server:
        done = command(
            *("chat", "Hi.", "-b", "openai", "--base-url", server.base_url, "--debug"),
            env={"OPENAI_API_KEY": "sk-very-secret-1234"},
        )
    assert done.returncode == 4
    assert "Traceback" in done.stderr
    assert "sk-very-secret-1234" not in done.stdout + done.stderr


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_an_interrupted_prompt_exits_130(server: OllamaServer) -> None:
    server.chunk_delay = 0.5
    where = ("-b", "ollama", "-m", "tiny", "--base-url", server.base_url)
    process = subprocess.Popen(
        [sys.executable, "-m", "mellea_api", "chat", *where, "Count."],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.read(1) == "o"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "six" not in out
    assert "Traceback" not in err


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_a_person_stops_an_answer_and_goes_on(server: OllamaServer) -> None:
    """Ctrl-C ends the answer, Ctrl-D the conversation."""
    import pty

    server.chunk_delay = 0.5
    terminal, theirs = pty.openpty()
    where = ("-b", "ollama", "-m", "tiny", "--base-url", server.base_url)
    process = subprocess.Popen(
        [sys.executable, "-m", "mellea_api", "chat", *where],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        close_fds=True,
        start_new_session=True,
        preexec_fn=_take_terminal,  # noqa: PLW1509 - it runs two lines, and no lock is taken
    )
    os.close(theirs)
    seen = b""

    def read_until(text: bytes) -> None:
        nonlocal seen
        deadline = time.monotonic() + 30
        while text not in seen and time.monotonic() < deadline:
            seen += os.read(terminal, 1000)
        assert text in seen, seen
        seen = seen.split(text, 1)[1]

    read_until(b"> ")
    os.write(terminal, b"Count.\n")
    read_until(b"one")
    os.write(terminal, b"\x03")
    read_until(b"stopped")
    read_until(b"> ")
    server.chunk_delay = 0
    os.write(terminal, b"Again.\n")
    read_until(b"six")
    read_until(b"> ")
    os.write(terminal, b"\x04")
    assert process.wait(20) == 0
    os.close(terminal)
    assert [message["content"] for message in sent(server)[-1]["messages"]] == ["Again."]


def _take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
