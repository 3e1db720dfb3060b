"""What writes the text behind the loopback providers: a canned answer, or a real llama.cpp server.

The canned answer is instant, and still bends to the limit and the stop sequences, so that a test sees their effect.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from support.http import Recorded
from support.llamacpp import LlamaCppServer


def split_tokens(text: str) -> list[str]:
    """Tokens of the canned engine: words, with the white space before them.

    >>> split_tokens("The answer is 4.")
    ['The', ' answer', ' is', ' 4.']
    """
    return re.findall(r"\s*\S+|\s+$", text)


def limit_text(text: str, limit: int | None, stop: Sequence[str]) -> tuple[list[str], str]:
    """The tokens of `text` before the first stop sequence and within the limit, and why they end.

    >>> limit_text("one two three", 2, [])
    (['one', ' two'], 'length')
    >>> limit_text("one two three", 9, ["three", " two"])
    (['one'], 'stop')
    """
    ends = [text.index(sequence) for sequence in stop if sequence and sequence in text]
    tokens = split_tokens(text[: min(ends)] if ends else text)
    if limit is not None and len(tokens) > limit:
        return tokens[:limit], "length"
    return tokens, "stop"


def sample_json(schema: Any, text: str = "4", root: Any = None) -> Any:
    """A value that fits a JSON schema of the kind pydantic writes.

    >>> sample_json(
    ...     {"type": "object", "properties": {"n": {"type": "integer"}, "s": {"type": "string"}}}
    ... )
    {'n': 4, 's': '4'}
    """
    if not isinstance(schema, dict):
        return text
    root = schema if root is None else root
    if "$ref" in schema:
        target = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return sample_json(target, text, root)
    for choice in ("anyOf", "oneOf", "allOf"):
        if schema.get(choice):
            return sample_json(schema[choice][0], text, root)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if kind == "object":
        return {
            name: sample_json(value, text, root)
            for name, value in schema.get("properties", {}).items()
        }
    if kind == "array":
        return [sample_json(schema.get("items"), text, root)] * int(schema.get("minItems", 1))
    return {"integer": 4, "number": 4.0, "boolean": True, "null": None}.get(str(kind), text)


@dataclass
class Script:
    """What a provider without an engine says.

    Attributes:
        text: The answer to everything, or a function of the request.
        answers: Said first, one per generation, oldest first.
        tool_calls: Calls to make, one per request that carries tools: the function's name and its arguments.
        thinking: The reasoning of a model that thinks.
    """

    text: str | Callable[[Recorded], str]
    answers: deque[str]
    tool_calls: deque[tuple[str, dict[str, Any]]]
    thinking: str = "Two and two."

    def next_text(self, request: Recorded, schema: Any = None) -> str:
        """The next answer; with a schema (or True for any JSON), one that fits it."""
        # Not "if self.answers": another thread may take the last one in between.
        with contextlib.suppress(IndexError):
            return self.answers.popleft()
        text = self.text if isinstance(self.text, str) else self.text(request)
        if schema is None:
            return text
        return json.dumps(
            sample_json(schema, text) if isinstance(schema, dict) else {"answer": text}
        )

    def next_tool_call(self, tools: Any) -> tuple[str, dict[str, Any]] | None:
        """The next tool call, if the request carries tools and one is due."""
        with contextlib.suppress(IndexError):
            return self.tool_calls.popleft() if tools else None
        return None


def script(text: str | Callable[[Recorded], str]) -> Script:
    """A script that always says the same."""
    return Script(text, deque(), deque())


class EngineError(Exception):
    """The engine refused a request.

    Attributes:
        status: The HTTP status code.
        body: The JSON that came with it.
    """

    def __init__(self, status: int, body: Any) -> None:
        """See the class."""
        super().__init__(f"llama.cpp answered {status}: {body}")
        self.status = status
        self.body = body


def forward(engine: LlamaCppServer, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Sends one request to llama.cpp, and returns its answer.

    Args:
        engine: A running server.
        path: Below its base URL, for example "/chat/completions".
        body: The JSON to send.

    Raises:
        EngineError: It answered with an error.
    """
    connection, response = _send(engine, path, {**body, "stream": False})
    try:
        answer: dict[str, Any] = json.loads(response.read())
        return answer
    finally:
        connection.close()


def forward_stream(
    engine: LlamaCppServer, path: str, body: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """As `forward`, but yields the chunks of a stream.

    The request is sent before this returns, so that a refusal can still be answered with a status code. When the
    iterator is closed, the connection is cut, and llama.cpp stops to generate.
    """
    connection, response = _send(engine, path, {**body, "stream": True})

    def chunks() -> Iterator[dict[str, Any]]:
        try:
            for line in response:
                data = line.strip().removeprefix(b"data:").strip()
                if line.startswith(b"data:") and data != b"[DONE]":
                    yield json.loads(data)
        finally:
            connection.close()

    return chunks()


def _send(
    engine: LlamaCppServer, path: str, body: Mapping[str, Any]
) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    url = urlsplit(engine.base_url)
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=60)
    headers = {"content-type": "application/json"}
    if engine.api_key is not None:
        headers["authorization"] = f"Bearer {engine.api_key}"
    connection.request("POST", url.path + path, json.dumps(body), headers)
    response = connection.getresponse()
    if response.status != 200:
        text = response.read()
        connection.close()
        try:
            raise EngineError(response.status, json.loads(text))
        except ValueError:
            raise EngineError(response.status, text.decode(errors="replace")) from None
    return connection, response
