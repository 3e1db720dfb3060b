"""Each hook of the contract does what its specification says: one test for each, and one for that."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pluggy
import pytest
from support.fake_plugins import GOOD, backend, extension, registry

import mellea_api
from mellea_api import (
    BackendNotFoundError,
    BackendUnavailableError,
    CredentialError,
    ErrorRequest,
    PluginError,
    RateLimitError,
    Registry,
    hookspecs,
)
from mellea_api.options.listing import list_options
from mellea_api.registry import Backend

WritePlugin = Callable[[str], str]
SPECS = {
    name: function
    for name, function in vars(hookspecs).items()
    if hasattr(function, "mellea_api_spec")
}
DOCUMENTATION = Path(__file__).parents[3] / "docs" / "hooks.md"
IMPORT = "from mellea_api import *\nfrom mellea_api import hookimpl\n"


@pytest.fixture
def found(write_plugin: WritePlugin) -> Callable[..., Registry]:
    """Return a function that makes a registry of a good backend with more hooks, and extensions."""

    def make(more: str = "", *extensions: str) -> Registry:
        entries = [
            extension(f"extension-{place}", write_plugin(IMPORT + source))
            for place, source in enumerate(extensions)
        ]
        return registry(backend("fake", write_plugin(GOOD + IMPORT + more)), *entries)

    return make


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
    (parameter,) = inspect.signature(SPECS[name]).parameters.values()
    if name != "describe_backend":
        kind = getattr(mellea_api, parameter.annotation)
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


def test_hook_credential_fields(
    found: Callable[..., Registry], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is needed may depend on the model: then it is looked for, and missed, as its own."""
    made = found(
        "\n@hookimpl\ndef credential_fields(request):\n"
        "    if request.target.model_id == 'small': return None\n"
        "    return (CredentialField(name='api_key', variables=('BIG_KEY',)),\n"
        "            CredentialField(name='region', variables='BIG_REGION', secret=False))"
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
        "\n@hookimpl\ndef credential_fields(request):\n"
        "    return (CredentialField(name='other_key', variables='OTHER_KEY'),)"
    )
    with pytest.raises(PluginError, match="secret 'other_key'"):
        mellea_api.validate_credentials("fake", registry=other)
    wrong = found("\n@hookimpl\ndef credential_fields(request): return ('api_key',)")
    with pytest.raises(PluginError, match="something else than CredentialField"):
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


@pytest.mark.parametrize(
    ("raised", "status", "checked"),
    [
        ("type('E', (Exception,), {'status_code': 401})('no')", "rejected", True),
        ("type('E', (Exception,), {'status_code': 401})('the key is expired')", "expired", True),
        ("type('E', (Exception,), {'status_code': 403})('no')", "forbidden", True),
        ("type('E', (Exception,), {'status_code': 429})('slow')", "unchecked", False),
        ("type('E', (Exception,), {'status_code': 503})('down')", "unreachable", False),
        ("TimeoutError()", "unreachable", False),
        ("ConnectionRefusedError('refused')", "unreachable", False),
        ("UnreadableAnswerError('a page')", "unchecked", False),
        ("ZeroDivisionError('a bug')", "unchecked", False),
    ],
)
def test_what_a_probe_raises_is_a_status(
    found: Callable[..., Registry], raised: str, status: str, checked: bool
) -> None:
    own = (
        "\nfrom mellea_api.authoring import UnreadableAnswerError\n"
        f"@hookimpl\ndef validate_credentials(request):\n    if request.probe: raise {raised}\n"
    )
    made = found(own)
    report = mellea_api.validate_credentials("fake", probe=True, api_key="sk-a", registry=made)
    assert (report.status, report.checked) == (status, checked)
    assert report.message
    assert mellea_api.validate_credentials("fake", registry=made).status == "not-needed"


