"""Each hook of the contract does what its specification says: one test for each, and one for that."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pluggy
import pytest
from support.fake_plugins import BY_TARGET, GOOD, backend, registry

import mellea_api
import mellea_api.plugin
from mellea_api import (
    BackendUnavailableError,
    CredentialError,
    PluginError,
    RateLimitError,
    Registry,
    hookspecs,
)
from mellea_api._options.listing import list_options
from mellea_api._registry.backend import Backend
from mellea_api.plugin import ErrorRequest

WritePlugin = Callable[[str], str]
IMPORT = "from mellea_api.plugin import CredentialField, OptionRule\n"
SPECS = {
    name: function
    for name, function in vars(hookspecs).items()
    if hasattr(function, "mellea_api_spec")
}
DOCUMENTATION = Path(__file__).parents[3] / "docs" / "hooks.md"


# --- every hook is tested and documented -------------------------------------------------------


@pytest.mark.parametrize("name", sorted(SPECS))
def test_every_hook_has_a_test(name: str) -> None:
    assert f"test_hook_{name}" in globals(), f"write test_hook_{name}"


@pytest.mark.parametrize("name", sorted(SPECS))
def test_every_hook_is_documented_with_its_signature(name: str) -> None:
    wanted = f"def {name}{inspect.signature(SPECS[name])}".replace("'", "")
    assert bare(wanted) in bare(DOCUMENTATION.read_text())


def bare(text: str) -> str:
    """A signature without what is a matter of line length."""
    return re.sub(r"\s+", "", text).replace(",)", ")")


@pytest.mark.parametrize("name", sorted(SPECS))
def test_every_hook_says_what_it_does_and_takes_one_frozen_request(name: str) -> None:
    assert (inspect.getdoc(SPECS[name]) or "").partition("\n")[0].endswith(".")
    if name != "describe_backend":
        (parameter,) = inspect.signature(SPECS[name]).parameters.values()
        kind = getattr(mellea_api.plugin, parameter.annotation)
        assert parameter.name == "request"
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            object.__new__(kind).target = None


def test_only_review_options_is_answered_by_all() -> None:
    manager = pluggy.PluginManager("mellea_api")
    manager.add_hookspecs(hookspecs)
    first = {name for name in SPECS if getattr(manager.hook, name).spec.opts["firstresult"]}
    assert SPECS.keys() - first == {"review_options"}


# --- the hooks ---------------------------------------------------------------------------------


def fake(registry: Registry) -> Backend:
    return registry.backend("fake")


def test_hook_describe_backend(found: Callable[..., Registry]) -> None:
    """It is given the name that was asked for, and its answer is the descriptor."""
    descriptor = fake(found()).descriptor
    assert (descriptor.name, descriptor.summary) == ("fake", "a fake")


def test_hook_describe_backend_of_a_target(write_plugin: WritePlugin) -> None:
    """With `target` it describes one model on one server: its options, and its credentials."""
    source = (
        GOOD
        + IMPORT
        + """
from attrs import evolve
HOT = (OptionRule(name="temperature", chat="heat"),)
described = [describe_backend]
@hookimpl
def describe_backend(name, target):
    if target is None: return described[0](name)
    if target.model_id == "wrong": return evolve(target.descriptor, options=("temperature",))
    if target.model_id == "other":
        return evolve(target.descriptor, credentials=CredentialField(name="other_key"))
    if target.model_id != "big": return target.descriptor
    field = CredentialField(name="api_key", variables="BIG_KEY")
    return evolve(target.descriptor, options=HOT, credentials=field)
