"""The programs of Mellea's backend guide, word for word, on the real SDKs and a loopback server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mellea")

from support.ollama_server import OllamaServer
from support.openai_server import OpenAIServer

FIRST = """\
from mellea_api.runtime import MelleaRuntime

def main():
    # Runtime auto-configures from environment
    runtime = MelleaRuntime()
    print(f"Using backend: {runtime.backend}")
    print(f"Using model: {runtime.model_id}")
    response = runtime.chat("What is 2+2?")
    print(f"Response: {response}")
"""

SECOND = """\
runtime = MelleaRuntime(backend='ollama', model_id='granite4:micro')
response1 = runtime.chat("Hello!")
runtime.switch_model(model_id='llama3.2:3b')
response2 = runtime.chat("Hello again!")
runtime.cleanup()
"""

THIRD = """\
session = start_session(
    backend_name='ollama',
    model_id='granite4:micro',
    model_options={'temperature': 0.7, 'max_tokens': 1024, 'top_p': 0.9, 'stop': ['\\n\\n']},
)
response = session.chat("Hello!")   # the request on the wire carries num_predict: 1024, and no max_tokens
"""

GUIDES_OPTIONS = {"temperature": 0.7, "num_predict": 1024, "top_p": 0.9, "stop": ["\n\n"]}


@pytest.fixture
def ollama(monkeypatch: pytest.MonkeyPatch) -> Iterator[OllamaServer]:
    """A server with the guide's models, where the Ollama client looks for one."""
    with OllamaServer(("granite4:micro", "llama3.2:3b"), text="2 + 2 = 4") as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url.removeprefix("http://"))
        yield server


def execute(program: str, **names: Any) -> dict[str, Any]:
    """Runs a program's text; returns its variables."""
    namespace: dict[str, Any] = {"__name__": "program", **names}
    exec(compile(program, "program.py", "exec"), namespace)
    return namespace


def objections(server: OllamaServer) -> list[str]:
    return server.warnings + server.violations


# The first program.


def test_the_first_program(ollama: OllamaServer, capsys: pytest.CaptureFixture[str]) -> None:
    execute(FIRST)["main"]()
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "Using backend: ollama",
        "Using model: granite4:micro",
        "Response: 2 + 2 = 4",
    ]
    (request,) = ollama.calls("/api/chat")
    assert request.json["model"] == "granite4:micro"
    assert [message["content"] for message in request.json["messages"]] == ["What is 2+2?"]
    assert request.json["options"] == {}
    assert objections(ollama) == []


