"""What Ollama does with each option: rules as data, and their conversions.

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
from typing import Any, Final

from mellea_api.plugin import MELLEA_RULES, Converted, OptionRule

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
        f"must be a number of seconds, or a time such as '5m' or '1h30m', not {value!r:.60}"
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
                f"[{position}] must be an image in base64, not {image!r:.60}"
            ) from None
    return Converted(value)


_RESERVED: Final = {
    "model": "the session's model is used; choose it with model_id=",
    "messages": "Mellea makes the messages from the context",
    "prompt": "Mellea makes the prompt from the action",
    "format": "Mellea sets it from the call's format=; give that a pydantic model",
    "raw": "Mellea always sets it at the raw endpoint, and the chat endpoint has none",
    "options": "give each option by its own name beside the others, not inside `options`",
}


def _in_options(names: str, **facts: Any) -> tuple[OptionRule, ...]:
    """Return the rules of options that go into `options`, at both endpoints."""
    return OptionRule.sent(names, wire="options.{}", **{"source": _SERVER, **facts})


_COMMON: Final = (
    *_in_options("temperature top_p stop min_p presence_penalty frequency_penalty"),
    *_in_options("repetition_penalty=repeat_penalty context_window=num_ctx"),
    # -1: until the model stops. -2 was "until the context is full"; servers of today take every
    # negative number for -1. 0 would be left out on the way and so mean -1: the range forbids it.
    *_in_options("max_tokens=num_predict", special=(-1, -2)),
    *_in_options("top_k", special=(0, -1)),  # not above 0: all tokens
    # -1: another seed each time, and so is 2**32 - 1, which is the same to llama.cpp; it keeps the
    # lowest 32 bits of anything above (tried with its server).
    *_in_options("seed", special=(-1,), maximum=2**32 - 2),
    *OptionRule.levels(
        "low medium high",
        chat=("@@@thinking@@@", "think"),
        models="*gpt-oss*",
        source="ollama/ollama#11751 and BerriAI/litellm#34574: gpt-oss cannot stop thinking",
    ),
    *OptionRule.sent(
        "thinking",
        key="@@@thinking@@@",
        wire="think",
        requires={"thinking": ("none",)},
        convert=no_thinking,
        source=_SERVER,
    ),
    *OptionRule.sent(
        "thinking",
        key="@@@thinking@@@",
        wire="think",
        choices=(True, False, "none", "low", "medium", "high", "max"),
        source=f"{_SERVER}: ThinkValue",
    ),
    # Other than Mellea's other backends, the one for Ollama says that it does not stream.
    OptionRule(name="stream", chat=("@@@stream@@@", "stream"), source=_MELLEA),
    OptionRule(
        name="stream",
        completion=("@@@stream@@@", "stream"),
        requires={"stream": (False,)},
        source=_MELLEA,
    ),
    *OptionRule.refused("stream", "Mellea waits for the whole of a raw completion", source=_MELLEA),
    *MELLEA_RULES,
    *OptionRule.refused(
        "tool_choice",
        "Ollama has no such field: the model decides whether it calls a tool",
        source=_SERVER,
    ),
    *OptionRule.sent("logprobs", source=_SDK),
    *OptionRule.sent("top_logprobs", requires={"logprobs": (True,)}, source=_SDK),
    *OptionRule.refused(
        "top_logprobs", "Ollama gives them only with logprobs=True", source=_SERVER
    ),
)

# What Ollama alone has: how it samples, loads a model, and keeps it.
_NATIVE: Final = (
    *_in_options("typical_p", type="number", minimum=0, maximum=1),
    # -1 is num_ctx, the whole prompt, and as many layers as fit.
    *_in_options("repeat_last_n num_keep num_gpu", type="integer", minimum=0, special=(-1,)),
    *_in_options("num_batch", type="integer", minimum=1),
    # 0 threads: Ollama decides. draft_num_predict is there since 0.30; 0: no draft.
    *_in_options("main_gpu num_thread draft_num_predict", type="integer", minimum=0),
    *_in_options("use_mmap", type="boolean"),
    *OptionRule.sent("keep_alive", convert=keep_alive, source=_SDK),
    *OptionRule.sent(
        "images",
        endpoint="completion",
        type="texts",
        convert=base64_images,
        reason="[img-0], [img-1] and so on in the prompt say where they go",
        source=_ROUTES,
    ),
    *OptionRule.refused(
        "images",
        "in a chat, images are parts of the messages; give them with images= of the call",
        source=_MELLEA,
    ),
)

_RETIRED: Final = {
    "0.1.28": "embedding_only",
    "0.3.4": "numa",
    "0.5.2": "tfs_z",
    "0.5.5": "penalize_newline",
    "0.7.0": "f16_kv logits_all low_vram mirostat mirostat_eta mirostat_tau use_mlock vocab_only",
}
"""What the SDK still lists, by the release whose server knows it no longer."""

_RAW: Final = "Ollama's chat has no such field, and Mellea sends completions raw, where Ollama"
_UNSENT: Final = {
    f"{_RAW} refuses it": "context template",
    f"{_RAW} ignores it": "suffix",
    "it was for models that make images, which Ollama gave up in 0.32.6": "width height steps",
    "the ollama SDK cannot send it": "truncate shift _debug_render_only",
    "Ollama returns no logits; logprobs=True returns log probabilities": "@@@logits@@@ "
    "@@@raw_logits@@@",
}


RULES: Final[tuple[OptionRule, ...]] = (
    # First: a name here is never another spelling of something below.
    *(
        OptionRule(name=name, reserved=True, reason=reason, source=_SDK)
        for name, reason in _RESERVED.items()
    ),
    *_COMMON,
    *_NATIVE,
    *(
        rule
        for release, names in _RETIRED.items()
        for rule in OptionRule.refused(
            names,
            f"the SDK lists it, but Ollama {release} removed it: a server would ignore it",
            source=_SERVER,
        )
    ),
    *(
        rule
        for reason, names in _UNSENT.items()
        for rule in OptionRule.refused(names, reason, source=_ROUTES)
    ),
    *OptionRule.sent(
        "*",
        key="",
        wire="options",
        reason="Mellea puts it into `options`; a server that does not know it ignores it",
        source=_MELLEA,
    ),
)
"""What becomes of every option; for one option and endpoint, the first rule that holds."""
