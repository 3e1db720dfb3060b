"""When to try again: every way in which providers say it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mellea_api._contract.said import retry_after

NOW = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"Retry-After": " 0.25 "}, 0.25),
        ({"retry-after-ms": "1500", "retry-after": "7"}, 1.5),
        ({"retry-after": "soon", "x-ratelimit-reset-tokens": "12ms"}, 0.012),
        ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "6m0s"}, 360.0),
        (
            {
                "x-ratelimit-reset-requests": "1s",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-tokens": "6m0s",
                "x-ratelimit-remaining-tokens": "149984",
            },
            1.0,
        ),
        ({"x-ratelimit-reset-requests": "30"}, 30.0),
        ({"retry-after": "7", "x-ratelimit-reset-requests": "1h"}, 7.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"x-ratelimit-reset-requests": f"{'9' * 400}s"}, None),
        ({"retry-after": "1e308"}, None),
        ({"retry-after": "999999999"}, None),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, None),
        ({"retry-after": "Fri, 31 Dec 0001 23:59:59 +2359"}, 0.0),
        ({"retry-after": "Fri, 31 Dec 99999999999 23:59:59 GMT"}, None),
        ({"retry-after": "2678400"}, 2678400.0),
        ({"retry-after": ""}, None),
        ({"x-ratelimit-reset-requests": "1 fortnight"}, None),
        ({"x-ratelimit-reset-requests": "s5"}, None),
        ({}, None),
        (None, None),
    ],
)
def test_the_wait_is_in_seconds_whoever_says_it(
    headers: dict[str, str] | None, seconds: float | None
) -> None:
    assert retry_after(headers) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Limit 3, Used 3. Please try again in 20s. Visit https://a.invalid/1s", 20.0),
        ("Please try again in 6m0s.", 360.0),
        ("Please try again in 1h2m3.5s", 3723.5),
        ("Please try again in 320ms.", 0.32),
        ("Please retry after 59 seconds.", 59.0),
        ("Please retry after 1 second. To increase", 1.0),
        ("Try again in 2 minutes and be patient", 120.0),
        ("Please retry in 34.074824224s.", 34.074824224),
        ('{"@type": "google.rpc.RetryInfo", "retryDelay": "34s"}', 34.0),
        ("Please try again later.", None),
        ("Please try again in a moment.", None),
        ("Please try again in 3 models.", None),
        ("It took 5 s; try again.", None),
        ("", None),
    ],
)
def test_the_wait_may_be_said_in_words_only(text: str, seconds: float | None) -> None:
    assert retry_after(None, text) == pytest.approx(seconds)
    assert retry_after({"retry-after": "7"}, text) == 7.0


@given(st.integers(-100_000, 100_000))
def test_a_date_is_seconds_from_the_servers_own_now(seconds: int) -> None:
    """Whose clock is wrong does not matter, where the answer has a date."""
    then = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    headers = {"Retry-After": then, "Date": format_datetime(NOW, usegmt=True)}
    assert retry_after(headers) == max(0, seconds)


@pytest.mark.parametrize("date", [None, "not a date"])
def test_a_date_without_the_servers_now_goes_by_our_clock(date: str | None) -> None:
    then = format_datetime(datetime.now(UTC) + timedelta(days=2), usegmt=True)
    found = retry_after({"retry-after": then} | ({"date": date} if date else {}))
    assert found is not None
    assert 86_400 < found <= 2 * 86_400


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_a_duration_of_go_is_read_to_the_millisecond(
    hours: int, minutes: int, seconds: int, milliseconds: int
) -> None:
    text = f"{hours}h{minutes}m{seconds}.{milliseconds:03}s"
    found = retry_after({"x-ratelimit-reset-requests": text})
    assert found == pytest.approx(hours * 3600 + minutes * 60 + seconds + milliseconds / 1000)


@given(st.dictionaries(st.text(max_size=30), st.text(max_size=30)))
def test_no_headers_are_an_error(headers: dict[str, str]) -> None:
    found = retry_after(headers | {"retry-after": "".join(headers)})
    assert found is None or 0 <= found <= 31 * 24 * 3600


@pytest.mark.parametrize("header", ["retry-after", "x-ratelimit-reset-tokens"])
def test_a_time_since_1970_is_the_wait_until_then(header: str) -> None:
    wait = retry_after({header: str(int(time.time()) + 30)})
    assert wait is not None
    assert 0 <= wait <= 30
