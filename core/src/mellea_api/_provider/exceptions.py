"""What any SDK or HTTP client may raise, as this library's errors.

The HTTP status of the exception or of its causes decides. Without one, the exception types
that httpx, requests and the standard library share decide.
"""

from __future__ import annotations

import os
from typing import Any, Final
from urllib.parse import urlsplit

from mellea_api._contract import errors, refusals
from mellea_api._contract.refusals import ErrorRequest
from mellea_api._provider.answers import RefusedWithSuccessError
from mellea_api._secrecy.secrets import one_line, shown_address
from mellea_api._secrecy.veil import chain, veiled, words_of

_UNREADABLE: Final = frozenset(
    {"JSONDecodeError", "ValidationError", "DecodingError", "UnicodeDecodeError"}
)
_TOO_MUCH_JSON: Final = "for integer string conversion"
"""Python's words for JSON with a number that is too long."""
_CERTIFICATES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


def by_kind(request: ErrorRequest) -> errors.MelleaAPIError | None:
    """Return the error for an exception that any SDK may raise, or None for another one.

    Args:
        request: The exception, and what was being done.
    """
    # First: to LiteLLM it is a failure of the server.
    if any("surrogates not allowed" in error.args for error in request.chain):
        failed = errors.RequestRefusedError(
            "Cannot send the prompt: it holds half of a surrogate pair, which is no character.",
            next_step="Clean the text: text.encode('utf-8', 'replace').decode('utf-8').",
        )
        return refusals.completed(failed, request.target)
    for error in request.chain:
        if isinstance(error, RefusedWithSuccessError):
            return request.answered(None, error.body)
        if isinstance(error, errors.MelleaAPIError):
            return refusals.completed(error, request.target, request.timeout)
        answer = getattr(error, "response", None)
        status = _status(error, answer)
        if status is not None:
            headers = getattr(answer if answer is not None else error, "headers", None)
            return request.answered(status, _reported(error, answer), headers)
    wrong = wrong_surroundings(request)
    if wrong is not None:
        return wrong
    for error in request.chain:
        kinds = {kind.__name__ for kind in type(error).__mro__}
        if kinds & {"TimeoutError", "TimeoutException", "Timeout"}:
            return request.timed_out()
        if isinstance(error, RecursionError):
            return request.unreadable("it is nested too deeply")
        if kinds & _UNREADABLE or _TOO_MUCH_JSON in words_of(error):
            return request.unreadable(f"{type(error).__name__}: {words_of(error)}")
        if kinds & {"ConnectionError", "TransportError", "RequestException", "gaierror"}:
            return _not_fetched(request, error) or request.unreachable(_words(error))
        if kinds & {"InvalidURL", "UnsupportedProtocol"}:
            return request.unreachable(f"the address is wrong: {error}")
    return None


def caused(typed: errors.MelleaAPIError, error: BaseException) -> errors.MelleaAPIError:
    """Give an error its cause: the original, or its masked text if that shows a secret."""
    if typed not in chain(error):
        typed.__cause__ = error
    return veiled(typed)


def wrong_surroundings(request: ErrorRequest) -> errors.ConfigurationError | None:
    """Return the error for an HTTP client that cannot be made, naming the variables it reads.

    Every SDK's client reads the variables of certificates and proxies. What it raises for a
    wrong one differs, and never names the variable. It is None if a client was made.
    """
    for error in request.chain:
        names: tuple[str, ...]
        if _is_about_certificates(error):
            names, step = _CERTIFICATES, "It must name certificates (PEM) of the authorities"
            step += " that you trust; else unset it."
        elif _is_about_proxies(error):
            names = tuple(name for pair in _PROXIES for name in (pair, pair.lower()))
            step = "Write a proxy as http://host:port, and in NO_PROXY names of hosts with commas."
            if "SOCKS" in str(error):
                step = 'Run `pip install "httpx[socks]"`, or use another proxy.'
        else:
            continue
        present = [name for name in names if os.environ.get(name, "").strip()]
        if present:
            failed = errors.ConfigurationError(
                f"Cannot make an HTTP client with the environment's {', '.join(present)}: "
                f"{one_line(error).rstrip('.')}.",
                next_step=step,
                variable=present[0],
            )
            return refusals.completed(failed, request.target)
    return None


def _is_about_certificates(error: BaseException) -> bool:
    import ssl  # 10 ms, and hardly ever needed

    if isinstance(error, ssl.SSLWantReadError | ssl.SSLWantWriteError):
        return False  # a handshake that was given up on
    if isinstance(error, ssl.SSLError):
        return error.library in ("X509", "PEM", "SYS", None)
    if isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError):
        # OpenSSL does not say which file.
        return error.filename in (None, *map(os.environ.get, _CERTIFICATES))
    return isinstance(error, OSError) and "TLS CA certificate bundle" in str(error)  # requests


def _is_about_proxies(error: BaseException) -> bool:
    if isinstance(error, ValueError | ImportError) and "proxy" in words_of(error).lower():
        return True
    return type(error).__name__ in ("InvalidURL", "InvalidProxyURL")


def _not_fetched(request: ErrorRequest, error: BaseException) -> errors.ProviderError | None:
    """Return the error for a file of the prompt, such as an image, that cannot be fetched."""
    asked = getattr(error, "request", None)
    url, address = str(getattr(asked, "url", "")), request.target.address or ""
    if request.operation != "call" or getattr(asked, "method", "") != "GET" or not address:
        return None
    if urlsplit(url).netloc.rpartition("@")[2] == urlsplit(address).netloc.rpartition("@")[2]:
        return None
    failed = errors.RequestRefusedError(
        f"Cannot fetch {shown_address(url)}, which the prompt names: {one_line(_words(error))}.",
        next_step="Check that address, or put the file itself into the prompt.",
    )
    return refusals.completed(failed, request.target)


def _words(error: BaseException) -> str:
    """Return an exception's text; without one, that of its cause, or its type."""
    texts = (" ".join(str(found).split()) for found in chain(error))
    return next(filter(None, texts), f"the connection broke off ({type(error).__name__})")


def _status(error: BaseException, answer: Any) -> int | None:
    """Return the HTTP status of an exception, 300 to 599, or None.

    The exceptions of SDKs and LiteLLM have it in `status_code`, those of httpx and requests in
    their response, aiohttp's in `status`, urllib's in `code` (which means other things
    elsewhere).
    """
    found = [getattr(holder, "status_code", None) for holder in (error, answer)]
    found.append(getattr(error, "status", None))
    if type(error).__module__ == "urllib.error":
        found.append(getattr(error, "code", None))
    return next((one for one in found if isinstance(one, int) and 300 <= one <= 599), None)


def _reported(error: BaseException, answer: Any) -> object:
    """Return what a server said: the exception's message, or the body of the answer."""
    words = getattr(error, "message", None) or getattr(error, "error", None)
    if words:
        return words
    try:
        text = answer.text
    except Exception:  # there is no text, or it was not read
        return error
    return text if isinstance(text, str) and text.strip() else error
