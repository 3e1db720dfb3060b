"""The plugin as a package: light to find, complete in what it says."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

import mellea_api
import mellea_api.plugin
from mellea_api._options.canonical import CANONICAL
from mellea_api_ngram.options import RULES
from mellea_api_ngram.sampling import Sampling

FORBIDDEN = {
    "mellea": "it costs half a second",
    "asyncio": "only a call needs it",
    "mellea_api._sessions.text_backend": "it imports Mellea",
    "mellea_api_ngram.model": "describing a model is not training it",
}


def test_finding_listing_and_explaining_import_no_mellea_and_no_model() -> None:
    program = (
        "import sys, mellea_api\n"
        "assert 'ngram' in mellea_api.shared_registry()\n"
        "assert mellea_api.list_models('ngram', freshness='offline')\n"
        "assert mellea_api.validate_credentials('ngram')\n"
        "assert mellea_api.explain_options('ngram', {'temperature': 0, 'max_tokens': 5}).wire\n"
        f"print([name for name in {list(FORBIDDEN)} if name in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert found.stdout.strip() == "[]", (FORBIDDEN, found.stdout, found.stderr)


def test_every_argument_of_the_sampler_is_an_option_and_nothing_else_is_sent() -> None:
    fields = {field.name for field in dataclasses.fields(Sampling)}
    sent = {
        native.key
        for rule in RULES
        for native in (rule.chat, rule.completion)
        if native is not None
    }
    assert {name for name in sent if not name.startswith("@@@")} == fields
    assert fields <= CANONICAL.keys()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.name}-{rule.supported}")
def test_a_rule_says_where_it_was_read_and_why_it_sends_nothing(
    rule: mellea_api.plugin.OptionRule,
) -> None:
    assert rule.source
    assert rule.supported or rule.reason


def test_it_needs_no_credentials() -> None:
    report = mellea_api.validate_credentials("ngram")
    assert report.usable
    assert not report.fields
    assert {info.id for info in mellea_api.list_models("ngram")} == {
        "primer-4",
        "primer-3",
        "primer-2",
    }


def test_an_address_is_refused_since_there_is_no_server_to_call() -> None:
    with pytest.raises(mellea_api.ConfigurationError, match="calls no server"):
        mellea_api.start_session("ngram", base_url="http://127.0.0.1:1/")
