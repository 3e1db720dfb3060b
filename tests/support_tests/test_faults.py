"""Each fault is the fault that it says it is, to real clients, and ends at once."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import httpx
import ollama
import openai
import pytest
from support import faults

MESSAGES: Any = [{"role": "user", "content": "What is 2+2?"}]


def openai_chat(url: str, stream: bool = False) -> Any:
    client = openai.OpenAI(base_url=url, api_key="sk-good", max_retries=0, timeout=0.3)
    answer: Any = client.chat.completions.create(model="tiny", messages=MESSAGES, stream=stream)
    return list(answer) if stream else answer


def ollama_chat(url: str) -> Any:
    return list(ollama.Client(url, timeout=0.3).chat("tiny", MESSAGES, stream=True))


@pytest.mark.parametrize("name", [name for name in faults.BY_NAME if name != "slow_headers"])
def test_no_fault_gives_an_answer_and_all_end_at_once(name: str) -> None:
    before = threading.active_count()
    with faults.named(name) as url:
        for ask in (openai_chat, ollama_chat):
            try:
                answer = ask(url)
            except Exception:
                continue  # which error it is, is the business of the backend's tests
            # The SDKs take some of these for an answer; it has no text in it.
            assert not getattr(answer, "choices", None)
            assert not any(getattr(part, "done", False) for part in answer)
        begin = time.perf_counter()
    assert time.perf_counter() - begin < 0.5
    assert threading.active_count() <= before


def test_a_refused_port_stays_refused() -> None:
    with faults.refused() as server:
        for _ in range(2):
            with pytest.raises(openai.APIConnectionError):
                openai_chat(server.base_url)


def test_a_black_hole_connects_and_times_out() -> None:
    with faults.black_hole() as server, pytest.raises(openai.APITimeoutError):
        openai_chat(server.base_url)


def test_slow_headers_outlast_a_timeout_per_read() -> None:
    with faults.slow_headers(0.02) as server:
        ended = threading.Event()

        def ask() -> None:
            with pytest.raises(openai.APIConnectionError):
                openai_chat(server.base_url)
            ended.set()

        thread = threading.Thread(target=ask)
        thread.start()
        # Twice the client's timeout, and it still waits.
        assert not ended.wait(0.8)
        begin = time.perf_counter()
    thread.join(2)
    assert ended.is_set()
    assert time.perf_counter() - begin < 1


def test_half_a_body_is_cut_by_the_connection_or_by_its_length() -> None:
    with faults.truncated_json() as server:
        answer = httpx.post(server.url)
        assert answer.headers["content-type"] == "application/json"
        with pytest.raises(json.JSONDecodeError):
            answer.json()
    with faults.truncated_json(cut_connection=True) as server, pytest.raises(httpx.TransportError):
        httpx.post(server.url)


def test_status_sends_text_json_and_headers() -> None:
    with faults.status(503, "try later", {"retry-after": "7"}) as server:
        answer = httpx.get(server.url)
        assert (answer.status_code, answer.text, answer.headers["retry-after"]) == (
            503,
            "try later",
            "7",
        )
    with faults.status(418, {"error": "teapot"}) as server:
        assert httpx.get(server.url).json() == {"error": "teapot"}


def collect(parts: Any, texts: list[str]) -> None:
    """Keeps what came before the error."""
    texts.extend(
        part.choices[0].delta.content if hasattr(part, "choices") else part.message.content
        for part in parts
    )


def test_a_stream_of_events_is_cut_after_its_chunks() -> None:
    texts: list[str] = []
    with faults.cut_stream(chunks=2) as server:
        client = openai.OpenAI(base_url=server.base_url, api_key="sk-good", max_retries=0)
        stream = client.chat.completions.create(model="tiny", messages=MESSAGES, stream=True)
        # Which class it is depends on the SDK's version: the HTTP library's own, or openai's.
        with pytest.raises(Exception, match=r"(?i)peer|reset|connection"):
            collect(stream, texts)
    assert texts == ["0 ", "1 "]


def test_a_stream_of_lines_is_cut_after_its_chunks() -> None:
    texts: list[str] = []
    with faults.cut_stream("ndjson", chunks=2) as server:
        stream = ollama.Client(server.base_url).chat("tiny", MESSAGES, stream=True)
        with pytest.raises(httpx.TransportError):
            collect(stream, texts)
    assert texts == ["0 ", "1 "]
