"""A backend that is not there, or whose plugin is broken, is one error; every other one goes on."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import installing
from support.late import provider

pytest.importorskip("mellea_api_ollama")
pytest.importorskip("mellea_api_openai")

import mellea_api
from mellea_api import Registry
from mellea_api._registry.discovery import BACKENDS, EntryPoint
from mellea_api.runtime import MelleaRuntime

GOOD = """
from mellea_api.plugin import BackendDescriptor, hookimpl

@hookimpl
def describe_backend(name):
    return BackendDescriptor(name=name, summary="", default_model="m")
"""
SESSION = """
@hookimpl
def create_session(request):
    raise NotImplementedError
"""
BROKEN = {
    # What its module holds, and what the error must say.
    "raises": ("raise RuntimeError('no licence')", ("RuntimeError", "no licence")),
    "exits": ("import sys; sys.exit('bye')", ("SystemExit", "bye")),
    "exits with a number": ("raise SystemExit(3)", ("SystemExit", "3")),
    "syntax": ("def describe_backend(name) return", ("SyntaxError",)),
    "import": ("import no_such_sdk", ("ModuleNotFoundError", "no_such_sdk")),
    "misses a hook": (GOOD, ("create_session", "required")),
    "misspells a hook": (
        GOOD + SESSION.replace("create_session", "create_sesion"),
        ("create_sesion", "did you mean create_session"),
    ),
    "has a wrong signature": (
        GOOD + SESSION.replace("(request)", "(requst)"),
        ("create_session", "requst", "request"),
    ),
    "has a default": (
        GOOD + SESSION.replace("(request)", "(request=None)"),
        ("request", "default"),
    ),
    "describes nothing": (
        GOOD.replace("return BackendDescriptor", "return; BackendDescriptor") + SESSION,
        ("describe_backend", "None"),
    ),
    "raises when asked": (
        GOOD.replace("return BackendDescriptor", "raise KeyError('x'); BackendDescriptor")
        + SESSION,
        ("describe_backend", "KeyError"),
    ),
    "is too new": (
        GOOD.replace("name=name,", "name=name, contract_version=99,") + SESSION,
        ("99", "upgrade mellea-api"),
    ),
}


def install(folder: Path, distribution: str, name: str, source: str) -> None:
    """Installs a plugin as pip would: a module, and metadata beside it."""
    module = distribution.replace("-", "_")
    (folder / f"{module}.py").write_text(textwrap.dedent(source))
    entry_points = f"[mellea_api.backends]\n{name} = {module}\n"
    installing.distribution(folder, distribution, "1.2", entry_points=entry_points)


PROGRAM = """
import json, pickle, sys
import mellea_api
from mellea_api.runtime import MelleaRuntime

kinds, texts = [], []
for attempt in (
    lambda: mellea_api.start_session("fake"),
    lambda: MelleaRuntime("fake"),
    lambda: mellea_api.list_models("fake"),
    lambda: mellea_api.explain_options("fake", {}),
    lambda: mellea_api.validate_credentials("fake"),
):
    try:
        attempt()
    except mellea_api.MelleaAPIError as error:
        kinds.append(type(error).__name__)
        texts.append(str(error))
        assert str(pickle.loads(pickle.dumps(error))) == str(error)
with MelleaRuntime("ollama", "tiny", base_url=sys.argv[1]) as runtime:
    try:
        runtime.switch_model(backend="fake")
    except mellea_api.MelleaAPIError as error:
        kinds.append(type(error).__name__)
        texts.append(str(error))
    answer = runtime.chat("What is 2+2?")
