"""The suite for plugin authors: a backend that keeps the contract passes, and one that breaks it does not."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.fake_plugins import backend, registry

from mellea_api.testing.contract import BackendContract

TESTS = sorted(name for name in vars(BackendContract) if name.startswith("test_"))
HEAD = """
from attrs import evolve
from mellea_api import BackendDescriptor, ModelInfo, OptionRule, hookimpl
from mellea_api.options.plan import apply_rules

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
        "        return NormalizedOptions(decisions=[\n"
        "            OptionDecision(name=name, spelling=name, outcome='dropped', value=value)\n"
        "            for name, value in request.options.items()])"
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


def test_a_rule_without_a_reason_or_a_source_is_found_out(suite: Any) -> None:
    head = HEAD.replace(', source="its manual"', "")
    found = suite(GOOD)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "HEAD", head)
        sys.modules.pop("contract_fake", None)
        found = suite(GOOD)
        with pytest.raises(AssertionError, match="where it was read"):
            found.test_it_describes_itself_and_its_catalogue()


def test_every_test_of_the_contract_was_seen_to_fail() -> None:
    assert {*BROKEN, "test_it_describes_itself_and_its_catalogue"} == {*TESTS}
