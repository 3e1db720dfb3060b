"""Whether the Hub opens the model to the token: `GET /api/models/{id}/auth-check`, which is free.

One question answers both: the Hub rejects a token that it does not know whatever it is asked, and
says who was not let in to a gated model. (`whoami-v2` says who the token belongs to, is limited
to a few calls, and knows nothing of the model; it is asked where the model is a folder.)
"""

from __future__ import annotations

import os

from mellea_api import CredentialReport
from mellea_api._provider.authoring import UnreadableAnswerError
from mellea_api.plugin import CredentialRequest
from mellea_api_hf.http import ask
from mellea_api_hf.token import to_send

__all__ = ["probe"]


def probe(request: CredentialRequest) -> CredentialReport:
    """Ask the Hub about the model, or of a model on disk about the token.

    Raises:
        Exception: Whatever huggingface_hub raises.
    """
    model = request.target.model_id
    token = request.credentials.get("token")
    if os.path.isdir(model):
        if token is None:
            return request.unchecked(f"{model} is a folder here, which needs no token.")
        _ask(request, "whoami-v2")
        return request.accepted(f"The token is good; {model} is a folder here, and needs none.")
    from huggingface_hub.utils import validate_repo_id

    validate_repo_id(model)
    _ask(request, f"models/{model}/auth-check")
    good = f"The token is good, and opens {model}." if token else f"{model} needs no token."
    return request.accepted(good)


def _ask(request: CredentialRequest, question: str) -> None:
    # By hand: `HfApi.auth_check` takes any page for a yes, that of a proxy too.
    token = request.credentials.get("token")
    answer = ask(question, to_send(token) if token else False, request.timeout)
    if "html" in answer.headers.get("content-type", ""):
        raise UnreadableAnswerError(f"{answer.text[:60]!r} is a web page")
