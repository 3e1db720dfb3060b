"""A plugin raises a bare error; the core fills in what it knows, and writes the sentence."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from support.fake_plugins import described

from mellea_api import (
    AnswerError,
    BackendUnavailableError,
    CredentialError,
    MelleaAPIError,
    ModelNotFoundError,
    OptionError,
    OptionProblem,
    PermissionDeniedError,
    RateLimitError,
    RequestRefusedError,
    RequestTimeoutError,
)
from mellea_api._contract import errors
from mellea_api._contract.refusals import answered, completed
from mellea_api.plugin import CredentialField, ErrorRequest, Target

TARGET = Target(
    descriptor=described(
        "fake",
        base_url="http://127.0.0.1:1/v1",
        credentials=(CredentialField(name="key", variables=("FAKE_KEY",), help="Ask Fred."),),
        model_hint="Fetch {model}.",
    ),
    model_id="small",
    base_url="http://me:secret@127.0.0.1:9/v1",
)
SERVER = "The fake server at http://[secret]@127.0.0.1:9/v1"
KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, MelleaAPIError)
]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            ModelNotFoundError(known=["big", "smart"]),
            f"{SERVER} does not have the model 'small'. It has smart, big. Fetch small.",
        ),
        (
            AnswerError("it has no choices."),
            (
                f"{SERVER} gave an answer that cannot be read: it has no choices. "
                "Check that the address is that of the API (often it ends in /v1), and that no proxy "
                "answers in its place."
            ),
        ),
        (
            CredentialError("who are you?", status=401),
            (
                f"{SERVER} rejected the credentials: who are you? (HTTP 401). "
                "Check FAKE_KEY. Ask Fred."
            ),
        ),
        (
            RateLimitError(retry_after=2.5),
            f"{SERVER} takes no more calls for now. Try again in 2.5 s.",
        ),
        (
            OptionError(problems=[OptionProblem("stop[1]", "must be text")]),
            (
                "Cannot use the model options for fake model 'small': stop[1] must be text. "
                "`mellea-api options fake` shows what it takes."
            ),
        ),
    ],
)
def test_a_bare_error_gets_its_sentence(error: MelleaAPIError, text: str) -> None:
    assert completed(error, TARGET) is error
    assert str(error) == text
    assert error.args == (text,)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_sentence_and_a_next_step(kind: type[MelleaAPIError]) -> None:
    bare: Any = kind("the reason")
    assert str(bare) == "the reason"
    error = completed(bare, TARGET)
    assert ": the reason." in error.reason
    assert "fake" in str(error) or "small" in str(error)
    assert error.backend == "fake"


@pytest.mark.parametrize("kind", KINDS)
def test_a_bare_error_without_words_says_what_its_class_means(kind: type[MelleaAPIError]) -> None:
    assert str(kind()) == (kind.__doc__ or "").splitlines()[0]


def test_the_core_fills_in_only_what_the_plugin_left_out() -> None:
    error = ModelNotFoundError("Cannot.", next_step="Do.", model_id="other", status=404)
    completed(error, TARGET)
    assert str(error) == "Cannot. Do."
    assert (error.backend, error.model_id, error.status) == ("fake", "other", 404)
    assert error.base_url == "http://[secret]@127.0.0.1:9/v1"
    credential = completed(CredentialError(), TARGET)
    assert (credential.field, credential.variables) == ("key", ("FAKE_KEY",))
    assert completed(RequestTimeoutError(), TARGET, 3).timeout == 3


@pytest.mark.parametrize("again", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_a_copied_or_pickled_bare_error_is_still_bare(again: Any) -> None:
    error = again(AnswerError("it is empty", status=500))
    assert str(completed(error, TARGET)).startswith(
        f"{SERVER} gave an answer that cannot be read: it is empty (HTTP 500)."
    )


def test_a_plugin_may_give_the_next_step_alone() -> None:
    error = completed(ModelNotFoundError(known=["big"], status=404, next_step="Use it."), TARGET)
    assert str(error) == f"{SERVER} does not have the model 'small'. It has big. Use it."


def test_a_completed_error_is_not_written_again() -> None:
    error = completed(AnswerError("it is empty"), TARGET)
    text = str(error)
    assert str(completed(error, TARGET)) == text
    assert str(completed(copy.copy(error), TARGET)) == text


def test_a_request_makes_the_errors_of_a_provider() -> None:
    cause = ValueError("why")
    request = ErrorRequest(target=TARGET, operation="call", error=cause, timeout=4)
    cause.__cause__ = KeyError("deeper")
    assert request.chain == (cause, cause.__cause__)
    limited = request.answered(429, "slow down", {"retry-after": "7"})
    assert isinstance(limited, RateLimitError)
    assert limited.retry_after == 7
    assert type(request.answered(400, "words")) is RequestRefusedError
    assert type(request.answered(400, "words", kind=ModelNotFoundError)) is ModelNotFoundError
    assert request.answered(402, "no").next_step == "Pay for more, or use another key."
    assert type(request.answered(402, "no")) is PermissionDeniedError
    assert type(request.unreachable("refused")) is BackendUnavailableError
    assert f"{request.unreachable('refused')}".startswith(
        f"Cannot reach the {SERVER[4:]}: refused."
    )
    assert type(request.unreadable("a page")) is AnswerError
    late = request.timed_out()
    assert isinstance(late, RequestTimeoutError)
    assert (late.timeout, late.reason) == (4, f"{SERVER} did not answer within 4 s.")


@pytest.mark.parametrize(
    ("status", "looks"), [(404, True), (405, True), (400, False), (422, False)]
)
def test_a_refusal_for_want_of_a_route_says_to_check_the_address(status: int, looks: bool) -> None:
    error = answered(TARGET, status, "no such thing")
    assert isinstance(error, RequestRefusedError)
    assert ("ends in /v1" in error.next_step) is looks