print("RESULT", json.dumps([kinds, texts, answer]))
"""


def run(folder: Path, url: str) -> tuple[list[str], list[str], str]:
    """Runs the program beside what was installed."""
    import json

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, url],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    assert lines, done.stderr
    kinds, texts, answer = json.loads(lines[0].removeprefix("RESULT "))
    return kinds, texts, answer


@pytest.mark.slow
@pytest.mark.parametrize("case", ["raises", "exits", "syntax", "misses a hook"])
def test_an_installed_plugin_that_is_broken_harms_no_other(tmp_path: Path, case: str) -> None:
    source, words = BROKEN[case]
    install(tmp_path, "fake-backend", "fake", source)
    with provider("ollama") as found:
        kinds, texts, answer = run(tmp_path, found.server.base_url)
    assert set(kinds) == {"PluginError"}
    assert len(kinds) == 6
    assert len(set(texts)) == 1
    for word in (*words, "fake-backend", "1.2", "MELLEA_API_DISABLE=fake"):
        assert word in texts[0]
    assert answer == "4"


@pytest.mark.slow
def test_two_installed_distributions_with_one_name_are_both_named(tmp_path: Path) -> None:
    install(tmp_path, "fake-one", "fake", GOOD + SESSION)
    install(tmp_path, "fake-two", "fake", GOOD + SESSION)
    with provider("ollama") as found:
        kinds, texts, answer = run(tmp_path, found.server.base_url)
    assert set(kinds) == {"PluginError"}
    for word in ("fake-one", "fake-two", "MELLEA_API_PREFER=fake="):
        assert word in texts[0]
    assert answer == "4"


# --- the same in this process, for every kind of failure -----------------------------------------


def registry(*, fake: str | None = None, installed: bool = True) -> Registry:
    """The real backends, and a fake one beside them."""
    entries = [
        EntryPoint(BACKENDS, name, f"mellea_api_{name}:{name.upper()}", f"mellea-api-{name}")
        for name in ("ollama", "openai")
        if installed
    ]
    if fake is not None:
        entries.append(EntryPoint(BACKENDS, "fake", fake, "fake-backend", "1.2"))
    return Registry.discover(entry_points=entries)


def attempts(name: str, found: Registry) -> list[Callable[[], Any]]:
    return [
        lambda: mellea_api.start_session(name, registry=found),
        lambda: MelleaRuntime(name, registry=found),
        lambda: mellea_api.list_models(name, registry=found),
        lambda: mellea_api.validate_credentials(name, registry=found),
        lambda: mellea_api.explain_options(name, {}, registry=found),
    ]


@pytest.mark.parametrize("case", BROKEN)
def test_each_way_to_be_broken_is_one_error_that_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    source, words = BROKEN[case]
    module = f"broken_{case.replace(' ', '_')}"
    (tmp_path / f"{module}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    found = registry(fake=module)
    try:
        for attempt in attempts("fake", found):
            with pytest.raises(mellea_api.PluginError) as caught:
                attempt()
            error = caught.value
            for word in (*words, "fake-backend", "1.2"):
                assert word in str(error)
            assert (error.plugin, error.distributions) == ("fake", ("fake-backend",))
            assert str(error).endswith(error.next_step)
            assert "MELLEA_API_DISABLE=fake" in error.next_step
        assert found.backend("ollama").descriptor.default_model == "granite4:micro"
    finally:
        sys.modules.pop(module, None)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("olama", ("olama", "did you mean 'ollama'")),
        ("opnai", ("opnai", "did you mean 'openai'")),
        ("OpenAI", ("OpenAI", "did you mean 'openai'")),
        ("OLLAMA", ("OLLAMA", "did you mean 'ollama'")),
        ("zzz", ("zzz", "ollama, openai")),
        (7, ("7",)),
        ("../evil", ("../evil",)),
    ],
)
def test_an_unknown_backend_says_what_there_is(name: Any, words: tuple[str, ...]) -> None:
    found = registry()
    for attempt in attempts(name, found):
        with pytest.raises(mellea_api.BackendNotFoundError) as caught:
            attempt()
        error = caught.value
        for word in words:
            assert word.lower() in str(error).lower()
        assert isinstance(error, LookupError)
        assert error.installed == ("ollama", "openai")
        assert str(error).endswith(error.next_step)


@pytest.mark.parametrize("name", ["", None])
def test_no_name_is_no_backend_of_a_session(name: Any) -> None:
    """Of a runtime, it is its default."""
    with pytest.raises(mellea_api.BackendNotFoundError):
        mellea_api.start_session(name, registry=registry())


@pytest.mark.parametrize("name", ["hf", "huggingface", "litellm", "ollama", "openai", "watsonx"])
def test_a_known_backend_says_what_to_install(name: str) -> None:
    distribution = f"mellea-api-{'hf' if name == 'huggingface' else name}"
    for attempt in attempts(name, registry(installed=False)):
        with pytest.raises(mellea_api.BackendNotFoundError) as caught:
            attempt()
        assert f"pip install {distribution}" in caught.value.next_step
        assert caught.value.distribution == distribution


def test_a_switch_to_one_that_is_not_installed_leaves_the_runtime_where_it_was() -> None:
    with (
        provider("ollama") as found,
        MelleaRuntime("ollama", "tiny", registry=registry(), **found.arguments()) as runtime,
    ):
        with pytest.raises(mellea_api.BackendNotFoundError, match="pip install mellea-api-hf"):
            runtime.switch_model(backend="hf")
        assert runtime.backend == "ollama"
        assert asyncio.run(runtime.achat("What is 2+2?")) == "4"
