"""Plugins without an SDK, and the entry points under which a registry is told of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from mellea_api import PluginError, Registry
from mellea_api._registry.discovery import BACKENDS, EXTENSIONS, EntryPoint
from mellea_api.plugin import BackendDescriptor

GOOD = """
from mellea_api.plugin import BackendDescriptor, CredentialField, OptionRule, hookimpl
from mellea_api import ModelInfo

@hookimpl
def describe_backend(name):
    return BackendDescriptor(
        name=name,
        summary="a fake",
        default_model="small",
        options=(
            OptionRule(name="temperature", chat="temperature"),
            OptionRule(name="max_tokens", chat="limit"),
            OptionRule(name="seed", chat="seed"),
        ),
        models=(ModelInfo(id="small", default=True),),
        credentials=(
            CredentialField(name="api_key", variables=("FAKE_API_KEY",), required="never"),
        ),
    )

@hookimpl
def create_session(request):
    raise RuntimeError("a fake has no sessions")
"""
"""The source of a backend's plugin that keeps to the contract."""

BY_TARGET = """
from attrs import evolve
WHOLE = [describe_backend]

@hookimpl
def describe_backend(name, target):
    return evolve(target.descriptor, **facts_of(target)) if target else WHOLE[0](name)
"""
"""To be added to it: describes a target by what `facts_of`, which a test adds, returns for it."""

COUNTING = """
import os, time

@hookimpl
def list_models(request):
    if not request.live:
        return None
    with open(os.environ["ASKED"], "a") as file:
        file.write(request.target.backend + "\\n")
    time.sleep(float(os.environ.get("TAKES", "0")))
    if os.environ.get("DOWN"):
        raise ConnectionRefusedError(os.environ["DOWN"])
    return [ModelInfo(id=name, source="live") for name in os.environ["HAS"].split()]
"""
"""To be added to it: lists the models in HAS, or is DOWN, and writes a line to the file ASKED."""


def backend(
    name: str, value: str, distribution: str = "dist-one", version: str = "1.0"
) -> EntryPoint:
    return EntryPoint(BACKENDS, name, value, distribution, version)


def extension(name: str, value: str, distribution: str = "dist-policy") -> EntryPoint:
    return EntryPoint(EXTENSIONS, name, value, distribution, "1.0")


def registry(*entry_points: EntryPoint, **environ: str) -> Registry:
    with mock.patch.dict(os.environ, environ):
        return Registry.discover(entry_points=entry_points)


def described(name: str, **facts: Any) -> BackendDescriptor:
    return BackendDescriptor(**{"name": name, "summary": "", "default_model": "small", **facts})


def refused(write: Callable[[str], str], source: str, *, attribute: str = "") -> PluginError:
    """The error with which a plugin is refused; what holds for each such error is looked at here.

    Args:
        write: Writes a module, and returns its name.
        source: The module's source.
        attribute: What the entry point names inside it, with what stands before it.
    """
    found = registry(backend("fake", write(source) + attribute), backend("good", write(GOOD)))
    with pytest.raises(PluginError) as caught:
        found.backend("fake")
    error = caught.value
    assert error.plugin == error.backend == "fake"
    assert error.distributions == ("dist-one",)
    assert "dist-one 1.0" in str(error)
    assert str(error).endswith("switch it off with MELLEA_API_DISABLE=fake.")
    assert found.backend("good").descriptor.name == "good"  # the others go on working
    return error