def test_who_exits_in_a_hook_that_asks_the_provider_does_not_end_the_program(
    found: Callable[..., Registry],
) -> None:
    """As an SDK may that was written for a command."""
    made = found(
        "\n@hookimpl\ndef list_models(request):\n    raise SystemExit('no licence')\n"
        "@hookimpl\ndef validate_credentials(request):\n"
        "    if request.probe: raise SystemExit(3)\n"
    )
    with pytest.raises(PluginError, match=r"SystemExit: no licence"):
        mellea_api.list_models("fake", freshness="live", registry=made)
    report = mellea_api.validate_credentials("fake", probe=True, api_key="sk-a", registry=made)
    assert report.status == "unchecked"


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


BY_MODEL = """
@hookimpl
def option_rules(request):
    if not request.target.model_id.startswith("big"): return None
    return LEARNT or FIRST
FIRST = (OptionRule(name="temperature", chat="heat"),)
LEARNT = ()
"""


def test_hook_option_rules(found: Callable[..., Registry]) -> None:
    """Without it the descriptor's rules hold; with it those of the target, listed or explained."""
    made = found(BY_MODEL)
    options = {"temperature": 1, "max_tokens": 5}
    plain = mellea_api.explain_options("fake", options, registry=made)
    assert plain.wire == {"temperature": 1, "limit": 5}
    big = mellea_api.explain_options("fake", options, "big", registry=made)
    assert big.wire == {"heat": 1}
    places = {
        option.name: option.wire
        for option in list_options(fake(made).target("big"))
        if option.supported
    }
    assert places == {"temperature": "heat"}
    wrong = found("\n@hookimpl\ndef option_rules(request): return ['temperature']")
    with pytest.raises(PluginError, match="option_rules returned something else than OptionRule"):
        mellea_api.explain_options("fake", {}, registry=wrong)


def test_hook_option_rules_after_a_session(found: Callable[..., Registry]) -> None:
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
    from mellea_api.backend import TextBackend
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
        "\nfrom attrs import evolve\nfrom mellea_api.options.plan import apply_rules\n"
        "@hookimpl\ndef normalize_options(request):\n"
        "    if request.target.model_id != 'big': return None\n"
        "    report = apply_rules(request)\n"
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
    source["vault"] = target.credentials(target.target())["api_key"]
    monkeypatch.setenv("FAKE_API_KEY", "sk-environment")
    source["environment variable FAKE_API_KEY"] = target.credentials(target.target())["api_key"]
    source["argument"] = target.credentials(target.target(), {"api_key": "sk-argument"})["api_key"]
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
    assert target.credentials(target.target())["api_key"].source == "first"


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


@pytest.mark.parametrize("answer", ["7", "'text'", "{}", "[7]", "iter([])", "ModelInfo"])
def test_models_that_are_none_are_the_plugins_fault(
    found: Callable[..., Registry], answer: str
) -> None:
    """Also an empty dict, which is no empty list: there may be models."""
    made = found(f"@hookimpl\ndef list_models(request): return {answer}")
    for use in (
        lambda: mellea_api.list_models("fake", registry=made),
        lambda: made.backend("fake").list_models(made.backend("fake").target()),
    ):
        with pytest.raises(PluginError, match="list_models returned ") as caught:
            use()
        assert caught.value.plugin == "fake"


@pytest.mark.parametrize("answer", ["7", "OptionPatch"])
def test_patches_that_are_none_are_the_extensions_fault(
    found: Callable[..., Registry], answer: str
) -> None:
    made = found("", f"@hookimpl\ndef review_options(request): return {answer}")
    with pytest.raises(PluginError, match="review_options returned a ") as caught:
        mellea_api.explain_options("fake", {"seed": 1}, registry=made)
    assert caught.value.plugin == "extension-0"


@pytest.mark.parametrize("hook", ["list_models", "validate_credentials"])
def test_a_hook_that_would_end_the_program_is_an_error(
    found: Callable[..., Registry], hook: str
) -> None:
    made = found(f"@hookimpl\ndef {hook}(request): raise SystemExit(3)").backend("fake")
    if hook == "list_models":
        with pytest.raises(PluginError, match="list_models failed with SystemExit: 3"):
            made.list_models(made.target())
    else:
        report = made.validate_credentials(made.target(), probe=True)
        assert (report.status, report.checked) == ("unchecked", False)
        assert "SystemExit: 3" in report.message


