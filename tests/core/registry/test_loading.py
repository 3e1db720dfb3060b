"""Whatever goes wrong while a plugin is imported is its reason, and it stays alone with it."""

from __future__ import annotations

import importlib
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.fake_plugins import GOOD, backend, extension, refused, registry
from support.installing import distribution
from support.waiting import until

import mellea_api
from mellea_api import PluginError

WritePlugin = Callable[[str], str]
IMPORT = "from mellea_api import *\nfrom mellea_api.plugin import (BackendDescriptor, CredentialField, CredentialQuery, ErrorRequest, OptionPatch, OptionRule, hookimpl)\n"


# --- importing ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("import no_such_sdk", ModuleNotFoundError),
        ("raise SystemExit(3)", SystemExit),
        ("import sys; sys.exit()", SystemExit),
        ("def broken(:", SyntaxError),
        ("raise RuntimeError('at import')", RuntimeError),
        ("1/0", ZeroDivisionError),
        ("import sys; sys.modules[__name__] = None", None),
        ("def f(): f()\nf()", RecursionError),
    ],
)
def test_whatever_an_import_raises_is_the_reason(
    write_plugin: WritePlugin, source: str, kind: type[BaseException] | None
) -> None:
    error = refused(write_plugin, source)
    if kind is not None:
        assert kind.__name__ in str(error)
        assert isinstance(error.__cause__, kind)


def test_a_module_or_attribute_that_is_not_there_is_the_reason(write_plugin: WritePlugin) -> None:
    assert "no attribute" in str(refused(write_plugin, GOOD, attribute=":missing"))
    with pytest.raises(PluginError, match="no_such_module"):
        registry(backend("fake", "no_such_module")).backend("fake")


def test_an_empty_or_odd_entry_point_is_the_reason() -> None:
    for value in ("", ":", ":x", "..", "a..b", "no such", "os:path.nothing"):
        with pytest.raises(PluginError):
            registry(backend("fake", value)).backend("fake")


def test_a_class_is_no_plugin(write_plugin: WritePlugin) -> None:
    assert "is a class" in str(refused(write_plugin, "class Plugin: pass", attribute=":Plugin"))


def test_an_object_can_be_a_plugin(write_plugin: WritePlugin) -> None:
    name = write_plugin(
        IMPORT
        + """
class Plugin:
    @hookimpl
    def describe_backend(self, name):
        return BackendDescriptor(name=name, summary="an object", default_model="m")
    @hookimpl
    def create_session(self, request): ...
plugin = Plugin()
"""
    )
    found = registry(backend("fake", f"{name}:plugin")).backend("fake")
    assert found.descriptor.summary == "an object"


# --- a broken plugin stays alone ---------------------------------------------------------------


def test_the_reason_is_raised_each_time_and_the_plugin_is_imported_once(
    write_plugin: WritePlugin,
) -> None:
    name = write_plugin("import sys\nsys.imported.append(1)\nraise RuntimeError('broken')")
    sys.imported = []  # type: ignore[attr-defined]
    try:
        found = registry(backend("fake", name))
        errors = []
        for _ in range(3):
            with pytest.raises(PluginError) as caught:
                found.backend("fake")
            errors.append(caught.value)
        assert sys.imported == [1]  # type: ignore[attr-defined]
    finally:
        del sys.imported  # type: ignore[attr-defined]
    assert len({str(error) for error in errors}) == 1
    assert len({id(error) for error in errors}) == 3
    assert all(isinstance(error.__cause__, RuntimeError) for error in errors)
    lengths = {len(traceback.extract_tb(error.__traceback__)) for error in errors}
    assert len(lengths) == 1  # no traceback grows with each use


def test_a_plugin_that_was_mended_works_in_a_new_registry(
    write_plugin: WritePlugin, tmp_path: Any
) -> None:
    name = write_plugin("raise RuntimeError")
    entry = backend("fake", name)
    with pytest.raises(PluginError):
        registry(entry).backend("fake")
    path = tmp_path / f"{name}.py"
    path.write_text(GOOD)
    assert registry(entry).backend("fake")


