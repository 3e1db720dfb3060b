"""What cannot be used of what callers give is an error that names it, before anything is done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import fake_plugins

import mellea_api
from mellea_api import ConfigurationError, Registry


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    (tmp_path / "hub_plugin.py").write_text(fake_plugins.GOOD)
    monkeypatch.syspath_prepend(tmp_path)
    return fake_plugins.registry(fake_plugins.backend("hub", "hub_plugin"))


TAKE_SECONDS: dict[str, Callable[..., Any]] = {
    "session_request": lambda **given: mellea_api.session_request("hub", **given),
    "list_models": lambda **given: mellea_api.list_models("hub", **given),
    "list_all_models": mellea_api.list_all_models,
    "validate_credentials": lambda **given: mellea_api.validate_credentials("hub", **given),
    "check_readiness": lambda **given: mellea_api.check_readiness("hub", **given),
}


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "5", True])
@pytest.mark.parametrize("ask", TAKE_SECONDS.values(), ids=TAKE_SECONDS)
def test_what_is_no_time_is_refused(ask: Callable[..., Any], value: Any, registry: Any) -> None:
    with pytest.raises(ConfigurationError, match="Cannot use timeout=") as caught:
        ask(timeout=value, registry=registry)
    assert "number of seconds above 0" in caught.value.next_step


@pytest.mark.parametrize("run_id", ["", "two\nlines", "x" * 201, 5])
def test_a_run_id_that_would_break_a_line_of_a_log_is_refused(run_id: Any, registry: Any) -> None:
    with pytest.raises(ConfigurationError, match="Cannot use run_id="):
        mellea_api.session_request("hub", run_id=run_id, registry=registry)


def test_what_to_do_about_unknown_options_is_one_of_two_words(registry: Any) -> None:
    for ask in (
        lambda: mellea_api.explain_options("hub", {}, unknown="allow", registry=registry),  # type: ignore[arg-type]
        lambda: mellea_api.session_request("hub", unknown="allow", registry=registry),  # type: ignore[arg-type]
    ):
        with pytest.raises(ConfigurationError, match="Cannot use unknown='allow'") as caught:
            ask()
        assert caught.value.next_step == "Use one of error, pass."


def test_the_name_of_one_backend_is_no_list_of_letters(registry: Any) -> None:
    (found,) = mellea_api.list_all_models("hub", registry=registry)
    assert (found.backend, found.error) == ("hub", None)
