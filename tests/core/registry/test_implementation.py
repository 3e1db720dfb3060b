"""A constant as the plugin, its implementation, async hooks, and descriptions of a target."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from support.fake_plugins import backend, extension, registry

import mellea_api
from mellea_api import (
    ContentRefusedError,
    ModelNotFoundError,
    PluginError,
    Registry,
    RequestTimeoutError,
)
from mellea_api.plugin import BackendDescriptor, Target

WritePlugin = Callable[[str], str]
CONSTANT = """
from mellea_api.plugin import *
from mellea_api import *
FAKE = BackendDescriptor(
    name="fake", summary="", implementation={implementation!r}, sdk="fakesdk", contract_version=2,
    {facts}
)
"""
HOOKS = """
import asyncio, threading, time
from mellea_api.plugin import *
from mellea_api import *
SEEN = []
ended = threading.Event()
"""
LISTING = """
@hookimpl
async def list_models(request):
    SEEN.append(threading.current_thread().name)
    await asyncio.sleep(0)
    return [ModelInfo(id=name) for name in {names!r}.split()]
"""


@pytest.fixture
def constant(write_plugin: WritePlugin) -> Callable[..., tuple[Registry, str]]:
    """Return a function that makes a backend of a constant, and the name of its implementation."""

    def make(hooks: str, facts: str = "default_model='small'", *wrappers: str) -> Any:
        if "create_session" not in hooks:
            hooks += "\n@hookimpl\ndef create_session(request): raise RuntimeError('opened')\n"
        implementation = write_plugin(HOOKS + hooks)
        name = write_plugin(CONSTANT.format(implementation=implementation, facts=facts))
        extensions = [
            extension(f"extension-{at}", write_plugin(HOOKS + source))
            for at, source in enumerate(wrappers)
        ]
        return registry(backend("fake", f"{name}:FAKE"), *extensions), implementation

    return make


def test_the_implementation_is_imported_when_it_is_first_needed(
    constant: Callable[..., Any],
) -> None:
    found, implementation = constant(LISTING.format(names="small big"))
    assert found.backend("fake").descriptor.summary == ""
    assert mellea_api.explain_options("fake", {}, registry=found).wire == {}
    assert mellea_api.validate_credentials("fake", registry=found).status == "not-needed"
    mellea_api.list_models("fake", freshness="offline", registry=found)
    assert implementation not in sys.modules
    listed = mellea_api.list_models("fake", freshness="live", registry=found)
    assert [(model.id, model.source, model.default) for model in listed] == [
        ("small", "live", True),
        ("big", "live", False),
    ]
    assert mellea_api.list_models("fake", freshness="offline", registry=found) is not None
    assert len(sys.modules[implementation].SEEN) == 2 - 1  # it is not asked without `live`


@pytest.mark.parametrize(
    ("hooks", "reason"),
    [
        ("raise RuntimeError('no SDK')", "failed with RuntimeError: no SDK"),
        ("@hookimpl\ndef create_sesion(request): ...", "did you mean create_session?"),
        ("@hookimpl\ndef describe_backend(name): ...", "has describe_backend; write it in"),
    ],
)
def test_an_implementation_that_cannot_be_used_is_the_plugins_fault(
    constant: Callable[..., Any], hooks: str, reason: str
) -> None:
    found, _ = constant(hooks)
    assert found.backend("fake").descriptor  # what needs no implementation goes on
    with pytest.raises(PluginError, match="dist-one") as caught:
        mellea_api.start_session("fake", registry=found)
    assert reason in str(caught.value)


def test_a_constant_without_hooks_is_refused(write_plugin: WritePlugin) -> None:
    name = write_plugin(CONSTANT.format(implementation="", facts=""))
    with pytest.raises(PluginError, match="it lacks the required hook create_session"):
        registry(backend("fake", f"{name}:FAKE")).backend("fake")


def test_an_async_hook_runs_apart_and_a_wrapper_sees_its_answer(
    constant: Callable[..., Any],
) -> None:
    wrapper = (
        "@hookimpl(wrapper=True)\ndef list_models(request):\n"
        "    answer = yield\n    SEEN.append(type(answer).__name__)\n    return answer[:1]"
    )
    found, implementation = constant(LISTING.format(names="a b"), "default_model='a'", wrapper)
    (model,) = mellea_api.list_models("fake", freshness="live", registry=found)
    assert model.id == "a"
    (thread,) = sys.modules[implementation].SEEN
    assert thread != threading.current_thread().name
    (source,) = [record.entry_point.value for record in found.extensions()]
    assert sys.modules[source].SEEN == ["list"]


def test_an_async_hook_is_given_up_after_the_timeout(constant: Callable[..., Any]) -> None:
    """Also while it waits for a thread that nobody can end."""
    found, implementation = constant(
        "@hookimpl\nasync def create_session(request):\n    await asyncio.to_thread(ended.wait, 60)"
    )
    with pytest.raises(RequestTimeoutError):
        mellea_api.start_session("fake", timeout=0.1, registry=found)
    module = sys.modules[implementation]
    assert not module.ended.is_set()
    module.ended.set()


def test_a_hook_may_lift_its_limit(constant: Callable[..., Any]) -> None:
    found, _ = constant(
        "@hookimpl\nasync def create_session(request):\n"
        "    def pull():\n        request.no_limit()\n        time.sleep(5.2)\n"
        "    await asyncio.to_thread(pull)\n    raise RuntimeError('pulled')"
    )
    began = time.monotonic()
    with pytest.raises(PluginError, match="pulled"):
        mellea_api.start_session("fake", timeout=5, registry=found)
    assert time.monotonic() - began >= 5.2


def test_a_model_that_nobody_checked_is_said_in_the_log(
    constant: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mellea_api")
    found, _ = constant(
        "from mellea import MelleaSession\n"
        "class Fake(TextBackend):\n    provider = 'fake'\n"
        "    async def generate(self, prompt, options):\n        yield 'ok'\n"
        "@hookimpl\nasync def create_session(request):\n"
        "    request.unchecked('check=False')\n    return request.build(Fake)"
    )
    session = mellea_api.start_session("fake", registry=found)
    assert "has the model 'small' was not checked (check=False)" in caplog.text
    assert session.chat("Hello").content == "ok"


@pytest.mark.parametrize(
    ("needs", "key", "status", "checked"),
    [
        ("always", None, "not-needed", True),
        ("always", "sk-0123456789", "present", True),
        ("never", "sk-0123456789", "unchecked", False),
    ],
)
def test_a_probe_lists_the_models(
    constant: Callable[..., Any], needs: str, key: str | None, status: str, checked: bool
) -> None:
    """It says that a key works only if nobody gets the list without one."""
    field = "credentials=CredentialField(name='api_key', required='never')"
    facts = f"default_model='small', listing_needs={needs!r}, {field}"
    found, _ = constant(LISTING.format(names="a"), facts)
    report = mellea_api.validate_credentials("fake", probe=True, api_key=key, registry=found)
    assert (report.status, report.checked) == (status, checked)
    assert "The fake server is there" in report.message


def test_of_a_closed_catalogue_the_core_refuses_other_models(constant: Callable[..., Any]) -> None:
    facts = "default_model='small', models=(ModelInfo(id='small', default=True),), closed=True"
    found, _ = constant("", facts)
    with pytest.raises(ModelNotFoundError) as caught:
        mellea_api.start_session("fake", "smal", registry=found)
    assert caught.value.known == ("small",)
    with pytest.raises(PluginError, match="opened"):
        mellea_api.start_session("fake", registry=found)


@pytest.mark.parametrize(("names", "words"), [("a b", "one of a, b"), ("", "has no models")])
def test_without_a_default_model_the_only_one_is_taken(
    constant: Callable[..., Any], names: str, words: str
) -> None:
    opened = (
        "\n@hookimpl\ndef create_session(request): raise RuntimeError(request.target.model_id)\n"
    )
    found, _ = constant(LISTING.format(names="only") + opened, "")
    with pytest.raises(PluginError, match="RuntimeError: only"):
        mellea_api.start_session("fake", registry=found)
    found, _ = constant(LISTING.format(names=names) + opened, "")
    with pytest.raises(ModelNotFoundError, match=words):
        mellea_api.start_session("fake", registry=found)


def test_loggers_of_the_sdk_and_of_the_plugin_show_no_secret(
    constant: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    key = "sk-0123456789-masked-everywhere"
    found, _ = constant(
        "import logging\n@hookimpl\nasync def create_session(request):\n"
        "    logging.getLogger('fakesdk.client').warning('sent %s', request.credential('api_key'))\n"
        "    raise RuntimeError('opened')",
        "default_model='small', credentials=CredentialField(name='api_key', required='never')",
    )
    logging.getLogger("fakesdk.client")
    with pytest.raises(PluginError):
        mellea_api.start_session("fake", api_key=key, registry=found)
    assert "sent" in caplog.text
    assert key not in caplog.text


def test_without_an_address_the_default_one_says_whose_server_it_is() -> None:
    def server(**facts: Any) -> str:
        about = BackendDescriptor(
            name="fake", summary="", official_hosts=("api.fake.com",), **facts
        )
        return Target(descriptor=about, model_id="m").server

    assert server(base_url="https://api.fake.com/v1") == "official"
    assert server(base_url="http://127.0.0.1:8080/v1") == "compatible"
    assert server() == "official"


def test_the_descriptor_says_which_finish_reasons_are_a_filters() -> None:
    from mellea_api._sessions.choices import check_ends

    answer = {"choices": [{"finish_reason": "SAFETY"}]}
    about = BackendDescriptor(name="fake", summary="", filtered="SAFETY")
    with pytest.raises(ContentRefusedError):
        check_ends(answer, about.filtered)
    assert check_ends(answer, BackendDescriptor(name="fake", summary="").filtered)
