"""A plugin raises a bare error; the core fills in what it knows, and writes the sentence."""

from __future__ import annotations

import copy
import json
import pickle
import time
import traceback
from typing import Any

import httpx
import pydantic
import pytest
from attrs import evolve
from support.fake_plugins import described

from mellea_api import (
    AnswerError,
    BackendUnavailableError,
    ContentRefusedError,
    ContextLengthError,
    CredentialError,
    MelleaAPIError,
    ModelNotFoundError,
    OptionError,
    OptionProblem,
    PermissionDeniedError,
    RateLimitError,
    RequestRefusedError,
    RequestTimeoutError,
    Secret,
)
from mellea_api._contract import errors
from mellea_api._contract.refusals import completed
from mellea_api._contract.said import words_and_codes
from mellea_api._provider.exceptions import by_kind, caused
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


def request_about(error: BaseException) -> ErrorRequest:
    return ErrorRequest(target=TARGET, operation="call", error=error)


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
    "said",
    [
        {"unexpected": [[]] * 10_000},
        {"error": {"code": {"deep": [[]] * 10_000}}},
        [[{}] * 10_000],
        {"unexpected": dict.fromkeys(map(str, range(10_000)))},
    ],
    ids=["list", "code", "lists", "keys"],
)
def test_of_a_refusal_without_words_the_beginning_is_written(said: Any) -> None:
    written, codes = words_and_codes(said)
    assert written
    assert len(written) < 2_000
    assert not codes


def test_a_refusal_in_megabytes_of_json_is_not_read_twice() -> None:
    said = json.dumps({"error": {"message": "no"}, "trace": "x" * 2**18})
    assert words_and_codes(said) == (said, [])


SAID = [
    ('{"error": {"message": "It is slow", "code": "busy"}, "status_code": 503}', "It is slow"),
    ([{"error": {"code": 400, "message": "Google's"}}], "Google's"),
    ({"errors": [{"code": "x", "message": "IBM's"}], "trace": "1"}, "IBM's"),
    ('{"errorCode": "BX1", "errorMessage": "No such key"}', "No such key (BX1)"),
    ({"error": "short", "message": "long"}, "long"),
    ('{"detail": "of FastAPI"}', "of FastAPI"),
    ({"detail": [{"loc": ["body", "n"], "msg": "bad"}]}, '"loc": ["body", "n"]'),
    ({"unexpected": []}, "unexpected"),
    ("{not json", "{not json"),
    ("[" * 100_000, "[[["),
    ('{"code": ' + "1" * 5000 + "}", '{"code"'),
    ({}, "{}"),
]


@pytest.mark.parametrize(("said", "words"), SAID, ids=[words for _, words in SAID])
def test_the_words_of_a_refusal_are_found_wherever_they_are(said: Any, words: str) -> None:
    assert words in request_about(ValueError()).answered(400, said).reason


CODED = Target(
    descriptor=described(
        "fake",
        codes={"no_model": 404, "used_up": 429, "bad_key": 401, "cannot": 400, "broken": 500},
        filtered=("SAFETY",),
    ),
    model_id="small",
)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "used_up", RateLimitError),
        (400, "bad_key", CredentialError),
        (400, "no_model", ModelNotFoundError),
        (404, "cannot", RequestRefusedError),
        (400, "broken", BackendUnavailableError),
        (400, "SAFETY", ContentRefusedError),
        (400, "context_length_exceeded", ContextLengthError),
        (400, "rate_limit_exceeded", RequestRefusedError),  # there the status says it
        (None, "rate_limit_exceeded", RateLimitError),
        (None, 429, RateLimitError),
        (None, 42, BackendUnavailableError),
    ],
)
def test_a_code_says_what_the_status_does_not(
    status: int | None, code: str | int, kind: type[MelleaAPIError]
) -> None:
    request = ErrorRequest(target=CODED, operation="call", error=ValueError())
    error = request.answered(status, {"error": {"message": "the model said no", "code": code}})
    assert type(error) is kind
    assert error.status == (429 if code == 429 else status)
    assert type(request.answered(status, {"message": "no", "type": str(code)})) is kind


def test_a_code_with_an_unknown_meaning_is_refused_where_it_is_written() -> None:
    with pytest.raises(ValueError, match="its code 'odd' means 299"):
        described("fake", codes={"odd": 299})


