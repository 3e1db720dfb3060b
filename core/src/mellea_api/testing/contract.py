"""What every backend promises about its options, as tests: subclass them, and pytest runs them.

    from mellea_api.testing import BackendContract

    class TestEcho(BackendContract):
        backend = "echo"

Each goes through the whole path of a call's options, the plugin's own `normalize_options`
included, without a network, an SDK or Mellea. Only hypothesis has to be installed for it.
"""

from __future__ import annotations

import copy
import functools
import itertools
import json
import operator
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final, get_args
from unittest import mock

from attrs import asdict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mellea_api
from mellea_api._contract.errors import OptionError, OptionProblem
from mellea_api._contract.option_rule import Endpoint
from mellea_api._contract.reports import NormalizedOptions
from mellea_api._contract.requests import Target
from mellea_api._options.canonical import CANONICAL
from mellea_api._options.listing import OptionListing, list_options
from mellea_api._options.pipeline import OptionPipeline
from mellea_api._options.plan import plan_for
from mellea_api._options.spelling import canonicalise, merge
from mellea_api._provider.apart import FailedApartError, call_apart
from mellea_api._registry.backend import Backend
from mellea_api._registry.discovery import Settings
from mellea_api._registry.registry import Registry
from mellea_api.testing.apart import watch
from mellea_api.testing.strategies import invalid_values, option_dicts, spelled

_ENDPOINTS = st.sampled_from(["chat", "completion"])
_EXAMPLES: Final[Mapping[str, Any]] = {
    "number": 0.5,
    "integer": 3,
    "seconds": 30,
    "boolean": True,
    "text": "x",
    "texts": ["eA=="],
}
_UNKNOWN = "no/such-model"
_quietly = settings(
    max_examples=50,
    deadline=None,
    derandomize=True,  # what is red once is red again
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
        HealthCheck.differing_executors,  # one class for each backend
    ],
)


@functools.lru_cache(maxsize=8)
def _alone(registry: Registry) -> Registry:
    found = [record.entry_point for record in registry.backends() if record.state == "found"]
    return Registry(found, Settings())


def registry_without_extensions(name: str, registry: Registry | None = None) -> Registry:
    """Return a registry in which backends are alone: a policy that is installed changes options.

    Args:
        name: A backend that must be there.
        registry: Where to take the backends from; None for the shared registry.

    Raises:
        BackendNotFoundError: If there is no such backend.
    """
    registry = mellea_api.shared_registry() if registry is None else registry
    if name not in registry:
        registry.backend(name)  # raises, and says what there is
    return _alone(registry)