"""
    )
    made = registry(backend("fake", write_plugin(source)))
    options = {"temperature": 1, "max_tokens": 5}
    explain = mellea_api.explain_options
    assert explain("fake", options, registry=made).wire == {"temperature": 1, "limit": 5}
    assert explain("fake", options, "big", registry=made).wire == {"heat": 1}
    assert mellea_api.validate_credentials("fake", registry=made).status == "not-needed"
    report = mellea_api.validate_credentials("fake", "big", registry=made)
    assert (report.status, "BIG_KEY" in report.message) == ("missing", True)
    with pytest.raises(PluginError, match="not of the type OptionRule"):
        explain("fake", {}, "wrong", registry=made)
    with pytest.raises(PluginError, match="secret 'other_key'"):
        explain("fake", {}, "other", registry=made)


def test_hook_create_session(found: Callable[..., Registry]) -> None:
    """It is asked with credentials resolved, after the options were checked; a non-session is refused."""
    seen = "\n@hookimpl\ndef create_session(request):\n    SEEN.append(request)\n    return 'no session'\nSEEN = []\n"
    made = found(seen)
    with pytest.raises(mellea_api.OptionError):
        mellea_api.start_session("fake", model_options={"seed": "x"}, registry=made)
    with pytest.raises(PluginError, match="returned a str instead of a MelleaSession"):
        mellea_api.start_session(
            "fake", model_options={"seed": 1}, api_key="sk-abcdefghij", color="red", registry=made
        )
    module = inspect.getmodule(fake(made)._hooks._manager.get_plugin("fake").describe_backend)
    (request,) = module.SEEN  # type: ignore[union-attr]
    assert request.credential("api_key") == "sk-abcdefghij"
    assert request.target.settings == {"color": "red"}
    assert request.target.model_id == "small"
    assert request.options == {"seed": 1}


def test_hook_create_session_failing(found: Callable[..., Registry]) -> None:
    """What it raises becomes one of the library's errors, with the original as its cause."""
    with pytest.raises(PluginError, match="RuntimeError: a fake has no sessions") as caught:
        mellea_api.start_session("fake", registry=found())
    assert isinstance(caught.value.__cause__, RuntimeError)
    refusing = found("\n@hookimpl\ndef create_session(request): raise ConnectionRefusedError('no')")
    with pytest.raises(BackendUnavailableError):
        mellea_api.start_session("fake", registry=refusing)


