"""Arguments that only one backend has: declared, checked and read; others are refused early."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.fake_plugins import backend, registry

import mellea_api
from mellea_api import ConfigurationError, CredentialReport
from mellea_api.plugin import BackendDescriptor, CredentialRequest, ModelsRequest, Setting, Target

PLUGIN = """
from mellea_api.plugin import BackendDescriptor, CredentialField, Setting, hookimpl
from mellea_api import ModelInfo

class Model:
    def __init__(self, model_id, *, color="red", base_url=None, model_options=None): ...

@hookimpl
def describe_backend(name):
    return BackendDescriptor(
        name=name, summary="", default_model="small",
        credentials=CredentialField(name="api_key", variables="FAKE_API_KEY", required="never"),
        settings=(
            Setting(name="pull", type="boolean", default=False, help="Download a missing model."),
            Setting(name="hub", type="boolean text", scope="models"),
            Setting(name="size", type="integer", choices=(1, 2)),
        ),
        arguments_of=__name__ + ":Model",
    )

@hookimpl
def create_session(request):
    raise AssertionError("asked")

@hookimpl
def list_models(request):
    return [ModelInfo(id=repr(request.setting("hub")))]
"""


@pytest.fixture
def start(write_plugin: Callable[[str], str]) -> Callable[..., Any]:
    found = registry(backend("fake", write_plugin(PLUGIN)))

    def run(function: Callable[..., Any] = mellea_api.start_session, **given: Any) -> Any:
        return function("fake", registry=found, **given)

    return run


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"model": "x"}, "no argument 'model' here. Did you mean 'model_id'?"),
        ({"backend": "x"}, "no argument 'backend' here. Did you mean 'backend_name'?"),
        ({"modle_id": "x"}, "Did you mean 'model_id'?"),
        ({"api_kye": "x"}, "Did you mean 'api_key'?"),
        ({"pul": True}, "Did you mean 'pull'?"),
        ({"colour": "x"}, "Did you mean 'color'?"),
        ({"frobnicate": 1}, "It takes base_url, color, hub, pull, size"),
        ({"hub": True}, "no argument 'hub'"),
        ({"pull": "yes"}, "pull='yes' for the fake backend. Give True or False, or leave it out. "),
        ({"pull": None}, "pull=None"),
        ({"pull": 1}, "Download a missing model."),
        ({"size": True}, "Give one of 1, 2, or leave it out."),
        ({"size": 3}, "Give one of 1, 2"),
    ],
)
def test_what_is_no_argument_of_a_session_is_refused_before_anything_is_asked(
    start: Callable[..., Any], given: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        start(**given)
    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["m\ud800", "a\nb", "\x1b[2J", "", 3])
def test_a_model_that_cannot_have_that_name_is_refused(
    start: Callable[..., Any], name: Any
) -> None:
    with pytest.raises(ConfigurationError, match="Cannot use model_id="):
        start(model_id=name)


def test_a_good_setting_reaches_the_hook(start: Callable[..., Any]) -> None:
    with pytest.raises(mellea_api.PluginError, match="AssertionError: asked"):
        start(pull=True, size=2, color="blue")


def test_a_list_of_models_takes_declared_settings_alone(
    start: Callable[..., Any],
) -> None:
    def listed(**given: Any) -> Any:
        return start(mellea_api.list_models, freshness="live", **given)

    assert [model.id for model in listed(hub="me")] == ["'me'"]
    assert [model.id for model in listed(pull=True)] == ["None"]
    with pytest.raises(ConfigurationError, match="no argument 'color'"):
        listed(color="blue")
    with pytest.raises(ConfigurationError, match="Give True or False or text"):
        listed(hub=3)


def target(**facts: Any) -> Target:
    settings = (Setting(name="pull", type="boolean", default=False),)
    about = BackendDescriptor(name="fake", summary="", default_model="m", settings=settings)
    return Target(descriptor=about, model_id="m", **facts)


def test_a_request_gives_the_value_or_the_default() -> None:
    assert ModelsRequest(target=target()).setting("pull") is False
    assert ModelsRequest(target=target(settings={"pull": True})).setting("pull") is True
    with pytest.raises(KeyError):
        ModelsRequest(target=target()).setting("push")


def test_a_credential_request_makes_the_report() -> None:
    request = CredentialRequest(target=target())
    assert request.accepted("It is there.") == CredentialReport(
        backend="fake", status="not-needed", message="It is there.", checked=True
    )
    assert request.unchecked("Nobody can say.") == CredentialReport(
        backend="fake", status="unchecked", message="Nobody can say."
    )


def test_outside_a_hook_nothing_happens() -> None:
    request = mellea_api.SessionRequest(target=target())
    request.unchecked("check=False")
    request.no_limit()


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ("name='api-key'", "an argument of start_session cannot have that name"),
        ("name='timeout'", "that is the name of an argument of start_session"),
        ("name='x', type='bool'", "its type is 'bool'; there are text, boolean, integer"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused(
    write_plugin: Callable[[str], str], facts: str, reason: str
) -> None:
    source = PLUGIN.replace('name="hub", type="boolean text", scope="models"', facts)
    with pytest.raises(mellea_api.PluginError, match=reason):
        registry(backend("fake", write_plugin(source))).backend("fake")