def test_a_plugin_says_which_credential_is_rejected_and_what_to_do() -> None:
    request = request_about(ValueError())
    rejected = request.answered(404, "no such project", field="key")
    assert isinstance(rejected, CredentialError)
    assert (rejected.field, rejected.status) == ("key", 404)
    assert rejected.next_step == "Check FAKE_KEY. Ask Fred."
    assert request.answered(403, "no", next_step="Ask Ann.").next_step == "Ask Ann."


@pytest.mark.parametrize(
    ("status", "looks"), [(404, True), (405, True), (400, False), (422, False)]
)
def test_a_refusal_for_want_of_a_route_says_to_check_the_address(status: int, looks: bool) -> None:
    error = request_about(ValueError()).answered(status, "no such thing")
    assert isinstance(error, RequestRefusedError)
    assert ("ends in /v1" in error.next_step) is looks


TOO_LONG = """
400 This model's maximum context length is 4097 tokens. However, your messages resulted in 4129 tokens.
400 Prompt length of 9001 is longer than the maximum model length of 8192.
400 The decoder prompt (length 9001) is longer than the maximum model length of 8192.
400 Invalid request: Your request exceeded model token limit: 8192 (requested: 9001)
400 Range of input length should be [1, 8192]
400 Prompt length (9001) exceeds maximum input length (8192)
400 length of prompt_tokens (9001) must be less than max_seq_len (8192).
400 Request prompt has 9001 tokens in total, larger than the model input length limit 8192
400 Please reduce the length of the messages or completion.
400 prompt is too long: 210000 tokens > 200000 maximum
400 The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).
400 too many tokens: total number of tokens in the prompt cannot exceed 4081
400 Prompt contains 40000 tokens, too large for model with 32768 maximum context length
400 The input (9001 tokens) is longer than the model's context length (8192 tokens).
400 Input is too long for requested model.
400 Prompt exceeds max length
400 invalid params, context window exceeds limit
413 Request body too large for gpt-4o model. Max size: 8000 tokens.
422 Input validation error: `inputs` must have less than 1024 tokens. Given: 1025
422 Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000
500 the request exceeds the available context size. try increasing the context size
500 Trying to keep the first 9001 tokens when context the overflows.
500 Requested tokens (9001) exceed context window of 2048
"""
"""What servers say of a prompt that is too long: OpenAI, vLLM, Kimi, DashScope, TensorRT-LLM,
LMDeploy, Groq, Anthropic, Google, Cohere, Mistral, SGLang, Bedrock, Zhipu, MiniMax, GitHub Models,
TGI, llama.cpp, LM Studio, llama-cpp-python. Read on 2026-11-30 in their sources and in reports."""


@pytest.mark.parametrize("line", TOO_LONG.strip().splitlines())
def test_a_prompt_that_is_too_long_is_told_in_the_words_of_each_server(line: str) -> None:
    status, _, words = line.partition(" ")
    error = request_about(ValueError()).answered(int(status), words)
    assert type(error) is ContextLengthError


@pytest.mark.parametrize(
    ("status", "words", "kind"),
    [
        (400, "stop has a length of 9, and at most 4 are taken", RequestRefusedError),
        (400, "Input should be a valid integer", RequestRefusedError),
        (400, "Input image is larger than 20 MB", RequestRefusedError),
        (400, "max_tokens must be less than 4096", RequestRefusedError),
        (429, "tokens per minute limit exceeded for context", RateLimitError),
        (500, "context deadline exceeded", BackendUnavailableError),
        (500, "context canceled: the size is unknown", BackendUnavailableError),
        (500, "out of memory", BackendUnavailableError),
        # A model that cannot see: trying again is of no use.
        (500, "image input is not supported - hint: provide the mmproj", RequestRefusedError),
        (500, "this model is missing data required for image input", RequestRefusedError),
        (404, "No endpoints found that support image input", RequestRefusedError),
        (400, "m is not a multimodal model", RequestRefusedError),
    ],
)
def test_another_refusal_stays_what_it_is(
    status: int, words: str, kind: type[MelleaAPIError]
) -> None:
    assert type(request_about(ValueError()).answered(status, words)) is kind


@pytest.mark.parametrize(
    "said",
    [
        "model " * 100_000,
        "a" * 1_000_000,
        " " * 1_000_000,
        "try again in 1" * 70_000,
        "//?key" * 99_999,
    ],
)
@pytest.mark.parametrize("status", [400, 404, 429, 500])
def test_a_long_refusal_takes_no_time(said: str, status: int) -> None:
    began = time.perf_counter()
    error = request_about(ValueError()).answered(status, said)
    assert time.perf_counter() - began < 0.5
    assert len(str(error)) < 1000