def test_hook_describe_backend_with_credentials_of_a_target(
    found: Callable[..., Registry], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is needed may depend on the model: then it is looked for, and missed, as its own."""
    made = found(
        BY_TARGET + "def facts_of(target):\n"
        "    if target.model_id == 'small': return {}\n"
        "    return {'credentials': (CredentialField(name='api_key', variables=('BIG_KEY',)),\n"
        "            CredentialField(name='region', variables='BIG_REGION', secret=False))}"
    )
    assert mellea_api.validate_credentials("fake", registry=made).status == "not-needed"
    report = mellea_api.validate_credentials("fake", "big", registry=made)
    assert report.status == "missing"
    assert "BIG_KEY" in report.message
    assert "BIG_REGION" in report.message
    with pytest.raises(CredentialError, match="Set BIG_KEY, or pass api_key="):
        mellea_api.start_session("fake", "big", registry=made)
    monkeypatch.setenv("FAKE_API_KEY", "sk-of-the-other-0123456789")
    monkeypatch.setenv("BIG_KEY", "sk-of-the-big-0123456789")
    report = mellea_api.validate_credentials("fake", "big", region="north", registry=made)
    assert report.status == "present"
    assert [field.source for field in report.fields] == ["environment variable BIG_KEY", "argument"]
    other = found(
        BY_TARGET + "def facts_of(target):\n"
        "    return {'credentials': CredentialField(name='other_key', variables='OTHER_KEY')}"
    )
    with pytest.raises(PluginError, match="secret 'other_key'"):
        mellea_api.validate_credentials("fake", registry=other)
    wrong = found(BY_TARGET + "def facts_of(target): return {'credentials': ('api_key',)}")
    with pytest.raises(PluginError, match="not of the type CredentialField"):
        mellea_api.validate_credentials("fake", registry=wrong)


def test_hook_validate_credentials(found: Callable[..., Registry]) -> None:
    """Without it the fields answer; with it the plugin does, and None leaves it to the fields."""
    own = (
        "\n@hookimpl\ndef validate_credentials(request):\n    if request.probe:\n"
        "        return CredentialReport(backend='fake', status='rejected', message='asked')"
    )
    made = found(own)
    report = mellea_api.validate_credentials("fake", registry=made)
    assert (report.status, report.usable) == ("not-needed", True)
    report = mellea_api.validate_credentials("fake", probe=True, registry=made)
    assert (report.status, report.usable) == ("rejected", False)
    # Who has no way to try them says so; what is malformed is not tried.
    report = mellea_api.validate_credentials("fake", probe=True, api_key="sk-a", registry=found())
    assert (report.status, report.checked) == ("present", False)
    assert "cannot try it" in report.message
    report = mellea_api.validate_credentials("fake", probe=True, api_key="'x'", registry=made)
    assert (report.status, report.message == "asked") == ("malformed", False)


def test_hook_list_models(found: Callable[..., Registry]) -> None:
    """Without it the catalogue answers; with it the plugin does, and what it raises is translated."""
    assert [model.id for model in mellea_api.list_models("fake", registry=found())] == ["small"]
    own = (
        "\n@hookimpl\ndef list_models(request):\n    if not request.live: return None\n"
        "    if request.credential('api_key'): return [ModelInfo(id='big', source='live')]\n"
        "    raise TimeoutError\n"
    )
    made = found(own)
    (model,) = mellea_api.list_models("fake", api_key="sk-abcdefghij", registry=made)
    assert (model.id, model.source) == ("big", "live")
    (model,) = mellea_api.list_models("fake", freshness="offline", registry=made)
    assert model.source == "catalogue"
    with pytest.raises(mellea_api.RequestTimeoutError):
        mellea_api.list_models("fake", registry=made)
    wrong = found("\n@hookimpl\ndef list_models(request): return ['big']")
    with pytest.raises(PluginError, match="something else than ModelInfo"):
        mellea_api.list_models("fake", freshness="live", registry=wrong)


@pytest.mark.parametrize(
    ("needs", "server", "listed"),
    [
        ("always", "official", False),
        ("compatible", "official", True),
        ("compatible", "compatible", False),
        ("never", "compatible", True),
    ],
)
def test_hook_list_models_without_credentials(
    write_plugin: WritePlugin, needs: str, server: str, listed: bool
) -> None:
    """It is called without credentials only where the provider lists its models for everybody."""
    needing = GOOD.replace('required="never"', 'required="always"')
    asked = "\n@hookimpl\ndef list_models(request): return [ModelInfo(id='big', source='live')]"
    described = needing.replace("models=(", f"listing_needs={needs!r}, models=(") + asked
    made = registry(backend("fake", write_plugin(described)))
    if listed:
        (model,) = mellea_api.list_models("fake", server=server, registry=made)
        assert model.id == "big"
    else:
        with pytest.raises(CredentialError, match="api_key"):
            mellea_api.list_models("fake", server=server, registry=made)


BY_MODEL = (
    BY_TARGET
    + """
def facts_of(target):
    return {"options": LEARNT or FIRST} if target.model_id.startswith("big") else {}
FIRST = (OptionRule(name="temperature", chat="heat"),)
LEARNT = ()
"""
)


def test_hook_describe_backend_with_rules_of_a_target(found: Callable[..., Registry]) -> None:
    """Without it the descriptor's rules hold; with it those of the target, listed or explained."""
    made = found(BY_MODEL)
    options = {"temperature": 1, "max_tokens": 5}
    plain = mellea_api.explain_options("fake", options, registry=made)
    assert plain.wire == {"temperature": 1, "limit": 5}
    big = mellea_api.explain_options("fake", options, "big", registry=made)
    assert big.wire == {"heat": 1}
    places = {
        option.rule.name: option.wire
        for option in list_options(fake(made).target("big"))
        if option.supported
    }
    assert places == {"temperature": "heat"}
    wrong = found(BY_TARGET + "def facts_of(target): return {'options': ['temperature']}")
    with pytest.raises(PluginError, match="not of the type OptionRule"):
        mellea_api.explain_options("fake", {}, registry=wrong)


def test_hook_describe_backend_after_a_session(found: Callable[..., Registry]) -> None:
    """What a plugin learns while it creates a session holds for that session, its defaults too."""
    pytest.importorskip("mellea")
    made = found(
        BY_MODEL
        + """
ASKED = []
@hookimpl
def create_session(request):
    global LEARNT
    from mellea import MelleaSession
    from mellea_api.plugin import TextBackend
    class Fake(TextBackend):
        provider = "fake"
        async def generate(self, prompt, options):
            ASKED.append(dict(options))
            yield "ok"
    LEARNT = (OptionRule(name="temperature", chat="warmth"), OptionRule(name="seed", chat="seed"))
    return MelleaSession(Fake(request.target.model_id))
"""
    )
    session = mellea_api.start_session(
        "fake", "big", model_options={"temperature": 1}, unsupported="error", registry=made
    )
    session.chat("Hello", model_options={"seed": 3})
    module = inspect.getmodule(fake(made)._hooks._manager.get_plugin("fake").describe_backend)
    assert module.ASKED == [{"warmth": 1, "seed": 3}]  # type: ignore[union-attr]
    assert mellea_api.explain_options("fake", {"seed": 3}, "big", registry=made).wire == {"seed": 3}


def test_hook_normalize_options(found: Callable[..., Registry]) -> None:
    """Without it the rules decide; with it the plugin does, best on top of the rules."""
    own = (
        "\nfrom attrs import evolve\n"
        "@hookimpl\ndef normalize_options(request):\n"
        "    if request.target.model_id != 'big': return None\n"
        "    report = request.rendered\n"
        "    return evolve(report, wire={**report.wire, 'size': 'big'})"
    )
    made = found(own)
    plain = mellea_api.explain_options("fake", {"num_predict": 5}, registry=made)
    assert plain.wire == {"limit": 5}
    big = mellea_api.explain_options("fake", {"num_predict": 5}, "big", registry=made)
    assert big.wire == {"limit": 5, "size": "big"}
    wrong = found("\n@hookimpl\ndef normalize_options(request): return 3")
    with pytest.raises(PluginError, match="normalize_options returned a int"):
        mellea_api.explain_options("fake", {}, registry=wrong)


def test_hook_review_options(found: Callable[..., Registry]) -> None:
    """Extensions change options before they are checked, and the report says so."""
    cap = (
        "@hookimpl\ndef review_options(request):\n    return [OptionPatch(action='cap', "
        "name='max_tokens', value=10, reason='the budget of ' + request.target.backend)]\n"
    )
    report = mellea_api.explain_options("fake", {"num_predict": 50}, registry=found("", cap))
    assert report.wire == {"limit": 10}
    assert "the budget of fake" in report.decisions[0].reason


def test_hook_find_credential(
    found: Callable[..., Registry], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A vault is asked after the argument and the environment, field by field."""
    vault = (
        "@hookimpl\ndef find_credential(request):\n"
        "    if request.field.name == 'api_key':\n"
        "        return Secret('sk-from-the-vault', source='vault')\n"
    )
    target = fake(found("", vault))
    source = {}
    source["vault"] = target.credentials(target.target())[0]["api_key"]
    monkeypatch.setenv("FAKE_API_KEY", "sk-environment")
    source["environment variable FAKE_API_KEY"] = target.credentials(target.target())[0]["api_key"]
    source["argument"] = target.credentials(target.target(), {"api_key": "sk-argument"})[0][
        "api_key"
    ]
    assert {name: secret.source for name, secret in source.items()} == {
        name: name for name in source
    }
    monkeypatch.delenv("FAKE_API_KEY")
    broken = fake(found("", "@hookimpl\ndef find_credential(request): return 'sk-plain-text'\n"))
    with pytest.raises(PluginError, match="returned a str instead of a Secret") as caught:
        broken.credentials(broken.target())
    assert "sk-plain-text" not in str(caught.value)


def test_extensions_are_asked_in_the_order_of_their_names(found: Callable[..., Registry]) -> None:
    def vault(name: str) -> str:
        return (
            "@hookimpl\ndef find_credential(request):\n"
            f"    return Secret('sk-of-{name}', source='{name}')\n"
        )

    target = fake(found("", vault("first"), vault("second")))
    assert target.credentials(target.target())[0]["api_key"].source == "first"


def test_hook_translate_error(
    found: Callable[..., Registry], caplog: pytest.LogCaptureFixture
) -> None:
    """The plugin's own words come before what is common to SDKs; its mistakes hide nothing."""
    own = (
        "\n@hookimpl\ndef translate_error(request):\n    if isinstance(request.error, KeyError):\n"
        "        return RateLimitError('Too many.', next_step='Wait.', backend='fake')\n"
        "    if isinstance(request.error, ConnectionError):\n        1 / 0\n"
    )
    asked = fake(found(own))

    def translated(error: BaseException) -> Any:
        request = ErrorRequest(target=asked.target(), operation="call", error=error)
        return asked._hooks.translate(request)

    assert isinstance(translated(KeyError()), RateLimitError)
    assert isinstance(translated(TimeoutError()), mellea_api.RequestTimeoutError)
    assert translated(ValueError("the program's own")) is None
    assert not caplog.records
    assert isinstance(translated(ConnectionError()), BackendUnavailableError)
    assert "translate_error raised ZeroDivisionError" in caplog.text
