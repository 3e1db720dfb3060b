"""Many threads and tasks share what may be shared: nothing is lost, mixed up, stuck or left over."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.load import (
    TASKS,
    THREADS,
    Ask,
    echo,
    expected,
    generations,
    in_tasks,
    in_threads,
    meanwhile,
    sent,
)
from support.ollama_server import OllamaServer
from support.openai_server import OpenAIServer
from support.waiting import until

pytest.importorskip("mellea_api_ollama")
pytest.importorskip("mellea_api_openai")
pytest.importorskip("mellea_api_ngram")

import mellea_api
from mellea_api import Registry
from mellea_api.runtime import MelleaRuntime

MODELS = ("one", "two", "three", "four")
PLACES = [*(("ollama", model) for model in MODELS), *(("openai", model) for model in MODELS)]
"""More than a runtime keeps open, so that backends are closed while others call."""


@pytest.fixture
def ollama(monkeypatch: pytest.MonkeyPatch) -> Iterator[OllamaServer]:
    with OllamaServer(MODELS, text=echo) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.base_url)
        yield server


@pytest.fixture
def openai(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    with OpenAIServer(text=echo, strict=False, api_key=None, models=MODELS) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        yield server


@pytest.fixture
def servers(ollama: OllamaServer, openai: OpenAIServer) -> Iterator[tuple[Any, Any]]:
    """Both providers; at the end nobody is connected to them, and no thread is left over."""
    with MelleaRuntime("ollama", "one") as runtime:
        runtime.instruct("Hello!")  # the threads of Mellea's loop and of tqdm are there for good
    until(lambda: ollama.connections == 0)
    ollama.clear()
    before = set(threading.enumerate())
    yield ollama, openai
    until(lambda: ollama.connections == openai.connections == 0)

    def left() -> list[str]:
        names = [thread.name for thread in set(threading.enumerate()) - before]
        # An event loop keeps a few for looking up addresses, and Mellea's loop is for good.
        return [name for name in names if not name.startswith("asyncio_")]

    until(lambda: not left())


def switching(runtime: MelleaRuntime) -> Callable[[], None]:
    """What goes from model to model, on both providers."""
    places = itertools.cycle(PLACES)

    def switch() -> None:
        backend, model = next(places)
        runtime.switch_model(model, backend=backend)

    return switch


def others() -> list[Callable[[], Any]]:
    """What other parts of a program do."""
    return [
        mellea_api.refresh,
        lambda: mellea_api.list_models("ollama"),
        lambda: mellea_api.explain_options("openai", {"max_tokens": 3, "seed": 4}),
        lambda: mellea_api.shared_registry().backend("ngram"),
    ]


# --- one runtime ---------------------------------------------------------------------------------


def test_threads_share_a_runtime_while_it_is_switched(servers: tuple[Any, Any]) -> None:
    asks = [Ask() for _ in range(3 * THREADS)]
    with MelleaRuntime("ollama", "one", {"top_p": 0.5}) as runtime:

        def work(number: int) -> None:
            for turn in range(3):
                way = Ask.SYNC[(number + turn) % 3]
                way(asks[3 * number + turn], runtime)

        with meanwhile(switching(runtime), *others()) as done:
            in_threads([lambda number=number: work(number) for number in range(THREADS)])
        assert done[0] > 1, "it was never switched"
    found = generations(*servers)
    assert sorted(map(sent, found), key=lambda one: one[1]) == expected(asks)
    assert {body.get("options", body)["top_p"] for body in found} == {0.5}
    assert {body["model"] for body in found} <= set(MODELS)


def test_tasks_share_a_runtime_while_it_is_switched(servers: tuple[Any, Any]) -> None:
    asks = [Ask() for _ in range(TASKS)]

    async def main() -> None:
        ways = itertools.cycle(Ask.ASYNC)
        await in_tasks(way(ask, runtime) for ask, way in zip(asks, ways, strict=False))

    with MelleaRuntime("ollama", "one") as runtime, meanwhile(switching(runtime), *others()):
        asyncio.run(main())
    assert sorted(map(sent, generations(*servers)), key=lambda one: one[1]) == expected(asks)


def test_threads_and_loops_share_a_runtime(servers: tuple[Any, Any]) -> None:
    """Half of the threads have an event loop of their own."""
    asks = [Ask() for _ in range(THREADS)]

    def work(ask: Ask, runtime: MelleaRuntime) -> None:
        if ask.number % 2:
            ask.chat(runtime)
        else:
            asyncio.run(ask.achat(runtime))

    with MelleaRuntime("ollama", "one") as runtime:
        in_threads([lambda ask=ask: work(ask, runtime) for ask in asks])
    assert sorted(map(sent, generations(*servers)), key=lambda one: one[1]) == expected(asks)


def test_options_are_switched_as_a_whole(servers: tuple[Any, Any]) -> None:
    """No call has one option of before a switch and another of after it, on no model."""
    steps = itertools.cycle(range(1, 20))

    def switch() -> None:
        step = next(steps)
        runtime.switch_model(MODELS[step % 2], model_options={"top_k": step, "num_ctx": 100 + step})

    def work() -> None:
        for _ in range(4):
            runtime.chat("Hello!")

    first = {"top_k": 1, "num_ctx": 101}
    with MelleaRuntime("ollama", MODELS[1], first) as runtime, meanwhile(switch):
        in_threads([work] * THREADS)
    found = generations(*servers)
    assert len(found) == 4 * THREADS
    for body in found:
        step = body["options"]["top_k"]
        assert body["options"] == {"top_k": step, "num_ctx": 100 + step}
        assert body["model"] == MODELS[step % 2]


def test_a_call_keeps_the_options_that_it_began_with(servers: tuple[Any, Any]) -> None:
    """An instruction that is repaired generates several times, on one model with one set."""
    from mellea.stdlib.requirements import req, simple_validate

    with MelleaRuntime("ollama", "one", {"top_k": 1}) as runtime:
        tries = itertools.count()

        def check(_: str) -> bool:
            runtime.switch_model("one", model_options={"top_k": 2})
            return next(tries) > 0

        runtime.instruct("x", requirements=[req("is x", validation_fn=simple_validate(check))])
        runtime.chat("x")
    assert [body["options"]["top_k"] for body in generations(*servers)] == [1, 1, 2]


def test_a_stream_outlives_the_backend_that_it_began_on(servers: tuple[Any, Any]) -> None:
    with MelleaRuntime("ollama", "one") as runtime:
        streams = [runtime.stream(f"one two three {number}") for number in range(THREADS)]
        begun = [next(stream) for stream in streams]
        for backend, model in PLACES[1:]:
            runtime.switch_model(model, backend=backend)
        whole = [first + "".join(rest) for first, rest in zip(begun, streams, strict=True)]
    assert whole == [f"one two three {number}" for number in range(THREADS)]


class _Slow(dict[str, Any]):
    """Options that take their time to be read, once the call has begun."""

    def __init__(self, options: dict[str, Any], meanwhile: Callable[[], None]) -> None:
        super().__init__(options)
        self._meanwhile = meanwhile

    def keys(self) -> Any:
        self._meanwhile()
        return super().keys()

    def __iter__(self) -> Iterator[str]:
        return super().__iter__()


@pytest.mark.parametrize("way", Ask.SYNC)
def test_a_call_that_was_let_in_is_not_shut_out(
    servers: tuple[Any, Any], way: Callable[[Ask, MelleaRuntime], None]
) -> None:
    """Its backend is not closed before it is used, however fast others switch."""
    with MelleaRuntime("ollama", "one") as runtime:

        def switch() -> None:
            for backend, model in PLACES[1:]:
                runtime.switch_model(model, backend=backend)

        ask = Ask()
        ask.options = _Slow(ask.options, switch)
        way(ask, runtime)
        assert (runtime.backend, runtime.model_id) == PLACES[-1]
    (body,) = generations(*servers)
    assert sent(body) == (ask.prompt, ask.number, 1000 + ask.number)
    assert body["model"] == "one"


@pytest.mark.parametrize("way", ["threads", "tasks"])
def test_cleanup_in_the_middle_loses_no_call_that_began(servers: tuple[Any, Any], way: str) -> None:
    runtime = MelleaRuntime("ollama", "one")
    ollama, _ = servers
    answered: list[Ask] = []
    refused: list[Ask] = []

    def work() -> None:
        while True:
            ask = Ask()
            try:
                ask.chat(runtime)
            except mellea_api.SessionClosedError:
                refused.append(ask)
                return
            answered.append(ask)

    async def awork() -> None:
        while True:
            ask = Ask()
            try:
                await ask.achat(runtime)
            except mellea_api.SessionClosedError:
                refused.append(ask)
                return
            answered.append(ask)

    async def main() -> None:
        await in_tasks(awork() for _ in range(THREADS))

    def end() -> None:
        until(lambda: len(answered) > THREADS)
        runtime.cleanup()

    ending = threading.Thread(target=end)
    ending.start()
    if way == "threads":
        in_threads([work] * THREADS)
    else:
        asyncio.run(main())
    ending.join(20)
    assert len(refused) == THREADS
    found = sorted(map(sent, generations(ollama)), key=lambda one: one[1])
    assert found == expected(sorted(answered, key=lambda ask: ask.number))


# --- many sessions -------------------------------------------------------------------------------


def test_many_conversations_go_on_beside_each_other(servers: tuple[Any, Any]) -> None:
    def work(number: int) -> None:
        session = mellea_api.start_session(
            "ollama", MODELS[number % 4], context_type="chat", model_options={"seed": number}
        )
        for turn in range(2):
            answer = session.chat(f"{number}: {turn}", model_options={"top_k": 1 + turn})
            assert answer.content == f"{number}: {turn}"
        report = mellea_api.options_report(session)
        assert report is not None
        assert report.wire == {"options": {"seed": number, "top_k": 2}}
        close(session)

    with meanwhile(*others()):
        in_threads([lambda number=number: work(number) for number in range(THREADS)])
    found = generations(*servers)
    assert len(found) == 2 * THREADS
    for body in found:
        number, turn = body["options"]["seed"], body["options"]["top_k"] - 1
        said = [f"{number}: {before}" for before in range(turn) for _ in range(2)]
        assert [message["content"] for message in body["messages"]] == [*said, f"{number}: {turn}"]
        assert body["model"] == MODELS[number % 4]


def close(session: Any) -> None:
    """As `MelleaRuntime.cleanup` does for its own."""
    from mellea_api._sessions._mellea.clients import close

    close(session.backend)


class _Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.found: list[tuple[Any, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append((getattr(record, "run_id", None), record.getMessage()))


def test_records_and_spans_carry_the_id_of_their_own_run(
    servers: tuple[Any, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Some runs are tasks, some threads; each call warns of an option with a value of its own."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = trace.get_tracer("program")
    records = _Records()
    caplog.set_level(logging.DEBUG, "mellea_api")
    logging.getLogger("mellea_api").addHandler(records)

    def runtime(number: int) -> MelleaRuntime:
        return MelleaRuntime("ngram", run_id=f"run {number}")

    def options(number: int) -> dict[str, Any]:
        return {"context_window": 10_000 + number, "temperature": 0}

    def work(number: int) -> None:
        with runtime(number) as mine, tracer.start_as_current_span(f"span {number}"):
            mine.chat("What is 2+2?", model_options=options(number))

    async def awork(number: int) -> None:
        with runtime(number) as mine, tracer.start_as_current_span(f"span {number}"):
            await mine.achat("What is 2+2?", model_options=options(number))

    async def main() -> None:
        await in_tasks(awork(number) for number in range(THREADS, 2 * THREADS))

    try:
        in_threads([*(lambda n=n: work(n) for n in range(THREADS)), lambda: asyncio.run(main())])
    finally:
        logging.getLogger("mellea_api").removeHandler(records)
    warned = [found for found in records.found if "context_window=" in found[1]]
    assert sorted(
        (run, message.partition("context_window=")[2][:5]) for run, message in warned
    ) == sorted((f"run {number}", str(10_000 + number)) for number in range(2 * THREADS))
    ids = {
        span.name: (span.attributes or {}).get("mellea_api.run_id")
        for span in exporter.get_finished_spans()
        if span.name.startswith("span ")
    }
    assert ids == {f"span {number}": f"run {number}" for number in range(2 * THREADS)}


def test_what_is_said_once_a_session_is_said_once_by_all_threads(
    servers: tuple[Any, Any], caplog: pytest.LogCaptureFixture
) -> None:
    session = mellea_api.start_session("ngram", model_options={"max_tokens": 1})

    def work() -> None:  # on a loop of its own: Mellea's synchronous calls share one thread
        asyncio.run(session.achat("What is 2+2?", model_options={"thinking": True}))

    with caplog.at_level(logging.WARNING, "mellea_api"):
        in_threads([work] * THREADS)
    said = [record for record in caplog.records if "thinking" in record.getMessage()]
    assert len(said) == 1


def test_one_conversation_shared_by_many_threads_loses_no_turn(servers: tuple[Any, Any]) -> None:
    """Who is refused knows it; who is not has a place in the conversation."""
    session = mellea_api.start_session("ollama", "one", context_type="chat")
    answered = []
    refused = []

    def work(number: int) -> None:
        for turn in range(4):
            text = f"{number}: {turn}"
            try:
                session.chat(text)
            except mellea_api.ConcurrentUseError:
                refused.append(text)
            else:
                answered.append(text)

    in_threads([lambda number=number: work(number) for number in range(THREADS)])
    session.chat("last")
    assert len(answered) + len(refused) == 4 * THREADS
    assert refused
    messages = [message["content"] for message in generations(*servers)[-1]["messages"]]
    assert len(generations(*servers)) == len(answered) + 1
    assert sorted(messages) == sorted([*answered, *answered, "last"])
    close(session)


# --- the registry, and a backend in the process ------------------------------------------------


def test_one_registry_gives_all_threads_the_same_backends(servers: tuple[Any, Any]) -> None:
    registry = Registry.discover()
    names = registry.names()

    def work(number: int) -> list[Any]:
        order = names[number % len(names) :] + names[: number % len(names)]
        found = {name: registry.backend(name) for name in order}
        return [found[name] for name in names]

    with meanwhile(*others()):
        first, *rest = in_threads([lambda number=number: work(number) for number in range(THREADS)])
    for found in rest:
        assert list(map(id, found)) == list(map(id, first))


def test_after_a_refresh_nobody_is_given_an_older_registry(servers: tuple[Any, Any]) -> None:
    latest: list[Registry] = []

    def work() -> None:
        for _ in range(3):
            older = list(latest)  # what was there before this refresh began
            latest.append(mellea_api.refresh())
            assert mellea_api.shared_registry() not in older

    in_threads([work] * 8)
    assert mellea_api.shared_registry() in latest


def test_a_seed_gives_the_same_answer_in_the_crowd_as_alone(servers: tuple[Any, Any]) -> None:
    """The n-gram model draws for real: numbers from one another's generator would show."""

    def options(number: int) -> dict[str, Any]:
        return {"seed": number, "max_tokens": 6, "temperature": 1.5}

    async def main() -> list[str]:
        return await in_tasks(
            runtime.achat("Tell me something.", model_options=options(number % THREADS))
            for number in range(2 * THREADS)
        )

    def work(number: int) -> str:
        return runtime.chat("Tell me something.", model_options=options(number))

    with MelleaRuntime("ngram") as runtime:
        alone = [work(number) for number in range(THREADS)]
        assert len(set(alone)) > THREADS / 2
        assert in_threads([lambda n=n: work(n) for n in range(THREADS)]) == alone
        assert asyncio.run(main()) == alone * 2
