"""What `doctor` takes for a secret, for a misspelt variable, and for none of its business."""

from __future__ import annotations

import json
import os
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fake_plugins import GOOD
from support.reports import SECRET, row

from mellea_api._api.environment import VARIABLES
from mellea_api._diagnosis.variables import Reads, secrets_of, variable_findings
from mellea_api._registry.discovery import Settings
from mellea_api._registry.registry import Registry

OTHER_SECRET = "another-canary-of-which-only-the-plugin-knows"


# ------------------------------------------------------------------------------------ secrets


def test_no_secret_is_shown_whoever_says_it(
    doctor: Any, invoke: Any, install: Any, only: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("bad", f"import os\nraise RuntimeError('key ' + os.environ['FAKE_API_KEY'])\n{GOOD}")
    install("good", GOOD.replace("FAKE_API_KEY", "GOOD_CODE"))
    install("talks", "import os\nraise RuntimeError(os.environ['GOOD_CODE'])")
    only("bad", "good", "talks", "ollama", "openai")
    for name in ("FAKE_API_KEY", "OPENAI_API_KEY", "MELLEA_BACKENDS"):
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv("GOOD_CODE", OTHER_SECRET)  # a secret because the plugin says so
    monkeypatch.setenv("OLLAMA_HOST", f"ftp://me:{SECRET}@nowhere")
    monkeypatch.setenv("MELLEA_MODEL_OPTIONS", f'{{"api_key": "{SECRET}"}}')
    found = doctor()
    assert "[secret]" in row(found, "backends", "bad")["message"]
    assert "[secret]" in row(found, "backends", "talks")["message"]
    assert row(found, "variables", "OLLAMA_HOST")["state"] == "failed"
    result = invoke("doctor")
    assert result.exit_code == 1
    assert SECRET not in result.output
    assert OTHER_SECRET not in result.output + json.dumps(found)


# -------------------------------------------------------------------------- names of variables


READS = [Reads("api_key", ["MELLEA_FAKE_KEY"], secret=["MELLEA_FAKE_KEY"])]


def told(environ: dict[str, str]) -> dict[str, str]:
    with mock.patch.dict(os.environ, environ, clear=True):
        registry = Registry([], Settings())
        return {row.name: row.next_step for row in variable_findings(registry, {"fake": READS}, [])}


@given(st.sampled_from([*VARIABLES, "MELLEA_FAKE_KEY"]), st.data())
def test_an_underscore_too_many_or_too_few_is_seen_through(name: str, data: Any) -> None:
    positions = [at for at, letter in enumerate(name) if letter == "_"]
    at = data.draw(st.sampled_from(positions))
    for wrong in (name[:at] + name[at + 1 :], name[:at] + "_" + name[at:], name.lower()):
        assert told({wrong: "x"})[wrong] == f"Did you mean {name}?"


@given(
    st.dictionaries(
        st.text("ABCDEFGH_", min_size=1, max_size=12), st.text("abc", max_size=20), max_size=5
    )
)
def test_variables_of_others_are_none_of_its_business(environ: dict[str, str]) -> None:
    assert told(environ) == {}


@pytest.mark.parametrize(
    "name", ["A_KEY", "APIKEY", "x_token", "DB_PASSWORD", "MYSQL_PWD", "MY_AUTH", "SECRETS"]
)
def test_what_may_be_a_secret_is_taken_for_one(name: str) -> None:
    with mock.patch.dict(os.environ, {name: SECRET, "LANG": "en_US.UTF-8"}, clear=True):
        assert [secret.reveal() for secret in secrets_of()] == [SECRET]


@pytest.mark.parametrize(
    "name",
    ["PWD", "OLDPWD", "SSH_AUTH_SOCK", "HF_TOKEN_PATH", "A_KEY_FILE", "CREDENTIALS_DIRECTORY"],
)
def test_what_names_a_place_is_not(name: str) -> None:
    with mock.patch.dict(os.environ, {name: "/there/project"}, clear=True):
        assert secrets_of() == []
        assert secrets_of(known=[name])
