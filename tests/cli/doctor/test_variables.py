"""What `doctor` takes for a secret, for a misspelt variable, and for none of its business."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fake_plugins import GOOD
from support.reports import SECRET, row

from mellea_api._api.environment import VARIABLES
from mellea_api._diagnosis.trial import Reads, Trouble
from mellea_api._diagnosis.variables import Variables, secrets_of
from mellea_api._registry import Registry

OTHER_SECRET = "another-canary-of-which-only-the-plugin-knows"


# ------------------------------------------------------------------------------------ secrets


def test_no_secret_is_shown_whoever_says_it(
    doctor: Any, invoke: Any, install: Any, only: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("bad", f"import os\nraise RuntimeError('key ' + os.environ['FAKE_API_KEY'])\n{GOOD}")
    install("good", GOOD.replace("FAKE_API_KEY", "GOOD_CODE"))
    install("talks", "import os\nraise RuntimeError(os.environ['GOOD_CODE'])")
    only("bad", "good", "talks", "ollama", "openai")
    for name in ("FAKE_API_KEY", "OPENAI_API_KEY", "OPENAI_APIKEY"):
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv("GOOD_CODE", OTHER_SECRET)  # a secret because the plugin says so
    monkeypatch.setenv("OLLAMA_HOST", f"ftp://me:{SECRET}@nowhere")
    monkeypatch.setenv("MELLEA_MODEL_OPTIONS", f'{{"api_key": "{SECRET}"}}')
    found = doctor()
    assert "[secret]" in row(found, "backends", "bad")["message"]
    assert "[secret]" in row(found, "backends", "talks")["message"]
    assert row(found, "variables", "OLLAMA_HOST")["state"] == "error"
    result = invoke("doctor")
    assert result.exit_code == 1
    assert SECRET not in result.output
    assert OTHER_SECRET not in result.output + json.dumps(found)


# -------------------------------------------------------------------------- names of variables


READS = [Reads(name="FAKE_API_KEY", what="api_key", secret=True)]


def told(environ: dict[str, str], *troubles: Trouble) -> dict[str, str]:
    registry = Registry.discover(entry_points=[], environ={})
    found = Variables(environ, registry, [], {"fake": READS}, troubles).findings()
    return {row.name: row.next_step for row in found}


@given(st.sampled_from([*VARIABLES, "FAKE_API_KEY"]), st.data())
def test_an_underscore_too_many_or_too_few_is_seen_through(name: str, data: Any) -> None:
    positions = [at for at, letter in enumerate(name) if letter == "_"]
    at = data.draw(st.sampled_from(positions))
    for wrong in (name[:at] + name[at + 1 :], name[:at] + "_" + name[at:], name.lower()):
        assert told({wrong: "x"})[wrong] == f"Did you mean {name}?"


@given(
    st.dictionaries(st.text("ABCDEFGH_", min_size=1, max_size=12), st.text(max_size=20), max_size=5)
)
def test_variables_of_others_are_none_of_its_business(environ: dict[str, str]) -> None:
    assert told(environ) == {}


@pytest.mark.parametrize(
    "name", ["A_KEY", "APIKEY", "x_token", "DB_PASSWORD", "MYSQL_PWD", "MY_AUTH", "SECRETS"]
)
def test_what_may_be_a_secret_is_taken_for_one(name: str) -> None:
    assert [secret.reveal() for secret in secrets_of({name: SECRET, "LANG": "en_US.UTF-8"})] == [
        SECRET
    ]


@pytest.mark.parametrize(
    "name",
    ["PWD", "OLDPWD", "SSH_AUTH_SOCK", "HF_TOKEN_PATH", "A_KEY_FILE", "CREDENTIALS_DIRECTORY"],
)
def test_what_names_a_place_is_not(name: str) -> None:
    assert secrets_of({name: "/there/project"}) == []
    assert secrets_of({name: SECRET}, known=[name])
