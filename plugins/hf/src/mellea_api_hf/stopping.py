"""Where an answer ends: at a stop text, or when nobody waits for it any more."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mellea_api_hf.generation import Generation

__all__ = ["cut", "hold_back", "in_the_answer", "when_set"]


def when_set(event: threading.Event) -> Any:
    """Return what ends a generation once an event is set."""
    import torch
    from transformers import StoppingCriteria

    class WhenSet(StoppingCriteria):  # type: ignore[misc,unused-ignore]
        """Ends a generation that nobody waits for any more."""

        def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
            return torch.full(
                (input_ids.shape[0],), event.is_set(), device=input_ids.device, dtype=torch.bool
            )

    return WhenSet()


def in_the_answer(stops: list[str], tokenizer: Any, prompt: int) -> Any:
    """Return what ends a generation at a stop text after a prompt of so many tokens."""
    from transformers import StopStringCriteria

    class InTheAnswer(StopStringCriteria):  # type: ignore[misc,unused-ignore]
        """Ends a generation at a stop text.

        That of `stop_strings` looks at the end of the prompt as well: a text that begins there
        would end an answer in which it is not.
        """

        def __call__(self, input_ids: Any, scores: Any, **rest: Any) -> Any:
            return super().__call__(input_ids[:, prompt:], scores, **rest)

    return InTheAnswer(tokenizer, stops)


def cut(text: str, stops: list[str]) -> int | None:
    """Return where the first of the stop texts begins, or None if there is none.

    >>> cut("a, b. c", [".", ","])
    1
    """
    found = [position for stop in stops if (position := text.find(stop)) >= 0]
    return min(found, default=None)


def _begun(text: str, stops: list[str]) -> int:
    """Return how many characters at the end may be the beginning of a stop text.

    >>> _begun("one <en", ["<end>", "en."])
    3
    """
    longest = max(map(len, stops)) - 1
    for length in range(min(longest, len(text)), 0, -1):
        if any(stop.startswith(text[-length:]) for stop in stops):
            return length
    return 0


def hold_back(streamer: Any, generation: Generation) -> None:
    """Have a streamer keep the stop text, and what may become one, to itself.

    Args:
        streamer: One of transformers' that hands on text.
        generation: Knows the stop texts, and learns that one was met.
    """
    hand_on = streamer.on_finalized_text
    held = ""

    def on_finalized_text(text: str, stream_end: bool = False) -> None:
        nonlocal held
        ready = ""
        if not generation.stopped:
            held += text
            ready, waiting = generation.cut(held), 0
            if len(ready) == len(held) and not stream_end:
                waiting = _begun(held, generation.stops)
            ready = ready[: len(ready) - waiting]
            held = held[len(ready) :]
        if ready or stream_end:
            hand_on(ready, stream_end=stream_end)

    streamer.on_finalized_text = on_finalized_text
