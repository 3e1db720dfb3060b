"""Read what a refusal says: its words, its codes, and when to try again."""

from __future__ import annotations

import itertools
import json
import re
import time
from collections.abc import Mapping
from typing import Any, Final

_WORDS: Final = ("message", "errorMessage", "detail", "reason", "error")
_CODES: Final = ("code", "type", "errorCode", "status_code", "statusCode", "_statusCode_")
_MOST_JSON: Final = 2**18
"""Letters of JSON that is read once more for its words."""
_MOST_PIECES: Final = 200
"""Tokens of JSON that are written."""

_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PART: Final = (
    r"(\d+(?:\.\d+)?)\s?"
    r"(hours?|h|minutes?|mins?|milliseconds?|ms|m|seconds?|secs?|s|us|µs|ns)(?![a-zµ])\s?"
)
_DURATION: Final = re.compile(f"(?:{_PART})+", re.IGNORECASE)
_IN_WORDS: Final = re.compile(
    rf"(?:(?:try again|retry) (?:in|after) |\"retryDelay\":\s?\")((?:{_PART})+)", re.IGNORECASE
)
_SINCE_1970: Final = 1e9
"""Nobody asks to wait 30 years: a greater number is a time in seconds since 1970."""
_LONGEST: Final = 31 * 24 * 3600.0
"""No program means to sleep longer."""
_LIMITS: Final = ("requests", "tokens")


def words_and_codes(said: object) -> tuple[str, list[str]]:
    """Return the words of a refusal, and its codes: those beside the words come first.

    Args:
        said: What a provider said: text, JSON as text, or what that JSON holds.

    >>> words_and_codes('{"error": {"message": "Slow down", "code": "busy"}, "status_code": 429}')
    ('Slow down', ['busy', '429'])
    >>> words_and_codes("Slow down")
    ('Slow down', [])
    """
    found: Any = said
    if isinstance(said, str) and len(said) < _MOST_JSON and said.lstrip()[:1] in ("{", "["):
        try:
            found = json.loads(said)
        except (ValueError, RecursionError):
            return said, []
    codes: list[str] = []
    while isinstance(found, Mapping | list):
        if isinstance(found, list):  # Google's, and the errors of watsonx.ai
            found = found[0] if found else ""
            continue
        values = [found.get(name) for name in _CODES]
        codes[:0] = [str(one) for one in values if one and isinstance(one, str | int)]
        parts = [found[name] for name in ("errors", *_WORDS) if found.get(name)]
        held = next((part for part in parts if isinstance(part, Mapping | list)), None)
        code = f" ({found['errorCode']})" if found.get("errorCode") else ""  # IBM's
        found = f"{next(map(str, parts), '')}{code}" if held is None else held
    return (found if found and isinstance(found, str) else written(said)), codes


def written(said: object) -> str:
    """Return what a provider said as text; of JSON that was read, the beginning."""
    if not isinstance(said, Mapping | list):
        return str(said)
    pieces = json.JSONEncoder(default=str).iterencode(said)
    return "".join(itertools.islice(pieces, _MOST_PIECES))


def status_among(codes: list[str]) -> int | None:
    """Return the HTTP status that vLLM and others put into an error of a stream, or None."""
    numbers = (int(code) for code in codes if code.isdecimal() and len(code) == 3)
    return next((number for number in numbers if 400 <= number <= 599), None)


def retry_after(headers: Mapping[str, str] | None, text: str = "") -> float | None:
    """Return the seconds that an answer asks to wait, or None.

    The order is: `retry-after-ms` (Azure), `Retry-After` as seconds or as a date (RFC 9110,
    10.2.3), OpenAI's `x-ratelimit-reset-requests` and `-tokens`, such as `6m0s`, for the limit
    that is used up. Then the text: OpenAI's "Please try again in 6m0s", Azure's "Please retry
    after 59 seconds", Google's `retryDelay`.

    Args:
        headers: The answer's headers.
        text: What it says.

    >>> retry_after({"Retry-After": "7"})
    7.0
    >>> retry_after({"x-ratelimit-reset-requests": "1m30.5s"})
    90.5
    >>> retry_after(None, "Slow down. Please try again in 1 minute 2.5 seconds.")
    62.5
    """
    seconds = _asked(headers, text)
    if seconds is not None and seconds > _SINCE_1970:
        seconds = max(0.0, seconds - time.time())
    return seconds if seconds is None or seconds <= _LONGEST else None


def _asked(headers: Mapping[str, str] | None, text: str) -> float | None:
    given = {name.lower(): str(value).strip() for name, value in (headers or {}).items()}
    milliseconds = _number(given.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    asked = given.get("retry-after", "")
    for seconds in (_number(asked), _until(asked, given.get("date")), _reset(given)):
        if seconds is not None:
            return seconds
    found = _IN_WORDS.search(text)
    return _duration(found[1]) if found else None


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "nan")
    except ValueError:
        return None
    return number if number >= 0 else None


def _until(date: str, now: str | None) -> float | None:
    """Return the seconds until a date, by the clock of the server if that is known."""
    from email.utils import parsedate_to_datetime  # 10 ms, and hardly ever needed

    try:
        then = parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None
    try:
        here = parsedate_to_datetime(now).timestamp() if now else time.time()
    except (ValueError, OverflowError):
        here = time.time()
    return max(0.0, then - here)


def _reset(given: Mapping[str, str]) -> float | None:
    waits = {name: _duration(given.get(f"x-ratelimit-reset-{name}")) for name in _LIMITS}
    known = {name: wait for name, wait in waits.items() if wait is not None}
    used_up = {name for name in known if given.get(f"x-ratelimit-remaining-{name}") == "0"}
    return max((known[name] for name in used_up or known), default=None)


def _duration(text: str | None) -> float | None:
    """Return the seconds of `6m0s`, `1 minute 2 seconds` or a bare number; None for other text."""
    if text is None or not _DURATION.fullmatch(text):
        return _number(text)
    total = 0.0
    for number, unit in re.findall(_PART, text.lower()):
        short = "ms" if unit.startswith("mill") else unit
        total += float(number) * _UNITS.get(short, _UNITS.get(short[0], 0.0))
    return total
