"""From probabilities to text: what temperature, top_p, stop and their like really do."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mellea_api_ngram.model import END, NGramModel, key

__all__ = ["Sampling", "complete", "until_stop"]


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How to choose among the tokens that may come next; the defaults are the model's own.

    The steps and their order are those of transformers: penalties, temperature, `top_k`,
    `top_p`, `min_p`.

    Args:
        temperature: Divides the logits; 0 takes the likeliest token.
        max_tokens: Most tokens to draw.
        top_p: Keep the likeliest tokens whose probabilities add up to this.
        top_k: Keep this many of the likeliest tokens; None for all.
        min_p: Keep tokens that are at least this share as likely as the likeliest one.
        stop: Texts before which the answer ends.
        seed: Start of the random numbers; None for another one each time.
        presence_penalty: Taken from the logit of what the answer holds.
        frequency_penalty: The same, for each time that the answer holds it.
        repetition_penalty: Factor on the logit of what prompt or answer hold.
    """

    temperature: float = 0.7
    max_tokens: int = 200
    top_p: float = 1.0
    top_k: int | None = None
    min_p: float = 0.0
    stop: Sequence[str] = ()
    seed: int | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0

    def choose(
        self,
        distribution: Mapping[str, float],
        prompt: Iterable[str],
        answer: Iterable[str],
        source: random.Random,
    ) -> str:
        """Draw a token.

        Args:
            distribution: The probability of each, above 0.
            prompt: The tokens of the prompt, for the penalties.
            answer: The tokens of the answer so far, likewise.
            source: Where the random numbers come from.
        """
        logits = {token: math.log(p) for token, p in distribution.items()}
        kept = self._cut(self._penalize(logits, prompt, answer))
        return source.choices(list(kept), list(kept.values()))[0]

    def _penalize(
        self, logits: dict[str, float], prompt: Iterable[str], answer: Iterable[str]
    ) -> dict[str, float]:
        said = Counter(answer)
        if self.repetition_penalty != 1:
            for token in logits.keys() & {*prompt, *said}:
                logits[token] *= self.repetition_penalty  # logits of probabilities are negative
        for token in logits.keys() & said.keys():
            logits[token] -= self.presence_penalty + self.frequency_penalty * said[token]
        return logits

    def _cut(self, logits: Mapping[str, float]) -> dict[str, float]:
        """Return the tokens that may be drawn, likeliest first, each with its weight."""
        ranked = sorted(logits.items(), key=lambda item: item[1], reverse=True)
        if self.temperature == 0:
            return {ranked[0][0]: 1.0}
        best = ranked[0][1]
        kept = [
            (token, math.exp((logit - best) / self.temperature))
            for token, logit in ranked[: self.top_k]
        ]
        if self.top_p < 1:
            left = self.top_p * sum(weight for _, weight in kept)
            size = 0
            while left > 0 and size < len(kept):
                left -= kept[size][1]
                size += 1
            del kept[max(size, 1) :]
        return {token: weight for token, weight in kept if weight >= self.min_p}


def complete(model: NGramModel, prompt: Sequence[str], sampling: Sampling) -> Iterator[str]:
    """Go on where a prompt ends, until the model ends its answer.

    Args:
        model: Says what is likely.
        prompt: The tokens to go on from.
        sampling: Says what is chosen.

    Yields:
        One text per token. It is empty while that token may be the beginning of a stop.
    """
    return until_stop(_draw(model, prompt, sampling), sampling.stop)


def _draw(model: NGramModel, prompt: Sequence[str], sampling: Sampling) -> Iterator[str]:
    source = random.Random(sampling.seed)
    topic = {key(token) for token in prompt if any(map(str.isalnum, token))}
    answer: list[str] = []
    while len(answer) < sampling.max_tokens:
        distribution = model.distribution([*prompt, *answer], topic)
        token = sampling.choose(distribution, prompt, answer, source)
        if token == END:
            return
        answer.append(token)
        yield token


def until_stop(pieces: Iterable[str], stops: Sequence[str]) -> Iterator[str]:
    """Pass on a text up to the stop that is complete first.

    What may become a stop is held back until that is known: a stop can be spread over pieces.

    >>> list(until_stop(["one", " st", "ep", " and"], ["step"]))
    ['one', ' ', '']

    Args:
        pieces: The text.
        stops: Where it ends; the stop is not part of it.
    """
    held = ""
    for piece in pieces:
        held += piece
        ends = [(at + len(stop), at) for stop in stops if (at := held.find(stop)) >= 0]
        if ends:
            yield held[: min(ends)[1]]
            return
        keep = max((_overlap(held, stop) for stop in stops), default=0)
        yield held[: len(held) - keep]
        held = held[len(held) - keep :]
    if held:
        yield held


def _overlap(text: str, stop: str) -> int:
    """Return how much of the text's end is the beginning of a stop."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
