"""A server on this machine that a test tells what to answer, and that keeps what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from attrs import frozen


@frozen(kw_only=True)
class Asked:
    """One request that came.

    Args:
        method: `GET`, `POST`, …
        path: Its path, with the query.
        headers: Its headers, by their names in lower case.
        body: What was sent: of JSON what it says, else the text.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any = None


@frozen(kw_only=True)
class Reply:
    """What is answered.

    Args:
        status: The HTTP status.
        body: What is sent: bytes as they are, anything else as JSON.
        headers: Further headers.
        silent: Whether nothing is sent at all, until the server is closed.
        cut: How many bytes of the body are sent before the connection is closed; None for all.
    """

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = {}
    silent: bool = False
    cut: int | None = None


class LoopbackServer:
    """A server on 127.0.0.1, at a port that the system chooses, inside a `with`.

    Args:
        answer: Says what to answer: a `Reply`, or what is sent as JSON. May be replaced.

    Attributes:
        answer: As given.
        asked: What was asked so far, in order.
        address: Where it is: `http://127.0.0.1:PORT`.
    """

    def __init__(self, answer: Callable[[Asked], Any]) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        self._closing = threading.Event()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def _any(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                try:
                    body = json.loads(raw) if raw else None
                except ValueError:
                    body = raw.decode("utf-8", "replace")
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(method=self.command, path=self.path, headers=headers, body=body)
                owner.asked.append(asked)
                found = owner.answer(asked)
                self._send(found if isinstance(found, Reply) else Reply(body=found))

            def _send(self, reply: Reply) -> None:
                if reply.silent:
                    owner._closing.wait()
                    self.close_connection = True
                    return
                body = reply.body
                sent = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(reply.status)
                own = {"Content-Type": "application/json", "Content-Length": str(len(sent))}
                for name, value in {**own, **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(sent[: reply.cut])
                self.close_connection = self.close_connection or reply.cut is not None

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing on standard error."""

        for method in ("GET", "POST", "HEAD", "PUT", "DELETE"):
            setattr(Handler, f"do_{method}", Handler._any)

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Let a client go away in the middle of an answer."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> LoopbackServer:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def openai_answer(asked: Asked, models: tuple[str, ...] = ("tiny",), text: str = "4") -> Any:
    """Return what a server of OpenAI's protocol would answer.

    Args:
        asked: What it was asked.
        models: The models that it has.
        text: What it says to every prompt.
    """
    path = asked.path.partition("?")[0]
    if asked.method == "GET":
        listed = [
            {"id": name, "object": "model", "created": 1, "owned_by": "test"} for name in models
        ]
        one = [model for model in listed if path.endswith(f"/models/{model['id']}")]
        if one:
            return one[0]
        if path.endswith("/models"):
            return {"object": "list", "data": listed}
        return Reply(status=404, body={"error": {"message": "There is no such page."}})
    body = asked.body if isinstance(asked.body, dict) else {}
    chat = path.endswith("/chat/completions")
    streamed = chat and body.get("stream") is True
    message = {"role": "assistant", "content": text}
    said = {"delta" if streamed else "message": message} if chat else {"text": text}
    prompts = body.get("prompt")
    count = len(prompts) if isinstance(prompts, list) else 1
    answer: dict[str, Any] = {
        "id": "answer-1",
        "object": "chat.completion" if chat else "text_completion",
        "created": 1,
        "model": body.get("model", models[0]),
        "choices": [
            {"index": index, "finish_reason": "stop", "logprobs": None, **said}
            for index in range(count)
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
    if not streamed:
        return answer
    answer |= {"object": "chat.completion.chunk", "usage": None}
    choice = {"index": 0, "logprobs": None}
    first = {**answer, "choices": [{**choice, "delta": message, "finish_reason": None}]}
    last = {**answer, "choices": [{**choice, "delta": {}, "finish_reason": "stop"}]}
    events = (json.dumps(first), json.dumps(last), "[DONE]")
    return Reply(
        body="".join(f"data: {event}\n\n" for event in events).encode(),
        headers={"Content-Type": "text/event-stream"},
    )