def test_the_first_program_takes_model_and_options_from_the_environment(
    ollama: OllamaServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MELLEA_BACKEND", "ollama")
    monkeypatch.setenv("MELLEA_MODEL_ID", "llama3.2:3b")
    monkeypatch.setenv("MELLEA_MODEL_OPTIONS", '{"temperature": 0, "max_tokens": 3}')
    execute(FIRST)["main"]()
    assert "Using model: llama3.2:3b\nResponse: 2 + 2\n" in capsys.readouterr().out
    (request,) = ollama.calls("/api/chat")
    assert request.json["model"] == "llama3.2:3b"
    assert request.json["options"] == {"temperature": 0, "num_predict": 3}
    assert objections(ollama) == []


def test_the_first_program_on_another_backend(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with OpenAIServer(text="2 + 2 = 4") as server:
        monkeypatch.setenv("MELLEA_BACKEND", "openai")
        monkeypatch.setenv("MELLEA_MODEL_OPTIONS", '{"max_tokens": 3, "stop": "\\n"}')
        monkeypatch.setenv("OPENAI_API_KEY", "sk-good")
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        execute(FIRST)["main"]()
        assert "Using backend: openai\nUsing model: gpt-5.4-mini\n" in capsys.readouterr().out
        (request,) = server.calls("/v1/chat/completions")
        assert request.json["max_completion_tokens"] == 3
        assert request.json["stop"] == ["\n"]
        assert "max_tokens" not in request.json
        assert server.violations == []


def test_the_tree_has_the_first_program_as_the_guide_prints_it() -> None:
    root = Path(__file__).parents[2]
    assert (root / "examples" / "first_program.py").read_text(encoding="utf-8").startswith(FIRST)


# The second.


def test_the_second_program(ollama: OllamaServer) -> None:
    from mellea_api.runtime import MelleaRuntime

    names = execute(SECOND, MelleaRuntime=MelleaRuntime)
    assert (names["response1"], names["response2"]) == ("2 + 2 = 4", "2 + 2 = 4")
    first, second = ollama.calls("/api/chat")
    assert (first.json["model"], second.json["model"]) == ("granite4:micro", "llama3.2:3b")
    assert first.json["messages"][-1]["content"] == "Hello!"
    assert [message["content"] for message in second.json["messages"]] == ["Hello again!"]
    assert ollama.calls("/api/pull") == []
    assert objections(ollama) == []


def test_the_second_program_without_the_second_model(ollama: OllamaServer) -> None:
    """It ends with the command that gets the model, and the runtime stays on the first."""
    from mellea_api import ModelNotFoundError
    from mellea_api.runtime import MelleaRuntime

    del ollama.models["llama3.2:3b"]
    made: list[MelleaRuntime] = []

    def kept(**arguments: Any) -> MelleaRuntime:
        made.append(MelleaRuntime(**arguments))
        return made[0]

    with pytest.raises(ModelNotFoundError, match=r"ollama pull llama3\.2:3b"):
        execute(SECOND, MelleaRuntime=kept)
    with made[0] as runtime:
        assert runtime.model_id == "granite4:micro"
        assert runtime.chat("Hello again!") == "2 + 2 = 4"
    assert [call.json["model"] for call in ollama.calls("/api/chat")] == ["granite4:micro"] * 2


# The third.


def check_third(server: OllamaServer) -> None:
    (request,) = server.calls("/api/chat")
    assert request.json["model"] == "granite4:micro"
    assert request.json["options"] == GUIDES_OPTIONS
    assert [message["content"] for message in request.json["messages"]] == ["Hello!"]
    assert "max_tokens" not in str(request.json)
    assert objections(server) == []


def test_the_third_program(ollama: OllamaServer) -> None:
    from mellea import MelleaSession

    from mellea_api import start_session

    names = execute(THIRD, start_session=start_session)
    assert isinstance(names["session"], MelleaSession)
    assert names["response"].content == "2 + 2 = 4"
    check_third(ollama)


def test_what_the_third_program_sends_without_this_library(ollama: OllamaServer) -> None:
    """What the library is for: Mellea alone sends Ollama a name that it does not know.

    Should this fail one day, Mellea has learnt it, and the documentation can say so.
    """
    from mellea import start_session

    execute(THIRD, start_session=start_session)
    (request,) = ollama.calls("/api/chat")
    assert "num_predict" not in request.json["options"]
    assert any("max_tokens" in warning for warning in ollama.warnings)


def command() -> str:
    found = shutil.which("mellea-api", path=str(Path(sys.executable).parent))
    assert found, "the command mellea-api is not installed beside the interpreter"
    return found


def run_program(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [command(), "run", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        env=dict(os.environ),
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "import_line",
    [
        "from mellea import start_session",
        "from mellea.stdlib.session import start_session",
        "from mellea_api import start_session",
    ],
)
def test_the_third_program_under_the_command(
    ollama: OllamaServer, tmp_path: Path, import_line: str
) -> None:
    program = tmp_path / "program.py"
    program.write_text(f"{import_line}\n\n{THIRD}\nprint(response.content)\n", encoding="utf-8")
    done = run_program(program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "2 + 2 = 4"
    check_third(ollama)


@pytest.mark.slow
def test_the_first_program_under_the_command(ollama: OllamaServer) -> None:
    done = run_program(Path(__file__).parents[2] / "examples" / "first_program.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "Response: 2 + 2 = 4"
    assert len(ollama.calls("/api/chat")) == 1
