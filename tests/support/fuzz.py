"""Answers of every status, with any headers and body, cut anywhere: a call ends well or in one of our errors."""

from __future__ import annotations

import gzip
import logging
import os
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from attrs import frozen
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

import mellea_api
from mellea_api.testing import HOSTILE, Asked, LoopbackServer, Reply
from mellea_api.testing._server_harness import changed

KEY = "sk-canary-0123456789abcdef"
TIMEOUT = 10.0
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))
fuzzed = settings(
    max_examples=EXAMPLES or settings().max_examples,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
"""The nightly run tries FUZZ_EXAMPLES on each backend."""

HEADERS: dict[str, list[str]] = {
    "Content-Type": [
        *("application/json", "text/event-stream", "application/x-ndjson", "text/html", ""),
        *("application/json; charset=utf-16", "text/plain; charset=no-such", "a/b; charset=rot13"),
    ],
    "Content-Encoding": ["identity", "gzip", "deflate", "br", "x", "gzip, gzip"],
    "Content-Length": ["0", "1", "1000000"],
    "Transfer-Encoding": ["chunked", "gzip"],
    "Retry-After": ["0", "-1", "inf", "1e308", "nan", "soon", "1893456000", "9" * 400],
    "Location": ["/", "//x.invalid", "http://x.invalid/v1", "\u00ff", ""],
    "x-request-id": [KEY, "\x1b[2J", "a" * 5000],
    "x-ratelimit-reset-requests": ["1s", "6m0s", "-", "1" * 300],
    "Connection": ["close", "upgrade"],
}


@frozen
class Strange:
    """One answer.

    Args:
        status: The HTTP status.
        headers: Those that stand beside, or in place of, the right ones.
        change: What is done to a good body.
        zipped: Whether it is sent compressed.
        cut: How much of it is sent: from 0 to 1; None for all.
    """

    status: int
    headers: dict[str, str]
    change: Callable[[bytes], bytes]
    zipped: bool
    cut: float | None


def _changed(names: list[str]) -> Callable[[bytes], bytes]:
    def change(body: bytes) -> bytes:
        for name in names:
            try:
                body = HOSTILE[name].change(body)
            except (ValueError, IndexError, TypeError, AttributeError, RecursionError):
                continue  # what was done before leaves nothing to change
        return body

    return change


def _flipped(places: list[tuple[float, int]]) -> Callable[[bytes], bytes]:
    def flip(body: bytes) -> bytes:
        found = bytearray(body)
        for place, byte in places:
            if found:
                found[int(place * (len(found) - 1))] = byte
        return bytes(found)

    return flip


def _always(body: bytes) -> Callable[[bytes], bytes]:
    return lambda _: body


_shares = st.floats(0, 1)
_changes = st.one_of(
    st.lists(st.sampled_from(sorted(HOSTILE)), max_size=3).map(_changed),
    st.lists(st.tuples(_shares, st.integers(0, 255)), min_size=1, max_size=4).map(_flipped),
    st.binary(max_size=200).map(_always),
    st.text(max_size=100).map(lambda text: _always(text.encode("utf-8", "surrogatepass"))),
    st.sampled_from([f"You sent {KEY}", f'{{"error": {{"message": "{KEY}"}}}}']).map(
        lambda text: _always(text.encode())
    ),
)
_headers = st.lists(st.sampled_from(sorted(HEADERS)), unique=True, max_size=3).flatmap(
    lambda names: st.fixed_dictionaries({name: st.sampled_from(HEADERS[name]) for name in names})
)
strange_answers = st.builds(
    Strange,
    st.sampled_from([200] * 8 + [201, 204, 206, 301, 304, 400, 401, 404, 408, 413, 429, 500, 503])
    | st.integers(200, 599),
    _headers,
    _changes,
    st.sampled_from([False, False, False, True]),
    st.none() | _shares,
)


@contextmanager
def logged() -> Iterator[list[str]]:
    """Collect what is logged."""
    shown: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: shown.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    try:
        yield shown
    finally:
        logging.getLogger().removeHandler(handler)


def try_it(server: LoopbackServer, session: Any, strange: Strange, *, streamed: bool) -> None:
    """Make one call that is answered strangely, and one that is answered well."""
    good = server.answer
    body_of = changed(good, strange.change)

    def answer(asked: Asked) -> Any:
        found = body_of(asked)
        if not isinstance(found, Reply):
            return found
        body = gzip.compress(found.body) if strange.zipped else found.body
        headers = {"Connection": "close", **found.headers, **strange.headers}
        if strange.zipped:
            headers.setdefault("Content-Encoding", "gzip")
        cut = len(body) if strange.cut is None else int(strange.cut * len(body))
        return Reply(status=strange.status, headers=headers, body=body, cut=cut)

    def ask() -> str:
        if streamed:
            return "".join(mellea_api.stream_chat(session, "What is 2+2?"))
        return str(session.chat("What is 2+2?").content)

    server.answer = answer
    began = time.monotonic()
    with logged() as shown:
        try:
            ask()
        except mellea_api.MelleaAPIError as error:
            shown += [repr(error), "".join(traceback.format_exception(error))]
    took = time.monotonic() - began
    server.answer = good
    assert took < 2 * TIMEOUT + 1, f"it took {took:.1f} s"
    assert not [text for text in shown if KEY in text], "a secret is shown"
    try:
        after = ask()
    except mellea_api.BackendUnavailableError:
        after = ask()  # the connection was closed, or more bytes lay there than the answer said
    assert after == "4", "the session cannot be used any more"
