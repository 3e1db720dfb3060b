"""SDK exceptions in this library's terms: what is common to all, by status first, text last.

A plugin's `translate_error` knows its SDK's classes and best uses these functions too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from mellea_api._contract import errors
from mellea_api._contract.address import shown_address
from mellea_api._contract.requests import ErrorRequest
from mellea_api._provider.retry_after import retry_after
from mellea_api._provider.surroundings import wrong_surroundings
from mellea_api._secrecy.secrets import redact
from mellea_api._secrecy.veil import chain, veiled

_MOST_TEXT: Final = 300
_WEB_PAGE: Final = re.compile(r"<(?:!doctype|html|head)\b", re.IGNORECASE)
"""How what a proxy says instead of the provider begins."""
_ADDRESS: Final = (
    "Check that the address is that of the API (often it ends in /v1), and that no proxy answers "
    "in its place."
)
_SECRETIVE: Final = re.compile(r"\b(sk-|hf_|Bearer )[\w*.\-]{6,}")


def said(text: object) -> str:
    """Return what a provider said as a message can hold it: one line, short, no key."""
    line = " ".join(redact(str(text)).split())
    line = _SECRETIVE.sub("[secret]", shown_address(line))
    return line if len(line) <= _MOST_TEXT else f"{line[: _MOST_TEXT - 1]}…"


def caused(typed: errors.MelleaAPIError, error: BaseException) -> errors.MelleaAPIError:
    """Give an error its cause: the original, or where that shows a secret, its masked text."""
    typed.__cause__ = error
    return veiled(typed)


def _where(request: ErrorRequest) -> str:
    address = request.target.base_url or request.target.descriptor.default_base_url
    return f" at {shown_address(address)}" if address else ""


def _facts(request: ErrorRequest, status: int | None = None) -> dict[str, Any]:
    target = request.target
    address = target.base_url or target.descriptor.default_base_url
    return {
        "backend": target.backend,
        "model_id": target.model_id,
        "base_url": address and shown_address(address),
        "status": status,
    }


def timed_out(request: ErrorRequest, seconds: float | None = None) -> errors.RequestTimeoutError:
    """Return the error for an answer that did not come in time."""
    seconds = seconds if seconds is not None else request.timeout
    within = f" within {seconds:g} s" if seconds is not None else " in time"
    about = request.target.descriptor
    in_process = not about.base_url_variables and about.default_base_url is None
    who = "backend" if in_process else f"server{_where(request)}"
    return errors.RequestTimeoutError(
        f"The {request.target.backend} {who} did not answer{within}.",
        next_step="Try again, ask for fewer max_tokens, or give more time with timeout=."
        if in_process
        else "Try again, give more time with timeout=, or check the server.",
        timeout=seconds,
        **_facts(request),
    )


def unreadable(request: ErrorRequest, why: object, status: int | None = None) -> errors.AnswerError:
    """Return the error for an answer that is no answer.

    Args:
        request: What was being done.
        why: Why it is none.
        status: Its HTTP status, if that was no good one either.
    """
    return errors.AnswerError(
        f"The {request.target.backend} server{_where(request)} gave an answer that cannot be "
        f"read: {said(why)}.",
        next_step=_ADDRESS,
        **_facts(request, status),
    )


def unreachable(request: ErrorRequest, why: object) -> errors.BackendUnavailableError:
    """Return the error for a server that cannot be reached."""
    words = said(why).rstrip(". ")
    return errors.BackendUnavailableError(
        f"Cannot reach the {request.target.backend} server{_where(request)}: {words}.",
        next_step="Check the address, and the server's certificate; to trust an authority of your "
        "own, let SSL_CERT_FILE name its certificate (PEM)."
        if "certificate" in words.lower()
        else request.target.descriptor.start_hint,
        **_facts(request),
    )


def by_status(
    request: ErrorRequest,
    status: int | None,
    text: object,
    headers: Mapping[str, str] | None = None,
    *,
    meaning: type[errors.ProviderError] | None = None,
) -> errors.ProviderError:
    """Return the error for an HTTP status, or for an error in the middle of an answer.

    Args:
        request: What was being done.
        status: The status, 300 to 599; None where the answer had begun well.
        text: What the provider said.
        headers: The answer's headers, for when to try again, and for `Location`.
        meaning: What the provider's own code says that it is; None goes by status, then text.
    """
    if status is not None and status < 400:
        return _redirected(request, status, headers)
    own, *page = _WEB_PAGE.split(str(text), maxsplit=1)
    if page and status is not None and not meaning and status < 500 and status not in _BY_STATUS:
        return unreadable(request, f"it is a web page (HTTP {status})", status)
    words = said(own).rstrip(". -")
    kind = meaning or _meaning(status, words.lower())
    reported = (f"{words} (HTTP {status})" if words else f"HTTP {status}") if status else words
    target = request.target
    server, facts = f"The {target.backend} server{_where(request)}", _facts(request, status)
    if kind is errors.CredentialError:
        credential = next((item for item in target.descriptor.credentials if item.secret), None)
        variables = credential.variables if credential else ()
        named = f"Check {variables[0]}. " if variables else "Check the credentials. "
        facts |= {"field": credential.name if credential else None, "variables": variables}
        reason = f"{server} rejected the credentials: {reported}."
        step = (named + (credential.help if credential else "")).strip()
    elif kind is errors.PermissionDeniedError:
        reason = f"{server} does not permit this: {reported}."
        step = "Ask for access to the model, or use another one or another key."
        if status == 402:
            step = "Pay for more, or use another key."
    elif kind is errors.ModelNotFoundError:
        reason = f"{server} does not have the model {target.model_id!r}: {reported}."
        step = target.descriptor.model_hint.format(model=target.model_id)
    elif kind is errors.RequestTimeoutError:
        facts |= {"timeout": request.timeout}
        reason = f"{server} gave up waiting: {reported}."
        step = "Try again; a shorter prompt or fewer max_tokens take less time."
    elif kind is errors.RateLimitError:
        wait = facts["retry_after"] = retry_after(headers, str(text))
        reason = f"{server} takes no more calls for now: {reported}."
        step = f"Try again in {wait:g} s." if wait is not None else "Try again later."
        if "quota" in words.lower():
            step += " If it is the plan's quota that is used up, only a larger one helps."
    elif kind is errors.BackendUnavailableError:
        reason = f"{server} failed: {reported}."
        step = "Try again; if it stays so, look at the server's log or status page."
    elif kind is errors.ContextLengthError:
        reason = f"The prompt is too long for {target.model_id!r}: {reported}."
        step = "Shorten it, ask for fewer max_tokens, or use a model with a larger context."
    elif kind is errors.ContentRefusedError:
        reason = f"The {target.backend} server's content filter refused this: {reported}."
        step = "Change the prompt."
    else:
        reason = f"{server} refused the request: {reported}."
        step = f"`mellea-api options {target.backend}` shows what is sent for each option."
        if status in (404, 405) and not meaning:
            step = _ADDRESS
    return kind(reason, next_step=step, **facts)


def _redirected(
    request: ErrorRequest, status: int, headers: Mapping[str, str] | None
) -> errors.AnswerError:
    """Return the error for a redirect: prompt and key go to the address that was given alone."""
    place = headers.get("location") if headers is not None else None
    return errors.AnswerError(
        f"The {request.target.backend} server{_where(request)} sends its callers on to "
        f"{said(place) if place else 'another address'} (HTTP {status}), which is not followed.",
        next_step="If it is to be trusted with the key and the prompts, give that address "
        "instead: base_url=.",
        **_facts(request, status),
    )


_BY_STATUS: Final[Mapping[int, type[errors.ProviderError]]] = {
    401: errors.CredentialError,
    402: errors.PermissionDeniedError,
    403: errors.PermissionDeniedError,
    408: errors.RequestTimeoutError,
    413: errors.ContextLengthError,
    429: errors.RateLimitError,
    504: errors.RequestTimeoutError,
}
_TOO_LONG: Final = re.compile(
    r"context.{0,30}(length|window|size|limit|exceed)|exceed.{0,30}context"
    r"|(prompt|input)s?\b.{0,40} too long|longer than the model"
    r"|(input|prompt) token(s| count).{0,60}exceed|tokens.{0,60}(cannot exceed|must be <=)"
    r"|maximum prompt length|must have less than \d+ tokens|request(_| is | )too(_| )large"
)
_FILTERED: Final = re.compile(
    r"content.{0,30}(filter|policy|policies|moderation)|safety system|usage polic|flagged"
)


_BAD_KEY: Final = re.compile(
    r"(incorrect|invalid|expired) api[ _-]?key|api[ _-]?key (is )?(not valid|invalid|expired)"
)
"""Google and xAI say it with status 400."""
_NO_MODEL: Final = re.compile(
    r"\bmodel\b.{0,80} (does not exist|not found)\b|not a valid model id"
    r"|\bdeployment\b.{0,60} does not exist|no endpoints found for"
)
_UNPAID: Final = re.compile(r"(credit )?balance is too low|insufficient (balance|credits|funds)")


def _meaning(status: int | None, lowered: str) -> type[errors.ProviderError]:
    if status == 403 and _FILTERED.search(lowered):
        return errors.ContentRefusedError
    if status is not None and status in _BY_STATUS:
        return _BY_STATUS[status]
    if status == 404 and "model" in lowered:
        return errors.ModelNotFoundError
    if status in (400, 404):
        for words, meaning in _BAD_REQUESTS.items():
            if words.search(lowered):
                return meaning
    if status is not None and status >= 500:
        return errors.BackendUnavailableError
    if _TOO_LONG.search(lowered):
        return errors.ContextLengthError
    if _FILTERED.search(lowered):
        return errors.ContentRefusedError
    return errors.RequestRefusedError if status else errors.BackendUnavailableError


_BAD_REQUESTS: Final[Mapping[re.Pattern[str], type[errors.ProviderError]]] = {
    _BAD_KEY: errors.CredentialError,
    _NO_MODEL: errors.ModelNotFoundError,
    _UNPAID: errors.PermissionDeniedError,
}


def _words(error: BaseException) -> str:
    """Return what an exception says; of one that says nothing, what it came from, or its kind."""
    texts = (" ".join(str(found).split()) for found in chain(error))
    return next(filter(None, texts), f"the connection broke off ({type(error).__name__})")


def _status(error: BaseException, answer: Any) -> int | None:
    """Return the HTTP status that an exception is about, 300 to 599, or None.

    The SDKs' own and LiteLLM's say it themselves, httpx's and requests' in their response,
    aiohttp's as `status`, and urllib's as `code`, which elsewhere is something else.
    """
    found = [getattr(holder, "status_code", None) for holder in (error, answer)]
    found.append(getattr(error, "status", None))
    if type(error).__module__ == "urllib.error":
        found.append(getattr(error, "code", None))
    return next((one for one in found if isinstance(one, int) and 300 <= one <= 599), None)


def _reported(error: BaseException, answer: Any) -> object:
    """Return what a server said, by its exception or in the body of its answer."""
    words = getattr(error, "message", None) or getattr(error, "error", None)
    if words:
        return words
    try:
        text = answer.text
    except Exception:  # there is none, or it was not read
        return error
    if not isinstance(text, str) or not text.strip():
        return error
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    for name in ("error", "message", "detail"):
        if isinstance(found, dict) and found.get(name):
            found = found[name]
    return found if isinstance(found, str) else text


_UNREADABLE: Final = frozenset(
    {"JSONDecodeError", "ValidationError", "DecodingError", "UnicodeDecodeError"}
)
_TOO_MUCH_JSON: Final = re.compile(r"while decoding a JSON|for integer string conversion")
"""What Python says of JSON that is too deep, or has a number that is too long."""


def by_kind(request: ErrorRequest) -> errors.MelleaAPIError | None:
    """Return the error for an exception that any SDK may raise, or None if it is none of them.

    It goes by an HTTP status where the exception (or one that it came from) has one, then by
    the kinds that httpx, requests and the standard library share.

    Args:
        request: The exception, and what was being done.
    """
    for error in chain(request.error):
        if isinstance(error, errors.MelleaAPIError):
            return error
        answer = getattr(error, "response", None)
        status = _status(error, answer)
        if status is not None:
            headers = getattr(answer if answer is not None else error, "headers", None)
            return by_status(request, status, _reported(error, answer), headers)
    wrong = wrong_surroundings(request.error)
    if wrong is not None:
        return wrong
    for error in chain(request.error):
        kinds = {kind.__name__ for kind in type(error).__mro__}
        if kinds & {"TimeoutError", "TimeoutException", "Timeout"}:
            return timed_out(request)
        if kinds & {"UnreadableAnswerError"}:
            return unreadable(request, error)
        if kinds & _UNREADABLE or _TOO_MUCH_JSON.search(str(error)):
            return unreadable(request, f"{type(error).__name__}: {error}")
        if kinds & {"ConnectionError", "TransportError", "RequestException", "gaierror"}:
            return unreachable(request, _words(error))
        if kinds & {"InvalidURL", "UnsupportedProtocol"}:
            return unreachable(request, f"the address is wrong: {error}")
    return None
