"""What servers leave out of an answer is filled in, in objects of an SDK and in dicts; nothing is lost silently."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from mellea_api._contract.errors import AnswerError, BackendUnavailableError, ContentRefusedError
from mellea_api._sessions.choices import Choices

FILTERS = ("content_filter",)


def as_objects(value: Any) -> Any:
    if isinstance(value, dict) and value.keys() != {"city"}:
        return SimpleNamespace(**{name: as_objects(one) for name, one in value.items()})
    return [as_objects(one) for one in value] if isinstance(value, list) else value


FORMS = pytest.mark.parametrize("form", [lambda value: value, as_objects], ids=["dict", "object"])
Form = Callable[[Any], Any]


def delta(end: str | None = None, **said: Any) -> dict[str, Any]:
    return {"choices": [{"delta": said, "finish_reason": end}]}


def whole(end: str = "stop", **said: Any) -> dict[str, Any]:
    return {"choices": [{"message": said, "finish_reason": end}]}


def call(arguments: Any = "", name: str | None = "now", **more: Any) -> dict[str, Any]:
    return {"function": {"name": name, "arguments": arguments}, **more}


def read(form: Form, *pieces: dict[str, Any]) -> list[Any]:
    """The pieces as Mellea is handed them, once all of them were read."""
    choices = Choices(FILTERS)
    handed = [piece for piece in map(form, pieces) if choices.read(piece)]
    choices.finish("")
    return handed


def value_of(thing: Any, name: str) -> Any:
    return thing[name] if isinstance(thing, dict) else getattr(thing, name)


def joined(form: Form, *deltas: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """The calls of tools that Mellea makes of streamed pieces: by index, texts joined."""
    found: dict[int, list[str]] = {}
    for piece in read(form, *(delta(tool_calls=calls) for calls in deltas)):
        (choice,) = value_of(piece, "choices")
        for one in value_of(value_of(choice, "delta"), "tool_calls"):
            name, arguments = found.setdefault(value_of(one, "index"), ["", ""])
            function = value_of(one, "function")
            name += value_of(function, "name") or ""
            arguments += value_of(function, "arguments") or ""
            found[value_of(one, "index")] = [name, arguments]
    assert list(found) == list(range(len(found)))
    return [(name, arguments) for name, arguments in found.values()]


@FORMS
@pytest.mark.parametrize("role", [None, "", "model", "ai", 3])
def test_whoever_answers_is_the_assistant(form: Form, role: Any) -> None:
    for piece in (whole(content="x", role=role), delta(content="x", role=role)):
        (handed,) = read(form, piece)
        (choice,) = value_of(handed, "choices")
        said = choice if isinstance(choice, dict) else vars(choice)
        assert value_of(said.get("message") or said["delta"], "role") == "assistant"


@FORMS
@pytest.mark.parametrize(
    "piece",
    [
        {"choices": None},
        {"choices": []},
        {"choices": [{"index": 0, "finish_reason": None}]},
        {"choices": [{"delta": None, "finish_reason": "stop"}]},
    ],
)
def test_a_piece_without_a_delta_adds_nothing_and_breaks_nothing(
    form: Form, piece: dict[str, Any]
) -> None:
    text = delta(content="four")
    assert len(read(form, text, piece)) == len(read(form, piece, text)) == 1


@FORMS
def test_parts_of_a_content_are_its_text(form: Form) -> None:
    parts = [{"type": "text", "text": "fo"}, {"type": "thinking"}, "ur"]
    (handed,) = read(form, whole(content=parts))
    assert value_of(value_of(value_of(handed, "choices")[0], "message"), "content") == "four"


@FORMS
@pytest.mark.parametrize(
    ("deltas", "calls"),
    [
        ([[call('{"a": 1}')]], [("now", '{"a": 1}')]),
        ([[call("{}", id="1"), call("{}", id="2")]], [("now", "{}")] * 2),
        ([[call("{}", id="1")], [call("{}", id="2")]], [("now", "{}")] * 2),
        (
            [[call("{}", index=0)], [call('{"b": 2}', index=0)]],
            [("now", "{}"), ("now", '{"b": 2}')],
        ),
        ([[call("{}", index=1)], [call("{}", index=3)]], [("now", "{}")] * 2),
        ([[call("", index=0)], [call("{}", index=0)]], [("now", "{}")]),
        ([[call('{"a"', index=0, id="1")], [call(":1}", None)]], [("now", '{"a":1}')]),
        ([[call(None, "no", index=0)], [call("", "w", index=0)]], [("now", "")]),
        ([[call({"city": "Rome"})]], [("now", '{"city": "Rome"}')]),
    ],
)
def test_streamed_calls_of_tools_are_told_apart_and_joined(
    form: Form, deltas: list[list[dict[str, Any]]], calls: list[tuple[str, str]]
) -> None:
    deltas = json.loads(json.dumps(deltas))
    assert joined(form, *deltas) == calls


@FORMS
def test_empty_arguments_of_a_whole_answer_are_an_empty_object(form: Form) -> None:
    (handed,) = read(form, whole("tool_calls", content=None, tool_calls=[call("")]))
    message = value_of(value_of(handed, "choices")[0], "message")
    assert value_of(value_of(value_of(message, "tool_calls")[0], "function"), "arguments") == "{}"


@FORMS
@pytest.mark.parametrize("arguments", ['{"city": "Ro', "[]", "sunny", "[" * 9000])
def test_arguments_that_are_no_object_are_an_error(form: Form, arguments: str) -> None:
    for piece in (whole(tool_calls=[call(arguments)]), delta(tool_calls=[call(arguments)])):
        with pytest.raises(AnswerError, match="it calls 'now' with"):
            read(form, piece)


@FORMS
def test_a_refusal_in_a_field_of_its_own_is_an_error_with_its_words(form: Form) -> None:
    streamed = [delta(refusal="I can"), delta(refusal="not"), delta("stop")]
    for pieces in ([whole(content=None, refusal="I cannot")], streamed):
        with pytest.raises(ContentRefusedError, match="I cannot"):
            read(form, *pieces)


@FORMS
@pytest.mark.parametrize("piece", [whole(content=None), delta("stop"), {"choices": None}])
def test_an_answer_that_says_nothing_at_all_is_an_error(form: Form, piece: dict[str, Any]) -> None:
    with pytest.raises(AnswerError, match="no text"):
        read(form, piece)


@FORMS
def test_an_empty_text_is_an_answer(form: Form) -> None:
    assert read(form, whole(content=""))
    assert read(form, whole("length", content=None, reasoning_content="Hmm"))


@FORMS
@pytest.mark.parametrize(
    ("piece", "kind", "words"),
    [
        (whole("error", content="Half of"), BackendUnavailableError, "ended with an error"),
        (
            {"choices": [{"delta": {}, "error": {"code": 502, "message": "the upstream went"}}]},
            BackendUnavailableError,
            "the upstream went",
        ),
        ({"error": "it was put away"}, BackendUnavailableError, "it was put away"),
        ({"choices": None, "error": {"message": "gone"}}, BackendUnavailableError, "gone"),
        (delta("content_filter", content="x"), ContentRefusedError, "ended the answer"),
    ],
)
def test_an_answer_that_failed_in_the_middle_is_an_error(
    form: Form, piece: dict[str, Any], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        read(form, piece)


@FORMS
@pytest.mark.parametrize(
    "pieces",
    [
        [{"choices": [{"message": {"content": "4"}}] * 1001}],
        [whole(content=["4"] * 1001)],
        [whole(tool_calls=[call("{}")] * 1001)],
        [delta(tool_calls=[call("{}", index=number)]) for number in range(1001)],
        [{"message": {"role": "assistant", "tool_calls": [call("{}")] * 1001}}],
    ],
    ids=["choices", "parts", "calls", "calls in pieces", "calls without choices"],
)
def test_more_parts_than_a_model_writes_are_an_error(
    form: Form, pieces: list[dict[str, Any]]
) -> None:
    with pytest.raises(AnswerError, match="1001"):
        read(form, *pieces)


@FORMS
def test_arguments_that_no_model_writes_are_an_error(form: Form) -> None:
    with pytest.raises(AnswerError, match="5000000 letters"):
        read(form, delta(tool_calls=[call('"' + "x" * 4_999_999)]))


def test_more_fields_than_an_answer_has_are_an_error() -> None:
    piece = SimpleNamespace(**whole(content="4"), model_extra=dict.fromkeys(map(str, range(1001))))
    with pytest.raises(AnswerError, match="1001 parts"):
        Choices(FILTERS).read(piece)
