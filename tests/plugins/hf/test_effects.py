"""Every option, by its effect: a real `generate()` of a tiny model, through Mellea, against transformers alone."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mellea_api
from mellea_api import stream_chat

pytestmark = [
    pytest.mark.usefixtures("transformers_here"),
    pytest.mark.slow,
    # transformers speaks of its own ways: flags that the model's configuration sets beside ours.
    pytest.mark.filterwarnings("ignore::UserWarning:transformers"),
    pytest.mark.filterwarnings("ignore::FutureWarning:transformers"),
]

PROMPT = "Say something about models."
LENGTH = 24


@pytest.fixture(scope="module")
def session(held: Any, tiny: Path) -> Any:
    return mellea_api.start_session("hf", str(tiny), model_options={"max_tokens": LENGTH})


@pytest.fixture(scope="module")
def chat(session: Any) -> Callable[..., str]:
    def chat(**options: Any) -> str:
        return str(session.chat(PROMPT, model_options=options).content)

    return chat


@pytest.fixture(scope="module")
def greedy(chat: Callable[..., str]) -> str:
    return chat(temperature=0)


def raw(session: Any, *prompts: str, **options: Any) -> list[str]:
    """Answers of the raw endpoint, on every line of Mellea."""
    from mellea.core import CBlock

    backend = session.backend
    generate = getattr(backend, "_generate_from_raw", None) or backend.generate_from_raw

    async def ask() -> Any:
        return await generate(
            [CBlock(prompt) for prompt in prompts], session.ctx, model_options=options
        )

    found = asyncio.run(ask())
    return [str(thunk.value) for thunk in (found[0] if isinstance(found, tuple) else found)]


# ------------------------------------------------------------------------------ the common ones


def test_max_tokens_ends_the_answer_where_it_says(
    chat: Callable[..., str], reference: Any, session: Any
) -> None:
    for length in (1, 5, LENGTH):
        text = reference(PROMPT, max_new_tokens=length, do_sample=False)
        assert chat(max_tokens=length, temperature=0) == text
    text = reference(PROMPT, max_new_tokens=5, do_sample=False, raw=True)
    assert raw(session, PROMPT, max_tokens=5, temperature=0) == [text]


def test_without_a_limit_the_model_ends_the_answer_and_not_a_default_of_20_tokens(
    build: Callable[..., Path],
) -> None:
    short = build(context_length=128)
    session = mellea_api.start_session("hf", str(short))
    tokenizer = session.backend._tokenizer
    # The end token banned, so that only the context ends it.
    answer = session.chat(
        "Hi", model_options={"temperature": 0, "suppress_tokens": [tokenizer.eos_token_id]}
    )
    assert len(tokenizer(str(answer.content))["input_ids"]) > 60


def test_temperature_zero_is_greedy_also_where_the_model_samples_by_itself(
    build: Callable[..., Path], greedy: str
) -> None:
    session = mellea_api.start_session(
        "hf", str(build(sampling=True)), model_options={"max_tokens": LENGTH}
    )
    assert {str(session.chat(PROMPT, model_options={"temperature": 0}).content)} == {greedy}
    assert len({str(session.chat(PROMPT).content) for _ in range(4)}) > 1


def test_temperature_turns_sampling_on_and_shapes_it(
    chat: Callable[..., str], reference: Any, greedy: str
) -> None:
    for temperature in (0.3, 1.0, 1.7):
        text = reference(
            PROMPT, seed=5, max_new_tokens=LENGTH, do_sample=True, temperature=temperature
        )
        assert chat(temperature=temperature, seed=5) == text
    first = {
        temperature: Counter(
            chat(temperature=temperature, max_tokens=1, seed=seed, top_k=0) for seed in range(40)
        )
        for temperature in (0.1, 2.0)
    }
    assert len(first[0.1]) < len(first[2.0])
    assert chat(temperature=0.001, seed=1) == greedy


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ({"top_p": 0.5}, {"top_p": 0.5}),
        ({"top_k": 3}, {"top_k": 3}),
        ({"top_k": 0}, {"top_k": 0}),
        ({"min_p": 0.4}, {"min_p": 0.4}),
        ({"top_p": 0.8, "top_k": 40, "min_p": 0.01}, {"top_p": 0.8, "top_k": 40, "min_p": 0.01}),
    ],
)
def test_what_shapes_sampling_turns_it_on(
    chat: Callable[..., str], reference: Any, options: Any, arguments: Any, greedy: str
) -> None:
    answers = [chat(**options, seed=seed) for seed in range(3)]
    expected = [
        reference(PROMPT, seed=seed, max_new_tokens=LENGTH, do_sample=True, **arguments)
        for seed in range(3)
    ]
    assert answers == expected
    assert set(answers) != {greedy}


@pytest.mark.parametrize("options", [{"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1.0}])
def test_the_narrowest_sampling_is_greedy(
    chat: Callable[..., str], greedy: str, options: Any
) -> None:
    assert chat(**options, temperature=2.0, seed=3) == greedy


def test_a_seed_gives_the_same_answer_and_leaves_the_programs_random_numbers_alone(
    chat: Callable[..., str], session: Any
) -> None:
    import torch

    torch.manual_seed(99)
    expected = torch.rand(3).tolist()
    torch.manual_seed(99)
    one, other = (chat(temperature=1.5, seed=seed) for seed in (7, 8))
    assert torch.rand(3).tolist() == expected
    assert chat(temperature=1.5, seed=7) == one != other
    assert len({chat(temperature=1.5) for _ in range(4)}) > 1
    texts = [raw(session, "One", "Two", temperature=1.5, seed=3, max_tokens=8) for _ in range(2)]
    assert texts[0] == texts[1]


def test_a_seed_alone_does_not_turn_sampling_on(chat: Callable[..., str], greedy: str) -> None:
    assert chat(seed=7) == greedy


def test_repetition_penalty_takes_the_repeating_out(
    chat: Callable[..., str], reference: Any, greedy: str
) -> None:
    text = chat(temperature=0, repetition_penalty=1.9)
    assert text != greedy
    assert text == reference(PROMPT, max_new_tokens=LENGTH, do_sample=False, repetition_penalty=1.9)


@pytest.mark.parametrize("length", [1, 2, 3, 7])
def test_stop_ends_the_answer_before_its_text(
    chat: Callable[..., str], session: Any, greedy: str, length: int
) -> None:
    stop = greedy[9 : 9 + length]
    wanted = greedy[: greedy.index(stop)]
    options = {"temperature": 0, "stop": stop}
    assert chat(**options) == wanted
    assert chat(temperature=0, stop=["does not occur", stop]) == wanted
    assert "".join(stream_chat(session, PROMPT, model_options=options)) == wanted


def test_a_stop_text_that_begins_in_the_prompt_ends_nothing(
    chat: Callable[..., str], session: Any, greedy: str
) -> None:
    """`stop_strings` of transformers matches across the end of the prompt."""
    stop = ["\n" + greedy[:2], "assistant\n" + greedy[:2]]
    assert not any(text in greedy for text in stop)
    assert chat(temperature=0, stop=stop) == greedy
    (whole,) = raw(session, PROMPT, temperature=0, max_tokens=LENGTH)
    stop = [PROMPT[-length:] + whole[:2] for length in (2, 5)]
    assert not any(text in whole for text in stop)
    assert raw(session, PROMPT, temperature=0, max_tokens=LENGTH, stop=stop) == [whole]


def test_stop_ends_the_generation_and_not_only_its_text(session: Any, greedy: str) -> None:
    limit = 1500
    tokenizer, calls = session.backend._tokenizer, []
    model = session.backend._model
    handle = model.register_forward_hook(lambda *_: calls.append(1))
    try:
        session.chat(
            PROMPT,
            model_options={
                "temperature": 0,
                "max_tokens": limit,
                "stop": greedy[9:12],
                "suppress_tokens": [tokenizer.eos_token_id],
            },
        )
    finally:
        handle.remove()
    assert 0 < len(calls) < LENGTH


def test_stop_works_at_the_raw_endpoint(session: Any) -> None:
    (whole,) = raw(session, PROMPT, temperature=0, max_tokens=LENGTH)
    stop = whole[7:10]
    found = raw(session, PROMPT, PROMPT, temperature=0, max_tokens=LENGTH, stop=[stop])
    assert found == [whole[: whole.index(stop)]] * 2


def test_stop_is_said_to_be_the_reason_where_mellea_says_one(session: Any, greedy: str) -> None:
    answer = session.instruct(PROMPT, model_options={"temperature": 0, "stop": greedy[9:10]})
    generation = getattr(answer, "generation", None)
    if not hasattr(generation, "finish_reasons"):
        pytest.skip("this Mellea has no finish_reasons")
    assert generation.finish_reasons == ["stop"]


def test_a_prompt_of_several_lengths_is_padded_on_the_left_also_without_a_pad_token(
    build: Callable[..., Path],
) -> None:
    session = mellea_api.start_session("hf", str(build(pad_token=False)))
    options = {"temperature": 0, "max_tokens": 8}
    prompts = ["Hi", "A prompt that is quite a bit longer than the other one"]
    together = raw(session, *prompts, **options)
    assert together == [raw(session, prompt, **options)[0] for prompt in prompts]


def test_system_prompt_is_the_first_message(
    chat: Callable[..., str], greedy: str, reference: Any
) -> None:
    text = chat(temperature=0, system_prompt="Be brief.")
    assert text != greedy
    assert chat(temperature=0, system_prompt="") == greedy


def test_streamed_text_is_the_text(session: Any, greedy: str) -> None:
    pieces = list(stream_chat(session, PROMPT, model_options={"temperature": 0}))
    assert len(pieces) > 2
    assert "".join(pieces) == greedy


@pytest.mark.parametrize(
    ("thinking", "written"),
    [(True, "<think>"), ("low", "low "), (False, ""), ("none", "none "), (None, "")],
)
def test_thinking_is_said_to_the_chat_template(
    build: Callable[..., Path], reference: Any, thinking: Any, written: str
) -> None:
    from support.tiny_transformers import THINKING

    session = mellea_api.start_session("hf", str(build(template=THINKING)))
    seen: list[str] = []
    model, tokenizer = session.backend._model, session.backend._tokenizer

    def look(_: Any, args: Any, kwargs: Any) -> None:
        seen.append(tokenizer.decode(kwargs["input_ids"][0]))

    handle = model.register_forward_pre_hook(look, with_kwargs=True)
    try:
        session.chat("Hi", model_options={"thinking": thinking, "max_tokens": 2})
    finally:
        handle.remove()
    prompt = seen[0].partition("<|im_start|>assistant\n")[2]
    assert ("<think>" in prompt) == (thinking in (True, "low"))
    assert written in prompt
    assert bool(prompt) == bool(written)


@pytest.mark.parametrize(
    ("thinking", "written"),
    [(True, "medium"), ("low", "low"), ("high", "high"), (False, ""), ("none", ""), ("xhigh", "")],
)
def test_a_template_that_knows_levels_alone_is_told_one_or_the_caller_that_it_is_not(
    build: Callable[..., Path], thinking: Any, written: str
) -> None:
    template = "{{ messages[0].content }}{{ reasoning_effort }}"
    session = mellea_api.start_session("hf", str(build(template=template)), unsupported="error")
    options = {"thinking": thinking, "max_tokens": 2}
    if not written:
        with pytest.raises(mellea_api.OptionError, match="thinking is not a variable"):
            session.chat("Hi", model_options=options)
        return
    seen: list[str] = []
    model, tokenizer = session.backend._model, session.backend._tokenizer
    handle = model.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(tokenizer.decode(kwargs["input_ids"][0])),
        with_kwargs=True,
    )
    try:
        session.chat("Hi", model_options=options)
    finally:
        handle.remove()
    assert seen[0] == f"Hi{written}"


def chat_of(session: Any, options: dict[str, Any]) -> str:
    return str(session.chat("Hi", model_options=options).content)


def streamed_of(session: Any, options: dict[str, Any]) -> str:
    return "".join(stream_chat(session, "Hi", model_options=options))


REFUSING = """{% for m in messages %}
{% if m['role'] == 'system' %}{{ raise_exception('no system role here') }}{% endif %}
{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('no turns') }}{% endif %}
{{ m['role'] }}: {{ m['content'] }}{% endfor %} assistant: """


@pytest.mark.parametrize(
    ("template", "options", "words"),
    [
        (REFUSING, {"system_prompt": "Be brief."}, "no system role here"),
        ("{{ messages[0].content.nothing.at_all }}", {}, "nothing"),
    ],
)
@pytest.mark.parametrize("way", [chat_of, streamed_of])
def test_a_template_that_refuses_is_an_error_with_its_words(
    build: Callable[..., Path],
    template: str,
    options: dict[str, Any],
    words: str,
    way: Callable[..., str],
) -> None:
    session = mellea_api.start_session("hf", str(build(template=template)))
    with pytest.raises(mellea_api.RequestRefusedError, match=words):
        way(session, {**options, "max_tokens": 2})


def test_a_template_that_cannot_think_is_reported(
    session: Any, tiny: Path, caplog: pytest.LogCaptureFixture
) -> None:
    session.chat("Hi", model_options={"thinking": "high", "max_tokens": 2})
    assert "thinking is not a variable of its chat template" in caplog.text
    strict = mellea_api.start_session("hf", str(tiny), unsupported="error")
    with pytest.raises(mellea_api.OptionError, match="chat template"):
        strict.chat("Hi", model_options={"thinking": True, "max_tokens": 2})
    strict.chat("Hi", model_options={"thinking": False, "max_tokens": 2})


# ---------------------------------------------------------------------- what transformers has

END = 2
NATIVE: list[tuple[dict[str, Any], bool]] = [
    # The option, and whether the text is another than without it.
    ({"typical_p": 0.3}, True),
    ({"epsilon_cutoff": 0.01}, True),
    ({"eta_cutoff": 0.02}, True),
    ({"num_beams": 3}, True),
    ({"num_beams": 3, "length_penalty": -3.0}, True),
    ({"num_beams": 3, "early_stopping": True}, True),
    ({"num_beams": 2, "early_stopping": "never"}, True),
    ({"no_repeat_ngram_size": 1}, False),
    ({"encoder_no_repeat_ngram_size": 1}, False),
    ({"encoder_repetition_penalty": 3.0}, True),
    ({"guidance_scale": 3.0}, True),
    ({"eos_token_id": [300, 301, 302, *range(400, 700)]}, True),
    ({"eos_token_id": list(range(400, 700)), "min_new_tokens": 9}, True),
    ({"sequence_bias": [[[300], 50.0]]}, True),
    ({"bad_words_ids": [[token] for token in range(300, 900)]}, True),
    ({"suppress_tokens": list(range(300, 900))}, True),
    ({"begin_suppress_tokens": list(range(300, 900))}, True),
    ({"forced_bos_token_id": 300}, False),
    ({"forced_eos_token_id": END}, True),
    ({"exponential_decay_length_penalty": [2, 3.0]}, True),
    ({"renormalize_logits": True}, False),
    ({"remove_invalid_values": True}, False),
    ({"use_cache": False}, False),
    ({"cache_implementation": "static"}, False),
    ({"disable_compile": True}, False),
    ({"prefill_chunk_size": 4}, False),
    ({"prompt_lookup_num_tokens": 3}, False),
    ({"prompt_lookup_num_tokens": 3, "max_matching_ngram_size": 2}, False),
    ({"max_time": 1e-9}, True),
    ({"pad_token_id": 5}, False),
    ({"bos_token_id": 5}, False),
    ({"do_sample": True}, True),
]


@pytest.mark.parametrize(
    ("options", "differs"),
    NATIVE,
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)
def test_an_argument_of_generate_reaches_it(
    chat: Callable[..., str], reference: Any, options: dict[str, Any], differs: bool, greedy: str
) -> None:
    arguments = dict(options)
    sampled = {"typical_p", "epsilon_cutoff", "eta_cutoff", "do_sample"} & options.keys()
    expected = reference(
        PROMPT, seed=4, **{"max_new_tokens": LENGTH, "do_sample": bool(sampled), **arguments}
    )
    assert chat(**options, seed=4) == expected
    if differs:
        assert expected != greedy


def test_top_h_reaches_a_transformers_that_has_it(chat: Callable[..., str], reference: Any) -> None:
    import transformers

    if not hasattr(transformers.GenerationConfig(), "top_h"):
        with pytest.raises(mellea_api.RequestRefusedError, match="top_h"):
            chat(top_h=0.4)
        return
    expected = reference(PROMPT, seed=4, max_new_tokens=LENGTH, do_sample=True, top_h=0.4)
    assert chat(top_h=0.4, seed=4) == expected


@pytest.mark.parametrize("stream", [False, True])
def test_a_name_that_generate_does_not_know_is_an_error_that_names_it(
    session: Any, stream: bool
) -> None:
    with pytest.raises(mellea_api.RequestRefusedError, match="no_such_name"):
        session.chat(
            "Hi", model_options={"extra": {"no_such_name": 1}, "max_tokens": 2, "stream": stream}
        )


def test_what_is_not_supported_is_in_the_report_and_does_not_reach_generate(
    session: Any, caplog: pytest.LogCaptureFixture
) -> None:
    session.chat("Hi", model_options={"frequency_penalty": 0.5, "max_length": 3, "max_tokens": 4})
    report = mellea_api.options_report(session)
    assert report is not None
    assert report.wire == {"max_new_tokens": 4}
    assert {"frequency_penalty", "max_length"} <= {
        decision.name for decision in report.decisions if decision.outcome == "dropped"
    }
    assert "frequency_penalty" in caplog.text


def test_a_prompt_that_is_longer_than_the_context_is_said_to_be(
    build: Callable[..., Path],
) -> None:
    session = mellea_api.start_session("hf", str(build(context_length=128)))
    with pytest.raises(mellea_api.ContextLengthError, match="128"):
        session.chat("word " * 300)


def test_a_format_gives_json_of_its_schema(session: Any) -> None:
    from pydantic import BaseModel

    class Flag(BaseModel):
        on: bool

    answer = session.instruct(
        "On?", format=Flag, model_options={"temperature": 0, "max_tokens": 30, "seed": 1}
    )
    # A model that was never taught anything may write white space to the end.
    written = "".join(str(answer).split())
    assert written
    assert any(whole.startswith(written) for whole in ('{"on":true}', '{"on":false}'))


# ------------------------------------------------------------------------------- intrinsics


def test_an_intrinsic_is_no_way_around_the_checks(
    tiny: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Mellea hands an adapter its options: those that were checked, and what it drops is said."""
    from mellea.backends.huggingface import Intrinsic
    from mellea.stdlib.context import ChatContext

    def act(session: Any, **options: Any) -> None:
        session.act(Intrinsic("answerability"), strategy=None, model_options=options)

    session = mellea_api.start_session("hf", str(tiny), ctx=ChatContext())
    with pytest.raises(mellea_api.OptionError, match="did you mean 'temperature'"):
        act(session, temprature=1)
    with pytest.raises(Exception, match="adapter") as caught:
        act(session, temperature=0.5, chat_template_kwargs={"other": 1})
    assert not isinstance(caught.value, mellea_api.OptionError), "the tiny model has no adapter"
    report = mellea_api.options_report(session)
    assert report is not None
    assert report.wire["temperature"] == 0.5
    assert "chat_template_kwargs" in caplog.text
    assert "not passed on to an intrinsic" in caplog.text
    strict = mellea_api.start_session("hf", str(tiny), ctx=ChatContext(), unsupported="error")
    with pytest.raises(mellea_api.OptionError, match="not passed on to an intrinsic"):
        act(strict, thinking=True)


def test_an_intrinsic_of_a_session_that_was_closed_has_its_model_again(tiny: Path) -> None:
    from mellea.backends.huggingface import Intrinsic
    from mellea.stdlib.context import ChatContext

    session = mellea_api.start_session("hf", str(tiny), ctx=ChatContext())
    session.backend.close()
    with pytest.raises(Exception, match="adapter"):
        session.act(Intrinsic("answerability"), strategy=None)
    assert session.backend._model is not None
