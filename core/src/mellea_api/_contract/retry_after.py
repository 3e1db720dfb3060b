"""When a provider wants to be asked again, as its answer says it."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from typing import Final

_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PART: Final = r"(\d+(?:\.\d+)?)(h|ms|m|s|us|µs|ns)"
_DURATION: Final = re.compile(f"(?:{_PART})+")
_LIMITS: Final = ("requests", "tokens")
_WORD: Final = r"\d+(?:\.\d+)?\s?(?:h(?:ours?)?|m(?:in(?:ute)?s?)?|s(?:ec(?:ond)?s?)?|ms)\b\s?"
_IN_WORDS: Final = re.compile(
    rf"(?:try again|retry) (?:in|after) ((?:{_WORD}|{_PART})+)|\"retryDelay\":\s?\"({_WORD})\"",
    re.IGNORECASE,
)


def retry_after(headers: Mapping[str, str] | None, text: str = "") -> float | None:
    """Return the seconds that an answer asks to wait, or None.

    Looked at in this order: `retry-after-ms` (Azure's), `Retry-After` as seconds or as a date
    (RFC 9110, 10.2.3), and OpenAI's `x-ratelimit-reset-requests` and `-tokens`, such as `6m0s`,
    of which the limit counts that is used up. Then in the text, such as OpenAI's "Please try
    again in 6m0s", Azure's "Please retry after 59 seconds" and Google's `retryDelay`.

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
    found = _in_headers(headers or {})
    return _in_words(text) if found is None else found


def _in_headers(headers: Mapping[str, str]) -> float | None:
    said = {name.lower(): str(value).strip() for name, value in headers.items()}
    milliseconds = _number(said.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    asked = said.get("retry-after")
    seconds = _number(asked)
    if seconds is None and asked:
        seconds = _until(asked, said.get("date"))
    return _reset(said) if seconds is None else seconds


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return number if 0 <= number < math.inf else None


def _until(date: str, now: str | None) -> float | None:
    """Return the seconds until a date, by the clock of who named it, where that is known."""
    from email.utils import parsedate_to_datetime  # 10 ms, and hardly ever needed

    try:
        then = parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None
    try:
        here = parsedate_to_datetime(now).timestamp() if now else time.time()
    except ValueError:
        here = time.time()
    return max(0.0, then - here)


def _reset(said: Mapping[str, str]) -> float | None:
    waits = {name: _duration(said.get(f"x-ratelimit-reset-{name}")) for name in _LIMITS}
    known = {name: wait for name, wait in waits.items() if wait is not None}
    used_up = {name for name in known if said.get(f"x-ratelimit-remaining-{name}") == "0"}
    return max((known[name] for name in used_up or known), default=None)


def _in_words(text: str) -> float | None:
    found = _IN_WORDS.search(text)
    if found is None:
        return None
    parts = re.findall(r"(\d+(?:\.\d+)?)\s?([a-zA-Z]+)", found[0])
    units = ((number, unit.lower()) for number, unit in parts)
    return sum(float(number) * _UNITS[unit if unit == "ms" else unit[0]] for number, unit in units)


def _duration(text: str | None) -> float | None:
    if text is None or not _DURATION.fullmatch(text):
        return _number(text)
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(_PART, text))
