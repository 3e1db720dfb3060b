"""Loading is the slow part: it happens once, is shared while it is used, and is undone by `cleanup`."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mellea_api
from mellea_api import astream_chat, stream_chat
from mellea_api.runtime import MelleaRuntime

pytestmark = [pytest.mark.usefixtures("transformers_here"), pytest.mark.slow]

SHORT = {"max_tokens": 4, "temperature": 0}


@pytest.fixture
def folder(build: Callable[..., Path], tmp_path: Path) -> Path:
    """A model that no other test has in memory."""
    import shutil

    return Path(shutil.copytree(build(), tmp_path / "own"))


def loads(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage() for record in caplog.records if "loaded" in record.getMessage().split()
    ]


def collected(reference: weakref.ref[Any]) -> bool:
    for _ in range(20):
        gc.collect()
        if reference() is None:
            return True
        time.sleep(0.05)  # a thread that closes
    return False


def test_two_sessions_share_tokenizer_weights_and_lock(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mellea_api")
    one, other = (mellea_api.start_session(name, str(folder)) for name in ("hf", "huggingface"))
    assert one.backend is not other.backend
    for part in ("_model", "_tokenizer", "_generation_lock"):
        assert getattr(one.backend, part) is getattr(other.backend, part)
    assert len(loads(caplog)) == 1
    assert str(folder) in loads(caplog)[0]


def test_threads_that_start_together_load_once(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mellea_api")
    sessions: list[Any] = []
    threads = [
        threading.Thread(
            target=lambda: sessions.append(mellea_api.start_session("hf", str(folder)))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(session.backend._model) for session in sessions}) == 1
    assert len(loads(caplog)) == 1


def test_who_will_not_share_has_weights_of_its_own(folder: Path) -> None:
    one, other = (mellea_api.start_session("hf", str(folder), share=False) for _ in range(2))
    assert one.backend._model is not other.backend._model


def test_another_type_of_weights_is_another_load(folder: Path) -> None:
    import torch

    one = mellea_api.start_session("hf", str(folder))
    other = mellea_api.start_session("hf", str(folder), dtype="bfloat16")
    assert one.backend._model.dtype == torch.float32
    assert other.backend._model.dtype == torch.bfloat16
    assert len(str(other.chat("Hi", model_options=SHORT).content)) > 0


def test_one_generation_at_a_time_and_calls_of_one_loop_all_end(folder: Path) -> None:
    one = mellea_api.start_session("hf", str(folder))
    other = mellea_api.start_session("hf", str(folder))
    model = one.backend._model
    running, peak, original = 0, 0, model.generate

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        try:
            return original(*args, **kwargs)
        finally:
            running -= 1

    model.generate = counted
    try:

        async def together() -> list[str]:
            answers = await asyncio.gather(
                *(
                    session.achat("Hi", model_options={**SHORT, "seed": 1, "temperature": 1})
                    for session in (one, other) * 6
                )
            )
            return [str(answer.content) for answer in answers]

        answers = asyncio.run(together())
    finally:
        del model.generate
    assert peak == 1
    assert len(set(answers)) == 1


def test_a_seeded_answer_is_the_same_while_another_model_samples(
    folder: Path, build: Callable[..., Path]
) -> None:
    seeded = mellea_api.start_session("hf", str(folder))
    noisy = mellea_api.start_session("hf", str(build(sampling=True)))
    options = {"temperature": 1.5, "seed": 3, "max_tokens": 40}
    alone = str(seeded.chat("Hi", model_options=options).content)
    stop = threading.Event()

    def make_noise() -> None:
        while not stop.is_set():
            noisy.chat("Hi", model_options={"temperature": 1.5, "max_tokens": 10})

    thread = threading.Thread(target=make_noise)
    thread.start()
    try:
        assert [str(seeded.chat("Hi", model_options=options).content) for _ in range(3)] == [
            alone
        ] * 3
    finally:
        stop.set()
        thread.join()


def test_switching_back_and_forth_loads_each_model_once(
    folder: Path, build: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mellea_api")
    other = build(seed=1)
    with MelleaRuntime("hf", str(folder), SHORT) as runtime:
        first = runtime.chat("Hi")
        for _ in range(2):
            runtime.switch_model(str(other))
            second = runtime.chat("Hi")
            runtime.switch_model(str(folder))
            assert runtime.chat("Hi") == first != second
    assert len(loads(caplog)) == 2


def test_cleanup_frees_the_model_also_while_the_runtime_object_lives(folder: Path) -> None:
    runtime = MelleaRuntime("hf", str(folder), SHORT)
    runtime.chat("Hi")
    list(runtime.stream("Hi"))
    model = weakref.ref(runtime.session.backend._model)
    gc.collect()
    assert model() is not None
    runtime.cleanup()
    assert collected(model)


def test_a_generation_that_was_given_up_leaves_nothing_to_complain_about(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A stream is stopped early, and its runtime cleaned up; or a call was late in the queue."""
    runtime = MelleaRuntime("hf", str(folder), {"max_tokens": 1900})
    late = mellea_api.start_session("hf", str(folder), timeout=0.2)
    pieces = runtime.stream("Hi")
    next(pieces)
    for call in (late.chat, lambda text: list(stream_chat(late, text))):
        with pytest.raises(mellea_api.RequestTimeoutError):
            call("Hi")
    pieces.close()
    model = weakref.ref(runtime.session.backend._model)
    runtime.cleanup()
    late.backend.close()
    assert collected(model)
    assert [record for record in caplog.records if record.name == "asyncio"] == []


