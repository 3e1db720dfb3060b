"""`MelleaRuntime` through real Mellea and the real SDKs: what it uses, how it changes, how it ends."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.late import KEY, provider
from support.messages import Recorded
from support.ollama_server import OllamaServer
from support.openai_server import OpenAIServer
from support.waiting import until

pytest.importorskip("mellea_api_ollama")
pytest.importorskip("mellea_api_openai")

import mellea_api
from mellea_api import _mellea
from mellea_api.runtime import MelleaRuntime

MODELS = ("granite4:micro", "llama3.2:3b", "phi4:14b", "qwen3:8b", "one", "two")


def echo(request: Recorded) -> str:
    """Says what it was told last, so that answers cannot be taken for one another."""
    body = request.json
    return str(body["messages"][-1]["content"] if "messages" in body else body["prompt"])


@pytest.fixture
def ollama(monkeypatch: pytest.MonkeyPatch) -> Iterator[OllamaServer]:
    with OllamaServer(MODELS, text=echo) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.base_url)
        yield server


@pytest.fixture
def openai(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    with OpenAIServer(text=echo) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        yield server


def generations(server: OllamaServer | OpenAIServer) -> list[Any]:
    return [found.json for found in server.requests if found.path in server.fault_paths]


# --- what it uses ------------------------------------------------------------------------------


def test_without_anything_it_is_the_default_model_on_ollama(ollama: OllamaServer) -> None:
    with MelleaRuntime() as runtime:
        assert (runtime.backend, runtime.model_id) == ("ollama", "granite4:micro")
        assert (runtime.model_options, runtime.run_id) == ({}, None)
        assert runtime.chat("Hello!") == "Hello!"
    assert generations(ollama)[0]["model"] == "granite4:micro"
    assert generations(ollama)[0]["options"] == {}


def test_the_environment_is_used_where_nothing_is_given(
    openai: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELLEA_BACKEND", "openai")
    monkeypatch.setenv("MELLEA_MODEL_ID", "gpt-4.1")
    monkeypatch.setenv("MELLEA_MODEL_OPTIONS", '{"max_tokens": 9}')
    monkeypatch.setenv("MELLEA_RUN_ID", "run-7")
    with MelleaRuntime() as runtime:
        assert (runtime.backend, runtime.model_id) == ("openai", "gpt-4.1")
        assert (runtime.model_options, runtime.run_id) == ({"max_tokens": 9}, "run-7")
        runtime.chat("Hello!")
    assert generations(openai)[0]["max_completion_tokens"] == 9


def test_what_is_given_wins_over_the_environment(
    ollama: OllamaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELLEA_BACKEND", "openai")
    monkeypatch.setenv("MELLEA_MODEL_ID", "gpt-4.1")
    monkeypatch.setenv("MELLEA_RUN_ID", "run-7")
    with MelleaRuntime("ollama", "one", {"temperature": 0.5}, "run-8") as runtime:
        assert (runtime.backend, runtime.model_id, runtime.run_id) == ("ollama", "one", "run-8")
        assert runtime.model_options == {"temperature": 0.5}


@pytest.mark.parametrize("named", ["ollama", None])
def test_the_environments_model_and_options_belong_to_its_backend(
    ollama: OllamaServer, monkeypatch: pytest.MonkeyPatch, named: str | None
) -> None:
    """Without MELLEA_BACKEND, that is the default one."""
    monkeypatch.setenv("MELLEA_MODEL_ID", "llama3.2:3b")
    monkeypatch.setenv("MELLEA_MODEL_OPTIONS", '{"num_ctx": 512}')
    with MelleaRuntime(named) as runtime:
        assert runtime.model_id == "llama3.2:3b"
        assert runtime.model_options == {"num_ctx": 512}


def test_they_do_not_apply_to_another_backend(
    openai: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELLEA_MODEL_ID", "llama3.2:3b")
    monkeypatch.setenv("MELLEA_MODEL_OPTIONS", '{"num_ctx": 512, "max_tokens": 9}')
    with MelleaRuntime("openai") as runtime:
        assert (runtime.model_id, runtime.model_options) == ("gpt-4o", {})
        runtime.chat("Hello!")
    assert "max_completion_tokens" not in generations(openai)[0]


def test_nor_after_a_switch_to_another_backend(
    ollama: OllamaServer, openai: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELLEA_MODEL_ID", "llama3.2:3b")
    monkeypatch.setenv("MELLEA_MODEL_OPTIONS", '{"max_tokens": 9}')
    with MelleaRuntime(model_options={"temperature": 0.5}) as runtime:
        runtime.switch_model(backend="openai")
        assert (runtime.backend, runtime.model_id) == ("openai", "gpt-4o")
        # What was given to the runtime, and not by the environment, stays.
        assert runtime.model_options == {"temperature": 0.5}
        runtime.switch_model("one", backend="ollama")
        assert runtime.model_options == {"max_tokens": 9, "temperature": 0.5}


@pytest.mark.parametrize(
    ("environment", "given", "sent"),
    [
        ({"max_tokens": 9, "top_k": 3}, {"num_predict": 4}, {"num_predict": 4, "top_k": 3}),
        ({"num_predict": 9}, {"@@@max_new_tokens@@@": 4}, {"num_predict": 4}),
        ({"temperature": 0.5, "max_tokens": 9}, {"max_tokens": None}, {"temperature": 0.5}),
        ({"stop": "a"}, {"stop_sequences": ["b"]}, {"stop": ["b"]}),
        (
            {"extra": {"mirostat": 1, "mirostat_eta": 0.5}},
            {"extra": {"mirostat": 2}},
            {"mirostat": 2, "mirostat_eta": 0.5},
        ),
    ],
)
def test_given_options_win_one_by_one_whatever_the_spelling(
    ollama: OllamaServer,
    monkeypatch: pytest.MonkeyPatch,
    environment: Any,
    given: Any,
    sent: Any,
) -> None:
    monkeypatch.setenv("MELLEA_MODEL_OPTIONS", json.dumps(environment))
    with MelleaRuntime(model_options=given) as runtime:
        runtime.chat("Hello!")
    assert generations(ollama)[0]["options"] == sent


def test_a_calls_options_win_over_all(
    ollama: OllamaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELLEA_MODEL_OPTIONS", '{"max_tokens": 9}')
    with MelleaRuntime(model_options={"temperature": 0.5}) as runtime:
        for call in (runtime.chat, runtime.instruct):
            call("Hello!", model_options={"num_predict": 4})
        list(runtime.stream("Hello!", model_options={"num_predict": 4}))
    assert [found["options"] for found in generations(ollama)] == [
        {"temperature": 0.5, "num_predict": 4}
    ] * 3


# --- calls -------------------------------------------------------------------------------------


@pytest.fixture(params=["ollama", "openai"])
def runtime(request: pytest.FixtureRequest) -> Iterator[MelleaRuntime]:
    """A runtime on each backend."""
    request.getfixturevalue(request.param)
    with MelleaRuntime(request.param) as found:
        yield found


def test_calls_return_text(runtime: MelleaRuntime) -> None:
    assert runtime.chat("Hello!") == "Hello!"
    assert "Hello!" in runtime.instruct("Hello!")
    assert "".join(runtime.stream("one two")) == "one two"


def test_so_do_the_asynchronous_twins(runtime: MelleaRuntime) -> None:
    async def main() -> None:
        assert await runtime.achat("Hello!") == "Hello!"
        assert "Hello!" in await runtime.ainstruct("Hello!")
        assert "".join([piece async for piece in runtime.astream("one two")]) == "one two"
        assert sorted(await asyncio.gather(*(runtime.achat(str(n)) for n in range(8)))) == [
            str(n) for n in range(8)
        ]

    asyncio.run(main())


def test_the_session_is_the_real_one(runtime: MelleaRuntime) -> None:
    from mellea import MelleaSession

    assert isinstance(runtime.session, MelleaSession)
    assert runtime.session.chat("Hello!").content == "Hello!"


class _Counting(OllamaServer):
    """Counts the pieces that it got rid of."""

    def __init__(self) -> None:
        super().__init__(MODELS, text="one " * 200)
        self.chunk_delay = 0.05
        self.ended: list[Recorded] = []

    def finished(self) -> None:
        super().finished()
        self.ended.append(self.last)


@pytest.mark.parametrize("way", ["sync", "async"])
def test_to_stop_reading_a_stream_ends_the_generation_on_the_server(way: str) -> None:
    with _Counting() as server, MelleaRuntime(base_url=server.base_url) as runtime:
        del server.ended[:]
        if way == "sync":
            pieces: Any = runtime.stream("Hello!")
            assert next(pieces) == "one"
            pieces.close()
        else:

            async def main() -> None:
                pieces: Any = runtime.astream("Hello!")
                assert await anext(pieces) == "one"
                await pieces.aclose()

            asyncio.run(main())
        # It would have taken ten seconds; a server notices a lost client when it writes.
        began = time.monotonic()
        until(lambda: server.ended)
        assert time.monotonic() - began < 5


def test_single_calls_are_not_kept(runtime: MelleaRuntime) -> None:
    """Mellea links each to the one before; a service would grow with every call."""
    for number in range(4):
        runtime.chat(str(number))
        list(runtime.stream(str(number)))
    asyncio.run(runtime.ainstruct("after"))
    context = runtime.session.ctx
    assert "after" in str(context.last_output())
    assert len(context.as_list()) == 2


# --- changing the model ------------------------------------------------------------------------


def test_a_switch_changes_the_model_and_says_so(ollama: OllamaServer) -> None:
    with MelleaRuntime(model_id="one", model_options={"max_tokens": 9}) as runtime:
        runtime.chat("1")
        runtime.switch_model("two")
        assert runtime.model_id == "two"
        runtime.chat("2")
        runtime.switch_model("one", model_options={"top_k": 3})
        runtime.chat("3")
        runtime.switch_model()
        runtime.chat("4")
    told = [(found["model"], found["options"]) for found in generations(ollama)]
    assert told == [
        ("one", {"num_predict": 9}),
        ("two", {"num_predict": 9}),
        ("one", {"top_k": 3}),
        ("granite4:micro", {"top_k": 3}),
    ]


def test_switching_back_asks_nobody_anything(ollama: OllamaServer, openai: OpenAIServer) -> None:
    with MelleaRuntime(model_id="one") as runtime:
        first = runtime.session
        runtime.switch_model(backend="openai")
        before = len(ollama.requests), len(openai.requests)
        runtime.switch_model("one", backend="ollama")
        assert runtime.session is first
        runtime.switch_model("gpt-4o", backend="openai")
        assert (len(ollama.requests), len(openai.requests)) == before


def test_only_a_few_backends_are_kept_and_the_others_closed(
    ollama: OllamaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[Any] = []
    monkeypatch.setattr(_mellea, "close", closed.append)
    with MelleaRuntime(model_id=MODELS[0]) as runtime:
        backends = [runtime.session.backend]
        for model in MODELS[1:]:
            runtime.switch_model(model)
            backends.append(runtime.session.backend)
        assert closed == backends[:2]
        runtime.switch_model(MODELS[2])
        assert runtime.session.backend is backends[2]
        runtime.switch_model(MODELS[0])
        assert runtime.session.backend is not backends[0]
        assert runtime.chat("Hello!") == "Hello!"


def failing(runtime: MelleaRuntime) -> list[tuple[type[Exception], Callable[[], None]]]:
    """Switches that cannot be, each with its error."""
    return [
        (mellea_api.ModelNotFoundError, lambda: runtime.switch_model("nix")),
        (mellea_api.BackendNotFoundError, lambda: runtime.switch_model(backend="nix")),
        (mellea_api.CredentialError, lambda: runtime.switch_model(backend="openai")),
        (
            mellea_api.OptionError,
            lambda: runtime.switch_model("two", model_options={"temperature": 9}),
        ),
        (
            mellea_api.OptionError,  # on a backend that is kept
            lambda: runtime.switch_model("one", model_options={"temprature": 1}),
        ),
        (
            mellea_api.ConfigurationError,
            lambda: runtime.switch_model("two", model_options="hot"),  # type: ignore[arg-type]
        ),
        (mellea_api.ConfigurationError, lambda: runtime.switch_model("two", base_url="")),
        (mellea_api.ConfigurationError, lambda: runtime.switch_model("two", bogus=1)),
        (mellea_api.ConfigurationError, lambda: runtime.switch_model(7)),
    ]


@pytest.mark.parametrize("number", range(9))
@pytest.mark.parametrize("context", ["simple", "chat"])
def test_a_switch_that_fails_leaves_all_as_it_was(
    ollama: OllamaServer, number: int, context: str
) -> None:
    with MelleaRuntime(model_id="one", model_options={"top_k": 3}, context=context) as runtime:
        runtime.chat("Hello!")
        session, turns = runtime.session, list(runtime.session.ctx.as_list())
        kind, switch = failing(runtime)[number]
        with pytest.raises(kind) as caught:
            switch()
        assert isinstance(caught.value, mellea_api.MelleaAPIError)
        assert runtime.session is session
        assert (runtime.backend, runtime.model_id) == ("ollama", "one")
        assert runtime.model_options == {"top_k": 3}
        assert runtime.session.ctx.as_list() == turns
        assert runtime.chat("Again.") == "Again."
        assert generations(ollama)[-1]["model"] == "one"
        assert generations(ollama)[-1]["options"] == {"top_k": 3}
        # Nor do the arguments of the failure stay behind.
        runtime.switch_model("two")
        assert runtime.chat("Two.") == "Two."


def test_arguments_belong_to_the_backend_that_they_were_given_for(
    ollama: OllamaServer, openai: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with MelleaRuntime("openai", api_key=KEY) as runtime:
        runtime.switch_model("one", backend="ollama")  # takes no api_key=
        assert runtime.chat("Hello!") == "Hello!"
        runtime.switch_model("gpt-4.1", backend="openai")
        assert runtime.chat("Hello!") == "Hello!"


def test_a_conversation_goes_on_with_the_new_model(
    ollama: OllamaServer, openai: OpenAIServer
) -> None:
    with MelleaRuntime(model_id="one", context="chat") as runtime:
        runtime.chat("first")
        runtime.switch_model("two")
        "".join(runtime.stream("second"))
        runtime.switch_model(backend="openai")
        runtime.chat("third")
        runtime.switch_model("one", backend="ollama")
        runtime.chat("fourth")
    said = [[message["content"] for message in found["messages"]] for found in generations(ollama)]
    assert said[1] == ["first", "first", "second"]
    assert [found["content"] for found in generations(openai)[0]["messages"]] == [
        *said[1],
        "second",
        "third",
    ]
    assert said[2] == ["first", "first", "second", "second", "third", "third", "fourth"]


def test_calls_that_are_running_end_on_the_old_model(ollama: OllamaServer) -> None:
    with MelleaRuntime(model_id="one") as runtime, ThreadPoolExecutor(1) as threads:
        runtime.switch_model("two")
        runtime.switch_model("one")
        ollama.latency = 0.5
        running = threads.submit(runtime.chat, "Hello!")
        until(lambda: generations(ollama))
        runtime.switch_model("two")
        assert not running.done()
        assert running.result(20) == "Hello!"
    assert [found["model"] for found in generations(ollama)] == ["one"]


# --- one at a time, or many ----------------------------------------------------------------------


def test_overlapping_calls_in_one_conversation_are_refused(ollama: OllamaServer) -> None:
    with MelleaRuntime(context="chat") as runtime, ThreadPoolExecutor(1) as threads:
        runtime.chat("zero")
        ollama.latency = 1.0
        running = threads.submit(runtime.chat, "one")
        until(lambda: len(generations(ollama)) == 2)
        for call in (
            lambda: runtime.chat("two"),
            lambda: runtime.instruct("two"),
            lambda: list(runtime.stream("two")),
            lambda: asyncio.run(runtime.achat("two")),
            lambda: runtime.switch_model("one"),
        ):
            with pytest.raises(mellea_api.ConcurrentUseError, match="simple"):
                call()
        assert running.result(20) == "one"
        ollama.latency = 0
        runtime.chat("three")
    assert [found["content"] for found in generations(ollama)[-1]["messages"]][::2] == [
        "zero",
        "one",
        "three",
    ]


def test_overlapping_tasks_in_one_conversation_are_refused(ollama: OllamaServer) -> None:
    async def main() -> list[Any]:
        return await asyncio.gather(
            runtime.achat("one"), runtime.achat("two"), return_exceptions=True
        )

    with MelleaRuntime(context="chat") as runtime:
        first, second = asyncio.run(main())
    assert first == "one"
    assert isinstance(second, mellea_api.ConcurrentUseError)


def test_a_stream_that_was_left_early_frees_the_conversation(ollama: OllamaServer) -> None:
    with MelleaRuntime(context="chat") as runtime:
        pieces: Any = runtime.stream("one two three")
        next(pieces)
        with pytest.raises(mellea_api.ConcurrentUseError):
            runtime.chat("too early")
        pieces.close()
        assert runtime.chat("four") == "four"
    assert [found["content"] for found in generations(ollama)[-1]["messages"]] == ["four"]


def test_a_call_that_failed_frees_the_conversation(ollama: OllamaServer) -> None:
    with MelleaRuntime(context="chat") as runtime:
        ollama.fail_next(500)
        with pytest.raises(mellea_api.BackendUnavailableError):
            runtime.chat("one")
        assert runtime.chat("two") == "two"


def test_many_threads_share_a_runtime_without_cross_talk(runtime: MelleaRuntime) -> None:
    """Each call has its own answer, with its own options."""

    def ask(number: int) -> str:
        text = f"number {number}"
        if number % 2:
            return runtime.chat(text, model_options={"seed": number})
        return "".join(runtime.stream(text, model_options={"max_tokens": 2 + number}))

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(ask, range(64)))
    assert answers == [f"number {number}" for number in range(64)]


def test_options_of_many_threads_reach_the_wire_with_their_prompt(ollama: OllamaServer) -> None:
    with MelleaRuntime(model_options={"top_k": 5}) as runtime:

        def ask(number: int) -> str:
            return runtime.chat(str(number), model_options={"seed": number})

        with ThreadPoolExecutor(16) as threads:
            assert list(threads.map(ask, range(64))) == [str(number) for number in range(64)]
    for found in generations(ollama):
        said = int(found["messages"][-1]["content"])
        assert found["options"] == {"top_k": 5, "seed": said}
        assert len(found["messages"]) == 1


def test_switching_while_others_call_harms_nobody(ollama: OllamaServer) -> None:
    with MelleaRuntime(model_id="one") as runtime, ThreadPoolExecutor(8) as threads:

        def switch(number: int) -> str:
            runtime.switch_model(MODELS[number % len(MODELS)])
            return "done"

        asked = [threads.submit(runtime.chat, str(number)) for number in range(40)]
        switched = [threads.submit(switch, number) for number in range(12)]
        asked += [threads.submit(runtime.chat, str(number)) for number in range(40, 80)]
        assert [found.result(30) for found in asked] == [str(number) for number in range(80)]
        assert {found.result(30) for found in switched} == {"done"}
        assert runtime.chat("after") == "after"


# --- the end -----------------------------------------------------------------------------------


def test_cleanup_ends_it_once_and_for_all(runtime: MelleaRuntime) -> None:
    backend = runtime.session.backend
    for _ in range(3):
        runtime.cleanup()
    assert "cleaned up" in repr(runtime)
    for call in (
        lambda: runtime.chat("Hello!"),
        lambda: runtime.instruct("Hello!"),
        lambda: list(runtime.stream("Hello!")),
        lambda: asyncio.run(runtime.achat("Hello!")),
        lambda: asyncio.run(runtime.ainstruct("Hello!")),
        lambda: runtime.switch_model("other"),
        lambda: runtime.session,
    ):
        with pytest.raises(mellea_api.SessionClosedError, match="MelleaRuntime"):
            call()
    if hasattr(backend, "_closed"):
        assert backend._closed


def test_a_session_kept_beyond_the_end_says_so(runtime: MelleaRuntime) -> None:
    session = runtime.session
    runtime.cleanup()
    with pytest.raises(mellea_api.SessionClosedError):
        session.chat("Hello!")


def test_a_call_that_is_running_ends_before_its_backend_is_closed(ollama: OllamaServer) -> None:
    runtime = MelleaRuntime()
    backend: Any = runtime.session.backend
    ollama.latency = 0.5
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(runtime.chat, "Hello!")
        until(lambda: generations(ollama))
        runtime.cleanup()
        assert not getattr(backend, "_closed", False)
        with pytest.raises(mellea_api.SessionClosedError):
            runtime.chat("Too late.")
        assert running.result(20) == "Hello!"
    if hasattr(backend, "_closed"):
        until(lambda: backend._closed)


def test_a_running_call_of_several_generations_ends_too(ollama: OllamaServer) -> None:
    """An instruction is repaired until it is right; the runtime may be cleaned up meanwhile."""
    from mellea.stdlib.requirements import req, simple_validate

    runtime = MelleaRuntime()
    backend: Any = runtime.session.backend
    ollama.script.text = lambda request: str(len(generations(ollama)))
    cleaned = threading.Event()

    def wait(answer: str) -> bool:
        if answer.startswith("1"):
            cleaned.wait(20)
        return answer.startswith("2")

    requirement = req("is two", validation_fn=simple_validate(wait))
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(runtime.instruct, "Count.", requirements=[requirement])
        until(lambda: generations(ollama))
        time.sleep(0.2)
        runtime.cleanup()
        cleaned.set()
        assert running.result(20) == "2"
    if hasattr(backend, "_closed"):
        until(lambda: backend._closed)


def test_leaving_the_block_cleans_up(ollama: OllamaServer) -> None:
    async def main() -> MelleaRuntime:
        async with MelleaRuntime() as runtime:
            assert await runtime.achat("Hello!") == "Hello!"
        return runtime

    with pytest.raises(mellea_api.SessionClosedError):
        asyncio.run(main()).chat("Hello!")


def test_a_stream_that_is_read_while_it_is_cleaned_up_comes_to_its_end(
    ollama: OllamaServer,
) -> None:
    runtime = MelleaRuntime()
    pieces: Any = runtime.stream("one two three four")
    found = [next(pieces)]
    runtime.cleanup()
    assert "".join([*found, *pieces]) == "one two three four"


# --- the run id --------------------------------------------------------------------------------


class _Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.found: list[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(record)


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> Iterator[list[Any]]:
    """The records of the library and of Mellea."""
    handler = _Records()
    caplog.set_level(logging.DEBUG, "mellea_api")
    loggers = [logging.getLogger("mellea_api"), *_mellea.loggers()]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
        logger.addHandler(handler)
    yield handler.found
    for logger, level in zip(loggers, levels, strict=True):
        logger.removeHandler(handler)
        logger.setLevel(level)


def test_the_run_id_is_on_the_records_of_the_library_and_of_mellea(
    ollama: OllamaServer, records: list[Any]
) -> None:
    with MelleaRuntime(run_id="run-7") as runtime:
        runtime.chat("Hello!", model_options={"logprobs": True, "frequency_penalty": 0.5})
        runtime.instruct("Hello!")
        list(runtime.stream("Hello!"))
        asyncio.run(runtime.achat("Hello!"))
        runtime.session.instruct("Hello!")
        runtime.session.chat("Hello!")
        runtime.switch_model("one")
    assert {record.name for record in records} >= {"mellea_api"}
    assert len({record.name for record in records}) > 1, "Mellea logged nothing"
    assert {(record.name, record.run_id) for record in records} == {
        (name, "run-7") for name in {record.name for record in records}
    }


def test_run_ids_of_two_runtimes_do_not_mix(ollama: OllamaServer) -> None:
    """Nor does one stay behind with the program, while a stream is read or after it."""
    from mellea_api.logs import current_run_id

    with MelleaRuntime(run_id="a") as one, MelleaRuntime(run_id="b") as other:
        first, second = one.stream("one two three"), other.stream("one two three")
        next(first)
        assert current_run_id() is None
        next(second)
        list(first)
        assert current_run_id() is None
        list(second)
        assert current_run_id() is None


def test_without_a_run_id_records_have_none(ollama: OllamaServer, records: list[Any]) -> None:
    with MelleaRuntime() as runtime:
        runtime.instruct("Hello!")
        runtime.switch_model("one")
    assert {record.run_id for record in records} == {None}


# --- a bad environment ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "value", "kind"),
    [
        ("MELLEA_BACKEND", "nix", mellea_api.BackendNotFoundError),
        ("MELLEA_BACKEND", "hf", mellea_api.BackendNotFoundError),
        ("MELLEA_MODEL_ID", "nix", mellea_api.ModelNotFoundError),
        ("MELLEA_MODEL_OPTIONS", "{", mellea_api.ConfigurationError),
        ("MELLEA_MODEL_OPTIONS", '{"temperature": 9}', mellea_api.OptionError),
        ("MELLEA_RUN_ID", "a\nb", mellea_api.ConfigurationError),
        ("MELLEA_RUN_ID", "x" * 201, mellea_api.ConfigurationError),
        ("MELLEA_API_UNSUPPORTED", "sometimes", mellea_api.ConfigurationError),
    ],
)
def test_a_bad_value_names_its_variable_and_is_never_replaced(
    ollama: OllamaServer,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    kind: type[mellea_api.MelleaAPIError],
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(kind) as caught:
        MelleaRuntime()
    assert variable in str(caught.value)
    assert caught.value.next_step
    if isinstance(caught.value, mellea_api.ConfigurationError):
        assert caught.value.variable == variable


def test_a_server_that_is_down_is_not_blamed_on_the_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with provider("ollama") as found:
        address = found.server.base_url
    monkeypatch.setenv("MELLEA_MODEL_ID", "tiny")
    monkeypatch.setenv("OLLAMA_HOST", address)
    with pytest.raises(mellea_api.BackendUnavailableError) as caught:
        MelleaRuntime()
    assert "MELLEA_MODEL_ID" not in str(caught.value)
    assert "ollama serve" in str(caught.value)


def test_an_option_that_is_not_supported_names_its_variable_too(
    openai: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELLEA_BACKEND", "openai")
    monkeypatch.setenv("MELLEA_MODEL_OPTIONS", '{"top_k": 3}')
    with pytest.raises(mellea_api.OptionError, match="MELLEA_MODEL_OPTIONS"):
        MelleaRuntime(unsupported="error", server="official")
    with MelleaRuntime(unsupported="drop", server="official", model_options={"seed": 1}) as runtime:
        assert runtime.chat("Hello!") == "Hello!"


@pytest.mark.parametrize(
    "variable", ["MELLEA_BACKEND", "MELLEA_MODEL_ID", "MELLEA_MODEL_OPTIONS", "MELLEA_RUN_ID"]
)
@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_value_counts_as_not_set(
    ollama: OllamaServer, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with MelleaRuntime() as runtime:
        assert (runtime.backend, runtime.model_id) == ("ollama", "granite4:micro")
        assert (runtime.model_options, runtime.run_id) == ({}, None)
