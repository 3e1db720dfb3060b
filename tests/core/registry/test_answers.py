"""What hooks raise, and answer that the contract does not allow, is told and laid at their door."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from support.canary import CANARY, found_in, shown
from support.canary import chain as everything_behind
from support.fake_plugins import GOOD, backend, registry

import mellea_api
from mellea_api import (
    BackendNotFoundError,
    BackendUnavailableError,
    CredentialError,
    PluginError,
    Registry,
)
from mellea_api._secrecy.veil import hide

WritePlugin = Callable[[str], str]


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
        ("mellea_api.AnswerError('a page')", "unchecked", False),
        ("ZeroDivisionError('a bug')", "unchecked", False),
        ("SystemExit('an SDK that was written for a command')", "unchecked", False),
    ],
)
def test_what_a_probe_raises_is_a_status(
    found: Callable[..., Registry], raised: str, status: str, checked: bool
) -> None:
    own = f"\nimport mellea_api\n@hookimpl\ndef validate_credentials(request):\n    if request.probe: raise {raised}\n"
    made = found(own)
    report = mellea_api.validate_credentials("fake", probe=True, api_key="sk-a", registry=made)
    assert (report.status, report.checked) == (status, checked)
    assert report.message
    assert mellea_api.validate_credentials("fake", registry=made).status == "not-needed"


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
        with pytest.raises(PluginError, match="list_models raised SystemExit: 3"):
            made.list_models(made.target())
    else:
        report = made.validate_credentials(made.target(), probe=True)
        assert (report.status, report.checked) == ("unchecked", False)
        assert "SystemExit: 3" in report.message


def test_a_probe_that_forgets_its_deadline_is_given_up(
    found: Callable[..., Registry], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it ends, which is all that can be said without a clock."""
    monkeypatch.setattr("mellea_api._registry.backend._GRACE", 0.05)
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
                "from mellea_api._options.plan import apply_rules\n"
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


def test_what_the_caller_was_handling_keeps_its_frames_and_the_sdk_loses_its(
    found: Callable[..., Registry],
) -> None:
    made = found(
        """
def call_sdk(key):
    header = {"authorization": "Bearer " + key}
    raise ConnectionRefusedError(f"refused with {len(header)} header")

@hookimpl
def list_models(request):
    if request.live:
        call_sdk(request.credential("api_key"))
"""
    )
    fake = made.backend("fake")
    try:
        raise ValueError("the caller's")
    except ValueError as error:
        own, before = error, error.__traceback__
        with pytest.raises(BackendUnavailableError) as caught:
            fake.list_models(fake.target(), {"api_key": hide(CANARY)})
    assert own.__traceback__ is before is not None
    assert not hasattr(own, "__notes__")
    assert own in everything_behind(caught.value)
    assert [name for name, text in shown(caught.value) if found_in(text)] == []