def test_cleanup_leaves_the_model_to_another_session(folder: Path) -> None:
    session = mellea_api.start_session("hf", str(folder))
    runtime = MelleaRuntime("hf", str(folder), SHORT)
    model = weakref.ref(session.backend._model)
    runtime.chat("Hi")
    runtime.cleanup()
    time.sleep(0.2)  # a thread that closes
    gc.collect()
    assert model() is not None
    assert str(session.chat("Hi", model_options=SHORT).content)
    del session
    assert collected(model)


def test_a_session_that_was_cleaned_up_loads_again_for_its_clone(folder: Path) -> None:
    session = mellea_api.start_session("hf", str(folder), context_type="chat")
    before = str(session.chat("Hi", model_options=SHORT).content)
    clone = session.clone()
    session.cleanup()
    session.backend.close()  # what Mellea 0.3's cleanup does
    session.reset()
    clone.reset()
    assert str(clone.chat("Hi", model_options=SHORT).content) == before


def test_a_model_of_ones_own_is_used_as_it_is(folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    config = (
        AutoTokenizer.from_pretrained(folder),
        AutoModelForCausalLM.from_pretrained(folder),
        torch.device("cpu"),
    )
    session = mellea_api.start_session("hf", "mine", custom_config=config)
    assert session.backend._model is config[1]
    greedy = str(session.chat("Hi", model_options={**SHORT, "max_tokens": 9}).content)
    stopped = session.chat(
        "Hi", model_options={"temperature": 0, "max_tokens": 9, "stop": greedy[3:5]}
    )
    assert str(stopped.content) == greedy[: greedy.index(greedy[3:5])]


class Forwards:
    """Counts a model's steps."""

    def __init__(self, model: Any) -> None:
        self.count = 0
        self._handle = model.register_forward_hook(self._step)

    def _step(self, *_: Any) -> None:
        self.count += 1
        time.sleep(0.005)

    def close(self) -> None:
        self._handle.remove()


@pytest.mark.parametrize("stream", [False, True])
def test_a_deadline_ends_the_generation_and_not_only_the_waiting(
    folder: Path, stream: bool
) -> None:
    session = mellea_api.start_session("hf", str(folder), timeout=0.3)
    forwards = Forwards(session.backend._model)
    with pytest.raises(mellea_api.RequestTimeoutError):
        session.chat(
            "Hi",
            model_options={
                "max_tokens": 1900,
                "stream": stream,
                "suppress_tokens": [session.backend._tokenizer.eos_token_id],
            },
        )
    with session.backend._generation_lock:  # the generation has let go of it
        ended = forwards.count
    time.sleep(0.1)
    forwards.close()
    assert 0 < forwards.count == ended < 500


def test_who_stops_to_listen_ends_the_generation(folder: Path) -> None:
    session = mellea_api.start_session("hf", str(folder))
    forwards = Forwards(session.backend._model)

    async def listen() -> str:
        options = {
            "max_tokens": 1900,
            "suppress_tokens": [session.backend._tokenizer.eos_token_id],
        }
        pieces = astream_chat(session, "Hi", model_options=options)
        try:
            return await anext(pieces)
        finally:
            await pieces.aclose()

    assert asyncio.run(listen())
    with session.backend._generation_lock:
        ended = forwards.count
    forwards.close()
    assert 0 < ended < 500
