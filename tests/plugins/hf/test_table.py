"""The table of options for hf, line by line: what the real `generate()` receives, and what its answer is then.

Nothing goes over a wire. Each line is held to the arguments of the real call, and an option that is taken must change
the answer, all but those in `UNSEEN`, of which no effect can be seen in the text of one short answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from generator.backends import rules_of
from generator.rules import fate
from support.table import Case, Column, Seen, ask, prove

import mellea_api
from mellea_api import stream_chat

pytest.importorskip("mellea_api_hf", reason="mellea-api-hf is not installed")

from mellea_api_hf.options import SAMPLING

pytestmark = [
    pytest.mark.usefixtures("transformers_here"),
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::UserWarning:transformers"),
    pytest.mark.filterwarnings("ignore::FutureWarning:transformers"),
]

LENGTH = 16
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if tools %}{{ tools | tojson }}{% endif %}"
    "{% if documents %}{{ documents | tojson }}{% endif %}"
    "{% if guardian_config is defined %}{{ guardian_config | tojson }}{% endif %}"
    "{% if other is defined %}{{ other }}{% endif %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    "{% if enable_thinking is defined and enable_thinking %}<think>\n{% endif %}"
)
"""A chat template with every variable that an option can be."""

MANY = list(range(300, 900))
SAMPLES: dict[str, Any] = {
    "bad_words_ids": [[token] for token in MANY],
    "begin_suppress_tokens": MANY,
    "bos_token_id": 5,
    "cache_config": {},
    "cache_implementation": "dynamic",
    "chat_template_kwargs": {"other": 1},
    "documents": [{"doc_id": "1", "text": "Two and two are four."}],
    "encoder_repetition_penalty": 3.0,
    "epsilon_cutoff": 0.001,
    "eos_token_id": [300, 301, 302, *range(400, 700)],
    "exponential_decay_length_penalty": [2, 3.0],
    "forced_bos_token_id": 300,
    "forced_eos_token_id": 2,
    "guardian_config": {"risk": "harm"},
    "guidance_scale": 3.0,
    "length_penalty": 5.0,
    "max_time": 1e-9,
    "num_beams": 3,
    "pad_token_id": 5,
    "repetition_penalty": 0.05,
    "sequence_bias": [[[300], 50.0]],
    "stop": ["e", "a"],
    "suppress_tokens": MANY,
    "use_cache": False,
}
SEEDED = {"seed": 5}
BESIDE: dict[str, dict[str, Any]] = {
    **dict.fromkeys((*SAMPLING, "do_sample"), SEEDED),
    "seed": {"temperature": 1.5},
    "length_penalty": {"num_beams": 5, "eos_token_id": list(range(300, 400))},
    "early_stopping": {"num_beams": 3},
    "max_matching_ngram_size": {"prompt_lookup_num_tokens": 3},
    "min_new_tokens": {"eos_token_id": list(range(400, 700))},
}
_SPEED = "it says how the answer is computed, not which it is"
_REPEATS = "nothing is repeated in so short an answer"
UNSEEN = {
    "num_return_sequences": "the only value that is taken is what happens anyway",
    "pad_token_id": "one prompt alone is not padded",
    "bos_token_id": "the prompt has its first token",
    "forced_bos_token_id": "it is forced where the prompt is one token long",
    "early_stopping": "the beams of so short an answer end alike",
    "no_repeat_ngram_size": _REPEATS,
    "encoder_no_repeat_ngram_size": _REPEATS,
    "renormalize_logits": "only a search over beams with changed scores differs",
    "remove_invalid_values": "the model has no invalid values",
    "temperature-0": "the model is greedy by itself; test_effects.py has one that is not",
    "do_sample-0": "temperature=0 says so already",
    "do_sample-2": "what shapes sampling says so already",
    "num_beams-1": "the only value that can be streamed is what happens anyway",
    **dict.fromkeys(
        (
            *("prompt_lookup_num_tokens", "max_matching_ngram_size", "prefill_chunk_size"),
            *("use_cache", "disable_compile", "cache_implementation", "cache_config"),
            "max_cache_len",
        ),
        _SPEED,
    ),
}


COLUMN = Column(
    name="hf",
    rules=rules_of("hf"),
    models=["tiny"],
    samples=SAMPLES,
    beside=BESIDE,
    agreeing=["do_sample"],
)


class Generating:
    """A session, and what the model and the tokenizer received in its last call."""

    def __init__(self, folder: Path) -> None:
        self.session = mellea_api.start_session(
            "hf", str(folder), unsupported="drop", model_options={"max_tokens": LENGTH}
        )
        self.received: dict[str, Any] = {}
        self.text = ""
        model, tokenizer = self.session.backend._model, self.session.backend._tokenizer
        self.model, self.tokenizer = model, tokenizer
        self._generate, self._apply = model.generate, tokenizer.apply_chat_template
        model.generate, tokenizer.apply_chat_template = self.generate, self.apply

    def close(self) -> None:
        """The model may be another's as well."""
        del self.model.generate, self.tokenizer.apply_chat_template

    def generate(self, *args: Any, **arguments: Any) -> Any:
        import torch

        for name, value in arguments.items():
            try:
                json.dumps(value)
            except TypeError:
                continue
            self.received[name] = value
        for criterion in arguments.get("stopping_criteria") or ():
            if hasattr(criterion, "stop_strings"):
                self.received["stop_strings"] = list(criterion.stop_strings)
        self.received["seed"] = torch.initial_seed()
        found = self._generate(*args, **arguments)
        tokens = arguments.get("input_ids", arguments.get("inputs", args[0] if args else None))
        self.text = self.tokenizer.decode(found.sequences[0, tokens.shape[1] :])
        return found

    def apply(self, conversation: Any, *args: Any, **variables: Any) -> Any:
        usual = ("add_generation_prompt", "return_tensors", "return_dict", "tokenize")
        given = {
            name: value
            for name, value in variables.items()
            if name not in usual and value is not None and value != []
        }
        self.received["messages"] = [dict(message) for message in conversation]
        if "tools" in given:
            self.received["tools"] = given.pop("tools")
        self.received["chat_template_kwargs"] = given
        return self._apply(conversation, *args, **variables)

    def send(
        self, session: Any, endpoint: str, options: Mapping[str, Any], tools: bool
    ) -> dict[str, Any]:
        self.received = {}
        ask(session, endpoint, options, tools=tools)
        return self.received


