"""What an error of a provider says: one sentence and one next step for each kind.

A plugin raises a bare error, and `completed` writes its text. `ErrorRequest` makes the error for
what an SDK raised.
"""

from __future__ import annotations

import difflib
import os
import re
import shlex
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeVar
from urllib.parse import urlsplit

from attrs import field, frozen

from mellea_api._contract import errors
from mellea_api._contract.requests import Target
from mellea_api._contract.said import retry_after, status_among, words_and_codes, written
from mellea_api._secrecy.secrets import beginning, one_line, redact, shown_address
from mellea_api._secrecy.veil import chain

Error = TypeVar("Error", bound=errors.MelleaAPIError)


_ADDRESS: Final = (
    "Check that the address is that of the API (often it ends in /v1), and that no proxy answers "
    "in its place."
)
_SENTENCES: Final[Mapping[type[errors.MelleaAPIError], tuple[str, str]]] = {
    errors.CredentialError: ("{server} rejected the credentials{why}.", "{key}"),
    errors.PermissionDeniedError: (
        "{server} does not permit this{why}.",
        "Ask for access to the model, or use another model or another key.",
    ),
    errors.ModelNotFoundError: (
        "{server} does not have the model {model!r}{why}.{listed}",
        "{model_hint}",
    ),
    errors.RequestTimeoutError: (
        "{server} gave up waiting{why}.",
        "Try again; a shorter prompt or fewer max_tokens take less time.",
    ),
    errors.RateLimitError: ("{server} takes no more calls for now{why}.", "Try again {wait}."),
    errors.BackendUnavailableError: (
        "{server} failed{why}.",
        "Try again; if it keeps failing, look at the server's log or status page.",
    ),
    errors.ContextLengthError: (
        "The prompt is too long for {model!r}{why}.",
        "Shorten it, ask for fewer max_tokens, or use a model with a larger context.",
    ),
    errors.ContentRefusedError: (
        "The {backend} server's content filter refused this{why}.",
        "Change the prompt.",
    ),
    errors.AnswerError: ("{server} gave an answer that cannot be read{why}.", _ADDRESS),
    errors.RequestRefusedError: (
        "{server} refused the request{why}.",
        "`mellea-api options {backend}` shows what is sent for each option.",
    ),
    errors.ProviderError: ("{server} did not do what it was asked{why}.", ""),
    errors.OptionError: (
        "Cannot use the model options for {backend} model {model!r}{why}.",
        "`mellea-api options {backend}{of_model}` shows what it takes.",
    ),
    errors.ConfigurationError: ("Cannot use the {backend} backend like this{why}.", "Correct it."),
    errors.PluginError: (
        "The {backend} plugin failed{why}.",
        "Upgrade its distribution, or report this to its author.",
    ),
    errors.MelleaAPIError: ("The {backend} backend failed{why}.", ""),
}
"""The sentence and the next step of each kind, for an error that was raised bare."""
_BY_STATUS: Final[Mapping[int, type[errors.ProviderError]]] = {
    401: errors.CredentialError,
    402: errors.PermissionDeniedError,
    403: errors.PermissionDeniedError,
    408: errors.RequestTimeoutError,
    413: errors.ContextLengthError,
    429: errors.RateLimitError,
    504: errors.RequestTimeoutError,
}
_MEANT: Final[Mapping[int, type[errors.ProviderError]]] = {
    **_BY_STATUS,
    400: errors.RequestRefusedError,
    404: errors.ModelNotFoundError,
    500: errors.BackendUnavailableError,
}
"""What a descriptor's `codes` mean by these statuses."""
_BY_CODE: Final[Mapping[str, type[errors.ProviderError]]] = {
    "content_policy_violation": errors.ContentRefusedError,
    "context_length_exceeded": errors.ContextLengthError,
    "exceed_context_size_error": errors.ContextLengthError,  # llama.cpp's, which it calls a type
    "invalid_prompt": errors.ContentRefusedError,
    "string_above_max_length": errors.ContextLengthError,
}
"""What OpenAI's codes mean, which many servers have; a descriptor's `codes` add to them."""
_IN_A_STREAM: Final[Mapping[str, type[errors.ProviderError]]] = {
    "insufficient_quota": errors.RateLimitError,
    "invalid_api_key": errors.CredentialError,
    "rate_limit_exceeded": errors.RateLimitError,
}
"""Codes that mean what the status means elsewhere."""
_TOO_LONG: Final = re.compile(
    r"context(?! (deadline|cancel)).{0,30}(length|window|size|limit|exceed|overflow)"
    r"|exceed.{0,30}(context|token limit)|(prompt|input)s?\b.{0,40} too long"
    r"|prompt\b.{0,60} too large|(longer|larger) than the (maximum )?model"
    r"|(input|prompt)( |_)(tokens?|length)\b.{0,60}(exceed|less than|should be \[)"
    r"|prompt exceeds|tokens.{0,60}(cannot exceed|must be <=|in the (prompt|messages))"
    r"|reduce the length of (the|your)|maximum prompt length|must have less than \d+ tokens"
    r"|request( body)?(_| is | )too(_| )large|too many (input |prompt )?tokens"
)
_WITHOUT_SIGHT: Final = re.compile(
    r"(image|vision|audio|multimodal)\b.{0,40}not supported|not support (image|vision|audio)"
    r"|not a (multimodal|vision)|support image input|required for image input"
)
"""Servers answer 500 where a model cannot read a picture."""
_FILTERED: Final = re.compile(
    r"content.{0,30}(filter|policy|policies|moderation)|safety system|usage polic|flagged"
)
_BAD_REQUESTS: Final[Mapping[re.Pattern[str], type[errors.ProviderError]]] = {
    # Google and xAI answer a bad key with status 400.
    re.compile(
        r"(incorrect|invalid|expired) api[ _-]?key|api[ _-]?key (is )?(not valid|invalid|expired)"
    ): errors.CredentialError,
    re.compile(
        r"\bmodel\b.{0,80} (does not exist|not found)\b|not a valid model id|invalid model name"
        r"|\bdeployment\b.{0,60} does not exist|no endpoints found for"
    ): errors.ModelNotFoundError,
    re.compile(
        r"(credit )?balance is too low|insufficient (balance|credits|funds)"
    ): errors.PermissionDeniedError,
}
_WEB_PAGE: Final = re.compile(r"<(?:!doctype|html|head)\b", re.IGNORECASE)
"""The beginning of a page, which a proxy sends instead of the provider's answer."""
_MOST_MODELS: Final = 8


def completed(error: Error, target: Target, timeout: float | None = None) -> Error:
    """Fill in what the core knows, and write the text of an error that was raised bare.

    Args:
        error: The error; it is changed in place. Facts that it has stay as they are.
        target: Backend, model and server.
        timeout: Seconds that were allowed.

    Returns:
        The same error.
    """
    known: dict[str, Any] = {
        "backend": target.descriptor.name,
        "model_id": target.model_id,
        "base_url": _address(target),
        "timeout": timeout,
    }
    if isinstance(error, errors.CredentialError):
        fields = target.descriptor.credentials
        named = (one for one in fields if (one.name == error.field if error.field else one.secret))
        field = next(named, None)
        known |= {"field": field and field.name, "variables": field.variables if field else ()}
    for name in error.facts:
        if getattr(error, name) is None:
            setattr(error, name, known.get(name))
    if isinstance(error, errors.ModelNotFoundError) and error.known:
        near = difflib.get_close_matches(error.model_id or "", error.known, n=3, cutoff=0.4)
        error.known = (*near, *sorted(set(error.known) - set(near)))
    if error._bare or not error.reason:
        reason, step = _sentence(error, target)
        error._write(reason, error.next_step or step)
    return error


@frozen(kw_only=True)
class ErrorRequest:
    """An SDK's exception, to be translated into one of our errors.

    Args:
        target: Backend, model and server.
        operation: What was being done: `session`, `call`, `models` or `credentials`.
        error: The exception.
        timeout: Seconds that were allowed, if there was a limit.
    """

    target: Target
    operation: Literal["session", "call", "models", "credentials"]
    error: BaseException = field(repr=lambda error: redact(repr(error)))
    timeout: float | None = None

    @property
    def chain(self) -> tuple[BaseException, ...]:
        """The exception and its causes, outermost first."""
        return tuple(chain(self.error))

    def answered(
        self,
        status: int | None,
        said: object,
        headers: Mapping[str, str] | None = None,
        kind: type[errors.ProviderError] | None = None,
        *,
        field: str | None = None,
        next_step: str | None = None,
    ) -> errors.ProviderError:
        """Return the error for an HTTP status, or for an error in the middle of an answer.

        The codes in the answer decide first (the descriptor's `codes`, and OpenAI's), then its
        status, and its words last.

        Args:
            status: The status, 300 to 599; None if the status was good.
            said: The body of the answer, or what the SDK made of it: text, or an object.
            headers: The answer's headers, for when to try again, and for `Location`.
            kind: What this error is, if the plugin knows better.
            field: The credential that is rejected, if it is not the key.
            next_step: What to do about it, if that is not what the kind of error says.
        """
        if status is not None and status < 400:
            return _redirected(self.target, status, headers)
        text, codes = words_and_codes(said)
        known = kind or _by_code(self.target, codes, streamed=status is None)
        status = status if status is not None else status_among(codes)
        own, *page = _WEB_PAGE.split(beginning(text), maxsplit=1)
        if page and status is not None and not known and status < 500 and status not in _BY_STATUS:
            error = errors.AnswerError("it is a web page", status=status)
            return completed(error, self.target, self.timeout)
        words = one_line(own).rstrip(". -")
        chosen = errors.CredentialError if field else known or _meaning(status, words.lower())
        failure = chosen(words, status=status)
        if isinstance(failure, errors.CredentialError):
            failure.field = field
        elif isinstance(failure, errors.RateLimitError):
            failure.retry_after = retry_after(headers, beginning(written(said)))
        completed(failure, self.target, self.timeout)
        if not next_step and not known:
            if status == 402:
                next_step = "Pay for more, or use another key."
            elif status in (404, 405) and chosen is errors.RequestRefusedError:
                next_step = _ADDRESS
        if next_step:
            failure._write(failure.reason, next_step)
        return failure

    def unreachable(self, why: object) -> errors.ProviderError:
        """Return the error for a server that cannot be reached, and why not."""
        target, words = self.target, one_line(why).rstrip(". ")
        proxy = _proxy_of(target)
        through = f" (through the proxy that {proxy} names)" if proxy else ""
        error = errors.BackendUnavailableError(
            f"Cannot reach {_server(target, 'the')}{through}: {words}.",
            next_step="Check the address, and the server's certificate; to trust a certificate "
            "authority of your own, let SSL_CERT_FILE name its certificate (PEM)."
            if "certificate" in words.lower()
            else target.descriptor.start_hint,
        )
        return completed(error, target)

    def unreadable(self, why: object) -> errors.ProviderError:
        """Return the error for an answer that cannot be read, and what is wrong with it."""
        return completed(errors.AnswerError(str(why)), self.target)

    def timed_out(self) -> errors.ProviderError:
        """Return the error for an answer that did not come in time."""
        about = self.target.descriptor
        in_process = not about.base_url_variables and about.base_url is None
        who = f"The {about.name} backend" if in_process else _server(self.target)
        within = f" within {self.timeout:g} s" if self.timeout is not None else " in time"
        error = errors.RequestTimeoutError(
            f"{who} did not answer{within}.",
            next_step="Try again, ask for fewer max_tokens, or give more time with timeout=."
            if in_process
            else "Try again, give more time with timeout=, or check the server.",
        )
        return completed(error, self.target, self.timeout)


