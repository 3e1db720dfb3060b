"""Sessions on an engine in this process: the tiny model for what engines do, SmolLM2 for what is said."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydantic
import pytest

pytest.importorskip("mellea_api_llamacpp")

from mellea_api_llamacpp import engine

import mellea_api
from mellea_api._sessions._mellea.clients import close
from mellea_api.testing import BackendContract

Start = Callable[..., Any]


class TestContract(BackendContract):
    backend = "llamacpp"


# ---- one engine, shared


def test_sessions_share_one_loaded_model_until_the_last_is_closed(start: Start) -> None:
    one, other, more = start(), start(context_window=2048), start(parallel=2)
    assert len(engine._loaded) == 2
    said = one.chat("x").content
    close(one.backend)
    assert other.chat("x").content == said
    close(more.backend)
    close(other.backend)
    assert not engine._loaded
    assert start().chat("x").content == said


def test_a_session_that_nobody_closes_is_unloaded_with_it(start: Start, tiny_gguf: Path) -> None:
    session = mellea_api.start_session("llamacpp", str(tiny_gguf), threads=1)
    assert engine._loaded
    del session
    for _ in range(50):
        gc.collect()
        if not engine._loaded:
            break
        time.sleep(0.1)
    assert not engine._loaded


def test_nobody_else_can_use_the_engine(start: Start) -> None:
    import httpx

    start()
    (found,) = engine._loaded.values()
    assert found.address.startswith("http://127.0.0.1:")
    asked = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 1}
    answer = httpx.post(f"{found.address}/chat/completions", json=asked, timeout=60)
    assert answer.status_code == 401


def test_no_proxy_comes_between(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert start().chat("x").content


def test_calls_beyond_parallel_wait_their_turn(start: Start) -> None:
    session = start(parallel=2)
    expected = session.chat("x").content

    async def all_at_once() -> list[Any]:
        return await asyncio.gather(*(session.achat("x") for _ in range(8)))

    assert {answer.content for answer in asyncio.run(all_at_once())} == {expected}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_is_told_and_does_not_hang(start: Start) -> None:
    session = start()
    session.chat("x")
    child = os.fork()
    if not child:
        code = 1
        signal.alarm(60)
        try:
            asyncio.run(session.achat("x"))  # older Mellea's own loop does not come along
        except mellea_api.BackendUnavailableError as error:
            code = 0 if "forked" in str(error) else 2
        os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert session.chat("x").content


# ---- how it is loaded


def test_the_context_is_a_setting_of_the_session(start: Start) -> None:
    session = start(context_window=256)
    with pytest.raises(mellea_api.ContextLengthError):
        session.chat("word " * 1000)
    with pytest.raises(mellea_api.OptionError, match="give context_window= to start_session"):
        session.chat("x", model_options={"context_window": 512})


@pytest.mark.parametrize("name", ["context_window", "parallel", "threads"])
def test_a_setting_below_one_is_refused(start: Start, name: str) -> None:
    with pytest.raises(mellea_api.ConfigurationError, match=f"{name}=0"):
        start(**{name: 0})


def test_more_context_than_the_model_has_is_refused(start: Start) -> None:
    with pytest.raises(mellea_api.ConfigurationError, match="2048"):
        start(context_window=2049)


def test_a_model_that_does_not_fit_is_refused_with_the_numbers(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "free_memory", lambda: 200 * 2**20)
    with pytest.raises(mellea_api.ConfigurationError) as caught:
        start()
    assert "it needs about 25" in str(caught.value)  # a model of 1 MB, and 256 MiB beside it
    assert "200 MiB are free" in str(caught.value)
    assert not engine._loaded


@pytest.mark.skipif(sys.platform != "linux", reason="read from Linux alone")
def test_free_memory_is_what_the_system_and_the_cgroup_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    monkeypatch.setattr(engine, "_CGROUP", tmp_path)
    free = engine.free_memory()
    assert free is not None
    assert 0 < free <= whole
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("900\n")
    (tmp_path / "memory.stat").write_text("anon 500\ninactive_file 300\n")
    assert engine.free_memory() == 400
    (tmp_path / "memory.max").write_text("max\n")
    assert engine.free_memory() != 400


# ---- calls


def test_a_stream_has_the_text_of_the_whole_answer(start: Start) -> None:
    session = start()
    streamed = list(mellea_api.stream_chat(session, "x"))
    assert len(streamed) > 1
    assert "".join(streamed) == session.chat("x").content


def test_options_have_their_effects(start: Start) -> None:
    session = start()
    whole = session.chat("x").content
    assert len(session.chat("x", model_options={"max_tokens": 2}).content) < len(whole)
    stop = whole[4:8]
    assert session.chat("x", model_options={"stop": [stop]}).content == whole.partition(stop)[0]
    seeds = [
        session.chat("x", model_options={"temperature": 1, "seed": seed}).content
        for seed in (1, 1, 2)
    ]
    assert seeds[0] == seeds[1] != seeds[2]
    # Each leaves the likeliest token alone, however hot it is.
    for option in ({"min_p": 1}, {"top_k": 1}, {"top_p": 1e-6}):
        hot = {"temperature": 2, "seed": 3}
        assert session.chat("x", model_options=hot).content != whole
        assert session.chat("x", model_options={**hot, **option}).content == whole


def test_a_raw_prompt_is_completed(start: Start) -> None:
    from mellea.core import CBlock

    session = start()

    async def complete() -> Any:
        found: Any = await session.backend.generate_from_raw([CBlock("import ")], ctx=session.ctx)
        return found[0][0] if isinstance(found, tuple) else found[0]

    assert str(asyncio.run(complete()))


def test_a_call_that_is_late_ends_the_engines_work(start: Start, smollm2: None) -> None:
    # Without an end the engine, which does one thing at a time, would write for minutes.
    endless = {"max_tokens": 8000, "extra": {"ignore_eos": True}}
    patient = start("smollm2", context_window=8192, timeout=20)
    session = start("smollm2", context_window=8192, timeout=1)
    with pytest.raises(mellea_api.RequestTimeoutError):
        session.chat("Count.", model_options=endless)
    assert patient.chat("What is 2+2?", model_options={"max_tokens": 5}).content


def test_a_call_may_be_cancelled_while_the_prompt_is_read(start: Start, smollm2: None) -> None:
    session = start("smollm2")

    async def cancel() -> None:
        task = asyncio.create_task(session.achat("word " * 7000))  # which takes seconds
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert session.chat("What is 2+2?").content


def test_a_session_that_was_not_used_leaves_nothing(tiny_gguf: Path) -> None:
    before = threading.active_count()
    session = mellea_api.start_session("llamacpp", str(tiny_gguf), threads=1)
    close(session.backend)
    assert not engine._loaded
    assert threading.active_count() <= before + 2  # Mellea's own loop


def test_the_key_of_an_engine_is_in_no_log(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    start()
    (found,) = engine._loaded.values()
    logging.getLogger("openai._base_client").warning("it is %s", found.key)
    assert found.key not in caplog.text + repr(found)


# ---- what a real model says


class Sum(pydantic.BaseModel):
    answer: int


def test_the_default_model_answers(start: Start, smollm2: None) -> None:
    session = start("smollm2", context_window=1024)
    assert "4" in session.chat("What is 2+2?").content
    assert "Paris" in session.chat("What's the capital of France? Answer in one sentence.").content
    asked = session.chat("What is 2+2?", format=Sum)
    assert isinstance(Sum.model_validate_json(asked.content).answer, int)
    told = {"system_prompt": "You are a pirate, and answer as one."}
    plain = session.chat("Who are you?").content
    assert session.chat("Who are you?", model_options=told).content != plain


def test_a_runtime_switches_models(start: Start, smollm2: None, tiny_gguf: Path) -> None:
    from mellea_api.runtime import MelleaRuntime

    options = {"temperature": 0, "max_tokens": 20}
    with MelleaRuntime(
        "llamacpp", "smollm2", model_options=options, threads=1, context_window=512
    ) as runtime:
        said = runtime.session.chat("What is 2+2?").content
        assert "4" in said
        runtime.switch_model(str(tiny_gguf))
        assert runtime.session.chat("What is 2+2?").content != said
        runtime.switch_model("smollm2")
        assert runtime.session.chat("What is 2+2?").content == said
    assert not engine._loaded
