"""One question to the Hub, within a time: huggingface_hub's own client waits without an end.

It is asked before there is a session, and for lists; weights are huggingface_hub's to download.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from typing import Any

from mellea_api._provider.authoring import UnreadableAnswerError, run_with_deadline
from mellea_api.plugin import careful

__all__ = ["ask", "read"]


def ask(
    question: str,
    token: Any,
    seconds: float | None,
    parameters: Mapping[str, Any] | None = None,
) -> Any:
    """Ask the Hub, and return its answer, an `httpx.Response`.

    Args:
        question: The path below `/api/`, or the address of a further page.
        token: As huggingface_hub takes it: a token, None for its own, False for none.
        seconds: The time it may take; None for no limit.
        parameters: What stands in the query.

    Raises:
        OfflineModeIsEnabled: If the Hub is not to be asked.
        HfHubHTTPError: If it refuses.
        TimeoutError: If it took longer.
        Exception: Whatever httpx raises.
    """
    import httpx
    from huggingface_hub import constants
    from huggingface_hub.errors import OfflineModeIsEnabled
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

    if constants.HF_HUB_OFFLINE:
        raise OfflineModeIsEnabled("HF_HUB_OFFLINE is set")
    address = question if "://" in question else f"{constants.ENDPOINT}/api/{question}"
    headers = build_hf_headers(token=token)

    async def get() -> httpx.Response:
        async with careful(httpx.AsyncClient(verify=_verify(), timeout=None)) as client:
            return await client.get(address, params=parameters or {}, headers=headers)

    answer = run_with_deadline(get, seconds)
    if answer.has_redirect_location:
        answer.raise_for_status()  # huggingface_hub calls it good
    hf_raise_for_status(_as_theirs(answer))
    return answer


def read(answer: Any) -> Any:
    """Return the JSON of an answer.

    Raises:
        UnreadableAnswerError: If it is none.
    """
    try:
        return answer.json()
    except (ValueError, RecursionError) as error:
        raise UnreadableAnswerError(f"{answer.text[:60]!r} is no JSON") from error


def _verify() -> ssl.SSLContext | bool:
    # Below 1.0 huggingface_hub downloads with requests, whose variables the user may have set.
    names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    file = next(filter(None, map(os.environ.get, names)), None)
    return ssl.create_default_context(cafile=file) if file and os.path.isfile(file) else True


def _as_theirs(answer: Any) -> Any:
    """Return the answer as huggingface_hub reads it: below 1.0, one of requests."""
    from huggingface_hub.errors import HfHubHTTPError

    if not any(kind.__module__.startswith("requests") for kind in HfHubHTTPError.__mro__):
        return answer
    import requests

    theirs = requests.Response()
    theirs.status_code, theirs.url, theirs.reason = (
        answer.status_code,
        str(answer.url),
        answer.reason_phrase,
    )
    theirs.headers.update(dict(answer.headers))
    theirs._content = answer.content
    theirs.request = requests.Request("GET", theirs.url).prepare()
    return theirs
