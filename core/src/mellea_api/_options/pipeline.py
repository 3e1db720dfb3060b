"""The path that the options of every call take once.

Canonicalise the spellings, merge the session's defaults with the call's options (the call
wins), let extensions patch, check, render for the endpoint, and apply the policy to what is not
supported.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from attrs import evolve

from mellea_api._contract.errors import OptionError, OptionProblem, PluginError
from mellea_api._contract.option_rule import Endpoint
from mellea_api._contract.refusals import completed
from mellea_api._contract.reports import NormalizedOptions, OptionDecision, OptionPatch
from mellea_api._contract.requests import OptionsRequest, Origin, Policy, Target
from mellea_api._options.limits import CHECKS, same, shown
from mellea_api._options.plan import Recipe, apply_rules, plan_for, spelled, table_order
from mellea_api._options.rules import own
from mellea_api._options.spelling import Given, Unknown, canonicalise, merge
from mellea_api._secrecy.logs import logger

_MOST_SHAPES: Final = 512
_ACTIONS: Final = ("set", "cap", "remove", "forbid")


class Rendered:
    """Options for Mellea's backend, with a report that is made when somebody reads it.

    Args:
        options: A dict of its own, for Mellea's backend.
        report: The report, or a function that makes it.

    Attributes:
        options: As given.
    """

    __slots__ = ("_report", "options")

    def __init__(
        self, options: dict[str, Any], report: NormalizedOptions | Callable[[], NormalizedOptions]
    ) -> None:
        self.options = options
        self._report = report

    @property
    def report(self) -> NormalizedOptions:
        """What became of each option."""
        if not isinstance(self._report, NormalizedOptions):
            self._report = self._report()
        return self._report


class OptionPipeline:
    """Takes the options of every call of one session through all steps.

    Threads and tasks may share it: after construction it changes only its notes (warnings given,
    shapes seen) and its `defaults`, which are replaced as a whole.

    Args:
        target: Backend, model and server.
        policy: What to do about options that are not supported.
        unknown: What to do about unknown names.
        review: Asks the extensions for patches; None without extensions.
        normalize: Asks the backend's plugin to render; None if the rules alone decide.
    """

    def __init__(
        self,
        target: Target,
        *,
        policy: Policy = "warn",
        unknown: Unknown = "error",
        review: Callable[[OptionsRequest], Iterable[Sequence[OptionPatch] | None]] | None = None,
        normalize: Callable[[OptionsRequest], NormalizedOptions] | None = None,
    ) -> None:
        self.target = target
        self.policy: Policy = policy
        self.unknown: Unknown = unknown
        self._review = review
        self._normalize = normalize
        self._asks_hooks = review is not None or normalize is not None
        self._warned: dict[tuple[str, str], OptionDecision] = {}
        self.defaults = Given()

    def set_defaults(self, options: Mapping[str, Any]) -> None:
        """Replace the session's default options.

        Raises:
            OptionError: If they cannot be used; the old ones then stay.
        """
        self.defaults = self.read_defaults(options)

    def read_defaults(self, options: Mapping[str, Any]) -> Given:
        """Check options, and return them as `defaults` holds them.

        Raises:
            OptionError: If they cannot be used.
        """
        if not options and isinstance(options, dict) and not self._asks_hooks:
            return Given()
        plan = plan_for(self.target, "chat")
        given = canonicalise(options, plan, source="default", unknown=self.unknown)
        self.render(None, "chat", given)
        return given

    def render(
        self,
        options: Mapping[str, Any] | None,
        endpoint: Endpoint,
        defaults: Given | None = None,
    ) -> Rendered:
        """Take a call's options through all steps.

        Args:
            options: The call's options as the user spelt them, or None. They are not kept.
            endpoint: `chat` or `completion`.
            defaults: The session's options when the call began; None for those of now.

        Raises:
            OptionError: If an option cannot be sent, or (policy `error`) is not supported.
        """
        defaults = self.defaults if defaults is None else defaults
        call = {} if options is None else options
        if type(call) is dict and not self._asks_hooks:
            # Most calls give the same few options again, with other values.
            shape = (endpoint, *call)
            recipe = defaults.recipes.get(shape, ...)
            if recipe is ...:
                recipe = self._remember(defaults, shape)
            if recipe is not None:
                steps, changeable = recipe
                values = {**defaults.values, **call} if defaults.values else call
                try:
                    sent = {key: check(values[name]) for name, key, check in steps}
                    if not all(sent.values()) and any(
                        value is None or value == [] for value in sent.values()
                    ):
                        raise ValueError("an option is unset, or empty")
                except ValueError:
                    pass  # the report says what is wrong, or why nothing is sent
                else:
                    given = call.copy()
                    for name in changeable:
                        given[name] = own(given[name])
                    return Rendered(sent, lambda: self._report(defaults, given, endpoint))
        report = self._report(defaults, call, endpoint)
        self._apply_policy(report.decisions, call.get("unsupported", self.policy))
        return Rendered(own(dict(report.options)), report)

    def _remember(self, defaults: Given, shape: tuple[Any, ...]) -> Recipe | None:
        """Note how options of these names are rendered over some defaults."""
        endpoint, *call = shape
        recipe = None
        if not defaults.problems:
            recipe = plan_for(self.target, endpoint).recipe(defaults.values, call)
        if len(defaults.recipes) >= _MOST_SHAPES:
            defaults.recipes.clear()
        defaults.recipes[shape] = recipe
        return recipe

    def _report(
        self, defaults: Given, call: Mapping[str, Any], endpoint: Endpoint
    ) -> NormalizedOptions:
        plan = plan_for(self.target, endpoint)
        given = merge(defaults, canonicalise(call, plan, unknown=self.unknown))
        request = OptionsRequest(
            target=self.target, endpoint=endpoint, options=given.values, origins=given.origins
        )
        problems = list(given.problems)
        try:
            if self._review is not None:
                request = apply_patches(request, self._review(_copied(request)))
            if self._normalize is not None and not problems:
                report = self._normalize(_copied(request))
            else:
                report = apply_rules(request)
        except OptionError as error:
            if not error.problems:
                raise
            problems += error.problems
        if problems:
            raise completed(OptionError(problems=problems), self.target)
        return _with_removed(report, given, request)

    def _apply_policy(self, decisions: Iterable[OptionDecision], policy: Policy) -> None:
        dropped = [decision for decision in decisions if decision.outcome == "dropped"]
        if not dropped or policy == "drop":
            return
        if policy == "error":
            problems = [
                OptionProblem(decision.spelling, f"is not supported: {decision.reason}")
                for decision in dropped
            ]
            raise completed(OptionError(problems=problems), self.target)
        for decision in dropped:
            once = (decision.name, decision.reason)
            if self._warned.setdefault(once, decision) is decision:  # in one step, for threads
                logger.warning(
                    "The %s backend does not send %s=%s: %s. "
                    "(unsupported='error' or 'drop' changes what happens; said once a session.)",
                    self.target.backend,
                    decision.spelling,
                    shown(decision.value),
                    decision.reason,
                )


def _with_removed(
    report: NormalizedOptions, given: Given, request: OptionsRequest
) -> NormalizedOptions:
    """Add to a report what an extension took out, which the backend never saw."""
    removed = [
        OptionDecision(
            name=name,
            spelling=spelled(given.origins.get(name), name),
            outcome="patched",
            value=value,
            origin="extension",
            reason=request.origins[name].note,
        )
        for name, value in given.values.items()
        if name not in request.options
    ]
    if not removed:
        return report
    decisions = sorted((*report.decisions, *removed), key=lambda found: table_order(found.name))
    return evolve(report, decisions=decisions)


def _copied(request: OptionsRequest) -> OptionsRequest:
    """Copy a request, so that nobody else sees what a hook changes."""
    return evolve(request, options=own(dict(request.options)), origins=dict(request.origins))


def apply_patches(
    request: OptionsRequest, answers: Iterable[Sequence[OptionPatch] | None]
) -> OptionsRequest:
    """Apply the patches of all extensions, in the order of their answers.

    Args:
        request: Canonical options.
        answers: Each extension's patches.

    Raises:
        OptionError: If a patch forbids an option that was given.
        PluginError: If an extension returns anything but patches.
    """
    values = dict(request.options)
    origins = dict(request.origins)
    forbidden: list[OptionProblem] = []
    for answer in answers:
        for patch in answer or ():
            _check(patch)
            given = values.get(patch.name)
            spelling = spelled(origins.get(patch.name), patch.name)
            if patch.action == "forbid":
                if given is not None:
                    forbidden.append(OptionProblem(spelling, f"is forbidden: {patch.reason}"))
                continue
            wanted = _wanted(patch, given)
            if same(wanted, given):
                continue
            before = "not given" if given is None else f"was {shown(given)}"
            note = f"{before}; {patch.action} by an extension: {patch.reason}"
            values[patch.name] = wanted
            origins[patch.name] = Origin(spelling, "extension", note)
    if forbidden:
        raise OptionError(problems=forbidden)
    return evolve(
        request,
        options={name: value for name, value in values.items() if value is not None},
        origins=origins,
    )


def _wanted(patch: OptionPatch, given: Any) -> Any:
    if patch.action == "remove":
        return None
    if patch.action == "cap":
        # A negative number means "no limit" to a backend that takes one (Ollama's -1). What is
        # no number is capped too: nobody knows what a backend would make of it.
        number = _number(given)
        return given if number is not None and 0 <= number <= patch.value else patch.value
    return patch.value


def _number(value: Any) -> float | None:
    for kind in ("number", "integer"):  # an integer of any make is no number to Python
        with contextlib.suppress(ValueError):
            return float(CHECKS[kind](value))
    return None


def _check(patch: Any) -> None:
    wrong = f"{shown(patch)}, which is no OptionPatch with a reason"
    if isinstance(patch, OptionPatch) and patch.action in _ACTIONS:
        words: tuple[Any, Any] = (patch.name, patch.reason)
        if patch.action == "cap" and _number(patch.value) is None:
            wrong = f"{shown(patch)}, which caps at no number"
        elif all(isinstance(word, str) and word.strip() for word in words):
            return
    raise PluginError(
        f"An extension's review_options returned {wrong}.",
        next_step="Fix or uninstall the extension; `mellea-api backends` lists those installed.",
    )