def test_a_file_of_the_prompt_that_cannot_be_fetched_is_no_unreachable_server() -> None:
    picture = httpx.Request("GET", "http://127.0.0.1:8/picture.png")
    for asked, kind, words in (
        (picture, RequestRefusedError, "Cannot fetch http://127.0.0.1:8/picture.png, which the"),
        (
            httpx.Request("GET", f"{TARGET.base_url}/models"),
            BackendUnavailableError,
            "Cannot reach",
        ),
        (httpx.Request("POST", str(picture.url)), BackendUnavailableError, "Cannot reach"),
    ):
        error = by_kind(request_about(httpx.ConnectError("refused", request=asked)))
        assert type(error) is kind
        assert str(error).startswith(words)


@pytest.mark.parametrize("at", [300, 2**16])
def test_no_part_of_a_key_is_shown_wherever_a_text_is_cut(at: int) -> None:
    key = Secret("tenant-AbCdEfGh1234567890xyzQRST", source="argument")
    for before in range(at - 40, at + 10):
        for fill in (".", " ", ". "):
            text = (fill * before)[:before] + f" {key.reveal()} and more" * 3
            for error in (
                request_about(ValueError()).answered(400, text),
                request_about(ValueError()).unreadable(text),
                completed(AnswerError(f"it is {text}"), TARGET),
            ):
                assert "tenant-" not in str(error)


def test_no_part_of_a_key_is_shown_of_the_input_that_pydantic_cuts() -> None:
    key = Secret("tenant-AbCdEfGh1234567890xyzQRST", source="argument")

    class Answer(pydantic.BaseModel):
        name: str

    with pytest.raises(pydantic.ValidationError) as caught:
        Answer.model_validate({"a": "." * 30 + key.reveal()})
    error = by_kind(request_about(caught.value))
    assert isinstance(error, AnswerError)
    assert "ValidationError: name: Field required" in str(error)
    told = "".join(traceback.format_exception(caused(error, caught.value)))
    assert "1234567890" not in told


def test_what_is_nested_deeply_is_an_answer_that_cannot_be_read() -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    deep = ValueError("no")
    deep.body = nested  # type: ignore[attr-defined]
    error = by_kind(request_about(RecursionError("maximum recursion depth exceeded")))
    assert isinstance(error, AnswerError)
    assert caused(error, deep).__cause__ is not None
    while nested:  # or Python itself fails to forget it
        nested = nested.pop()


@pytest.mark.parametrize(
    "held", ["x" * 2**24, list(range(2**20)), {"a": ["//a@b" * 2**20]}, b"x" * 2**24]
)
def test_what_an_exception_holds_costs_nothing(held: Any) -> None:
    original = ValueError("no")
    original.body = held  # type: ignore[attr-defined]
    began = time.perf_counter()
    cause = caused(completed(AnswerError("no"), TARGET), original).__cause__
    assert time.perf_counter() - began < 0.5
    assert f"{cause!r}" == "RuntimeError('ValueError: no')"


@pytest.mark.parametrize(
    "held", [["deep", {"in": ("it", {"KEY"})}], {"KEY": 1}, b"a KEY", ["x" * 10_000, "KEY"]]
)
def test_a_key_is_found_wherever_an_exception_holds_it(held: Any) -> None:
    key = Secret("sk-0123456789abcdef", source="argument")

    def planted(part: Any) -> Any:
        if isinstance(part, dict):
            return {planted(name): planted(item) for name, item in part.items()}
        if isinstance(part, list | tuple | set):
            return type(part)(map(planted, part))
        if isinstance(part, bytes):
            return part.replace(b"KEY", key.reveal().encode())
        return part.replace("KEY", key.reveal()) if isinstance(part, str) else part

    for hidden, kept in ((planted(held), False), (held, True)):
        original = ValueError("no")
        original.body = hidden  # type: ignore[attr-defined]
        cause = caused(completed(AnswerError("no"), TARGET), original).__cause__
        assert (cause is original) is kept


@pytest.mark.parametrize("address", ["http://far.invalid:11434", "far.invalid:11434"])
def test_a_server_that_cannot_be_reached_through_a_proxy_names_its_variable(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:1")
    target = evolve(TARGET, base_url=address)
    request = ErrorRequest(target=target, operation="call", error=OSError())
    assert "(through the proxy that all_proxy names)" in request.unreachable("refused").reason
