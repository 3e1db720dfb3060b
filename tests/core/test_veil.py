"""No traceback of this library shows a secret, also where it is drawn with the values of variables."""

from __future__ import annotations

import pickle
import traceback
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.canary import CANARY, drawn, found_in, shown
from support.fake_plugins import described, registry

from mellea_api import AnswerError, ConfigurationError, Secret
from mellea_api._api.arguments import policy_of
from mellea_api._api.environment import RuntimeEnvironment
from mellea_api._contract.address import find_address
from mellea_api._contract.refusals import ErrorRequest
from mellea_api._contract.requests import Target
from mellea_api._provider.exceptions import by_kind, caused
from mellea_api._secrecy.secrets import redact, shown_address
from mellea_api._secrecy.veil import (
    chain,
    hidden,
    hide,
    plain,
    shows_secret,
    veiled,
    words_of,
)


def raised(function: Any, *arguments: Any) -> BaseException:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        function(*arguments)
    return caught.value


def call_an_sdk(secret: Secret) -> None:
    """As plugins do: the key is in a variable of one frame, and of those below it."""

    def send(headers: dict[str, str]) -> None:
        length = len(headers)
        refuse(length)

    def refuse(length: int) -> None:
        raise ValueError(f"{length} headers are not enough")

    send({"authorization": f"Bearer {secret.reveal()}"})


def report(secret: Secret) -> None:
    try:
        call_an_sdk(secret)
    except ValueError as error:
        failure = ConfigurationError("Cannot do it.", next_step="Do something else.")
        failure.__cause__ = error
    raise veiled(failure)


def stack(error: BaseException) -> list[str]:
    """The functions in the note that stands for the frames."""
    (note,) = [note for note in error.__notes__ if note.startswith("Stack, most recent call last:")]
    return [line.rpartition(", in ")[2] for line in note.splitlines()[1:]]


def test_the_stack_becomes_a_note_and_the_frames_go() -> None:
    secret = Secret(CANARY, source="a test")
    error = raised(report, secret)
    assert isinstance(error.__cause__, ValueError)
    assert error.__cause__.__traceback__ is None
    assert stack(error.__cause__) == ["report", "call_an_sdk", "send", "refuse"]
    assert __file__ in error.__cause__.__notes__[0]


def test_an_error_that_is_veiled_again_further_out_has_one_stack() -> None:
    def outer() -> None:
        try:
            inner()
        except ConfigurationError as error:
            raise veiled(error) from error.__cause__

    def inner() -> None:
        report(secret)

    secret = Secret(CANARY, source="a test")
    error = veiled(raised(outer))
    assert error.__cause__ is not None
    assert stack(error.__cause__) == ["report", "call_an_sdk", "send", "refuse"]
    assert stack(error) == ["raised", "outer", "outer", "inner", "report"]


def test_the_stack_travels_in_a_pickle() -> None:
    error = veiled(raised(report, Secret(CANARY, source="a test")))
    again = pickle.loads(pickle.dumps(error))
    assert stack(again) == stack(error)
    assert vars(again) == vars(error)


def test_an_endless_recursion_is_written_down_in_a_few_lines() -> None:
    def fail(depth: int) -> None:
        if depth == 0:
            raise ConfigurationError("Cannot do it.", next_step="Else.")
        fail(depth - 1)

    names = stack(veiled(raised(fail, 500)))
    assert len(names) < 100
    assert "442 frames" in " ".join(names)
    assert names[-1] == "fail"


class Counting:
    """A prompt, say: large, and dear to show."""

    shown = 0

    def __repr__(self) -> str:
        Counting.shown += 1
        return "x"

    __str__ = __repr__


def test_the_cost_of_an_error_does_not_grow_with_what_its_variables_hold() -> None:
    def fail(prompt: Any) -> None:
        messages = [{"content": prompt}]
        try:
            raise ValueError(f"{len(messages)} is too many")
        except ValueError as error:
            raise ConfigurationError("Cannot do it.", next_step="Else.") from error

    Counting.shown = 0
    veiled(raised(fail, Counting()))
    assert Counting.shown == 0


def test_no_tool_draws_the_secret() -> None:
    secret = Secret(CANARY, source="a test")
    error = raised(report, secret)
    texts = [*shown(error), *drawn(error)]
    assert [name for name, text in texts if found_in(text)] == []


