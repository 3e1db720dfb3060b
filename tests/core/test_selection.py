"""Which backend's the environment's model and options are."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import fake_plugins

from mellea_api import Registry
from mellea_api._api.environment import RuntimeEnvironment
from mellea_api._api.selection import select


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Three names: two of one plugin, and another one's."""
    for module in ("hub_plugin", "other_plugin"):
        (tmp_path / f"{module}.py").write_text(fake_plugins.GOOD)
    monkeypatch.syspath_prepend(tmp_path)
    return fake_plugins.registry(
        fake_plugins.backend("hub", "hub_plugin"),
        fake_plugins.backend("modelhub", "hub_plugin"),
        fake_plugins.backend("other", "other_plugin", "dist-other"),
    )


@pytest.mark.parametrize(
    ("named", "used", "applies"),
    [
        ("hub", "hub", True),
        ("modelhub", "hub", True),
        ("hub", "modelhub", True),
        ("modelhub", "other", False),
        ("other", "hub", False),
        (None, "hub", False),
    ],
)
def test_the_environments_model_and_options_hold_for_its_backend_by_any_name(
    registry: Registry, named: str | None, used: str, applies: bool
) -> None:
    environment = RuntimeEnvironment(named, "large", {"seed": 7}, None)
    found = select(registry, environment, used, None, {"temperature": 0}, {})
    assert found.request.target.model_id == ("large" if applies else "small")
    assert found.model_variable == ("MELLEA_MODEL_ID" if applies else None)
    assert dict(found.request.options) == ({"seed": 7} if applies else {}) | {"temperature": 0}


@pytest.mark.parametrize(("used", "given"), [("other", None), ("hub", "small")])
def test_a_model_that_is_the_environments_by_chance_does_not_come_from_it(
    registry: Registry, used: str, given: str | None
) -> None:
    """It is the default of another backend, or was given."""
    environment = RuntimeEnvironment("hub", "small", {}, None)
    found = select(registry, environment, used, given, {}, {})
    assert found.request.target.model_id == "small"
    assert found.model_variable is None


OWN_RULES = """
def facts_of(target):
    large = target.model_id == "large"
    return {"options": (OptionRule(name="top_p", chat="top_p"),)} if large else {}
"""


def test_the_rules_are_those_of_the_environments_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may depend on it, and the default model's are none of its business."""
    (tmp_path / "routing_plugin.py").write_text(
        fake_plugins.GOOD + fake_plugins.BY_TARGET + OWN_RULES
    )
    monkeypatch.syspath_prepend(tmp_path)
    registry = fake_plugins.registry(fake_plugins.backend("routing", "routing_plugin"))
    environment = RuntimeEnvironment("routing", "large", {"top_p": 0.5}, None)
    found = select(registry, environment, "routing", None, {}, {}, unsupported="error")
    assert found.request.target == found.backend.target("large")
    assert found.backend.explain(found.request.options, found.request.target).wire == {"top_p": 0.5}
