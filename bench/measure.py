"""Measuring side by side: what is compared runs in turns, so that a slow machine slows both.

The order moves on by one from turn to turn. A ratio is taken within a round; what is reported is
the median of the rounds' ratios, with the least and the greatest.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Ratio", "clean_environment", "in_turns", "processes", "ratio", "section"]

_FOREIGN = ("MELLEA_", "OPENAI_", "OLLAMA_", "LLM_", "LITELLM_", "ANY_LLM_", "PYTHON")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


@dataclass(frozen=True)
class Ratio:
    """How many times as long one thing took as another, over the rounds of a run."""

    ours: str
    theirs: str
    median: float
    least: float
    greatest: float

    def row(self) -> str:
        """The ratio as a row of a table."""
        return (
            f"| {self.ours} | {self.theirs} | **{_short(self.median)}** "
            f"| {_short(self.least)} to {_short(self.greatest)} |"
        )


def _short(number: float) -> str:
    """A number with as many digits as mean something.

    >>> _short(0.01234), _short(1.014), _short(23.4)
    ('0.012', '1.014', '23')
    """
    if number < 0.1:
        return f"{number:.2g}"
    return f"{number:.3f}" if number < 2 else f"{number:.3g}"


def ratio(samples: Mapping[str, Sequence[float]], ours: str, theirs: str) -> Ratio:
    """Compares two contenders of one run, round by round."""
    each = [one / other for one, other in zip(samples[ours], samples[theirs], strict=True)]
    return Ratio(ours, theirs, statistics.median(each), min(each), max(each))


def section(title: str, note: str, ratios: Sequence[Ratio]) -> dict[str, Any]:
    """One table of the results, as it travels from the process that measured it."""
    return {"title": title, "note": note, "ratios": [asdict(found) for found in ratios]}


def in_turns(
    contenders: Mapping[str, Callable[[], object]], *, rounds: int, turns: int, calls: int = 1
) -> dict[str, list[float]]:
    """Times functions of this process in turns.

    Args:
        contenders: What to call, by name.
        rounds: How many samples of each.
        turns: How many turns of each a round has; their median is the sample, so that a turn
            during which something else had the processor does not count.
        calls: How many calls a turn is made of: a millisecond's worth or less, where that goes.

    Returns:
        Seconds a turn, by name.
    """
    names = list(contenders)
    for name in names:
        contenders[name]()  # imports, caches, connections: what happens once is not measured
    samples: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        taken: dict[str, list[float]] = {name: [] for name in names}
        for turn in range(turns):
            for name in _moved_on(names, turn):
                function = contenders[name]
                begin = time.perf_counter()
                for _ in range(calls):
                    function()
                taken[name].append(time.perf_counter() - begin)
        for name in names:
            samples[name].append(statistics.median(taken[name]))
    return samples


def processes(
    contenders: Mapping[str, Sequence[str]], environ: Mapping[str, str], *, rounds: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Times commands in turns, each in a process of its own.

    Args:
        contenders: The commands, by name; one that fails ends the run.
        environ: Their environment.
        rounds: How many samples of each; one more run comes before and is not counted, since it
            writes the bytecode.

    Returns:
        Seconds of the processor (user and system) and of the clock, by name.
    """
    processor: dict[str, list[float]] = {name: [] for name in contenders}
    clock: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for turn in range(-1, rounds):
        for name in _moved_on(names, turn):
            used, passed = _run(contenders[name], environ)
            if turn >= 0:
                processor[name].append(used)
                clock[name].append(passed)
    return processor, clock


def _run(command: Sequence[str], environ: Mapping[str, str]) -> tuple[float, float]:
    begin = time.perf_counter()
    with subprocess.Popen(
        command, env=dict(environ), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        _, status, usage = os.wait4(process.pid, 0)
        passed = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime, passed


def _moved_on(names: list[str], turn: int) -> list[str]:
    by = turn % len(names)
    return names[by:] + names[:by]


def clean_environment(scratch: str) -> dict[str, str]:
    """The environment without a developer's settings, and without a way to the network.

    Args:
        scratch: A folder for what a command may write.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_FOREIGN) and name.upper() not in _PROXIES
    }
    return kept | {
        "HOME": scratch,
        "LLM_USER_PATH": scratch,
        # Without it litellm asks the network for its prices while it is imported.
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }
