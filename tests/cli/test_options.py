"""`mellea-api options`."""

from __future__ import annotations

import json
from typing import Any

import click
import pytest

from mellea_api import explain_options
from mellea_api._cli.values import parse_assignments
from mellea_api._options.canonical import CANONICAL

GUIDE = ("temperature=0.7", "max_tokens=1024", "top_p=0.9", 'stop=["\\n\\n"]')


def test_explains_each_option_and_shows_the_payload(invoke: Any, invoke_json: Any) -> None:
    report = invoke_json("options", "ollama", *GUIDE)["report"]
    assert report["wire"] == {
        "options": {"temperature": 0.7, "num_predict": 1024, "top_p": 0.9, "stop": ["\n\n"]}
    }
    renamed = next(found for found in report["decisions"] if found["spelling"] == "max_tokens")
    assert (renamed["outcome"], renamed["wire"], renamed["sent"]) == (
        "renamed",
        "options.num_predict",
        1024,
    )
    result = invoke("options", "ollama", *GUIDE)
    table, _, payload = result.stdout.partition("payload:")
    assert "max_tokens=1024" in table
    assert json.loads(payload) == report["wire"]


def test_the_reason_and_with_v_the_source_are_shown(invoke: Any) -> None:
    arguments = ("options", "openai", "top_k=5", "temperature=1")
    plain, verbose = invoke(*arguments).stdout, invoke(*arguments, "-v").stdout
    decision = explain_options("openai", {"top_k": 5}).decision("top_k")
    assert decision is not None
    assert decision.outcome == "dropped"
    assert decision.reason in plain
    assert decision.source
    assert decision.source not in plain
    assert decision.source in verbose


def test_model_server_and_endpoint_count(invoke_json: Any) -> None:
    def wire(*arguments: str) -> Any:
        return invoke_json("options", "openai", "top_k=5", "max_tokens=9", *arguments)["report"][
            "wire"
        ]

    assert wire() == {"max_completion_tokens": 9}
    assert wire("--server", "compatible")["top_k"] == 5
    assert wire("--base-url", "http://127.0.0.1:1/v1")["top_k"] == 5
    assert wire("--endpoint", "completion", "--model", "gpt-3.5-turbo-instruct") == {
        "max_tokens": 9
    }


def test_all_problems_are_told_at_once(invoke: Any, invoke_json: Any) -> None:
    wrong = ("options", "ollama", "temprature=1", "top_p=7", "seed=x")
    error = invoke_json(*wrong)["error"]
    assert error["type"] == "OptionError"
    assert {problem["path"] for problem in error["problems"]} == {"temprature", "top_p", "seed"}
    result = invoke(*wrong)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "did you mean 'temperature'?" in result.stderr
    assert len(result.stderr.splitlines()) == 5
    assert "Traceback" not in result.stderr
    assert "Traceback" in invoke(*wrong, "--debug").stderr


@pytest.mark.parametrize("backend", ["ollama", "openai", "ngram"])
@pytest.mark.parametrize("endpoint", ["chat", "completion"])
def test_every_common_option_is_listed_and_what_is_not_supported_says_why(
    invoke_json: Any, backend: str, endpoint: str
) -> None:
    listed = invoke_json("options", backend, "--endpoint", endpoint)["options"]
    assert {option["name"] for option in listed} >= set(CANONICAL)
    for option in listed:
        assert option["supported"] or option["reason"]
    assert [option["name"] for option in listed if not option["supported"] and option["wire"]] == []


def test_the_list_is_a_table_for_people(invoke: Any) -> None:
    result = invoke("options", "ollama")
    line = next(line for line in result.stdout.splitlines() if line.startswith("max_tokens"))
    assert "options.num_predict" in line
    assert "from 1 or -1, -2" in line
    assert "tfs_z" not in result.stdout
    assert "tfs_z" in invoke("options", "ollama", "-v").stdout


@pytest.mark.parametrize("wrong", ["temperature", "=1", "seed=1 seed=2"])
def test_what_is_no_assignment_is_wrong_usage(invoke: Any, wrong: str) -> None:
    result = invoke("options", "ollama", *wrong.split())
    assert result.exit_code == 2
    assert result.stdout == ""


def test_values_are_json_or_else_text() -> None:
    given = ["a=1", "b=1.5", "c=true", "d=null", "e=word", "f=", 'g="1"', 'h=["x"]', "i=a=b", "j={"]
    assert list(parse_assignments(given).values()) == [
        1,
        1.5,
        True,
        None,
        "word",
        "",
        "1",
        ["x"],
        "a=b",
        "{",
    ]
    assert parse_assignments(["deep=" + "[" * 100_000])["deep"].startswith("[")
    with pytest.raises(click.UsageError):
        parse_assignments(["a"])


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "[" * 100_000])
def test_values_that_json_does_not_have_are_refused(invoke: Any, value: str) -> None:
    result = invoke("options", "ollama", f"temperature={value}")
    assert result.exit_code == 1
    assert "Traceback" not in result.stderr