def test_the_tools_show_what_is_not_veiled() -> None:
    """The other way round: what they draw is looked at."""

    def fail() -> None:
        open_text = CANARY
        raise ConfigurationError("Cannot do it.", next_step=f"{len(open_text)}")

    drawn = traceback.TracebackException.from_exception(raised(fail), capture_locals=True)
    assert found_in("".join(drawn.format()))


def test_a_cause_that_says_a_secret_becomes_its_masked_text() -> None:
    secret = Secret(CANARY, source="a test")

    def fail() -> None:
        try:
            raise LookupError(f"no such key: {secret.reveal()}")
        except LookupError as error:
            raise ConfigurationError("Cannot do it.", next_step="Else.") from error

    error = veiled(raised(fail))
    assert isinstance(error.__cause__, RuntimeError)
    assert str(error.__cause__) == "LookupError: no such key: [secret]"
    assert error.__context__ is None


def test_a_password_in_an_address_is_a_secret_too() -> None:
    def fail() -> None:
        address = f"http://me:{CANARY.replace('/', '-')}@127.0.0.1"
        raise ConfigurationError("Cannot do it.", next_step=f"{len(address)}")

    error = veiled(raised(fail))
    assert stack(error) == ["raised", "fail"]
    assert not found_in("".join(text for _, text in shown(error)), CANARY.replace("/", "-"))


@pytest.mark.parametrize(
    ("variable", "read"),
    [
        ("MELLEA_API_PREFER", registry),
        ("MELLEA_API_UNSUPPORTED", lambda: policy_of(None)),
        ("MELLEA_MODEL_OPTIONS", RuntimeEnvironment.read),
        ("MELLEA_RUN_ID", RuntimeEnvironment.read),
        (
            "FAKE_URL",
            lambda: find_address(described("fake", base_url_variables=("FAKE_URL",)), None),
        ),
    ],
)
def test_an_error_about_a_variable_shows_no_other_one(
    variable: str, read: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOMEBODY_ELSES_KEY", CANARY)
    monkeypatch.setenv(variable, "not \x07 right")
    error = raised(read)
    assert getattr(error, "variable", None) == variable
    assert [name for name, text in (*shown(error), *drawn(error)) if found_in(text)] == []


names = st.text("abcdefghij_", min_size=1)
values = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text())


@given(st.dictionaries(names, values))
def test_hidden_arguments_come_back_as_they_were_given(arguments: dict[str, Any]) -> None:
    once = hidden(arguments)
    assert hidden(once) == once
    assert {name: plain(value) for name, value in once.items()} == arguments


@given(st.text(min_size=1))
def test_what_is_hidden_is_in_no_repr(text: str) -> None:
    assert repr(hide(text)) == "<hidden str>"


@given(st.text("abc:%._-0@", min_size=1), st.text("abc.", min_size=1))
def test_an_address_is_shown_without_what_stands_before_its_host(user: str, host: str) -> None:
    address = f"https://{user}@{host}/v1"
    assert shown_address(address) == redact(address) == f"https://[secret]@{host}/v1"


def test_what_an_exception_does_not_show_itself_is_veiled_too() -> None:
    """A context that has a cause beside it, and the parts of a group: error trackers go there."""
    secret = Secret(CANARY, source="argument")

    def refuse(secret: Secret) -> None:
        key = secret.reveal()
        raise ValueError(f"{len(key)} letters are not enough")

    def fail() -> None:
        try:
            refuse(secret)
        except ValueError:
            group = ExceptionGroup("two", [raised(refuse, secret), TypeError("another")])
            try:
                raise KeyError("between") from group
            except KeyError as between:
                raise ConfigurationError("Cannot do it.", next_step="x") from between

    error = veiled(raised(fail))
    assert isinstance(error.__cause__.__context__, ValueError)
    assert [name for name, text in shown(error) if found_in(text)] == []


def test_a_chain_that_bites_its_tail_ends() -> None:
    first, second = ValueError("1"), ValueError("2")
    first.__cause__, second.__cause__ = second, first
    assert list(chain(first)) == [first, second]