def _address(target: Target) -> str | None:
    address = target.address
    return address and shown_address(address)


def _server(target: Target, article: str = "The") -> str:
    address = _address(target)
    return f"{article} {target.descriptor.name} server{f' at {address}' if address else ''}"


def _proxy_of(target: Target) -> str | None:
    """Return the environment variable with the proxy for a target's server, if there is one."""
    from urllib import request  # 20 ms, and hardly ever needed

    address = target.address or ""
    try:
        parts = urlsplit(address if "//" in address else f"//{address}")
    except ValueError:
        return None
    if not parts.hostname or request.proxy_bypass(parts.hostname):
        return None
    names = (f"{parts.scheme or 'http'}_proxy", "all_proxy")
    spelled = (way for name in names for way in (name, name.upper()))
    return next((name for name in spelled if os.environ.get(name)), None)


def _sentence(error: errors.MelleaAPIError, target: Target) -> tuple[str, str]:
    """Return the sentence and the next step for a bare error."""
    reason, step = next(_SENTENCES[kind] for kind in type(error).__mro__ if kind in _SENTENCES)
    status = getattr(error, "status", None)
    words = one_line(error.reason).rstrip(". -")
    if isinstance(error, errors.OptionError):
        listed = [f"{problem.path} {problem.message}" for problem in error.problems or ()]
        words = "; ".join(filter(None, (words, *listed)))
    if status is not None and not getattr(error, "known", None):
        words = f"{words} (HTTP {status})" if words else f"HTTP {status}"
    descriptor = target.descriptor
    values = {
        "server": _server(target),
        "backend": descriptor.name,
        "model": target.model_id,
        "model_hint": descriptor.model_hint.format(model=target.model_id),
        "why": f": {words}" if words else "",
        "of_model": ""
        if target.model_id == descriptor.default_model
        else f" --model {shlex.quote(target.model_id)}",
    }
    if isinstance(error, errors.ModelNotFoundError):
        names = ", ".join((error.known or ())[:_MOST_MODELS])
        values["listed"] = f" It has {names}." if names else ""
    elif isinstance(error, errors.RateLimitError):
        wait = f"in {error.retry_after:g} s" if error.retry_after is not None else "later"
        quota = "quota" in words.lower()
        values["wait"] = wait
        step += " If the plan's quota is used up, only a larger plan helps." if quota else ""
    elif isinstance(error, errors.CredentialError):
        variables = error.variables or ("the credentials",)
        where = next((item.help for item in descriptor.credentials if item.name == error.field), "")
        values["key"] = f"Check {variables[0]}. {where}".strip()
    sentence = reason.format_map(values)
    return sentence[:-1] if sentence.endswith("?.") else sentence, step.format_map(values)


def _redirected(
    target: Target, status: int, headers: Mapping[str, str] | None
) -> errors.AnswerError:
    """Return the error for a redirect: only the given address gets the prompt and the key."""
    place = headers.get("location") if headers is not None else None
    error = errors.AnswerError(
        f"{_server(target)} redirects to {one_line(place) if place else 'another address'} "
        f"(HTTP {status}), and redirects are not followed.",
        next_step="If you trust that address with the key and the prompts, give it instead: "
        "base_url=.",
        status=status,
    )
    return completed(error, target)


def _by_code(
    target: Target, codes: list[str], *, streamed: bool
) -> type[errors.ProviderError] | None:
    known = {
        **_BY_CODE,
        **(_IN_A_STREAM if streamed else {}),
        **dict.fromkeys(target.descriptor.filtered, errors.ContentRefusedError),
        **{code: _MEANT[status] for code, status in target.descriptor.codes.items()},
    }
    return next((known[code] for code in codes if code in known), None)


def _meaning(status: int | None, lowered: str) -> type[errors.ProviderError]:
    if status == 403 and _FILTERED.search(lowered):
        return errors.ContentRefusedError
    if status is not None and status in _BY_STATUS:
        return _BY_STATUS[status]
    if _WITHOUT_SIGHT.search(lowered):
        return errors.RequestRefusedError
    if status == 404 and "model" in lowered:
        return errors.ModelNotFoundError
    if status in (400, 404):
        for words, meaning in _BAD_REQUESTS.items():
            if words.search(lowered):
                return meaning
    if _TOO_LONG.search(lowered):  # an older llama.cpp says so with status 500
        return errors.ContextLengthError
    if status is not None and status >= 500:
        return errors.BackendUnavailableError
    if _FILTERED.search(lowered):
        return errors.ContentRefusedError
    return errors.RequestRefusedError if status else errors.BackendUnavailableError
