"""`mellea-api models`."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from support.fake_plugins import GOOD
from support.faults import black_hole, refused
from support.ollama_server import OllamaServer
from support.openai_server import OpenAIServer

import mellea_api

HANGS = GOOD + "\n@hookimpl\ndef list_models(request):\n    import time; time.sleep(60)\n"


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Any:
    with OllamaServer(["tiny:latest"]) as ollama, OpenAIServer() as openai:
        monkeypatch.setenv("OLLAMA_HOST", ollama.base_url)
        monkeypatch.setenv("OPENAI_BASE_URL", openai.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-good")
        yield ollama, openai


def by_backend(found: Any) -> dict[str, Any]:
    return {row["backend"]: row for row in found["backends"]}


@pytest.mark.usefixtures("servers")
def test_all_backends_are_asked(invoke: Any, invoke_json: Any) -> None:
    found = by_backend(invoke_json("models"))
    assert [model["id"] for model in found["ollama"]["models"]] == ["tiny:latest"]
    assert {model["source"] for model in found["openai"]["models"]} == {"live"}
    assert found["ngram"]["error"] is None
    result = invoke("models")
    assert result.exit_code == 0
    assert any(line.startswith("ollama   tiny:latest") for line in result.stdout.splitlines())


def test_a_failing_backend_stands_beside_the_others_with_its_reason(
    servers: Any, invoke: Any, invoke_json: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-and-secret")
    found = by_backend(invoke_json("models"))
    assert found["openai"]["models"] is None
    assert found["openai"]["error"]["type"] == "CredentialError"
    assert found["ollama"]["models"]
    result = invoke("models")
    assert result.exit_code == 0
    assert "openai: " in result.stderr
    assert "sk-wrong-and-secret" not in result.output
    assert "sk-wrong-and-secret" not in str(found)


def test_exit_codes_tell_why_one_backend_failed(invoke: Any) -> None:
    with refused() as nobody:
        assert invoke("models", "ollama", "--base-url", nobody.base_url).exit_code == 3
    with black_hole() as nobody:
        slow = invoke("models", "ollama", "--base-url", nobody.base_url, "--timeout", "0.3")
        assert slow.exit_code == 3
    assert invoke("models", "openai").exit_code == 4
    assert invoke("models", "nobody").exit_code == 1
    assert invoke("models", "--base-url", "http://127.0.0.1:1").exit_code == 2
    assert invoke("models", "--timeout", "0").exit_code == 2


def test_if_all_fail_the_exit_code_says_so(invoke: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MELLEA_API_PLUGINS", "ollama,openai")
    with refused() as nobody:
        monkeypatch.setenv("OLLAMA_HOST", nobody.base_url)
        mellea_api.refresh()
        assert invoke("models").exit_code == 1  # one cannot be reached, the other has no key
        monkeypatch.setenv("MELLEA_API_PLUGINS", "ollama")
        mellea_api.refresh()
        assert invoke("models").exit_code == 3


@pytest.mark.usefixtures("servers")
def test_a_plugin_that_never_answers_holds_up_nobody(invoke_json: Any, install: Any) -> None:
    install("stuck", HANGS)
    began = time.monotonic()
    found = by_backend(invoke_json("models", "--timeout", "2"))
    assert time.monotonic() - began < 10
    assert found["stuck"]["error"]["type"] == "RequestTimeoutError"
    assert found["ollama"]["models"]


@pytest.mark.usefixtures("servers")
def test_a_broken_plugin_brings_nobody_down(invoke_json: Any, install: Any) -> None:
    install("bad", "raise RuntimeError('oops')")
    found = by_backend(invoke_json("models"))
    assert found["bad"]["error"]["type"] == "PluginError"
    assert found["ollama"]["models"]


def test_offline_is_the_catalogue(invoke_json: Any) -> None:
    found = by_backend(invoke_json("models", "--offline"))
    assert found["ollama"]["models"][0]["id"] == "granite4:micro"
    assert {model["source"] for model in found["openai"]["models"]} == {"catalogue"}
    assert by_backend(invoke_json("models", "ollama", "--offline")).keys() == {"ollama"}


@pytest.mark.usefixtures("servers")
def test_each_model_is_labelled_live_or_cached_with_its_age(invoke: Any, invoke_json: Any) -> None:
    def labels(*arguments: str) -> list[tuple[str, bool]]:
        found = by_backend(invoke_json("models", "ollama", *arguments))
        return [(model["source"], model["age"] is None) for model in found["ollama"]["models"]]

    assert labels() == [("live", True)]
    assert labels() == [("cached", False)]
    assert labels("--offline") == [("cached", False)]
    assert labels("--refresh") == [("live", True)]
    table = invoke("models", "ollama").stdout
    assert "tiny:latest" in table
    assert "cached 0 s ago" in table
    assert invoke("models", "--refresh", "--offline").exit_code == 2


def test_a_server_that_went_away_is_shown_with_what_it_said_before(
    servers: Any, invoke: Any, invoke_json: Any
) -> None:
    ollama, _ = servers
    invoke("models", "ollama")
    ollama.fail_next(503, path="*", times=2)
    found = by_backend(invoke_json("models", "ollama", "--refresh"))["ollama"]
    assert found["error"]["type"] == "BackendUnavailableError"
    assert [(model["id"], model["source"]) for model in found["models"]] == [
        ("tiny:latest", "cached")
    ]
    result = invoke("models", "ollama", "--refresh")
    assert result.exit_code == 3
    assert "tiny:latest" in result.stdout
    assert "HTTP 503" in result.stderr
    assert "its last answer" in result.stderr


def test_a_cache_that_does_not_work_is_said_once_and_breaks_nothing(
    servers: Any, command: Any, tmp_path: Any
) -> None:
    (tmp_path / "file").write_text("")
    environment = {"XDG_CACHE_HOME": str(tmp_path / "file")}
    result = command("models", "ollama", "--json", env=environment)
    assert result.returncode == 0
    assert [model["source"] for model in json.loads(result.stdout)["backends"][0]["models"]] == [
        "live"
    ]
    assert result.stderr.count("cache of model lists") == 1
    assert "Traceback" not in result.stderr


def test_debug_shows_where_a_failure_comes_from(invoke: Any) -> None:
    with refused() as nobody:
        result = invoke("models", "ollama", "--base-url", nobody.base_url, "--debug")
    assert "Traceback" in result.stderr
    assert "mellea_api_ollama" in result.stderr


def test_a_server_without_models_says_so(invoke: Any) -> None:
    with OllamaServer([]) as empty:
        result = invoke("models", "ollama", "--base-url", empty.base_url)
    assert result.exit_code == 0
    assert "it has no models" in result.stderr


STEERING = ("\x1b[31m", "\x9b31m", "\u202e")


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_names_from_a_server_do_not_steer_the_terminal(
    invoke: Any, options: tuple[str, ...]
) -> None:
    name = f"evil{''.join(STEERING)}:latest"
    with OllamaServer([name]) as server:
        result = invoke("models", "ollama", "--base-url", server.base_url, *options)
    assert "evil" in result.stdout
    assert not [letters for letters in STEERING if letters in result.stdout]
    if options:
        assert json.loads(result.stdout)["backends"][0]["models"][0]["id"] == name


@pytest.mark.parametrize(
    "line", ["chat -b openai Hi", "chat -b openai Hi --model x --debug", "check openai --probe"]
)
def test_nor_do_they_from_a_message(
    command: Any, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with OpenAIServer(api_key=None, strict=False) as server:
        server.models[:] = [f"evil{''.join(STEERING)}"]
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        done = command(*line.split())
    assert "evil" in done.stdout + done.stderr
    assert not [letters for letters in STEERING if letters in done.stdout + done.stderr]


LISTS_BY_SETTING = (
    GOOD
    + """
@hookimpl
def list_models(request):
    settings = request.target.settings
    return [ModelInfo(id=f"{name}={value!r}") for name, value in sorted(settings.items())]
"""
)


def test_settings_reach_the_backend_as_arguments_would(invoke_json: Any, install: Any) -> None:
    install("set", LISTS_BY_SETTING)
    found = invoke_json("models", "set", "--set", "provider=groq", "--set", "limit=3")
    assert [model["id"] for model in found["backends"][0]["models"]] == [
        "limit=3",
        "provider='groq'",
    ]


def test_settings_that_are_none_are_refused(invoke: Any, install: Any) -> None:
    install("set", LISTS_BY_SETTING)
    assert invoke("models", "--set", "provider=groq").exit_code == 2
    assert invoke("models", "set", "--set", "provider").exit_code == 2
    assert invoke("models", "set", "--set", "base_url=http://x.invalid").exit_code == 2
    secret = invoke("models", "set", "--set", "api_key=sk-on-the-command-line")
    assert secret.exit_code == 2
    assert "FAKE_API_KEY" in secret.stderr
    assert "sk-on-the-command-line" not in secret.output
