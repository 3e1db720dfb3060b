"""SDK exceptions in this library's terms: what is common to all, by status first, text last.

A plugin's `translate_error` knows its SDK's classes and best uses these functions too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from mellea_api import errors
from mellea_api.address import shown_address
from mellea_api.requests import ErrorRequest
from mellea_api.secrets import redact
from mellea_api.veil import chain, veiled

__all__ = [
    "by_kind",
    "by_status",
    "caused",
    "chain",
    "retry_after",
    "said",
    "timed_out",
    "unreachable",
    "unreadable",
]

_MOST_TEXT: Final = 300
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
    return errors.RequestTimeoutError(
        f"The {request.target.backend} server{_where(request)} did not answer{within}.",
        next_step="Try again, give more time with timeout=, or check the server.",
        timeout=seconds,
        **_facts(request),
    )


def unreadable(request: ErrorRequest, why: object) -> errors.AnswerError:
    """Return the error for an answer that is no answer."""
    return errors.AnswerError(
        f"The {request.target.backend} server{_where(request)} gave an answer that cannot be "
        f"read: {said(why)}.",
        next_step="Check that the address is that of the API (often it ends in /v1), and that no "
        "proxy answers in its place.",
        **_facts(request),
    )


def unreachable(request: ErrorRequest, why: object) -> errors.BackendUnavailableError:
    """Return the error for a server that cannot be reached."""
    words = said(why)
    return errors.BackendUnavailableError(
        f"Cannot reach the {request.target.backend} server{_where(request)}: {words}.",
        next_step="Check the address, and the server's certificate; to trust an authority of your "
        "own, let SSL_CERT_FILE name its certificate (PEM)."
        if "certificate" in words.lower()
        else request.target.descriptor.start_hint,
        **_facts(request),
    )


def retry_after(headers: Mapping[str, str] | None) -> float | None:
    """Return the seconds that a `Retry-After` header asks to wait, or None.

    Args:
        headers: The answer's headers.
    """
    if headers is None:
        return None
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name)
        try:
            seconds = float(value) / unit if value is not None else None
        except ValueError:
            seconds = None
        if seconds is not None and seconds >= 0:
            return seconds
    return None


def by_status(
    request: ErrorRequest,
    status: int,
    text: object,
    headers: Mapping[str, str] | None = None,
) -> errors.ProviderError:
    """Return the error for an HTTP status.

    Args:
        request: What was being done.
        status: The status, 300 to 599.
        text: What the provider said.
        headers: The answer's headers, for `Retry-After` and `Location`.
    """
    if status < 400:
        return _redirected(request, status, headers)
    target = request.target
    facts = _facts(request, status)
    words = said(text)
    reported = f"{words} (HTTP {status})" if words else f"HTTP {status}"
    lowered = words.lower()
    if status == 401:
        credential = next((item for item in target.descriptor.credentials if item.secret), None)
        variables = credential.variables if credential else ()
        named = f"Check {variables[0]}. " if variables else "Check the credentials. "
        return errors.CredentialError(
            f"The {target.backend} server{_where(request)} rejected the credentials: {reported}.",
            next_step=(named + (credential.help if credential else "")).strip(),
            field=credential.name if credential else None,
            variables=variables,
            **facts,
        )
    if status == 403:
        return errors.PermissionDeniedError(
            f"The {target.backend} server{_where(request)} does not permit this: {reported}.",
            next_step="Ask for access to the model, or use another one or another key.",
            **facts,
        )
    if status == 404 and "model" in lowered:
        return errors.ModelNotFoundError(
            f"The {target.backend} server{_where(request)} does not have the model "
            f"{target.model_id!r}: {reported}.",
            next_step=target.descriptor.model_hint.format(model=target.model_id),
            **facts,
        )
    if status in (408, 504):
        return errors.RequestTimeoutError(
            f"The {target.backend} server{_where(request)} gave up waiting: {reported}.",
            next_step="Try again; a shorter prompt or fewer max_tokens take less time.",
            timeout=request.timeout,
            **facts,
        )
    if status == 429:
        wait = retry_after(headers)
        return errors.RateLimitError(
            f"The {target.backend} server{_where(request)} takes no more calls for now: "
            f"{reported}.",
            next_step=f"Try again in {wait:g} s." if wait is not None else "Try again later.",
            retry_after=wait,
            **facts,
        )
    if status >= 500:
        return errors.BackendUnavailableError(
            f"The {target.backend} server{_where(request)} failed: {reported}.",
            next_step="Try again; if it stays so, look at the server's log or status page.",
            **facts,
        )
    if "context" in lowered and ("length" in lowered or "window" in lowered or "exceed" in lowered):
        return errors.ContextLengthError(
            f"The prompt is too long for {target.model_id!r}: {reported}.",
            next_step="Shorten it, ask for fewer max_tokens, or use a model with a larger context.",
            **facts,
        )
    if "content" in lowered and ("filter" in lowered or "policy" in lowered):
        return errors.ContentRefusedError(
            f"The {target.backend} server's content filter refused this: {reported}.",
            next_step="Change the prompt.",
            **facts,
        )
    return errors.RequestRefusedError(
        f"The {target.backend} server{_where(request)} refused the request: {reported}.",
        next_step=f"`mellea-api options {target.backend}` shows what is sent for each option.",
        **facts,
    )


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


def _words(error: BaseException) -> str:
    """Return what an exception says; of one that says nothing, what it came from, or its kind."""
    texts = (" ".join(str(found).split()) for found in chain(error))
    return next(filter(None, texts), f"the connection broke off ({type(error).__name__})")


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
        status = getattr(error, "status_code", None)
        if isinstance(status, int) and 400 <= status <= 599:
            response = getattr(error, "response", None)
            text = getattr(error, "message", None) or getattr(error, "error", None) or error
            return by_status(request, status, text, getattr(response, "headers", None))
    for error in chain(request.error):
        kinds = {kind.__name__ for kind in type(error).__mro__}
        if kinds & {"TimeoutError", "TimeoutException", "Timeout"}:
            return timed_out(request)
        if kinds & {"UnreadableAnswerError"}:
            return unreadable(request, error)
        if kinds & {"JSONDecodeError", "ValidationError", "DecodingError", "UnicodeDecodeError"}:
            return unreadable(request, f"{type(error).__name__}: {error}")
        if kinds & {"ConnectionError", "TransportError", "RequestException", "gaierror"}:
            return unreachable(request, _words(error))
        if kinds & {"InvalidURL", "UnsupportedProtocol"}:
            return unreachable(request, f"the address is wrong: {error}")
    return None
