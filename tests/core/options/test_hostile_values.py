"""No value, however odd, gets out of the path of options as a foreign exception."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from support.fake_options import problems, render, target

from mellea_api import OptionError
from mellea_api._options.canonical import CANONICAL
from mellea_api._options.pipeline import OptionPipeline


class BrokenError(Exception):
    """None of the library's business."""


def broken(*_: object, **__: object) -> Any:
    raise BrokenError


class Odd:
    __eq__ = __ne__ = __repr__ = __str__ = __bool__ = __len__ = broken
    __hash__ = object.__hash__


class OddNumber(float):
    __eq__ = __ne__ = __lt__ = __gt__ = __le__ = __ge__ = __float__ = __repr__ = broken
    __hash__ = object.__hash__


class OddInteger(int):
    __index__ = __int__ = __repr__ = __lt__ = __gt__ = __eq__ = __float__ = broken
    __hash__ = object.__hash__


class OddList(Sequence[Any]):
    __getitem__ = __len__ = __iter__ = __eq__ = __repr__ = broken
    __hash__ = object.__hash__


class OddDict(Mapping[str, Any]):
    __getitem__ = __len__ = __iter__ = __eq__ = __repr__ = broken
    __hash__ = object.__hash__


class Index:
    __index__ = broken


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def endless() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


HOSTILE = {
    "odd": Odd(),
    "number": OddNumber(0.5),
    "integer": OddInteger(5),
    "list": OddList(),
    "dict": OddDict(),
    "index": Index(),
    "odd items": [Odd(), OddInteger(1)],
    "odd values": {"a": OddNumber(1)},
    "deep": nested(100_000),
    "endless": endless(),
    "huge": 10**5000,
    "huger": [10**5000],
    "half a pair": "\ud800",
    "half a pair inside": {"a": ["\udfff"]},
    "half a pair as a name": {"\ud800": 1},
    "bytes": b"\xff",
    "exception": BrokenError(),
}


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize(
    "name",
    [*sorted(CANONICAL), "mirostat", "anything", "extra", "unsupported", "n", "documents", "even"],
)
def test_no_value_gets_out_as_a_foreign_exception(name: str, value: Any) -> None:
    texts = []
    for options in ({name: value}, {"extra": {name: value}}, {name: value, f"{name}x": value}):
        session = OptionPipeline(target(), policy="warn")
        for use in (session.set_defaults, lambda given, to=session: to.render(given, "chat")):
            try:
                use(options)
            except OptionError as error:
                texts.append(str(error))
    for text in texts:
        assert len(text.encode()) < 3000
        assert "\n" not in text


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_two_spellings_that_cannot_be_compared_are_no_foreign_exception(value: Any) -> None:
    assert problems(
        {"num_predict": value, "max_tokens": 3, "temperature": value, "logprobs": value}
    )


def test_a_mapping_that_cannot_be_read_is_an_option_error() -> None:
    assert set(problems(OddDict())) == {"model_options"}


def test_a_member_of_a_text_enum_means_its_value() -> None:
    class Words(str, enum.Enum):  # noqa: UP042 - StrEnum's str() is its value
        LOW = "low"
        END = "end"

    class Numbers(enum.IntEnum):
        SEVEN = 7

    options = {"thinking": Words.LOW, "stop": [Words.END], "seed": Numbers.SEVEN}
    wire = render({**options, "system_prompt": Words.END}).report.wire
    assert wire["think"] == "low"
    assert type(wire["think"]) is str
    assert wire["body"] == {"seed": 7, "stop": ["end"]}
    assert wire["messages"] == [{"role": "system", "content": "end"}]


def test_an_item_of_a_list_is_named_by_its_place() -> None:
    assert problems({"stop": ["a", "b", ""]}) == {
        "stop[2]": "must be text that is not empty, not ''"
    }
    assert set(problems({"stop_sequences": ["a", "\ud800"]})) == {"stop_sequences[1]"}
