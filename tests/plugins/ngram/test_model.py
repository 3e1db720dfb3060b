"""The n-gram model: what it counts, and what it makes of it."""

from __future__ import annotations

import math
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mellea_api import ModelInfo
from mellea_api_ngram import model as module
from mellea_api_ngram.model import NGramModel, key, load, tokenize
from mellea_api_ngram.models import CATALOGUE, ORDERS

TEXT = "the cat sat. the dog sat. the cat ran."


@given(st.text())
def test_tokens_joined_are_the_text(text: str) -> None:
    assert "".join(tokenize(text)) == text


def test_a_sum_is_one_token_however_it_is_spaced() -> None:
    assert [key(token) for token in tokenize("what is 2 + 2 ?")] == ["what", "is", "2+2", "?"]
    assert [key(token) for token in tokenize("What is 2+2?")] == ["what", "is", "2+2", "?"]


@given(st.lists(st.sampled_from([*tokenize(TEXT), " unheard"])), st.integers(1, 4))
def test_probabilities_are_above_0_and_add_up_to_1(context: list[str], order: int) -> None:
    model = NGramModel(TEXT, order)
    for topic in ((), {"cat", "unheard"}):
        distribution = model.distribution(context, topic)
        assert distribution.keys() == set(tokenize(TEXT))
        assert min(distribution.values()) > 0
        assert math.isclose(sum(distribution.values()), 1)


def test_what_was_counted_more_often_is_likelier() -> None:
    distribution = NGramModel(TEXT, 2).distribution(["the"])
    assert distribution[" cat"] > distribution[" dog"] > distribution[" sat"]


def test_an_order_says_how_far_back_the_model_looks() -> None:
    """Of "the cat sat. the dog sat." only a trigram can tell what comes after "cat sat"."""
    text = "a cat sat here. a dog sat there."
    near, far = (NGramModel(text, order).distribution([" cat", " sat"]) for order in (2, 3))
    assert near[" here"] == near[" there"]
    assert far[" here"] > 5 * far[" there"]


def test_a_run_that_was_never_seen_backs_off_to_a_shorter_one() -> None:
    model = NGramModel(TEXT, 3)
    assert model.distribution([" unheard", " cat"]) == model.distribution([" cat"])
    assert model.distribution([" unheard"]) == model.distribution([])


def test_what_was_said_is_likelier_to_be_said_again() -> None:
    model = NGramModel(TEXT, 3)
    plain, heard = model.distribution(["the"]), model.distribution(["the"], {"dog"})
    assert heard[" dog"] > plain[" dog"]
    assert heard[" cat"] < plain[" cat"]


def test_a_model_is_trained_once_however_many_threads_ask_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Slow(NGramModel):
        def __init__(self, text: str, order: int) -> None:
            time.sleep(0.05)
            super().__init__("to be or not to be", order)

    module._train.cache_clear()
    monkeypatch.setattr(module, "NGramModel", Slow)
    found: list[NGramModel] = []
    threads = [threading.Thread(target=lambda: found.append(load(4))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    module._train.cache_clear()
    assert len(found) == 4
    assert len(set(map(id, found))) == 1


def test_training_is_quick() -> None:
    """It takes some 15 ms; the limit leaves room for a machine that is busy."""
    taken = []
    for _ in range(3):
        module._train.cache_clear()
        began = time.perf_counter()
        load(4)
        taken.append(time.perf_counter() - began)
    assert min(taken) < 0.15


@pytest.mark.parametrize("info", CATALOGUE, ids=lambda info: info.id)
def test_the_catalogue_tells_the_size_of_a_model(info: ModelInfo) -> None:
    assert info.size == f"{round(load(ORDERS[info.id]).size / 1000)}K"


def test_the_catalogue_begins_with_the_default_model() -> None:
    assert [info.default for info in CATALOGUE] == [True] + [False] * (len(CATALOGUE) - 1)
    assert [info.id for info in CATALOGUE] == list(ORDERS)
