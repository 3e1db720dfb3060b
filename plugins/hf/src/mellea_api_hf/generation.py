"""One generation: the arguments of `generate()`, and the end of its text.

Mellea's backend makes the prompts, the formats and the answers. The call of `generate()` is ours,
since Mellea's differs by version: 0.3 and 0.6 give every option to both the chat template and
`generate()`, and pass no tokenizer (so that `stop_strings` raises) and no attention mask. All
versions seed the process's random numbers before it is the generation's turn, and leave the stop
text in the answer.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from mellea_api import ContextLengthError, RequestRefusedError, SessionRequest
from mellea_api.plugin import ErrorRequest
from mellea_api_hf.failures import translate_error
from mellea_api_hf.options import TEMPLATE
from mellea_api_hf.stopping import StopTexts, when_set
from mellea_api_hf.weights import Weights, randomness

SEED: Final = "@@@seed@@@"
_MAX_TOKENS: Final = "@@@max_new_tokens@@@"
_STOP: Final = "@@@stop_sequences@@@"
_THINKING: Final = "@@@thinking@@@"
_SCORES: Final = {"output_scores": "@@@logits@@@", "output_logits": "@@@raw_logits@@@"}

_MELLEAS: Final = frozenset(
    {
        "attention_mask",
        "input_ids",
        "inputs",
        "logits_processor",
        "past_key_values",
        "return_dict_in_generate",
        "stopping_criteria",
        "streamer",
        "use_cache",
        *_SCORES,
    }
)
"""The arguments of `generate()` that Mellea sets; all others come from the options."""

# transformers gives these to every template, whether it declares them or not.
_GIVEN_VARIABLES: Final = frozenset({"documents", "messages", "tools"})

current: Final[contextvars.ContextVar[Generation | None]] = contextvars.ContextVar(
    "mellea_api_hf_generation", default=None
)
"""The generation that is prepared, or runs, in this context."""


class Generation:
    """The options of one call, and how it ends.

    Args:
        options: The call's options as the rules rendered them.
        weights: The model's weights.
        request: The session's request.

    Attributes:
        weights: The model's weights.
        cancelled: Set when nobody waits for the answer any more.
        raw: Whether the prompt is sent without the chat template.
        stops: The texts at which the answer ends.

    Raises:
        OptionError: If the chat template lacks a variable, under the policy `error`.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        weights: Weights,
        request: SessionRequest,
    ) -> None:
        self.cancelled = threading.Event()
        self.raw = False
        self.stops = StopTexts(options.get(_STOP) or ())
        self._seed: int | None = options.get(SEED)
        self._options = options
        self.weights = weights
        self._request = request
        self._arguments = {
            name: value
            for name, value in options.items()
            if not name.startswith("@@@") and name != TEMPLATE
        }
        if _MAX_TOKENS in options:
            self._arguments["max_new_tokens"] = options[_MAX_TOKENS]

    @contextlib.contextmanager
    def going_on(self) -> Iterator[None]:
        """Make it the current generation; tasks and threads that start inside inherit it."""
        token = current.set(self)
        try:
            yield
        finally:
            current.reset(token)

    def template(self) -> dict[str, Any]:
        """Return the variables for the chat template.

        Raises:
            OptionError: If it lacks one of them, under the policy `error`.
        """
        given = dict(self._options.get(TEMPLATE) or {})
        thinking = self._options.get(_THINKING)
        if not given and thinking is None:
            return given
        declared = _template_variables(getattr(self.weights.tokenizer, "chat_template", None))
        missing = [name for name in given if name not in declared | _GIVEN_VARIABLES]
        if thinking is not None:
            places = _thinking_variables(thinking, declared)
            given = {**places, **given}
            # A model that cannot think needs no switch to be told not to.
            if not places and (thinking not in (False, "none") or _EFFORT in declared):
                missing.append("thinking")
        if missing:
            self._request.unsupported(
                missing,
                "is not a variable of its chat template; leave it out, or use a model whose "
                "template has it",
            )
        return given

    def run(self, generate: Callable[..., Any], given: Mapping[str, Any], inputs: Any) -> Any:
        """Call `generate()`.

        Args:
            generate: The model's.
            given: What Mellea would call it with.
            inputs: The prompt's tokens, if Mellea gives them by position.

        Returns:
            Its result, in the class that Mellea reads.
        """
        streamer = given.get("streamer")
        try:
            arguments = self._prepared(given, inputs)
            if streamer is not None and self.stops:
                self.stops.hold_back(streamer)
            with randomness(self._seed, self.weights.device):
                return _readable(generate(**arguments))
        except BaseException as error:
            # The reader of the stream would wait forever; the error comes after its end.
            if streamer is not None:
                streamer.end()
            # Translated here: further out, Mellea 0.3 takes the answer for complete.
            target = self._request.target
            typed = translate_error(ErrorRequest(target=target, operation="call", error=error))
            if typed is None:
                raise
            raise typed from error

    def _prepared(self, given: Mapping[str, Any], inputs: Any) -> dict[str, Any]:
        import torch
        from transformers import StoppingCriteriaList

        arguments = {name: value for name, value in given.items() if name in _MELLEAS}
        for name, option in _SCORES.items():
            # 0.3 and 0.6 keep the scores of the whole vocabulary, and do not read them.
            if not self._options.get(option):
                arguments.pop(name, None)
        if inputs is not None:
            arguments["inputs"] = inputs
        tokens: Any = arguments.get("inputs", arguments.get("input_ids"))
        arguments.setdefault("attention_mask", torch.ones_like(tokens))
        tokenizer = self.weights.tokenizer
        arguments.setdefault("pad_token_id", tokenizer.pad_token_id)
        arguments.update(self._arguments)
        prompt = int(tokens.shape[-1])
        criteria = [*(arguments.get("stopping_criteria") or ()), when_set(self.cancelled)]
        if self.stops:
            criteria.append(self.stops.criterion(tokenizer, prompt))
        arguments["stopping_criteria"] = StoppingCriteriaList(criteria)
        self._limit(arguments, prompt)
        return arguments

    def _limit(self, arguments: dict[str, Any], prompt: int) -> None:
        """Check that the prompt fits, and let the answer be as long as the model can make it."""
        if prompt == 0:  # transformers would raise something obscure
            raise RequestRefusedError(
                "The prompt is empty: it has no token.",
                next_step="Give one; if you did, the model's chat template writes nothing: use a "
                "model that was made for conversations.",
            )
        context = self.weights.context_length
        if context is None:
            return
        if prompt >= context:
            raise ContextLengthError(f"it has {prompt} tokens, and the model sees {context}")
        own = self.weights.model.generation_config
        # Without any limit, transformers stops after 20 tokens.
        unlimited = own.max_new_tokens is None and own.max_length in (None, 20)
        if "max_new_tokens" not in arguments and unlimited:
            arguments["max_new_tokens"] = context - prompt


