"""Answers as servers should not give them, made of a good one, for every protocol that is JSON.

A row says what is done to the body of a good answer, whole or streamed. What must come of it: the
answer, complete and true, or one of our errors. Never an empty text, never another exception.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from attrs import frozen

from mellea_api._contract.errors import MelleaAPIError

Pieces = list[Any]
"""The JSON of a body: one value, or one for each event of a stream. Bytes stay as they are."""

_TEXTS: Final = ("content", "text", "generated_text", "response")
_ENDS: Final = ("finish_reason", "done_reason", "stop_reason")
_MESSAGES: Final = ("message", "delta")
_SEPARATED: Final = "4\u2028\x85\x1c4"
_SAID: Final = "I cannot help with that."


@frozen
class Hostile:
    """One row of the table.

    Args:
        change: What is done to the body of a good answer.
        text: The text that it has then; None if the good answer's is still there.
        readable: Whether all of the answer is there, so that no error will do.
    """

    change: Callable[[bytes], bytes]
    text: str | None = None
    readable: bool = False

    def problem(self, ask: Callable[[], str], good: str) -> str:
        """Return what is wrong with what comes of this answer; empty if nothing is.

        Args:
            ask: Asks the server, which answers so, and returns the text of the answer.
            good: The text of the good answer.
        """
        try:
            said = ask()
        except MelleaAPIError as error:
            return str(error) if self.readable else ""
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return "" if said == (self.text or good) else f"the answer is {said!r}"


def _pieces(change: Callable[[Pieces], Pieces]) -> Callable[[bytes], bytes]:
    """Apply a change of the JSON to a body, in the frame that the body has."""

    def apply(body: bytes) -> bytes:
        events = b"data:" in body
        found: Pieces = []
        for line in body.splitlines():
            try:
                found.append(json.loads(line.removeprefix(b"data:")))
            except ValueError:
                continue  # the frame
        begin, end = (b"data: ", b"\n\n") if events else (b"", b"\n")
        sent = [one if isinstance(one, bytes) else _written(one) for one in change(found)]
        if b"[DONE]" in body:
            sent.append(b"[DONE]")
        return b"".join(begin + one + end for one in sent)

    return apply


def _written(value: Any) -> bytes:
    """Write JSON with its characters as they are, which only half a one cannot be."""
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value).encode()


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in inner:
        yield from _objects(one)


def _put(names: Sequence[str], value: Any) -> Callable[[bytes], bytes]:
    """Put a value wherever one of the names stands."""

    def put(pieces: Pieces) -> Pieces:
        for one in _objects(pieces):
            one.update({name: value for name in names if name in one})
        return pieces

    return _pieces(put)


def _drop(*names: str) -> Callable[[bytes], bytes]:
    def drop(pieces: Pieces) -> Pieces:
        for one in list(_objects(pieces)):
            for name in names:
                one.pop(name, None)
        return pieces

    return _pieces(drop)


def _say(make: Callable[[str], Any], **beside: Any) -> Callable[[bytes], bytes]:
    """Put another value in the place of each text that is not empty."""

    def say(pieces: Pieces) -> Pieces:
        for one in list(_objects(pieces)):
            for name in _TEXTS:
                if one.get(name) and isinstance(one[name], str):
                    one.update({name: make(one[name]), **beside})
        return pieces

    return _pieces(say)


def _only(*pieces: Any) -> Callable[[bytes], bytes]:
    return _pieces(lambda _: list(pieces))


HOSTILE: Final[Mapping[str, Hostile]] = {
    # Who speaks.
    "a role without a name": Hostile(_put(["role"], ""), readable=True),
    "the role `model`": Hostile(_put(["role"], "model")),
    "a role that is null": Hostile(_put(["role"], None), readable=True),
    "a role that is a number": Hostile(_put(["role"], 1)),
    "no role": Hostile(_drop("role"), readable=True),
    # What is said.
    "a content that is null": Hostile(_put(_TEXTS, None)),
    "no content": Hostile(_drop(*_TEXTS)),
    "a content in parts": Hostile(_say(lambda text: [{"type": "text", "text": text}])),
    "a content that is a number": Hostile(_say(lambda text: 4)),
    "a content that is an object": Hostile(_say(lambda text: {"text": text})),
    "a refusal beside no content": Hostile(
        lambda body: _put(_TEXTS, None)(_say(str, refusal=_SAID)(body)), _SAID
    ),
    "line separators of Unicode": Hostile(_say(lambda text: _SEPARATED), _SEPARATED, readable=True),
    "a text beyond the basic plane": Hostile(
        _say(lambda text: "4 \U0001f600"), "4 \U0001f600", readable=True
    ),
    "half a character": Hostile(_say(lambda text: "4\ud800"), "4\ud800"),
    "a null character": Hostile(_say(lambda text: "4\x00"), "4\x00"),
    # Around it.
    "a message that is null": Hostile(_put(_MESSAGES, None)),
    "a message that is a text": Hostile(_put(_MESSAGES, "4")),
    "no message": Hostile(_drop(*_MESSAGES)),
    "no choices": Hostile(_put(["choices", "results"], [])),
    "choices that are null": Hostile(_put(["choices", "results"], None)),
    "choices that are an object": Hostile(_put(["choices", "results"], {"0": 1})),
    "a choice that is null": Hostile(_put(["choices", "results"], [None])),
    "choices that are left out": Hostile(_drop("choices", "results", *_MESSAGES)),
    "the usage alone at the end": Hostile(
        _pieces(lambda found: [*found, {**found[-1], "choices": []}] if len(found) > 1 else found)
    ),
    "usage that is null": Hostile(_put(["usage"], None), readable=True),
    "usage of another shape": Hostile(_put(["usage"], [1])),
    "numbers that are texts": Hostile(_put(["created", "eval_count", "total_tokens"], "many")),
    "ids that are null": Hostile(_put(["id", "model", "object", "created"], None), readable=True),
    # How it ends.
    "no reason to end": Hostile(_drop(*_ENDS)),
    "an unknown reason to end": Hostile(_put(_ENDS, "eaten")),
    "the reason to end `error`": Hostile(_put(_ENDS, "error")),
    "a reason to end that is an object": Hostile(_put(_ENDS, {"type": "stop"})),
    "an answer that is not done": Hostile(_put(["done"], False)),
    "the last piece is missing": Hostile(_pieces(lambda found: found[:-1])),
    "no mark of the end": Hostile(lambda body: body.replace(b"data: [DONE]\n\n", b"")),
    # Errors with a good status.
    "an error as a text": Hostile(_only({"error": "out of memory"})),
    "an error as an object": Hostile(_only({"error": {"message": "out of memory", "code": 500}})),
    "an error as a list": Hostile(_only([{"error": {"message": "out of memory"}}])),
    "an error behind the first piece": Hostile(
        _pieces(lambda found: [*found[:1], {"error": {"message": "out of memory"}}])
    ),
    "an error as plain text": Hostile(lambda _: b"upstream connect error"),
    "a page": Hostile(lambda _: b"<!doctype html><html><body>Log in</body></html>"),
    # No JSON of this protocol, or of none.
    "null": Hostile(_only(None)),
    "a list": Hostile(_only([])),
    "an empty object": Hostile(_only({})),
    "a number": Hostile(_only(4)),
    "a text": Hostile(_only("4")),
    "nothing": Hostile(lambda _: b""),
    "blanks": Hostile(lambda _: b"\n \n"),
    "nested deeply": Hostile(_only(b'{"choices":' + b"[" * 60000 + b"]" * 60000 + b"}")),
    "a number of 5000 digits": Hostile(_put(["created", "total_tokens", "eval_count"], 10**4200)),
    "a number that is infinite": Hostile(_put(["created", "eval_count"], float("inf"))),
    "half of the body": Hostile(lambda body: body[: len(body) // 2]),
    "another byte inside": Hostile(lambda body: body.replace(b'":', b'\xff":', 1)),
    "UTF-16": Hostile(lambda body: body.decode().encode("utf-16")),
    "a mark of byte order": Hostile(lambda body: b"\xef\xbb\xbf" + body, readable=True),
    "blank lines between": Hostile(
        lambda body: b"\n\n" + body.replace(b"\n", b"\n\n\n"), readable=True
    ),
    "lines that end as on Windows": Hostile(
        lambda body: body.replace(b"\n", b"\r\n"), readable=True
    ),
    "words behind the end": Hostile(lambda body: body + b"\nBye"),
}
"""Every row by what is wrong with the answer."""
