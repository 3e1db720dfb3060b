"""The sampler keeps what each option promises, whatever the others are."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mellea_api_ngram.model import END, TURN, load, tokenize
from mellea_api_ngram.sampling import Sampling, complete, until_stop

PROMPTS = ["Hello!", "What is 2+2?", "Tell me about the sea.", "Whatever comes next", ""]


def answer(prompt: str = PROMPTS[2], order: int = 4, **options: Any) -> str:
    return "".join(pieces(prompt, order, **options))


def pieces(prompt: str = PROMPTS[2], order: int = 4, **options: Any) -> list[str]:
    return list(complete(load(order), [*tokenize(prompt), TURN], Sampling(**options)))


def many(count: int = 30, **options: Any) -> list[str]:
    return [answer(seed=seed, **options) for seed in range(count)]


def drawn(distribution: dict[str, float], count: int = 4000, **options: Any) -> Counter[str]:
    """How often each token is drawn from a distribution."""
    source, sampling = random.Random(1), Sampling(**{"temperature": 1, **options})
    return Counter(sampling.choose(distribution, [], [], source) for _ in range(count))


prompts = st.sampled_from(PROMPTS)
orders = st.sampled_from([2, 3, 4])
seeds = st.integers(0, 2**63)
settings = st.fixed_dictionaries(
    {"max_tokens": st.integers(1, 30)},
    optional={
        "temperature": st.floats(0, 2),
        "top_p": st.floats(0, 1, exclude_min=True),
        "top_k": st.integers(1, 2000),
        "min_p": st.floats(0, 1),
        "presence_penalty": st.floats(-2, 2),
        "frequency_penalty": st.floats(-2, 2),
        "repetition_penalty": st.floats(0, 1000, exclude_min=True),
    },
)
stops = st.lists(
    st.one_of(
        st.sampled_from(["the sea", " and", "is", ".", "e s", "Hello! It", "4", "\n"]),
        st.text("aeht s", min_size=1, max_size=3),
    ),
    max_size=3,
)


class TestAnyOptions:
    @given(prompts, orders, settings, stops, seeds)
    def test_a_seed_reproduces_and_no_stop_is_in_the_answer(
        self, prompt: str, order: int, options: dict[str, Any], stop: list[str], seed: int
    ) -> None:
        text = answer(prompt, order, stop=stop, seed=seed, **options)
        assert text == answer(prompt, order, stop=stop, seed=seed, **options)
        assert not any(each in text for each in stop)
        # A stop cuts, and changes nothing before it.
        assert answer(prompt, order, seed=seed, **options).startswith(text)

    @given(prompts, orders, settings, seeds)
    def test_the_length_holds(
        self, prompt: str, order: int, options: dict[str, Any], seed: int
    ) -> None:
        found = pieces(prompt, order, seed=seed, **options)
        assert len(found) <= options["max_tokens"]
        assert END not in found

    @given(prompts, orders, settings, seeds, st.sampled_from([{"top_k": 1}, {"top_p": 1e-12}]))
    def test_the_tightest_cut_is_greedy(
        self, prompt: str, order: int, options: dict[str, Any], seed: int, cut: dict[str, Any]
    ) -> None:
        greedy = answer(prompt, order, **{**options, "temperature": 0})
        assert answer(prompt, order, seed=seed, **{**options, **cut}) == greedy


DISTRIBUTION = {"a": 0.5, "b": 0.3, "c": 0.15, "d": 0.05}


class TestEachOption:
    def test_sampling_follows_the_probabilities(self) -> None:
        counts = drawn(DISTRIBUTION)
        for token, probability in DISTRIBUTION.items():
            assert counts[token] / 4000 == pytest.approx(probability, abs=0.03)

    def test_a_temperature_of_2_takes_the_root_of_the_probabilities(self) -> None:
        total = sum(math.sqrt(p) for p in DISTRIBUTION.values())
        counts = drawn(DISTRIBUTION, temperature=2)
        for token, probability in DISTRIBUTION.items():
            assert counts[token] / 4000 == pytest.approx(math.sqrt(probability) / total, abs=0.03)

    def test_temperature_0_takes_the_likeliest(self) -> None:
        assert set(drawn(DISTRIBUTION, temperature=0)) == {"a"}
        assert set(drawn(DISTRIBUTION, temperature=5e-324)) == {"a"}

    @pytest.mark.parametrize(("top_k", "kept"), [(1, "a"), (2, "ab"), (3, "abc"), (9, "abcd")])
    def test_top_k_keeps_that_many(self, top_k: int, kept: str) -> None:
        assert set(drawn(DISTRIBUTION, top_k=top_k)) == set(kept)

    @pytest.mark.parametrize(
        ("top_p", "kept"), [(0.1, "a"), (0.49, "a"), (0.6, "ab"), (0.9, "abc"), (1, "abcd")]
    )
    def test_top_p_keeps_the_likeliest_that_add_up_to_it(self, top_p: float, kept: str) -> None:
        assert set(drawn(DISTRIBUTION, top_p=top_p)) == set(kept)

    def test_top_p_counts_what_top_k_left(self) -> None:
        """0.5 of the 0.8 that `top_k` leaves is 0.625 of it."""
        assert set(drawn(DISTRIBUTION, top_k=2, top_p=0.6)) == {"a"}
        assert set(drawn(DISTRIBUTION, top_k=2, top_p=0.65)) == {"a", "b"}

    @pytest.mark.parametrize(
        ("min_p", "kept"), [(0, "abcd"), (0.2, "abc"), (0.5, "ab"), (0.7, "a"), (1, "a")]
    )
    def test_min_p_is_a_share_of_the_likeliest(self, min_p: float, kept: str) -> None:
        assert set(drawn(DISTRIBUTION, min_p=min_p)) == set(kept)

    def test_a_presence_penalty_counts_once_and_a_frequency_penalty_each_time(self) -> None:
        source = random.Random(1)
        said = ["a", "a", "a"]

        def share(**options: Any) -> float:
            sampling = Sampling(temperature=1, **options)
            found = [sampling.choose(DISTRIBUTION, ["a"], said, source) for _ in range(4000)]
            return found.count("a") / 4000

        def expected(penalty: float) -> float:
            left = 0.5 * math.exp(-penalty)
            return left / (left + 0.5)

        assert share(presence_penalty=1) == pytest.approx(expected(1), abs=0.03)
        assert share(frequency_penalty=1) == pytest.approx(expected(3), abs=0.03)
        assert share(presence_penalty=-1) == pytest.approx(expected(-1), abs=0.03)

    def test_a_repetition_penalty_counts_the_prompt_too(self) -> None:
        source, sampling = random.Random(1), Sampling(temperature=0, repetition_penalty=2)
        assert sampling.choose(DISTRIBUTION, [], [], source) == "a"
        assert sampling.choose(DISTRIBUTION, ["a"], [], source) == "b"
        assert sampling.choose(DISTRIBUTION, ["a"], ["b"], source) == "a"  # 0.25 against 0.09

    def test_another_seed_gives_another_answer_and_so_does_none(self) -> None:
        assert len(set(many())) > 5
        assert len({answer(temperature=1) for _ in range(30)}) > 5

    def test_a_seed_means_the_same_in_another_process(self) -> None:
        """Python hashes texts anew in each process; nothing here may go by that."""
        program = (
            "from mellea_api_ngram.model import *; from mellea_api_ngram.sampling import *;"
            f"p = [*tokenize({PROMPTS[2]!r}), TURN];"
            "print(repr(''.join(complete(load(4), p, Sampling(seed=7, temperature=1.5)))))"
        )
        found = {
            subprocess.run(
                [sys.executable, "-c", program],
                env={**os.environ, "PYTHONHASHSEED": seed},
                capture_output=True,
                text=True,
                check=True,
            ).stdout.strip()
            for seed in ("1", "2")
        }
        assert found == {repr(answer(seed=7, temperature=1.5))}

    def test_max_tokens_are_tokens_of_the_model(self) -> None:
        whole = answer(temperature=0)
        assert answer(temperature=0, max_tokens=3) == "".join(tokenize(whole)[:3])


class TestStop:
    @given(st.text("ab", max_size=30), st.lists(st.text("ab", min_size=1, max_size=4)), st.data())
    def test_how_a_text_comes_in_pieces_changes_nothing(
        self, text: str, stops: list[str], data: st.DataObject
    ) -> None:
        cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
        parts = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        passed = list(until_stop(parts, stops))
        assert "".join(passed) == first_stop(text, stops)

    @given(st.text("ab", max_size=30), st.lists(st.text("ab", min_size=1, max_size=4)))
    def test_what_is_passed_on_is_never_the_beginning_of_a_stop(
        self, text: str, stops: list[str]
    ) -> None:
        """A reader who saw it could not take it back."""
        final, so_far = first_stop(text, stops), ""
        for piece in until_stop(text, stops):
            so_far += piece
            assert final.startswith(so_far)

    def test_a_beginning_that_was_none_is_passed_on_at_once(self) -> None:
        assert list(until_stop(["a s", "to", "ne", "!"], ["stop"])) == ["a ", "", "stone", "!"]

    def test_a_text_that_ends_in_the_middle_of_a_stop_is_whole(self) -> None:
        assert "".join(until_stop(["a ", "sto"], ["stop"])) == "a sto"

    def test_nothing_is_read_behind_a_stop(self) -> None:
        source = iter(["one", " stop", " two"])
        assert "".join(until_stop(source, ["stop"])) == "one "
        assert list(source) == [" two"]


def first_stop(text: str, stops: list[str]) -> str:
    """The text up to the stop that is complete first, and of several the longest."""
    for end in range(1, len(text) + 1):
        complete_here = [stop for stop in stops if text[:end].endswith(stop)]
        if complete_here:
            return text[: end - max(map(len, complete_here))]
    return text
