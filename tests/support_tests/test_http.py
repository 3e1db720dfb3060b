"""The loopback base records what it is sent, and sends what it is told."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest
from support.http import LoopbackServer, Recorded, Reply


class Echo(LoopbackServer):
    """Answers with what it was sent; "/stream" in pieces, "/broken" not at all."""

    def handle(self, request: Recorded) -> Reply:
        if request.path == "/stream":
            return Reply(chunks=["one ", b"two ", 0.01, "three"])
        if request.path == "/broken":
            raise ValueError("a bug in the server")
        return Reply(
            json={"path": request.path, "query": dict(request.query), "json": request.json}
        )


def test_a_request_is_recorded_as_it_was_sent() -> None:
    with Echo() as server:
        answer = httpx.post(
            f"{server.url}/a%20b?x=1&y=", json={"k": [1]}, headers={"X-Thing": "v"}
        ).json()
        assert answer == {"path": "/a b", "query": {"x": "1", "y": ""}, "json": {"k": [1]}}
        assert server.last.method == "POST"
        assert server.last.headers["x-thing"] == "v"
        assert json.loads(server.last.body) == server.last.json == {"k": [1]}
        assert [request.path for request in server.calls("/a b")] == ["/a b"]
        server.clear()
        assert server.requests == []


def test_a_body_in_chunks_is_read_whole() -> None:
    with Echo() as server:
        httpx.post(server.url, content=iter([b'{"k":', b" 1}"]))
        assert server.last.json == {"k": 1}


def test_a_stream_arrives_in_pieces() -> None:
    with Echo() as server, httpx.stream("GET", f"{server.url}/stream") as response:
        assert "".join(response.iter_text()) == "one two three"


def test_one_connection_serves_many_requests_without_delay() -> None:
    with Echo() as server:
        url = urlsplit(server.url)
        connection = http.client.HTTPConnection(str(url.hostname), url.port)
        begin = time.perf_counter()
        for _ in range(20):
            connection.request("POST", "/", b"{}")
            connection.getresponse().read()
        # With Nagle's algorithm every answer waits 40 ms for a delayed acknowledgement.
        assert time.perf_counter() - begin < 0.5
        connection.close()


def test_a_hundred_clients_at_once_are_all_served() -> None:
    with Echo() as server:
        server.latency = 0.1
        begin = time.perf_counter()
        with ThreadPoolExecutor(100) as pool:
            codes = list(pool.map(lambda _: urllib.request.urlopen(server.url).status, range(100)))
        assert codes == [200] * 100
        # Where the queue is short, the kernel drops some, and those try again after seconds.
        assert time.perf_counter() - begin < 3
        assert server.peak > 10


def test_faults_come_in_order_and_where_they_were_asked_for() -> None:
    with Echo() as server:
        server.fail_next(429, headers={"retry-after": "7"}, times=2, path="/x")
        server.fail_next(500, json={"error": "boom"})
        assert httpx.get(f"{server.url}/y").json() == {"error": "boom"}
        codes = [httpx.get(f"{server.url}/{path}") for path in ("x", "y", "x", "x")]
        assert [response.status_code for response in codes] == [429, 200, 429, 200]
        assert codes[0].headers["retry-after"] == "7"


def test_a_reset_is_an_error_of_the_connection() -> None:
    with Echo() as server:
        server.fail_next(200, json={"k": "v"}, headers={"content-length": "1000"}, reset=True)
        with pytest.raises(httpx.TransportError):
            httpx.get(server.url)


def read_all(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def test_a_reset_is_a_reset_and_not_an_end() -> None:
    with Echo() as server:
        server.fail_next(200, json={"k": "v"}, reset=True)
        with socket.create_connection(("127.0.0.1", urlsplit(server.url).port)) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            with pytest.raises(ConnectionResetError):
                read_all(connection)


def test_a_bug_in_a_server_cannot_pass_for_a_provider_s_answer(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with Echo() as server:
        assert httpx.get(f"{server.url}/broken").status_code == 599
    assert "a bug in the server" in capfd.readouterr().err


def test_closing_ends_waiting_requests_and_leaves_no_thread() -> None:
    before = threading.active_count()
    with Echo() as server:
        server.latency = 30
        url, failed = server.url, threading.Event()

        def wait() -> None:
            with pytest.raises(httpx.TransportError):
                httpx.get(url, timeout=60)
            failed.set()

        client = threading.Thread(target=wait)
        client.start()
        time.sleep(0.1)
        begin = time.perf_counter()
    assert time.perf_counter() - begin < 1
    client.join(2)
    assert failed.is_set()
    assert threading.active_count() <= before


def test_the_address_of_a_server_that_is_not_running_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="with"):
        _ = Echo().url