def _readable(result: Any) -> Any:
    """Return the result of a beam search in the class that every version of Mellea reads."""
    from transformers.generation.utils import GenerateDecoderOnlyOutput

    if isinstance(result, GenerateDecoderOnlyOutput):
        return result
    return GenerateDecoderOnlyOutput(
        sequences=result.sequences, past_key_values=result.past_key_values
    )


# ------------------------------------------------------------------------ the chat template

_THINKING_VARIABLES: Final = ("think", "thinking", "enable_thinking")
_EFFORT: Final = "reasoning_effort"
_LEVELS: Final = ("low", "medium", "high")
"""What gpt-oss knows, whose template has no switch, and writes any word into the prompt."""


@functools.lru_cache(maxsize=64)
def _template_variables(template: Any) -> frozenset[str]:
    """Return the names that a chat template takes from outside.

    Args:
        template: Its text; anything else has no variables.
    """
    if not isinstance(template, str) or not template:
        return frozenset()
    import jinja2
    import jinja2.meta

    environment = jinja2.Environment(extensions=["jinja2.ext.loopcontrols"], autoescape=True)
    try:
        return frozenset(jinja2.meta.find_undeclared_variables(environment.parse(template)))
    except jinja2.TemplateSyntaxError:
        return frozenset()


def _thinking_variables(value: bool | str, declared: frozenset[str]) -> dict[str, Any]:
    """Return the variables that tell a chat template whether, and how hard, to think.

    >>> _thinking_variables("low", frozenset({"enable_thinking"}))
    {'enable_thinking': True}
    >>> _thinking_variables("low", frozenset({"enable_thinking", "reasoning_effort"}))
    {'enable_thinking': True, 'reasoning_effort': 'low'}
    """
    found: dict[str, Any] = {}
    switch = next((name for name in _THINKING_VARIABLES if name in declared), None)
    if switch is not None:
        found[switch] = value not in (False, "none")
    if _EFFORT in declared:
        if value in _LEVELS or (switch and isinstance(value, str)):
            found[_EFFORT] = value
        elif value is True and not switch:
            found[_EFFORT] = "medium"
    return found