def fail_as_a_caller(text: str) -> None:
    try:
        raise LookupError("what led to it")
    except LookupError:
        raise KeyError(text)  # noqa: B904 - a context, not a cause


@pytest.mark.parametrize("text", ["its own", CANARY])
def test_an_exception_that_the_caller_is_handling_stays_as_it_is(text: str) -> None:
    """The SDK's, which Python links to it, is veiled none the less."""
    secret = Secret(CANARY, source="a test")
    try:
        fail_as_a_caller(text)
    except KeyError as handled:
        own, before = handled, handled.__traceback__
        error = raised(report, secret)
        assert list(chain(error)) == [error, error.__cause__]
    assert isinstance(error.__cause__, ValueError)
    assert error.__cause__.__traceback__ is None
    assert error.__cause__.__context__ is own
    assert own.__traceback__ is before
    assert [frame.f_code.co_name for frame, _ in traceback.walk_tb(before)] == [
        "test_an_exception_that_the_caller_is_handling_stays_as_it_is",
        "fail_as_a_caller",
    ]
    assert isinstance(own.__context__, LookupError)
    assert own.__context__.__traceback__ is not None
    assert not hasattr(own, "__notes__")


def test_an_exception_that_an_sdk_handled_is_no_callers() -> None:
    """Its handler ended with the second exception, so only that may be the caller's."""
    secret = Secret(CANARY, source="a test")

    def call_twice() -> None:
        try:
            call_an_sdk(secret)
        except ValueError:
            raise TypeError("again")  # noqa: B904 - a context, not a cause

    def fail() -> None:
        try:
            call_twice()
        except TypeError as error:
            failure = ConfigurationError("Cannot do it.", next_step="Else.")
            failure.__cause__ = error
        raise veiled(failure)

    error = raised(fail)
    assert error.__cause__ is not None
    assert isinstance(error.__cause__.__context__, ValueError)
    assert error.__cause__.__context__.__traceback__ is None
    assert [name for name, text in shown(error) if found_in(text)] == []


def test_an_exception_whose_text_cannot_be_written_is_a_cause_all_the_same() -> None:
    class DeepError(Exception):
        def __str__(self) -> str:
            raise RecursionError("nested too deeply")

    error = AnswerError("it is no answer")
    error.__cause__ = DeepError()
    cause = veiled(error).__cause__
    assert str(cause) == "DeepError: its text cannot be written"


def test_the_input_that_pydantic_keeps_is_never_written() -> None:
    pydantic = pytest.importorskip("pydantic")

    class Loud:
        def __repr__(self) -> str:
            raise AssertionError("it was written, and may be megabytes long")

    with pytest.raises(pydantic.ValidationError) as caught:
        pydantic.TypeAdapter(str).validate_python(Loud())
    target = Target(descriptor=described("fake"), model_id="small")
    request = ErrorRequest(target=target, operation="call", error=caught.value)
    error = by_kind(request)
    assert error is not None
    caused(error, caught.value)
    assert "string" in str(error)
    assert isinstance(error.__cause__, RuntimeError)


def test_an_error_about_many_parts_counts_them() -> None:
    pydantic = pytest.importorskip("pydantic")
    with pytest.raises(pydantic.ValidationError) as caught:
        pydantic.TypeAdapter(list[int]).validate_python(["x"] * 1000)
    assert words_of(caught.value) == "1000 parts are malformed"


@pytest.mark.parametrize(
    "held", [[[]] * 70_000, dict.fromkeys(range(70_000))], ids=["lists", "keys"]
)
def test_an_error_that_holds_more_than_is_looked_at_may_show_a_secret(held: Any) -> None:
    assert shows_secret(ValueError("no", held))
    assert not shows_secret(ValueError("no", held[:10] if isinstance(held, list) else {}))


@pytest.mark.parametrize("inside", [lambda key: {"said": [key]}, lambda key: {"a": {key: "b"}}])
def test_a_secret_in_the_body_that_an_exception_keeps_is_found(inside: Any) -> None:
    secret = Secret("sk-very-secret-0123456789", source="argument")
    error = ValueError("no")
    assert not shows_secret(error)
    error.body = inside(secret.reveal())  # type: ignore[attr-defined]
    assert shows_secret(error)
