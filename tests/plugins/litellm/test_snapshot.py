"""The snapshot is what the installed LiteLLM does, and what a session does where it is not."""

from __future__ import annotations

import importlib.util
import logging
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from support.ollama_server import OllamaServer

pytest.importorskip("mellea_api_litellm")

import mellea_api
from mellea_api_litellm import probe
from mellea_api_litellm.routes import differences, find, snapshot

ROOT = Path(__file__).parents[3]


def one_route_of_each_kind() -> list[tuple[int, str, str]]:
    found: dict[int, tuple[str, str]] = {}
    for provider, known in snapshot()["providers"].items():
        if provider in ("chatgpt", "github_copilot"):
            continue
        for model, entry in known["models"].items():
            found.setdefault(entry[0], (provider, model))
        if known["kind"] is not None:
            found.setdefault(known["kind"], (provider, "zz-model"))
    return [(kind, *route) for kind, route in found.items()]


@pytest.fixture
def same_litellm(sdk: Any) -> None:
    if version("litellm") != snapshot()["litellm"]:
        pytest.skip(
            f"LiteLLM {version('litellm')} is installed, and the snapshot is of "
            f"{snapshot()['litellm']}: tools/litellm_snapshot.py --check says what differs"
        )


@pytest.mark.slow
@pytest.mark.usefixtures("same_litellm")
def test_making_it_anew_gives_the_same() -> None:
    """One route of each kind; tools/litellm_snapshot.py --check compares all, in minutes."""
    wrong = []
    for kind, provider, model in one_route_of_each_kind():
        model_id = f"{provider}/{model}"
        if snapshot()["providers"][provider]["models"].get(model, [0, 0, 0, 0])[3]:
            model_id = model
        made = probe.places(provider, model, model_id)
        wrong += [f"{model_id}: {line}" for line in differences(snapshot()["kinds"][kind], made)]
    assert not wrong


@pytest.mark.usefixtures("same_litellm")
def test_its_lists_are_litellms() -> None:
    import litellm
    from litellm.types.utils import all_litellm_params

    assert snapshot()["own"] == sorted(set(all_litellm_params))
    assert set(snapshot()["parameters"]) == set(
        litellm.constants.DEFAULT_CHAT_COMPLETION_PARAM_VALUES
    )


def test_the_tool_says_what_differs() -> None:
    spec = importlib.util.spec_from_file_location(
        "litellm_snapshot", ROOT / "tools" / "litellm_snapshot.py"
    )
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    spec.loader.exec_module(tool)
    sys.path[:] = before
    there = snapshot()
    assert list(tool.differences(there, there)) == []
    kinds = [dict(kind) for kind in there["kinds"]]
    number = there["providers"]["ollama_chat"]["kind"]
    kinds[number]["seed"] = "options.seeds"
    found = list(tool.differences(there, {**there, "kinds": kinds}))
    assert "ollama_chat/*: seed: options.seed -> options.seeds" in found


@pytest.mark.usefixtures("sdk")
def test_at_session_start_the_installed_litellm_wins_and_says_so(
    ollama_server: OllamaServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As after an upgrade: LiteLLM supports what the snapshot says it does not."""
    route = "ollama_chat/tiny"
    found = find(route)
    assert found is not None
    stale = {name: place for name, place in found.places.items() if name != "seed"}
    number = snapshot()["kinds"].index(dict(found.places))
    kinds = [*snapshot()["kinds"]]
    kinds[number] = stale
    monkeypatch.setitem(snapshot(), "kinds", kinds)
    from mellea_api_litellm import routes

    routes.forget()
    before = mellea_api.explain_options("litellm", {"seed": 7}, route)
    assert before.decisions[0].outcome == "dropped"
    caplog.set_level(logging.WARNING, "mellea_api")
    session = mellea_api.start_session("litellm", route, base_url=ollama_server.base_url)
    assert "seed (not sent -> options.seed)" in caplog.text
    session.chat("Hello!", model_options={"seed": 7})
    chats = [found for found in ollama_server.requests if found.path == "/api/chat"]
    assert chats[-1].json["options"]["seed"] == 7
    assert mellea_api.options_report(session).wire["options"] == {"seed": 7}