def test_a_probe_that_forgets_its_deadline_is_given_up(
    found: Callable[..., Registry], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it ends, which is all that can be said without a clock."""
    monkeypatch.setattr("mellea_api.registry.credentials._GRACE", 0.05)
    made = found(
        "import threading\nended = threading.Event()\n"
        "@hookimpl\ndef validate_credentials(request):\n    ended.wait(60)"
    )
    report = mellea_api.validate_credentials("fake", registry=made, probe=True, timeout=0.05)
    assert (report.status, report.checked) == ("unreachable", False)
    assert "did not answer within 0.05 s" in report.message
    module = sys.modules[made.backends()[0].entry_point.value]
    assert not module.ended.is_set()
    module.ended.set()


HOLDS = "@hookimpl(wrapper=True)\ndef normalize_options(request):\n    "


@pytest.mark.parametrize(
    ("backends", "extensions"),
    [
        (
            "@hookimpl\ndef normalize_options(request): return NormalizedOptions(wire={'limit': 5})",
            "",
        ),
        (
            (
                "from mellea_api.options.plan import apply_rules\n"
                "@hookimpl\ndef normalize_options(request):\n"
                "    request.options.pop('max_tokens')\n    return apply_rules(request)"
            ),
            "",
        ),
        ("", HOLDS + "yield\n    return NormalizedOptions()"),
        ("", HOLDS + "request.options.clear()\n    answer = yield\n    return answer"),
    ],
)
def test_an_option_of_which_a_report_says_nothing_is_an_error(
    found: Callable[..., Registry], backends: str, extensions: str
) -> None:
    made = found(backends, *([extensions] if extensions else []))
    with pytest.raises(PluginError, match="says nothing of what became of max_tokens") as caught:
        mellea_api.explain_options("fake", {"max_tokens": 5}, registry=made)
    assert caught.value.plugin == ("extension-0" if extensions else "fake")


def test_an_extension_changes_options_by_patches_alone(found: Callable[..., Registry]) -> None:
    source = (
        "@hookimpl\ndef review_options(request):\n"
        "    request.options['max_tokens'] = 1\n    request.options.pop('seed')\n    return None"
    )
    given = {"max_tokens": 5, "seed": 7}
    report = mellea_api.explain_options("fake", given, registry=found("", source))
    assert report.wire == {"limit": 5, "seed": 7}


def test_a_credential_that_is_required_and_missing_stops_before_the_plugin(
    write_plugin: WritePlugin,
) -> None:
    name = write_plugin(GOOD.replace('required="never"', 'required="always"'))
    made = registry(backend("fake", name))
    for use in (
        lambda: mellea_api.start_session("fake", registry=made),
        lambda: mellea_api.list_models("fake", registry=made),
    ):
        with pytest.raises(CredentialError, match="Set FAKE_API_KEY, or pass api_key=") as caught:
            use()
        assert caught.value.variables == ("FAKE_API_KEY",)
    assert mellea_api.validate_credentials("fake", registry=made).status == "missing"
    assert mellea_api.list_models("fake", freshness="offline", registry=made)


def test_a_credential_that_is_no_text_is_refused(found: Callable[..., Registry]) -> None:
    made = found()
    for use in (mellea_api.start_session, mellea_api.list_models, mellea_api.validate_credentials):
        with pytest.raises(mellea_api.ConfigurationError, match="it is a int, not text"):
            use("fake", api_key=3, registry=made)


def test_an_unknown_backend_is_the_same_error_everywhere() -> None:
    empty = registry()
    for use in (mellea_api.start_session, mellea_api.list_models, mellea_api.validate_credentials):
        with pytest.raises(BackendNotFoundError):
            use("nothing", registry=empty)
    with pytest.raises(BackendNotFoundError):
        mellea_api.explain_options("nothing", {}, registry=empty)
