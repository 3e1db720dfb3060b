"""What Ollama does with each option: rules as data, and the conversions that they name.

Three parties read an option on its way, and the rules were read from each of them:

- Mellea's `OllamaModelBackend` (0.3.0 to 0.8.0) puts every plain name that it does not know into
  the `options` object of the request. At the raw endpoint it always sends `raw: true`, never
  streams, and has no tools and no messages.
- The SDK's client has parameters beside `options` that Mellea does not fill. `LIFTED` names
  them; the plugin's client takes them out of `options` again and puts them where they belong.
- Ollama's server logs a warning for a name in `options` that it does not know, and generates
  without it.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Any, Final

from mellea_api._contract.descriptor import Converted
from mellea_api._options.checks import shown
from mellea_api._options.mellea import STREAM_TIMEOUT
from mellea_api.plugin import Native, OptionRule

__all__ = ["LIFTED", "RULES", "base64_images", "keep_alive", "no_thinking"]

LIFTED: Final = frozenset({"images", "keep_alive", "logprobs", "top_logprobs"})
"""Parameters of the SDK's `chat` or `generate` that Mellea's backend is given as plain names, and
so puts into `options`. (From 0.7 on it lifts `logprobs` and `top_logprobs` itself, in chats.)"""

_SERVER: Final = "ollama/ollama v0.33.0-rc2 (2026-08-21), api/types.go"
_ROUTES: Final = "ollama/ollama v0.33.0-rc2 (2026-08-21), server/routes.go"
_SDK: Final = "ollama 0.6.3, AsyncClient.chat and AsyncClient.generate"
_MELLEA: Final = "mellea 0.3.0 to 0.8.0, backends/ollama.py"

_GO_DURATION: Final = re.compile(
    r"[+-]?(?:0|(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+)"
)


def no_thinking(value: bool | str) -> Converted:
    """Say `none` as Ollama says it.

    >>> no_thinking("none").value
    False
    """
    if value == "none":
        return Converted(False, reason="Ollama says false for none")
    return Converted(value)


def keep_alive(value: Any) -> Converted:
    """Let through what Ollama can read as a time: a number of seconds, or a Go duration.

    Raises:
        ValueError: If the value is neither; Ollama would answer with a 400.

    >>> keep_alive("1h30m").value
    '1h30m'
    """
    if isinstance(value, str) and _GO_DURATION.fullmatch(value):
        return Converted(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Converted(value)
    raise ValueError(
        f"must be a number of seconds, or a time such as '5m' or '1h30m', not {shown(value)}"
    )


def base64_images(value: list[str]) -> Converted:
    """Let through images in base64 only: of any other text the SDK makes a file to read.

    Raises:
        ValueError: If an image is not in base64.
    """
    for position, image in enumerate(value):
        try:
            base64.b64decode(image, validate=True)
        except (binascii.Error, ValueError):
            raise ValueError(
                f"[{position}] must be an image in base64, not {shown(image)}"
            ) from None
    return Converted(value)


def _option(name: str, native: str = "", **facts: Any) -> OptionRule:
    """Return the rule of an option that goes into `options`, at both endpoints."""
    place = Native(key=native or name, wire=f"options.{native or name}")
    return OptionRule(name=name, chat=place, completion=place, source=_SERVER, **facts)


def _not_in_chat(fate: str) -> str:
    return (
        f"Ollama's chat has no such field, and Mellea sends completions raw, where Ollama {fate} it"
    )


_RESERVED: Final = {
    "model": "the session's model is used; choose it with model_id=",
    "messages": "Mellea makes the messages from the context",
    "prompt": "Mellea makes the prompt from the action",
    "format": "Mellea sets it from the call's format=; give that a pydantic model",
    "raw": "Mellea always sets it at the raw endpoint, and the chat endpoint has none",
    "options": "give each option by its own name beside the others, not inside `options`",
}


def _reserved() -> Iterator[OptionRule]:
    for name, reason in _RESERVED.items():
        yield OptionRule(name=name, reserved=True, reason=reason, source=_SDK)


def _canonical() -> Iterator[OptionRule]:
    """Yield the rules of the common options, in the order of `canonical.CANONICAL`."""
    yield _option("temperature")
    # -1: until the model stops. -2 was "until the context is full"; servers of today take every
    # negative number for -1. 0 would be left out on the way and so mean -1: the range forbids it.
    yield _option("max_tokens", "num_predict", special=(-1, -2))
    yield _option("top_p")
    yield _option("stop")
    yield _option("top_k", special=(0, -1))  # not above 0: all tokens
    yield _option("min_p")
    # -1: another seed each time, and so is 2**32 - 1, which is the same to llama.cpp; it keeps the
    # lowest 32 bits of anything above (tried with its server).
    yield _option("seed", special=(-1,), maximum=2**32 - 2)
    yield _option("presence_penalty")
    yield _option("frequency_penalty")
    yield _option("repetition_penalty", "repeat_penalty")

    yield OptionRule(
        name="system_prompt",
        chat=Native(key="@@@system_prompt@@@", wire="messages"),
        convert="system_message",
        reason="sent as the first message",
        source=_MELLEA,
    )
    yield OptionRule(
        name="system_prompt",
        reason="Mellea sends completions raw, where Ollama refuses a system prompt; "
        "write it into the prompt",
        source=_ROUTES,
    )

    yield _option("context_window", "num_ctx")

    think = Native(key="@@@thinking@@@", wire="think")
    yield OptionRule(
        name="thinking",
        chat=think,
        completion=think,
        requires={"thinking": ("none",)},
        convert="mellea_api_ollama.options:no_thinking",
        source=_SERVER,
    )
    yield OptionRule(
        name="thinking",
        chat=think,
        completion=think,
        choices=(True, False, "none", "low", "medium", "high", "max"),
        source=f"{_SERVER}: ThinkValue",
    )

    stream = Native(key="@@@stream@@@", wire="stream")
    yield OptionRule(name="stream", chat=stream, source=_MELLEA)
    yield OptionRule(
        name="stream", completion=stream, requires={"stream": (False,)}, source=_MELLEA
    )
    yield OptionRule(
        name="stream", reason="Mellea waits for the whole of a raw completion", source=_MELLEA
    )
    yield from STREAM_TIMEOUT

    yield OptionRule(
        name="tools",
        chat=Native(key="@@@tools@@@", wire="tools"),
        convert="tools_as_json",
        reason="sent where the call says tool_calls=True; Mellea describes each tool in JSON",
        source=_MELLEA,
    )
    yield OptionRule(name="tools", reason="raw completions have no tools", source=_MELLEA)
    yield OptionRule(
        name="tool_choice",
        reason="Ollama has no such field: the model decides whether it calls a tool",
        source=_SERVER,
    )

    yield OptionRule(name="logprobs", chat="logprobs", completion="logprobs", source=_SDK)
    yield OptionRule(
        name="top_logprobs",
        chat="top_logprobs",
        completion="top_logprobs",
        requires={"logprobs": (True,)},
        source=_SDK,
    )
    yield OptionRule(
        name="top_logprobs", reason="Ollama gives them only with logprobs=True", source=_SERVER
    )


def _native() -> Iterator[OptionRule]:
    """Yield the rules of what Ollama alone has: how it samples, loads a model, and keeps it."""
    yield _option("typical_p", type="number", minimum=0, maximum=1)
    yield _option("repeat_last_n", type="integer", minimum=0, special=(-1,))  # -1: num_ctx
    yield _option("num_keep", type="integer", minimum=0, special=(-1,))  # -1: the whole prompt
    yield _option("num_batch", type="integer", minimum=1)
    yield _option("num_gpu", type="integer", minimum=0, special=(-1,))  # -1: as many as fit
    yield _option("main_gpu", type="integer", minimum=0)
    yield _option("num_thread", type="integer", minimum=0)  # 0: Ollama decides
    yield _option("use_mmap", type="boolean")
    yield _option("draft_num_predict", type="integer", minimum=0)  # since 0.30; 0: no draft
    yield OptionRule(
        name="keep_alive",
        chat="keep_alive",
        completion="keep_alive",
        convert="mellea_api_ollama.options:keep_alive",
        source=_SDK,
    )
    yield OptionRule(
        name="images",
        completion="images",
        type="texts",
        convert="mellea_api_ollama.options:base64_images",
        reason="[img-0], [img-1] and so on in the prompt say where they go",
        source=_ROUTES,
    )
    yield OptionRule(
        name="images",
        reason="in a chat, images are parts of the messages; give them with images= of the call",
        source=_MELLEA,
    )


_RETIRED: Final = {
    "embedding_only": "0.1.28",
    "numa": "0.3.4",
    "tfs_z": "0.5.2",
    "penalize_newline": "0.5.5",
    "f16_kv": "0.7.0",
    "logits_all": "0.7.0",
    "low_vram": "0.7.0",
    "mirostat": "0.7.0",
    "mirostat_eta": "0.7.0",
    "mirostat_tau": "0.7.0",
    "use_mlock": "0.7.0",
    "vocab_only": "0.7.0",
}
"""What the SDK still lists, and the release whose server knows it no longer."""

_UNSENT: Final = {
    "context": _not_in_chat("refuses"),
    "template": _not_in_chat("refuses"),
    "suffix": _not_in_chat("ignores"),
    "width": "it was for models that make images, which Ollama gave up in 0.32.6",
    "height": "it was for models that make images, which Ollama gave up in 0.32.6",
    "steps": "it was for models that make images, which Ollama gave up in 0.32.6",
    "truncate": "the ollama SDK cannot send it",
    "shift": "the ollama SDK cannot send it",
    "_debug_render_only": "the ollama SDK cannot send it",
    "@@@logits@@@": "Ollama returns no logits; logprobs=True returns log probabilities",
    "@@@raw_logits@@@": "Ollama returns no logits; logprobs=True returns log probabilities",
}


def _unsupported() -> Iterator[OptionRule]:
    for name, release in _RETIRED.items():
        reason = f"the SDK lists it, but Ollama {release} removed it: a server would ignore it"
        yield OptionRule(name=name, reason=reason, source=_SERVER)
    for name, reason in _UNSENT.items():
        yield OptionRule(name=name, reason=reason, source=_ROUTES)


RULES: Final[tuple[OptionRule, ...]] = (
    *_reserved(),  # first: a name here is never another spelling of something below
    *_canonical(),
    *_native(),
    *_unsupported(),
    OptionRule(
        name="*",
        chat=Native(key="", wire="options"),
        completion=Native(key="", wire="options"),
        reason="Mellea puts it into `options`; a server that does not know it ignores it",
        source=_MELLEA,
    ),
)
"""What becomes of every option; for one option and endpoint, the first rule that holds."""
