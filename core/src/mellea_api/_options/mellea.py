"""Rules that follow from Mellea alone, to be put among those of a plugin for a backend of its own.

They hold whichever provider is behind it, as far as Mellea's backends for OpenAI, watsonx.ai,
Hugging Face and LiteLLM go; Ollama's tells the server that it does not stream.
"""

from __future__ import annotations

from typing import Final

from mellea_api._contract.descriptor import Native, OptionRule

_BACKENDS: Final = "mellea 0.3.0 to 0.8.0, backends/{openai,watsonx,huggingface,litellm}.py"
_STREAM_TIMEOUT: Final = "mellea 0.7.0, backends/model_options.py"

RAW_STREAM: Final = (
    OptionRule(
        name="stream",
        completion="stream",
        convert="unsaid",
        requires={"stream": (False,)},
        reason="Mellea never streams from the raw endpoint; nothing is sent",
        source=_BACKENDS,
    ),
    OptionRule(
        name="stream", reason="Mellea cannot stream from the raw endpoint", source=_BACKENDS
    ),
)
"""Streaming at the raw endpoint. The rule of the chat endpoint must stand before these."""

STREAM_TIMEOUT: Final = (
    OptionRule(
        name="stream_timeout",
        chat=Native(key="@@@stream_timeout@@@", wire=""),
        mellea="0.7",
        reason="a limit that Mellea itself keeps; nothing is sent",
        source=_STREAM_TIMEOUT,
    ),
    OptionRule(
        name="stream_timeout",
        reason="a streamed chat with Mellea 0.7 or newer has it",
        source=_STREAM_TIMEOUT,
    ),
)
"""How long a streamed chat may say nothing."""

ONE_ANSWER: Final = OptionRule(
    name="n",
    chat="n",
    completion="n",
    type="integer",
    choices=(1,),
    convert="unsaid",
    reason="one answer is what is given anyway; nothing is sent",
    source=_BACKENDS,
)
"""How many answers: Mellea reads one, and its own strategies say `n=1`."""
