"""The language model: how often which token followed which run of tokens, in one short text."""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Collection, Sequence
from importlib import resources
from typing import Final

__all__ = ["END", "TURN", "NGramModel", "key", "load", "tokenize"]

TURN: Final = "\n"
"""The token between a question and its answer, in the primer and so in a prompt."""

END: Final = "\n\n"
"""The token at which an answer ends."""

_TOKEN: Final = re.compile(
    r"""\ ?(?: \d+(?:\ ?[-+*/]\ ?\d+)+    # a sum is one token, so that its answer is near
             | \w+(?:['-]\w+)*            # a word
             | [^\w\s] )                  # a mark
      | \n\n | \s""",
    re.VERBOSE,
)
_DISCOUNT: Final = 0.1
_ATTENTION: Final = 100.0


def tokenize(text: str) -> list[str]:
    """Cut a text into tokens, of which nothing is lost: joined, they are the text.

    >>> tokenize("What is 2 + 2?")
    ['What', ' is', ' 2 + 2', '?']
    """
    return _TOKEN.findall(text)


def key(token: str) -> str:
    """Return what a token is looked up by, however it is written and spaced.

    >>> key(" 2 + 2"), key("What")
    ('2+2', 'what')
    """
    return "".join(token.split()).lower() or token


class NGramModel:
    """A model of order n: it says which tokens follow a run of up to n - 1 others.

    It does not change once it is made, and is safe to share between threads.

    >>> model = NGramModel("to be or not to be", order=2)
    >>> distribution = model.distribution(["not", " to"])
    >>> max(distribution, key=distribution.__getitem__)
    ' be'

    Args:
        text: What it learns from.
        order: The length of the longest runs that are counted.

    Attributes:
        size: How many counts it holds.
    """

    def __init__(self, text: str, order: int) -> None:
        self._order = order
        self._followers: dict[tuple[str, ...], dict[str, int]] = {}
        self._spellings: dict[str, set[str]] = {}
        tokens = tokenize(text)
        keys = [key(token) for token in tokens]
        for position, token in enumerate(tokens):
            self._spellings.setdefault(keys[position], set()).add(token)
            for start in range(max(0, position - order + 1), position + 1):
                followers = self._followers.setdefault(tuple(keys[start:position]), {})
                followers[token] = followers.get(token, 0) + 1
        self.size = sum(map(len, self._followers.values()))

    def distribution(self, context: Sequence[str], topic: Collection[str] = ()) -> dict[str, float]:
        """Return the probability of each token to come next.

        What followed the longest run that was ever seen counts most. A little (absolute
        discounting, as Ney, Essen and Kneser describe it) is left to shorter and shorter runs,
        so that every token has a probability above 0, and there is an answer to everything.

        Args:
            context: The tokens so far.
            topic: Words that were said, by their key: they are likelier to be said again, and
                the more so the rarer they are.
        """
        keys = [key(token) for token in context[-(self._order - 1) :]]
        result: dict[str, float] = {}
        share = 1.0
        for start in range(len(keys) + 1):
            followers = self._followers.get(tuple(keys[start:]))
            if followers is None:
                continue
            total = sum(followers.values())
            discount = _DISCOUNT if start < len(keys) else 0.0
            for token, count in followers.items():
                result[token] = result.get(token, 0.0) + share * (count - discount) / total
            share *= discount * len(followers) / total
        return self._attend(result, topic) if topic else result

    def _attend(self, result: dict[str, float], topic: Collection[str]) -> dict[str, float]:
        frequency = self._followers[()]
        for word in topic:
            for token in self._spellings.get(word, ()):
                result[token] *= 1 + _ATTENTION / frequency[token]
        total = sum(result.values())
        return {token: probability / total for token, probability in result.items()}


_training = threading.Lock()


def load(order: int) -> NGramModel:
    """Return the model of an order, trained on the primer when it is first asked for."""
    with _training:
        return _train(order)


@functools.cache
def _train(order: int) -> NGramModel:
    primer = resources.files(__package__).joinpath("primer.txt").read_text("utf-8")
    return NGramModel(primer + TURN, order)
