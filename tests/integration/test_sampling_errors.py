"""Mellea's sampling loops: a provider's error in any sample reaches the caller, and is not lost."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
from collections.abc import Callable
from typing import Any

import pytest
from support.late import provider
from support.stage import BackendName, Stage, stage
from support.way import failing_first, judged, newer

pytest.importorskip("mellea_api_ollama")
pytest.importorskip("mellea_api_openai")

import mellea_api

BACKENDS: tuple[BackendName, ...] = ("ollama", "openai")


def ask(stage: Stage, strategy: Any, *requirements: Any, **more: Any) -> Any:
    return stage.session.instruct(
        "What is 2+2?", requirements=list(requirements), strategy=strategy, **more
    )


def rejection(stage: Stage) -> Any:
    from mellea.stdlib.sampling import RejectionSamplingStrategy

    return ask(stage, RejectionSamplingStrategy(loop_budget=2), failing_first())


def repair(stage: Stage) -> Any:
    from mellea.stdlib.sampling import RepairTemplateStrategy

    return ask(stage, RepairTemplateStrategy(loop_budget=2), failing_first())


def multi_turn(stage: Stage) -> Any:
    from mellea.stdlib.sampling import MultiTurnStrategy

    return ask(stage, MultiTurnStrategy(loop_budget=2), failing_first())


def friendly_repair(stage: Stage) -> Any:
    strategy = newer("mellea.stdlib.sampling.feedback", "ModelFriendlyRepairStrategy")
    return ask(stage, strategy(loop_budget=2), failing_first())


def usual(stage: Stage) -> Any:
    """What `instruct` does with requirements where no strategy is named."""
    return stage.session.instruct("What is 2+2?", requirements=[failing_first()])


def awaited(stage: Stage) -> Any:
    async def run() -> Any:
        return await stage.session.ainstruct("What is 2+2?", requirements=[failing_first()])

    return asyncio.run(run())


def judge(stage: Stage) -> Any:
    """The second call is the judgement of the first."""
    return stage.session.instruct("What is 2+2?", requirements=[judged()])


def math_voting(stage: Stage) -> Any:
    strategy = newer("mellea.stdlib.sampling.majority_voting", "MajorityVotingStrategyForMath")
    return ask(stage, strategy(number_of_samples=3, loop_budget=1))


def rouge_voting(stage: Stage) -> Any:
    strategy = newer("mellea.stdlib.sampling.majority_voting", "MBRDRougeLStrategy")
    return ask(stage, strategy(number_of_samples=3, loop_budget=1))


def budget_forcing(stage: Stage) -> Any:
    strategy = newer("mellea.stdlib.sampling.budget_forcing", "BudgetForcingSamplingStrategy")
    forcing = strategy(
        think_max_tokens=21, answer_max_tokens=13, answer_suffix="So", requirements=None
    )
    return ask(stage, forcing)


def sofai(stage: Stage) -> Any:
    strategy = newer("mellea.stdlib.sampling.sofai", "SOFAISamplingStrategy")
    backend = stage.session.backend
    return ask(stage, strategy(backend, backend, loop_budget=1), judged())


def with_results(stage: Stage) -> Any:
    """Who asks for all samples gets the error too: a sample is missing among them."""
    from mellea.stdlib.sampling import RejectionSamplingStrategy

    strategy = RejectionSamplingStrategy(loop_budget=2)
    return ask(stage, strategy, failing_first(), return_sampling_results=True)


LOOPS: dict[str, Callable[[Stage], Any]] = {
    loop.__name__: loop
    for loop in (
        *(rejection, repair, multi_turn, friendly_repair, usual, awaited, judge),
        *(math_voting, rouge_voting, budget_forcing, sofai, with_results),
    )
}


def opened(backend: BackendName, name: str) -> Any:
    if name == "budget_forcing" and backend != "ollama":
        pytest.skip("Mellea has budget forcing for Ollama alone")
    more: dict[str, Any] = {"context_type": "chat"} if name in ("multi_turn", "sofai") else {}
    text = "It is four, and it was always four." if name == "budget_forcing" else "no"
    return stage(backend, text=text, **more)


@pytest.mark.parametrize("failing", [1, 2])
@pytest.mark.parametrize("name", LOOPS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_an_error_in_a_sample_reaches_the_caller(
    backend: BackendName, name: str, failing: int
) -> None:
    with opened(backend, name) as here:
        here.refuse_from(failing)
        with pytest.raises(mellea_api.RateLimitError) as caught:
            LOOPS[name](here)
        assert len(here.requests) >= failing
        assert caught.value.retry_after == 7
        assert caught.value.backend == backend
        assert caught.value.__cause__ is not None


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_good_sample_beside_one_that_failed_counts_and_the_error_is_shown(
    backend: BackendName, caplog: pytest.LogCaptureFixture
) -> None:
    from mellea.core import Requirement, ValidationResult
    from mellea.stdlib.sampling import RejectionSamplingStrategy

    if "concurrency_budget" not in RejectionSamplingStrategy.__init__.__code__.co_varnames:
        pytest.skip("this Mellea has no samples beside one another")
    with stage(backend) as here:
        here.server.fail_next(403)
        strategy = RejectionSamplingStrategy(loop_budget=20, concurrency_budget=2)
        # Later than the answer to the bad one, which would else be cancelled before it fails.
        tries = itertools.count(1)
        right = Requirement("is right", validation_fn=lambda _: ValidationResult(next(tries) > 8))
        with caplog.at_level(logging.WARNING, "mellea_api"):
            result = ask(here, strategy, right, return_sampling_results=True)
    assert result.success
    (error,) = mellea_api.sampling_errors(result)
    assert isinstance(error, mellea_api.PermissionDeniedError)
    assert str(error) in caplog.text


def test_where_every_call_was_answered_there_are_no_errors() -> None:
    with stage("ollama") as here:
        result = with_results(here)
    assert result.success
    assert mellea_api.sampling_errors(result) == ()
    assert mellea_api.sampling_errors("no result") == ()


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_a_program_raises_in_a_loop_is_its_own(backend: BackendName) -> None:
    """Mellea decides what becomes of it: it is no error of a provider."""
    from mellea.core import Requirement

    def wrong(context: Any) -> Any:
        raise ZeroDivisionError("the program's own")

    with stage(backend) as here, pytest.raises(ZeroDivisionError):
        here.session.instruct(
            "What is 2+2?", requirements=[Requirement("is right", validation_fn=wrong)]
        )


def methods() -> list[Any]:
    from mellea.stdlib.sampling.base import BaseSamplingStrategy as Strategy

    if not hasattr(Strategy, "_subsample_iteration"):
        pytest.skip("nothing is changed in this Mellea")
    return [Strategy._subsample_iteration, Strategy.sample]


@pytest.fixture
def untouched() -> list[Any]:
    """Mellea's own methods: other tests may have left sessions behind."""
    gc.collect()
    return [getattr(method, "__wrapped__", method) for method in methods()]