@pytest.fixture(scope="module")
def generating(build: Callable[..., Path]) -> Iterator[Generating]:
    found = Generating(build(template=TEMPLATE))
    yield found
    found.close()


def piecewise(session: Any, found: Case, seen: Seen) -> None:
    pieces = list(stream_chat(session, "Hi", model_options={"temperature": 0}))
    assert len(pieces) > 2


def impatient(session: Any, found: Case, seen: Seen) -> None:
    import time

    assert seen.body == seen.plain
    handle = session.backend._model.register_forward_hook(lambda *_: time.sleep(0.3))
    try:
        with pytest.raises(mellea_api.MelleaAPIError) as late:
            list(stream_chat(session, "Hi", model_options={"stream_timeout": 0.05}))
    finally:
        handle.remove()
    assert isinstance(late.value, TimeoutError)


def scored(session: Any, found: Case, seen: Seen) -> None:
    ((path, value),) = seen.changed.items()
    assert (path, value) in [(("output_scores",), True), (("output_logits",), True)]


EFFECTS = {
    "stream": piecewise,
    "stream_timeout": impatient,
    "@@@logits@@@": scored,
    "@@@raw_logits@@@": scored,
}


def lacking() -> list[str]:
    """What the table says that only transformers 5 has, where an older one is installed."""
    import transformers

    config = transformers.GenerationConfig()
    return [name for name in ("top_h", "max_cache_len") if not hasattr(config, name)]


@pytest.mark.parametrize("line", COLUMN.lines())
def test_a_line_of_the_table_is_what_generate_receives_and_shows_in_the_answer(
    line: Any, generating: Generating
) -> None:
    texts: list[str] = []

    def send(session: Any, endpoint: str, options: Mapping[str, Any], tools: bool) -> Any:
        found = generating.send(session, endpoint, options, tools)
        texts.append(generating.text)
        return found

    taken, place = False, ""
    if line.rule is not None:
        does, place = fate(line.rule, line.endpoint)
        taken = does not in ("not supported", "converted to nothing")
    if taken and line.option in lacking():
        with pytest.raises(mellea_api.RequestRefusedError, match=line.option):
            prove(COLUMN, line, lambda target: generating.session, send, EFFECTS)
        return
    prove(COLUMN, line, lambda target: generating.session, send, EFFECTS)
    if line.rule is None or line.rule.reserved or line.option == "seed":
        return
    plain, text = texts
    taken = taken and bool(place)
    if not taken or {line.option, f"{line.option}-{len(line.earlier)}"} & UNSEEN.keys():
        assert text == plain
    else:
        assert text != plain, "no effect is seen: say why not, in UNSEEN"
