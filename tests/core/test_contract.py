"""The suite for plugin authors: a backend that keeps the contract passes, and one that breaks it does not."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.fake_plugins import backend, extension, registry

from mellea_api.testing import BackendContract

TESTS = sorted(name for name in vars(BackendContract) if name.startswith("test_"))
HEAD = """
from attrs import evolve
from mellea_api.plugin import BackendDescriptor, OptionRule, hookimpl
from mellea_api import ModelInfo
from mellea_api._options.plan import apply_rules

@hookimpl
def describe_backend(name):
    return BackendDescriptor(
        name=name,
        summary="a fake",
        default_model="small",
        options=(
            OptionRule(name="temperature", chat="heat", source="its manual"),
            OptionRule(name="max_tokens", chat="limit", completion="limit", source="its manual"),
            OptionRule(name="shout", chat="shout", type="boolean", source="its manual"),
            OptionRule(name="seed", reason="it has no dice", source="its manual"),
        ),
        models=(ModelInfo(id="small", default=True),),
    )

@hookimpl
def create_session(request):
    raise RuntimeError("a fake has no sessions")

@hookimpl
def normalize_options(request):
    found = apply_rules(request)
"""
GOOD = "    return found"
BROKEN = {
    "test_the_wire_is_json_without_nulls_and_without_names_of_mellea": (
        "    return evolve(found, wire={**found.wire, 'heat': None})"
    ),
    "test_nothing_is_lost_that_is_not_in_the_report": (
        "    return evolve(found, wire={k: v for k, v in found.wire.items() if k != 'limit'})"
    ),
    "test_the_spelling_and_the_order_do_not_matter": (
        "    return evolve(found, wire={**found.wire, 'first': next(iter(request.options), '')})"
    ),
    "test_a_call_over_defaults_is_the_same_as_the_two_merged": (
        "    sources = sorted({o.source for o in request.origins.values()})\n"
        "    return evolve(found, wire={**found.wire, 'from': sources})"
    ),
    "test_what_is_wrong_everywhere_is_an_error_that_names_it": (
        "    return found\n"
        "apply = apply_rules\n"
        "from mellea_api import NormalizedOptions, OptionDecision\n"
        "def apply_rules(request):\n"
        "    try:\n"
        "        return apply(request)\n"
        "    except Exception:\n"
        "        return NormalizedOptions(decisions=[OptionDecision(name=name, spelling=name,\n"
        "            outcome='dropped', value=1, reason='bad') for name in request.options])"
    ),
    "test_the_same_options_come_to_the_same_again": (
        "    times.append(1)\n"
        "    return evolve(found, wire={**found.wire, 'n': len(times)})\n"
        "times = []"
    ),
    "test_it_is_asked_without_an_sdk_and_without_a_network": "    return found\nimport mellea",
    "test_credentials_are_reported_and_shown_nowhere": (
        "    return found\n"
        "from mellea_api import CredentialReport\n"
        "from mellea_api.plugin import CredentialField\n"
        "described = [describe_backend]\n"
        "@hookimpl\n"
        "def describe_backend(name):\n"
        "    return evolve(described[0](name), credentials=[\n"
        "        CredentialField(name='key', secret=False)])\n"
        "@hookimpl\n"
        "def validate_credentials(request):\n"
        "    return CredentialReport(backend='fake', status='present')"
    ),
    "test_what_is_listed_without_conditions_is_what_is_sent": (
        "    return found if 'temperature' not in request.options else apply_rules(\n"
        "        evolve(request, endpoint='completion'))"
    ),
}


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(tmp_path)

    def suite(end: str) -> BackendContract:
        (tmp_path / "contract_fake.py").write_text(HEAD + end, "utf-8")
        importlib.invalidate_caches()

        class Fake(BackendContract):
            backend = "fake"

        Fake.registry = registry(backend("fake", "contract_fake"))
        return Fake()

    yield suite
    sys.modules.pop("contract_fake", None)


@pytest.mark.parametrize("name", TESTS)
def test_a_backend_that_keeps_the_contract_passes(name: str, suite: Any) -> None:
    getattr(suite(GOOD), name)()


@pytest.mark.parametrize("name", BROKEN)
def test_one_that_breaks_it_is_found_out(name: str, suite: Any) -> None:
    found = suite(BROKEN[name])
    with pytest.raises((AssertionError, KeyError)):
        getattr(found, name)()


def test_a_default_model_that_is_shut_down_is_found_out(suite: Any) -> None:
    end = """
from mellea_api.plugin import Retirement
described = [describe_backend]
@hookimpl
def describe_backend(name):
    gone = Retirement(models='small', day='2999-12-31', source='a test')
    return evolve(described[0](name), retirements=gone)
"""
    with pytest.raises(AssertionError, match=r"is shut down: .*2999-12-31"):
        suite(GOOD + end).test_it_describes_itself_and_its_catalogue()


def test_a_rule_without_a_reason_or_a_source_is_found_out(suite: Any) -> None:
    head = HEAD.replace(', source="its manual"', "")
    found = suite(GOOD)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "HEAD", head)
        sys.modules.pop("contract_fake", None)
        found = suite(GOOD)
        with pytest.raises(AssertionError, match="where it was read"):
            found.test_it_describes_itself_and_its_catalogue()


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("import socket\nsocket.socket().connect_ex(('127.0.0.1', 9))", "uses the network"),
        ("import socket\nsocket.getaddrinfo('localhost', 80)", "uses the network"),
        ("import _pytest", "imports _pytest before there is a session"),
        ("import sys\nif 'pytest' not in sys.modules: raise RuntimeError('no')", "no"),
        ("import sys, time\nif 'pytest' not in sys.modules: time.sleep(60)", "more than 0.5 s"),
    ],
)
def test_what_a_plugin_does_as_it_is_imported_is_found_out(
    end: str, reason: str, suite: Any
) -> None:
    found = suite(f"{GOOD}\n{end}")
    found.patience = 0.5 if "sleep" in end else 60.0
    with pytest.raises(AssertionError, match=reason):
        found.test_it_is_asked_without_an_sdk_and_without_a_network()


def test_a_plugin_may_import_what_its_author_calls_light(suite: Any) -> None:
    found = suite(f"{GOOD}\nimport iniconfig")
    found.may_import = ("iniconfig",)
    found.test_it_is_asked_without_an_sdk_and_without_a_network()


def test_a_secret_that_is_shown_is_found_out(suite: Any) -> None:
    end = """
from mellea_api.plugin import CredentialField
from mellea_api import CredentialReport, CredentialFinding
described = [describe_backend]
@hookimpl
def describe_backend(name):
    return evolve(described[0](name), credentials=CredentialField(name='api_key', required='never'))
@hookimpl
def validate_credentials(request):
    shown = [secret.reveal() for secret in request.credentials.values()]
    return CredentialReport(backend='fake', status='present', message=str(shown),
        fields=[CredentialFinding(name='api_key', status='present')])
"""
    with pytest.raises(AssertionError, match="api_key is shown"):
        suite(GOOD + end).test_credentials_are_reported_and_shown_nowhere()


def test_a_policy_that_is_installed_changes_nothing(suite: Any) -> None:
    """What an operator caps is not the backend's fault."""

    class Capped(BackendContract):
        backend = "fake"

    Capped.registry = registry(
        suite(GOOD).registry.backends()[0].entry_point, extension("policy", "contract_policy")
    )
    for name in TESTS:
        getattr(Capped(), name)()


def test_every_test_of_the_contract_was_seen_to_fail() -> None:
    assert {*BROKEN, "test_it_describes_itself_and_its_catalogue"} == {*TESTS}