@pytest.mark.parametrize("way", ["closed", "gone"])
def test_mellea_has_its_own_methods_back_after_the_last_session(
    untouched: list[Any], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mellea_api._sessions._mellea import sampling
    from mellea_api.runtime import MelleaRuntime

    monkeypatch.setattr(sampling, "_watched_for", set())  # without those of other tests
    with provider("ollama") as found:
        session: Any = found.session()
        runtimes = [MelleaRuntime("ollama", "tiny", **found.arguments()) for _ in range(2)]
        assert all(now is not old for now, old in zip(methods(), untouched, strict=True))
        if way == "closed":
            for runtime in runtimes:
                runtime.cleanup()
        else:
            runtimes.clear()
            gc.collect()
        assert methods() != untouched, "there is a session still"
        del session
        gc.collect()
        assert methods() == untouched


def test_a_method_that_somebody_replaced_after_us_stays(
    untouched: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mellea.stdlib.sampling.base import BaseSamplingStrategy as Strategy

    from mellea_api._sessions._mellea import sampling

    monkeypatch.setattr(sampling, "_watched_for", set())
    with provider("ollama") as found:
        session: Any = found.session()
        ours = Strategy.sample

        async def theirs(*args: Any, **kwargs: Any) -> Any:
            return await ours(*args, **kwargs)

        monkeypatch.setattr(Strategy, "sample", theirs)
        del session
        gc.collect()
        assert Strategy.sample is theirs
