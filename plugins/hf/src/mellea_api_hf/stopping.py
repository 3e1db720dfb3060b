"""Where an answer ends: at a stop text, or when nobody waits for it any more."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any


class StopTexts:
    """The texts at which an answer ends; none of them is part of it.

    Args:
        texts: The texts.

    Attributes:
        met: Whether the answer ended at one of them.
    """

    def __init__(self, texts: Sequence[str] = ()) -> None:
        self.met = False
        self._texts = list(texts)

    def __bool__(self) -> bool:
        return bool(self._texts)

    def cut(self, text: str) -> str:
        """Return the text up to the first stop text.

        >>> StopTexts([".", ","]).cut("a, b. c")
        'a'
        """
        found = [place for stop in self._texts if (place := text.find(stop)) >= 0]
        self.met = self.met or bool(found)
        return text[: min(found)] if found else text

    def hold_back(self, streamer: Any) -> None:
        """Let a streamer of transformers pass on no stop text, nor what may become one."""
        pass_on, held = streamer.on_finalized_text, ""

        def on_finalized_text(text: str, stream_end: bool = False) -> None:
            nonlocal held
            ready = ""
            if not self.met:
                held += text
                ready = self.cut(held)
                if len(ready) == len(held) and not stream_end:
                    ready = ready[: len(ready) - self._begun(held)]
                held = held[len(ready) :]
            if ready or stream_end:
                pass_on(ready, stream_end=stream_end)

        streamer.on_finalized_text = on_finalized_text

    def _begun(self, text: str) -> int:
        """Return how many characters at the end may be the beginning of a stop text.

        >>> StopTexts(["<end>", "en."])._begun("one <en")
        3
        """
        longest = max(map(len, self._texts)) - 1
        for length in range(min(longest, len(text)), 0, -1):
            if any(stop.startswith(text[-length:]) for stop in self._texts):
                return length
        return 0

    def criterion(self, tokenizer: Any, prompt: int) -> Any:
        """Return what ends a generation at a stop text after a prompt of that many tokens."""
        from transformers import StopStringCriteria

        class InTheAnswer(StopStringCriteria):  # type: ignore[misc,unused-ignore]
            """Ends a generation at a stop text.

            The criterion of `stop_strings` looks at the end of the prompt too: a text that begins
            there would end an answer that does not contain it.
            """

            def __call__(self, input_ids: Any, scores: Any, **rest: Any) -> Any:
                return super().__call__(input_ids[:, prompt:], scores, **rest)

        return InTheAnswer(tokenizer, self._texts)


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
