"""The registry agrees with a plain dict model, whatever is installed and whatever is switched."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support.fake_plugins import GOOD, backend, extension, registry

from mellea_api import BackendNotFoundError, PluginError, Registry
from mellea_api._registry.discovery import BACKENDS, EntryPoint

NAMES = ("one", "two", "three", "ollama")
DISTRIBUTIONS = ("dist-a", "Dist_B", "dist.c")
MODULE = "written_for_the_state_machine"
names = st.sampled_from(NAMES)
distributions = st.sampled_from(DISTRIBUTIONS)


class Installed(RuleBasedStateMachine):
    """The model: which distribution brings which names, and what three variables say."""

    def __init__(self) -> None:
        super().__init__()
        self.backends: dict[str, set[str]] = {}
        self.policies: dict[str, set[str]] = {}
        self.disable: set[str] = set()
        self.only: set[str] | None = None
        self.prefer: dict[str, str] = {}

    @initialize()
    def import_the_plugin(self) -> None:
        module = types.ModuleType(MODULE)
        exec(GOOD, module.__dict__)
        sys.modules[MODULE] = module

    def teardown(self) -> None:
        sys.modules.pop(MODULE, None)

    @rule(name=names, distribution=distributions)
    def install(self, name: str, distribution: str) -> None:
        self.backends.setdefault(name, set()).add(distribution)

    @rule(name=names, distribution=distributions)
    def uninstall_a_name(self, name: str, distribution: str) -> None:
        self.backends.get(name, set()).discard(distribution)

    @rule(distribution=distributions)
    def uninstall(self, distribution: str) -> None:
        for brought in (*self.backends.values(), *self.policies.values()):
            brought.discard(distribution)

    @rule(name=names, distribution=distributions)
    def install_an_extension_that_is_not_there(self, name: str, distribution: str) -> None:
        self.policies.setdefault(f"policy-{name}", set()).add(distribution)

    @rule(found=st.sets(st.sampled_from((*NAMES, "policy-one", "unknown")), max_size=2))
    def set_disable(self, found: set[str]) -> None:
        self.disable = found

    @rule(found=st.none() | st.sets(st.sampled_from((*NAMES, "unknown")), min_size=1))
    def set_plugins(self, found: set[str] | None) -> None:
        self.only = found

    @rule(found=st.dictionaries(st.sampled_from((*NAMES, "policy-one")), distributions, max_size=2))
    def set_prefer(self, found: dict[str, str]) -> None:
        self.prefer = found

    def entry_points(self) -> list[EntryPoint]:
        found = [
            backend(name, MODULE, distribution)
            for name, brought in self.backends.items()
            for distribution in brought
        ]
        found += [
            extension(name, "no_such_module", distribution)
            for name, brought in self.policies.items()
            for distribution in brought
        ]
        return found

    def registry(self) -> Registry:
        environ = {
            "MELLEA_API_DISABLE": ",".join(sorted(self.disable)),
            "MELLEA_API_PREFER": ", ".join(f"{name}={dist}" for name, dist in self.prefer.items()),
        }
        if self.only is not None:
            environ["MELLEA_API_PLUGINS"] = ",".join(self.only)
        return registry(*self.entry_points(), **environ)

    def expected(self, name: str, brought: set[str], *, backends: bool = True) -> str | None:
        """What the model says of a name: its state, or None where nothing brings it."""
        if not brought:
            return None
        if name in self.disable or (backends and self.only is not None and name not in self.only):
            return "disabled"
        if name in self.prefer:
            return "found" if self.prefer[name] in brought else "conflict"
        return "found" if len(brought) == 1 else "conflict"

    def states(self) -> dict[str, str]:
        states = {name: self.expected(name, brought) for name, brought in self.backends.items()}
        return {name: state for name, state in states.items() if state is not None}

    @invariant()
    def records_agree(self) -> None:
        registry = self.registry()
        states = self.states()
        assert {record.name: record.state for record in registry.backends()} == states
        found = sorted(name for name, state in states.items() if state == "found")
        assert registry.names() == list(registry) == found
        for record in registry.backends():
            if record.state == "found" and record.name in self.prefer:
                assert record.distributions == (self.prefer[record.name],)
            elif record.state != "found":
                assert record.reason
                assert set(record.distributions) == self.backends[record.name]

    def broken_policies(self) -> bool:
        return any(
            self.expected(name, brought, backends=False) in ("found", "conflict")
            for name, brought in self.policies.items()
        )

    @rule(name=st.sampled_from((*NAMES, "unknown")))
    def ask(self, name: str) -> None:
        registry = self.registry()
        state = self.states().get(name)
        installed = tuple(registry.names())
        if state == "found" and not self.broken_policies():
            assert registry.backend(name).descriptor.name == name
            assert registry.backend(name) is registry.backend(name)
            return
        errors: dict[str | None, Any] = {"found": PluginError, "conflict": PluginError}
        with pytest.raises(errors.get(state, BackendNotFoundError)) as caught:
            registry.backend(name)
        error = caught.value
        if state == "conflict":
            assert set(error.distributions) == self.backends[name]
            for distribution in error.distributions:
                assert distribution in str(error)
        elif state == "found":  # an extension cannot be used: nothing starts without the policy
            assert error.plugin.startswith("policy-")
        else:
            assert error.installed == installed
            assert error.backend == name
            if state == "disabled":
                assert "MELLEA_API_" in str(error)
            elif name == "ollama":
                assert error.distribution == "mellea-api-ollama"

    @invariant()
    def entry_points_are_only_of_backends(self) -> None:
        for record in self.registry().backends():
            assert {entry.group for entry in record.candidates} == {BACKENDS}


TestInstalled = Installed.TestCase
