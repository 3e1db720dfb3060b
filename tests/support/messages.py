"""A request and an answer, as the loopback servers see them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Recorded:
    """One request, as it came over the wire.

    Attributes:
        method: For example "POST".
        path: Decoded, without the query.
        query: The query's parameters; of a repeated one, the last.
        headers: By lower-case name.
        body: The raw bytes.
        json: The body as JSON; None where it is not JSON.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    json: Any


@dataclass
class Reply:
    """What to answer. At most one of `json`, `text`, `body` and `chunks` is set.

    Attributes:
        status: The HTTP status code.
        json: Sent as `application/json`.
        text: Sent as `text/plain`.
        body: Sent as it is.
        chunks: Sent as they come, with chunked encoding; a float among them is a pause in seconds.
        headers: Added to those that follow from the above, and stronger.
        reset: Cut the connection where the body would end, as a crashing server does.
        raw: Send the chunks alone: no status line and no headers.
    """

    status: int = 200
    json: Any = None
    text: str | None = None
    body: bytes | None = None
    chunks: Iterable[bytes | str | float] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    reset: bool = False
    raw: bool = False

    def payload(self) -> tuple[str, bytes]:
        """The content type and the bytes of an answer that is not streamed."""
        if self.text is not None:
            return "text/plain; charset=utf-8", self.text.encode()
        if self.body is not None:
            return "application/octet-stream", self.body
        return "application/json", b"" if self.json is None else json.dumps(self.json).encode()