def test_an_interrupt_is_nobodys_error_and_is_not_remembered(write_plugin: WritePlugin) -> None:
    name = write_plugin("import sys\nif sys.interrupting:\n    raise KeyboardInterrupt\n" + GOOD)
    found = registry(backend("fake", name))
    sys.interrupting = True  # type: ignore[attr-defined]
    try:
        with pytest.raises(KeyboardInterrupt):
            found.backend("fake")
        sys.interrupting = False  # type: ignore[attr-defined]
        assert found.backend("fake")
    finally:
        del sys.interrupting  # type: ignore[attr-defined]


def test_finding_and_naming_imports_no_plugin(write_plugin: WritePlugin) -> None:
    name = write_plugin("raise SystemExit")
    found = registry(backend("fake", name), extension("policy", name))
    assert found.names() == ["fake"]
    assert found.backends()
    assert found.extensions()
    assert name not in sys.modules


# --- upgrades ----------------------------------------------------------------------------------


def test_what_is_installed_or_removed_is_seen_after_a_refresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    before = mellea_api.refresh()
    try:
        entry_points = "[mellea_api.backends]\nlate = late_fake\n"
        distribution(tmp_path, "late-fake", "1.0", entry_points=entry_points)
        (tmp_path / "late_fake.py").write_text(GOOD)
        assert "late" not in before
        assert "late" not in mellea_api.shared_registry()
        mellea_api.refresh()
        assert mellea_api.explain_options("late", {"seed": 1}).wire == {"seed": 1}
        shutil.rmtree(tmp_path / "late_fake-1.0.dist-info")
        assert "late" in mellea_api.shared_registry()
        mellea_api.refresh()
        with pytest.raises(mellea_api.BackendNotFoundError):
            mellea_api.explain_options("late", {})
    finally:
        sys.modules.pop("late_fake", None)
        monkeypatch.undo()
        mellea_api.refresh()


# --- concurrency -------------------------------------------------------------------------------


def test_threads_that_ask_for_one_backend_load_it_once(write_plugin: WritePlugin) -> None:
    name = write_plugin("import sys, time\nsys.imported.append(1)\ntime.sleep(0.05)\n" + GOOD)
    sys.imported = []  # type: ignore[attr-defined]
    found = registry(backend("fake", name))
    start = threading.Barrier(32)
    backends: list[object] = []

    def ask() -> None:
        start.wait()
        backends.append(found.backend("fake"))

    threads = [threading.Thread(target=ask) for _ in range(32)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert sys.imported == [1]  # type: ignore[attr-defined]
    finally:
        del sys.imported  # type: ignore[attr-defined]
    assert len(backends) == 32
    assert len(set(map(id, backends))) == 1


def test_a_plugin_that_asks_for_a_backend_while_it_is_imported_holds_up_nobody(
    monkeypatch: pytest.MonkeyPatch, write_plugin: WritePlugin
) -> None:
    """One thread imports a program that has a plugin in it, another one asks for that plugin."""
    program = write_plugin("import sys\nsys.begin_program()\n" + GOOD)
    found = registry(backend("mine", program), backend("fake", write_plugin(GOOD)))
    asked: list[object] = []

    def begin() -> None:  # in the middle of the import, as programs do in their modules
        other = threading.Thread(target=lambda: asked.append(found.backend("mine")), daemon=True)
        other.start()
        other.join(0.2)
        asked.append(found.backend("fake"))

    monkeypatch.setattr(sys, "begin_program", begin, raising=False)
    importing = threading.Thread(target=importlib.import_module, args=(program,), daemon=True)
    importing.start()
    importing.join(20)
    assert not importing.is_alive()
    until(lambda: len(asked) == 2)


def test_threads_that_ask_for_a_broken_backend_all_get_its_reason(
    write_plugin: WritePlugin,
) -> None:
    found = registry(backend("fake", write_plugin("raise RuntimeError('broken')")))
    start = threading.Barrier(8)
    errors: list[BaseException] = []

    def ask() -> None:
        start.wait()
        try:
            found.backend("fake")
        except PluginError as error:
            time.sleep(0.001)
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len({id(error) for error in errors}) == 8
    assert len({str(error) for error in errors}) == 1
