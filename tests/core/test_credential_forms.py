"""What is wrong with a credential as it stands: seen without asking anybody, and said without showing it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from support.fake_options import described

from mellea_api._credentials.judge import find_problem
from mellea_api.plugin import CredentialField, Target

FORM: Any = {
    "pattern": r"sk-.{8,}",
    "pattern_words": "a key begins with sk-",
    "unless": ("FAKE_ENDPOINT",),
}
FIELD = CredentialField(name="api_key", variables=("FAKE_KEY",))
PLAIN = CredentialField(name="project", variables=("FAKE_PROJECT",), secret=False)
KEY = "sk-0123456789abcdefghij"


def target(base_url: str | None = None, **facts: Any) -> Target:
    made = described(credentials=(FIELD, PLAIN), official_hosts=("api.fake.example",))
    return Target(descriptor=made.descriptor, model_id="m", base_url=base_url, **facts)


LOCAL = target("http://127.0.0.1:1/v1")


def wrong(value: str, field: CredentialField = FIELD, where: Target | None = None) -> str | None:
    return find_problem(field, where or target(), value)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (f'"{KEY}"', "quotes"),
        (f"'{KEY}'", "quotes"),
        (f"\N{LEFT DOUBLE QUOTATION MARK}{KEY}\N{RIGHT DOUBLE QUOTATION MARK}", "quotes"),
        (f'"{KEY}', "quotes"),
        (f"Bearer {KEY}", "begins with 'Bearer'"),
        (f"bearer  {KEY}", "begins with 'bearer'"),
        (f"Authorization: Bearer {KEY}", "begins with 'Bearer'"),
        (f"FAKE_KEY={KEY}", "begins with FAKE_KEY="),
        (f"export FAKE_KEY={KEY}", "begins with FAKE_KEY="),
        ("$FAKE_KEY", "nothing has replaced"),
        ("${FAKE_KEY}", "nothing has replaced"),
        ("{{ secrets.FAKE_KEY }}", "nothing has replaced"),
        ("%FAKE_KEY%", "nothing has replaced"),
        ("<your key>", "nothing has replaced"),
        (f"{KEY}\n{KEY}", "a line break in it (after 23 characters)"),
        (f"{KEY} {KEY}", "white space in it (at 24)"),
        (f"sk-\t{KEY}", "a control character in it (at 4)"),
        ("sk-\x00abc", "a control character in it (at 4)"),
        ("sk\N{EN DASH}0123", "no HTTP header takes (at 3)"),
        ("sk-caf\xe9", "no HTTP header takes (at 7)"),
        (f"\N{ZERO WIDTH SPACE}{KEY}", "no HTTP header takes (at 1)"),
    ],
)
def test_what_no_server_could_take_is_named(value: str, why: str) -> None:
    for where in (target(), LOCAL):
        assert why in (wrong(value, where=where) or "")


@pytest.mark.parametrize(
    "value",
    [
        *(
            KEY,
            "your-api-key",
            "none",
            "EMPTY",
            "no-key-needed",
            "test",
            "token-abc123",
            "my-secret-token",
            "sk-1234",
        ),
        *("a=b==", "eyJhbGciOi.eyJzdWIi.c2ln", "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"),
        *("p@$$w0rd!", "%41"),
    ],
)
def test_what_may_be_a_key_is_let_through(value: str) -> None:
    assert wrong(value) is None
    assert wrong(value, where=LOCAL) is None


def test_what_is_no_secret_may_have_other_characters_and_no_line_breaks() -> None:
    assert wrong("Jürgen's project", PLAIN) is None
    assert wrong("none", PLAIN) is None
    assert "line break" in (wrong("a\nb", PLAIN) or "")
    assert "quotes" in (wrong('"a"', PLAIN) or "")
    assert "nothing has replaced" in (wrong("${PROJECT}", PLAIN) or "")


def test_what_goes_into_a_header_must_fit_there_even_if_it_is_no_secret() -> None:
    sent = evolve(PLAIN, header=True)
    assert "no HTTP header takes" in (wrong("org\N{EN DASH}1", sent) or "")
    assert "white space" in (wrong("org 1", sent) or "")
    assert wrong("org-1", sent) is None


def test_a_document_is_taken_as_it_is() -> None:
    assert wrong('{"type": "service_account",\n "key": "x"}', evolve(FIELD, verbatim=True)) is None


def test_a_form_holds_for_the_providers_own_server_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    field = evolve(FIELD, **FORM)
    other = "gateway-0123456789"
    assert wrong(KEY, field) is None
    assert wrong(other, field) == "a key begins with sk-"
    assert wrong(other, field, target("https://api.fake.example/v1")) == "a key begins with sk-"
    assert wrong(other, field, LOCAL) is None
    assert wrong(other, field, target("https://gate.invalid/v1", stated_server="official")) is None
    monkeypatch.setenv("FAKE_ENDPOINT", "https://mirror.invalid")
    assert wrong(other, field) is None


@given(
    value=st.text(max_size=80),
    secret=st.booleans(),
    base_url=st.sampled_from([None, "http://127.0.0.1:1/v1"]),
)
def test_any_text_has_an_answer_that_does_not_show_it(
    value: str, secret: bool, base_url: str | None
) -> None:
    value = value.strip()
    field = evolve(FIELD if secret else PLAIN, **FORM)
    why = wrong(value, field, target(base_url))
    if why is not None:
        assert why
        assert why == why.strip()
        assert not why.endswith(".")
        shown = re.sub(r"'\w+'", "", why)
        assert len(value) < 6 or value not in shown


@given(value=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=20, max_size=80))
def test_what_is_let_through_can_be_sent_in_a_header(value: str) -> None:
    if wrong(value) is None:
        value.encode("ascii")
        assert value.isprintable()
        assert not re.search(r"\s", value)