class BackendContract:
    """The tests. A subclass names its backend, whose plugin has to be installed.

    Attributes:
        backend: The backend's name.
        models: Ids of models to try beside those of its catalogue and one that nobody knows.
        may_import: Packages of others that it may import before a session: small ones. What it
            imports in a process of its own does not count.
        patience: Seconds in which a process of its own must have imported it and asked it.
        registry: Where to look for it; None for the shared registry, of what is installed.
    """

    backend: ClassVar[str]
    models: ClassVar[tuple[str, ...]] = ()
    may_import: ClassVar[tuple[str, ...]] = ()
    patience: ClassVar[float] = 60.0
    registry: ClassVar[Registry | None] = None

    @_quietly
    @given(data=st.data(), endpoint=_ENDPOINTS)
    def test_the_wire_is_json_without_nulls_and_without_names_of_mellea(
        self, data: st.DataObject, endpoint: Endpoint
    ) -> None:
        """Hold what the provider is sent to JSON that it can read."""
        target, options = self._drawn(data, endpoint)
        found = self._report(target, endpoint, options)
        if found is None:
            return
        assert json.loads(json.dumps(found.wire, allow_nan=False)) == found.wire
        leaves = list(_leaves(found.wire))
        assert None not in leaves
        assert not [leaf for leaf in leaves if str(leaf).startswith("@@@")]

    @_quietly
    @given(data=st.data(), endpoint=_ENDPOINTS)
    def test_nothing_is_lost_that_is_not_in_the_report(
        self, data: st.DataObject, endpoint: Endpoint
    ) -> None:
        """Find every option that was given in the report, and what the report says on the wire."""
        target, options = self._drawn(data, endpoint)
        found = self._report(target, endpoint, options)
        if found is None:
            return
        assert {decision.spelling for decision in found.decisions} >= set(options)
        for decision in found.decisions:
            if decision.outcome == "dropped":
                assert decision.reason, decision
                assert not decision.wire, decision
            elif decision.wire and not decision.name.startswith("extra."):
                sent = functools.reduce(operator.getitem, decision.wire.split("."), found.wire)
                if decision.wire == "messages":
                    continue
                if isinstance(decision.sent, dict):  # other options may fill the same object
                    sent = {name: sent[name] for name in decision.sent}
                assert sent == decision.sent, decision

    @_quietly
    @given(data=st.data(), endpoint=_ENDPOINTS)
    def test_the_spelling_and_the_order_do_not_matter(
        self, data: st.DataObject, endpoint: Endpoint
    ) -> None:
        """Write the same options in another way."""
        target, options = self._drawn(data, endpoint)
        other = data.draw(spelled(options, target.descriptor, target=target))
        first = self._report(target, endpoint, options)
        second = self._report(target, endpoint, dict(reversed(list(other.items()))))
        assert (first is None) == (second is None)
        if first is not None and second is not None:
            assert first.wire == second.wire

    @_quietly
    @given(data=st.data(), endpoint=_ENDPOINTS)
    def test_a_call_over_defaults_is_the_same_as_the_two_merged(
        self, data: st.DataObject, endpoint: Endpoint
    ) -> None:
        """Give some options to the session, and some to the call."""
        target, call = self._drawn(data, endpoint)
        defaults = data.draw(option_dicts(target.descriptor, target=target))
        session = self._pipeline(target)
        try:
            session.set_defaults(defaults)
            layered = session.render(call, endpoint).report.wire
        except OptionError:
            return
        plan = plan_for(target, endpoint)
        merged = merge(canonicalise(defaults, plan, source="default"), canonicalise(call, plan))
        together = self._report(target, endpoint, merged.values)
        assert together is not None
        assert together.wire == layered

    @_quietly
    @given(data=st.data())
    def test_what_is_wrong_everywhere_is_an_error_that_names_it(self, data: st.DataObject) -> None:
        """Give a common option a value that no backend may take."""
        target = self._target(data)
        option = data.draw(st.sampled_from(sorted(set(CANONICAL) - {"tools", "tool_choice"})))
        value = data.draw(invalid_values(option))
        rules = [rule for rule in target.descriptor.options if rule.name == option]
        if any(rule.special or rule.convert for rule in rules):
            return  # the backend takes more than the common range (Ollama's -1), and says so
        problems: Sequence[OptionProblem] = ()
        try:
            self._pipeline(target).render({option: value}, "chat")
        except OptionError as error:
            problems = error.problems or ()
        assert problems, f"{option}={value!r} was taken"
        assert problems[0].path.startswith(option)

    def test_what_is_listed_without_conditions_is_what_is_sent(self) -> None:
        """Give each option that `mellea-api options` lists, alone."""
        for target, endpoint in itertools.product(self._targets(), get_args(Endpoint)):
            listed = list_options(target, endpoint)
            depends = {option.rule.name for option in listed if option.rule.requires}
            for option in listed:
                name, example = option.rule.name, example_of(option)
                if name in depends or example is None:
                    continue
                where = (target.model_id, option)
                found = self._report(target, endpoint, {name: example})
                assert found is not None, where
                (decision,) = found.decisions
                assert (decision.outcome != "dropped") == option.supported, where
                assert not option.wire or decision.wire in ("", option.wire), where

    @_quietly
    @given(data=st.data(), endpoint=_ENDPOINTS)
    def test_the_same_options_come_to_the_same_again(
        self, data: st.DataObject, endpoint: Endpoint
    ) -> None:
        """Give the same to one session twice: nothing is kept from the first time."""
        target, options = self._drawn(data, endpoint)
        session = self._pipeline(target)
        before = copy.deepcopy(options)
        found: list[Any] = []
        for _ in range(2):
            try:
                rendered = session.render(options, endpoint)
                found.append((rendered.options, rendered.report.wire))
            except OptionError as error:
                found.append(error.problems)
        assert found[0] == found[1]
        assert options == before

    def test_it_is_asked_without_an_sdk_and_without_a_network(self) -> None:
        """Describe, explain, list offline and look for credentials in a process of its own."""
        entry = self._backend().entry_point
        try:
            seen = call_apart(watch, self.patience, asdict(entry))
        except FailedApartError as error:
            why = error.stderr or f"it {error}"
            raise AssertionError(f"importing and asking {entry.value} failed: {why}") from None
        assert not seen["reached"], f"{entry.value} uses the network: {', '.join(seen['reached'])}"
        heavy = set(seen["imported"]) - set(self.may_import)
        assert not heavy, (
            f"{entry.value} imports {', '.join(sorted(heavy))} before there is a session: import "
            "it in the function that needs it, or name it in may_import if it is light"
        )

    def test_credentials_are_reported_and_shown_nowhere(self) -> None:
        """Look for credentials that are nowhere, and for ones that were given."""
        backend = self._backend()
        target = backend.target()
        fields = target.descriptor.credentials
        names = [variable for field in fields for variable in field.variables]
        hidden = {name for name in os.environ if name.removesuffix("_FILE") in names}
        with mock.patch.dict(os.environ):
            for name in hidden:
                del os.environ[name]
            nothing = backend.validate_credentials(target, keyring=False)
            given = {field.name: f"canary-{field.name}-0123456789abcdef" for field in fields}
            found = backend.validate_credentials(target, given, keyring=False)
        assert {finding.name for finding in nothing.fields} >= {field.name for field in fields}
        needed = [field for field in fields if field.required == "always" and not field.token_file]
        if needed:
            assert nothing.status == "missing", "a credential that is required is nowhere"
            assert all(field.variables or field.help for field in needed), "say where to get one"
        for field in fields:
            shown = repr(found) + str(found.message)
            assert not field.secret or given[field.name] not in shown, f"{field.name} is shown"

    def test_it_describes_itself_and_its_catalogue(self) -> None:
        """Hold the descriptor to what people are shown of it."""
        backend = self._backend()
        descriptor = backend.descriptor
        assert descriptor.summary
        shut = backend.target().retirement()
        assert shut is None, f"its default model is shut down: {shut}"
        models = backend.list_models(backend.target(), live=False, keyring=False)
        assert descriptor.default_model in [None, *(model.id for model in models)]
        assert all(model.source == "catalogue" for model in models)
        unsaid = [rule.name for rule in descriptor.options if not (rule.supported or rule.reason)]
        assert not unsaid, "a rule without a native name says why there is none"
        unread = [rule.name for rule in descriptor.options if not rule.source]
        assert not unread, "each rule says where it was read"

    # --------------------------------------------------------------------------------- helpers

    def _backend(self) -> Backend:
        return registry_without_extensions(self.backend, self.registry).backend(self.backend)

    def _targets(self) -> list[Target]:
        """Return its default model, others of its catalogue, and one that nobody knows."""
        backend = self._backend()
        known = [model.id for model in backend.descriptor.models]
        names = (backend.descriptor.default_model, *known[:6], *self.models, _UNKNOWN)
        return [backend.target(name) for name in dict.fromkeys(names)]

    def _target(self, data: st.DataObject) -> Target:
        return data.draw(st.sampled_from(self._targets()))

    def _drawn(self, data: st.DataObject, endpoint: Endpoint) -> tuple[Target, dict[str, Any]]:
        """Return a target, and options that it accepts."""
        target = self._target(data)
        options = option_dicts(target.descriptor, endpoint=endpoint, target=target)
        return target, data.draw(options)

    def _pipeline(self, target: Target) -> OptionPipeline:
        return self._backend().pipeline(target, policy="drop")

    def _report(
        self, target: Target, endpoint: Endpoint, options: Mapping[str, Any]
    ) -> NormalizedOptions | None:
        """Say what becomes of options; None where they are refused, with a reason for each."""
        try:
            return self._pipeline(target).render(dict(options), endpoint).report
        except OptionError as error:
            refused = error
        assert refused.problems
        assert all(problem.path and problem.message for problem in refused.problems)
        return None


def example_of(option: OptionListing) -> Any:
    """Return a value that an option takes; None where nobody can think of one."""
    if option.limits.choices:
        return option.limits.choices[0]
    value = _EXAMPLES.get(option.limits.type)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if option.limits.maximum is not None:
        value = min(value, option.limits.maximum)
    if option.limits.minimum is not None and value < option.limits.minimum:
        value = option.limits.minimum + (1 if option.limits.exclusive_minimum else 0)
    return int(value) if option.limits.type == "integer" else value


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield key
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value
